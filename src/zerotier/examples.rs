//! What controllers say, for tests to begin with; they change what they are about.

use super::{ControllerMember, ControllerView};

/// A member of which little is known.
pub fn member() -> ControllerMember {
    ControllerMember {
        id: "c4c8812898".parse().unwrap(),
        authorized: true,
        identity: None,
        label: None,
        assigned: vec![],
        active_bridge: false,
        creation_time: None,
        revision: None,
        version: None,
        last_seen: None,
        physical: None,
    }
}

/// A safe network without members.
pub fn view() -> ControllerView {
    ControllerView {
        network: "5e02d9cb41c0ffee".parse().unwrap(),
        members: vec![],
        public: false,
        forwards: vec![],
    }
}
