//! The roster: every member of the network as of one moment. Immutable; a newer one replaces it whole.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{Label, Mac, MemberId, MemberState, Moment, NetworkId};

/// One member, as the controller and our own store know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: MemberId,
    pub state: MemberState,
    /// Whether its public identity is known to hash to its ID, and to be the one that was pinned.
    pub proof: IdentityProof,
    /// Its name here; policy matches it.
    pub device: Option<Label>,
    pub owner: Option<Label>,
    pub groups: Vec<Label>,
    /// When its time is up, whatever its state says.
    pub until: Option<Moment>,
    /// What the controller calls it. For people to read; never matched in policy.
    pub label: Option<String>,
    /// The addresses that the controller assigned. Derived ones (RFC 4193, 6PLANE) are arithmetic and not listed.
    pub assigned: Vec<IpAddr>,
    /// It may send frames with anybody's MAC, so a MAC proves nothing about it.
    pub active_bridge: bool,
    /// The client's version, where the controller knows it.
    pub version: Option<String>,
}

/// What is known of a member's public identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityProof {
    /// It hashes to the member's ID and is the one that was pinned.
    Proven,
    /// Not checked yet, or the controller has not seen the member yet.
    Unproven,
    /// It does not hash to the ID, or is not the one that was pinned.
    Changed,
}

impl Member {
    /// The addresses that are the member's one by one: all that it owns but the rest of its 6PLANE /80.
    pub fn addresses(&self, network: NetworkId) -> impl Iterator<Item = IpAddr> {
        let derived = [self.id.rfc4193(network).into(), self.id.six_plane(network).into()];
        self.assigned.iter().copied().chain(derived)
    }

    /// Whether its time is up.
    pub fn has_ended(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether the member may speak from this address on this network.
    pub fn owns(&self, network: NetworkId, address: IpAddr) -> bool {
        self.assigned.contains(&address) || matches!(address, IpAddr::V6(v6) if self.id.derives(network, v6))
    }
}

/// A setting of the network that voids the proof of identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hazard {
    /// A rule copies or redirects frames to the gateway, which then arrive with other members' MACs.
    Redirect { rule: String },
    /// This member may send frames with anybody's MAC.
    ActiveBridge { member: MemberId },
    /// The network is public: deauthorising does nothing there.
    Public,
}

impl Hazard {
    /// The exact change that mends it.
    pub fn mend(&self) -> String {
        match self {
            Self::Redirect { rule } => {
                format!("remove the rule {rule} (tee, watch or redirect) from the network's flow rules")
            }
            Self::ActiveBridge { member } => {
                format!("turn off \"activeBridge\" for member {member} at the controller")
            }
            Self::Public => "set \"private\": true on the network at the controller".to_owned(),
        }
    }
}

/// Every member of the network as of one moment.
#[derive(Clone, Debug)]
pub struct Roster {
    pub network: NetworkId,
    members: HashMap<MemberId, Arc<Member>>,
    /// What makes all proof of identity void, if anything. Bridges do not count here while [pins](Self::pins) stand in for
    /// the MAC.
    pub hazards: Vec<Hazard>,
    /// When the controller said so.
    pub taken: Timestamp,
    /// The same moment on the clock that nobody can set, and that goes on while the machine sleeps. For a roster read back from disk it lies in the past by
    /// the age that the wall clock tells.
    pub taken_at: Moment,
    /// The age beyond which nobody is let in on its word.
    pub limit: Duration,
    /// This machine's own member, where it is known. Its frames never cross the overlay, so whoever has its MAC lies.
    pub own: Option<MemberId>,
    /// While a MAC alone proves nothing, the addresses whose answers reach one MAC only; nobody is let in from another.
    /// `None` while each frame has its sender's MAC.
    pub pins: Option<Arc<Pins>>,
}

/// Addresses, each with the one MAC that frames to it are sent to.
pub type Pins = BTreeMap<IpAddr, Mac>;

impl Roster {
    pub fn new(
        network: NetworkId,
        members: impl IntoIterator<Item = Arc<Member>>,
        hazards: Vec<Hazard>,
        taken: Timestamp,
        taken_at: Moment,
        limit: Duration,
    ) -> Self {
        let members = members.into_iter().map(|m| (m.id, m)).collect();
        Self { network, members, hazards, taken, taken_at, limit, own: None, pins: None }
    }

    pub fn get(&self, id: MemberId) -> Option<&Arc<Member>> {
        self.members.get(&id)
    }

    /// All members, ordered by device name and then ID.
    pub fn sorted(&self) -> Vec<&Arc<Member>> {
        let mut all: Vec<_> = self.members.values().collect();
        all.sort_by(|a, b| (a.device.is_none(), &a.device, a.id).cmp(&(b.device.is_none(), &b.device, b.id)));
        all
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn age(&self, now: Moment) -> Duration {
        now.saturating_duration_since(self.taken_at)
    }

    pub fn is_stale(&self, now: Moment) -> bool {
        self.age(now) > self.limit
    }

    /// Whether an answer to this address reaches that MAC and no other, whatever a bridge sends.
    pub fn is_bound(&self, address: IpAddr, mac: Mac) -> bool {
        self.pins.as_ref().is_none_or(|pins| pins.get(&address) == Some(&mac))
    }

    /// The member that owns an address, for a log line that names both sides of a lie.
    pub fn owner_of(&self, address: IpAddr) -> Option<&Arc<Member>> {
        self.members.values().find(|m| m.owns(self.network, address))
    }
}
