//! From an accepted socket to a peer: the link-layer origin, and the roster that says whose it is.

mod roster;

pub use roster::{Hazard, IdentityProof, Member, Roster};
