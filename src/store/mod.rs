//! The one place that talks to the database.
//!
//! Two SQLite files in the state folder, so that one can be copied, checked or lost without the other: what we know of
//! members, and what happened.

mod open;

pub use open::StoreError;
