//! The domain's own name server: what stands there, and changing it, by dynamic updates (RFC 2136) that a shared key signs
//! (TSIG, RFC 8945), or by a program of the house's own.
//!
//! Whatever is believed is signed: questions are, too, and an answer without the key's signature says nothing but that
//! something went wrong.

mod client;
mod error;
mod hook;
mod message;
mod program;
mod record;

pub use client::UpdateClient;
pub use error::NameserverError;
pub use hook::{Hook, HookError};
pub use program::{ProgramError, run};
pub use record::{Change, Data, Found, Kind, Record};
