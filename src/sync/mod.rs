//! Controller, store and roster kept in step: a pure merge, and the task that applies it.

mod merge;
mod order;
mod poll;
mod start;

pub use merge::{Alarm, Merged, merge, readmit};
pub use order::{
    Actor, AtTheController, Changed, DeviceView, Difference, Done, Edit, Event, Listed, Order, OrderError,
    Orders, Profile, Request, Step,
};
pub use poll::{Limits, RosterFeed, RosterTask, SyncStatus, controller};
pub use start::{SyncError, start};
