//! Controller, store and roster kept in step: a pure merge, and the task that applies it.

mod merge;
mod poll;
mod start;

pub use merge::{Alarm, Merged, merge, readmit};
pub use poll::{Limits, RosterFeed, RosterTask, SyncStatus, controller};
pub use start::{SyncError, start};
