//! The network's DNS setting at the controller, kept to what the gateway serves, once a person said yes to it.
//!
//! Only a value that is empty or that the gateway wrote itself is ever replaced without being asked again.

mod decide;
mod memory;
mod task;

pub use decide::{Facts, Serving, Silent, Standing, WhyNot, wanted};
pub use memory::{Memory, MemoryError};
pub use task::{Fault, Keeper, Look, Outcome, PushStatus, Pusher, Request};
