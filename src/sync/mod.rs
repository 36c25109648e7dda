//! Controller, store and roster kept in step: a pure merge, and the task that applies it.

mod lifecycle;
mod merge;
mod order;
mod plan;
mod poll;
mod start;

pub use merge::{Alarm, Merged, Ruling, merge};
pub use order::{
    Actor, AtTheController, Changed, DeviceView, Difference, Done, Edit, Event, Listed, Order, OrderError,
    Orders, Profile, Step,
};
pub use poll::{Limits, News, RosterFeed, RosterTask, SyncStatus, controller};
pub use start::{SyncError, start};
