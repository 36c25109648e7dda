//! From an accepted socket to a peer: the link-layer origin, and the roster that says whose it is.

mod origin;
mod roster;

pub use origin::{NoProof, Origin};
pub use roster::{Hazard, IdentityProof, Member, Roster};
