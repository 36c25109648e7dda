//! Members and rosters for tests to begin with; they change what they are about.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{IdentityProof, Member, Roster};
use crate::model::{MemberState, Moment};

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

/// A roster without hazards, taken a minute after the machine was started.
pub fn roster<const N: usize>(members: [Member; N]) -> Roster {
    let network = "5e02d9cb41c0ffee".parse().unwrap();
    let (taken, limit) = (Moment::since_boot(60, 0), Duration::from_secs(900));
    Roster::new(network, members.map(Arc::new), vec![], Timestamp::UNIX_EPOCH, taken, limit)
}
