//! Controller, store and roster kept in step: a pure merge, and the task that applies it.

mod expiry;
mod feed;
mod forget;
mod lifecycle;
mod merge;
mod order;
mod plan;
mod poll;
mod profile;
mod start;
mod thread;

pub use feed::{Limits, News, RosterFeed, SyncStatus, controller};
pub use merge::{Alarm, Merged, Ruling, merge};
pub use order::{
    Actor, AtTheController, Caller, ChangeOrigin, Changed, DeviceView, Difference, Done, Edit, Event, Listed,
    Order, OrderError, Orders, Profile, Request, Step,
};
pub use poll::RosterTask;
pub use start::{SyncError, start};
pub use thread::RosterThread;
