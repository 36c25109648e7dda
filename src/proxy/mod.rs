//! The data path. One connection is served by one thread from its first byte to its last, and nothing it does waits
//! for a lock, a query or another thread.
//!
//! A request opens these files in this order, and each stage consumes what the one before it proved:
//!
//! | file | question | gives |
//! |---|---|---|
//! | `accept` | which member's frame opened this connection? | [`Accepted`](accept::Accepted) |
//! | `connection` | who is that, by today's roster? | `Identified` |
//! | `authority` | which name is asked for? | `Asked` |
//! | `origin` | is it the member's will, or that of a page from elsewhere? | `Passage` |
//! | `admit` | may this member have it? | [`Admitted`] |
//! | `exchange`, `websocket` | what does the service say? | a response that streams |
//! | `entry` | what happened? | a record |

mod accept;
mod admit;
mod authority;
mod body;
mod connection;
mod context;
mod cors;
mod entry;
mod exchange;
mod frames;
mod gate;
mod handshake;
mod headers;
mod holding;
mod io;
mod origin;
mod refuse;
mod request;
mod rewrite;
mod show;
mod snapshot;
mod talk;
mod upstream;
mod websocket;
mod worker;

pub use admit::Admitted;
pub use context::{Limits, Means};
pub use handshake::{Distrust, Distrusting, Failure, FailureCounts};
pub use snapshot::{Shared, Snapshot};
pub use worker::{Bind, BindFault, ThreadStats, Worker, WorkerSetup};
