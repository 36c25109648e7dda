//! From an accepted socket to a peer: the link-layer origin, and the roster that says whose it is.

mod identify;
mod origin;
pub mod proof;
mod roster;
mod saved_syn;

#[cfg(test)]
pub(crate) mod examples;

pub use identify::{IdentityRefusal, identify};
pub use origin::{NoProof, Origin};
pub use roster::{Hazard, IdentityProof, Member, Pins, Roster};
pub use saved_syn::SavedSyn;
