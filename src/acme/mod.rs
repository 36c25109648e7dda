//! Certificates from an ACME server (RFC 8555), which sees by DNS-01 that the zone is ours: asked for, kept, and renewed in
//! time.
//!
//! `STATE_DIR/acme` holds all that a crash must not lose: the account's key, an order under way with its key, the challenges
//! that may stand at the name server, and one file with key and chain, so that the two always belong together. Whatever goes
//! wrong, the last good certificate goes on serving.

mod challenge;
mod error;
#[cfg(test)]
pub(crate) mod examples;
mod folder;
mod http;
mod issue;
mod kept;
mod names;
mod schedule;
mod task;

pub use error::AcmeError;
pub use kept::{KeptError, bundle, is_from, kept, read_kept};
pub use names::wanted;
pub use task::{AcmeStatus, Failure, Keeper};
