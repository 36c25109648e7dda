//! The one place that talks to the database.
//!
//! Two SQLite files in the state folder, so that one can be copied, checked or lost without the other: what we know of
//! members, and what happened.

mod audit;
mod members;
mod open;

pub use audit::{AuditChunk, AuditKeep, AuditReader, AuditRow, AuditSelect, AuditWriter};
#[cfg(test)]
pub use members::after_a_restart;
pub use members::{
    Admitted, AtController, Caller, Change, ChangeOrigin, History, Intent, Look, Members, MembersError,
    PinProof, Presence, Profile, StoredMember, StoredRoster,
};
pub use open::{StoreError, make_state_dir};
