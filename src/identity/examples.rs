//! Members for tests to begin with; they change what they are about.

use super::{IdentityProof, Member};
use crate::model::MemberState;

/// A proved, active member without a name, at one address.
pub fn member(id: &str, address: &str) -> Member {
    Member {
        id: id.parse().unwrap(),
        state: MemberState::Active,
        proof: IdentityProof::Proven,
        device: None,
        owner: None,
        groups: vec![],
        until: None,
        label: None,
        assigned: vec![address.parse().unwrap()],
        active_bridge: false,
        version: None,
    }
}
