//! DNS on the overlay: the zone's names answered by the gateway itself, every other name asked elsewhere.
//!
//! One thread of its own, below the others in priority, so that no flood of queries costs a request. A query opens these
//! files in this order:
//!
//! | file | question |
//! |---|---|
//! | `sockets`, `tcp` | Did it come in by ZeroTier's device, and over TCP: whose SYN was it? |
//! | `desk`, `limits` | Is this more than one member may send? Asked before a byte is read. |
//! | `judge` | Whose address is it, and is that member let in? Is it a question that is answered at all? |
//! | `zone`, `special`, `reverse` | What is said of the zone, of names that are nobody's, of addresses? |
//! | `forward` | What do others say of all the rest? |
//! | `refusals` | Who was refused, and why? |
//!
//! All that is known of members and names is one immutable [`View`], composed by the gateway and swapped whole.

mod desk;
pub mod forward;
mod judge;
mod limits;
mod message;
mod refusals;
mod reverse;
mod server;
mod sockets;
mod special;
mod status;
mod tcp;
mod view;
mod zone;

pub use limits::Limits;
pub use server::{Elsewhere, Server, Setup};
pub use sockets::{Bind, Fault};
pub use status::{Counts, DnsDoor, DnsStatus, Stats};
pub use view::{Facts, View};
