//! Permanent neighbour entries for active members, so that answers to an address reach its true owner only.
//!
//! The SYN proves who opened a connection; this sees to it that nobody else can read or finish it by lying in ARP or
//! neighbour discovery. It needs CAP_NET_ADMIN, and the gateway runs without.
//!
//! Only addresses to which packets go directly are pinned: a managed route leads answers to its router, whatever the entry
//! of the address says, so what lies behind one has no pin to count on.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Overlay;
use crate::identity::{Hazard, Pins, Roster};
use crate::linux::capabilities::Capabilities;
use crate::linux::neighbours::{Neighbours, Permanent};
use crate::linux::netlink::Changes;
use crate::linux::routes::Routes;
use crate::model::{Mac, MemberState};

/// Whether answers are bound to their owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pinning {
    /// These are, on that device.
    On { ifindex: u32, pins: Arc<Pins> },
    /// They are not, for this reason.
    Off { why: String },
}

impl Pinning {
    /// The roster as the data path takes it: it knows which member we are, and bridges are no hazard to those whose
    /// answers are bound to them.
    ///
    /// Roster and table change one after the other. That needs no order: a member is let in where both agree.
    pub fn bind(&self, roster: &Roster, overlay: &Overlay) -> Roster {
        let mut bound = roster.clone();
        bound.own = overlay.own;
        let is_bridge = |hazard: &Hazard| matches!(hazard, Hazard::ActiveBridge { .. });
        if let Self::On { ifindex, pins } = self
            && *ifindex == overlay.ifindex
            && bound.hazards.iter().any(is_bridge)
        {
            bound.hazards.retain(|hazard| !is_bridge(hazard));
            bound.pins = Some(pins.clone());
        }
        bound
    }

    /// What it costs that answers are not bound to their owners.
    pub fn cost(&self) -> Option<String> {
        match self {
            Self::On { .. } => None,
            Self::Off { why } => Some(format!("neighbours are not pinned: {why}")),
        }
    }

    fn off(error: &io::Error) -> Self {
        let why = match error.kind() {
            io::ErrorKind::PermissionDenied => "no CAP_NET_ADMIN: a member can draw answers meant for another to itself \
                 (TLS keeps them unreadable, plain HTTP does not), and a member with \"activeBridge\" stops everybody; \
                 add CAP_NET_ADMIN to AmbientCapabilities in the unit"
                .to_owned(),
            _ => format!("the kernel refused neighbour entries: {error}"),
        };
        Self::Off { why }
    }
}

/// What to change in the neighbour table.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PinPlan {
    pub pin: Vec<(IpAddr, Mac)>,
    pub unpin: Vec<IpAddr>,
    /// What is pinned after it.
    pub all: Pins,
}

/// Whose answers go where, by the roster: each active member's [addresses](crate::identity::Member::addresses) with its MAC, but
/// not our own.
///
/// An address that the controller gave to two members is the one's with the lower ID.
pub fn owners(roster: &Roster, overlay: &Overlay) -> Pins {
    let network = roster.network;
    let mut desired = Pins::new();
    let mut members = if overlay.is_up() { roster.sorted() } else { Vec::new() };
    members.sort_by_key(|member| member.id);
    for member in members {
        if member.state != MemberState::Active || Some(member.id) == overlay.own {
            continue;
        }
        for address in member.addresses(network) {
            if !overlay.addresses.contains(&address) {
                desired.entry(address).or_insert_with(|| Mac::of(member.id, network));
            }
        }
    }
    desired
}

/// What leads from the permanent entries of the device to the desired ones. Entries that others made are left alone unless
/// they name another MAC for such an address.
pub fn pin_plan(desired: Pins, present: &[Permanent]) -> PinPlan {
    let unpin =
        present.iter().filter(|p| p.ours && !desired.contains_key(&p.address)).map(|p| p.address).collect();
    let there = |address: IpAddr, mac: Mac| present.iter().any(|p| p.address == address && p.mac == mac);
    let missing = desired.iter().filter(|&(&address, &mac)| !there(address, mac));
    PinPlan { pin: missing.map(|(&address, &mac)| (address, mac)).collect(), unpin, all: desired }
}

/// Applies plans to the neighbour table, and takes back what it did when it is dropped.
pub struct Pinner {
    neighbours: Neighbours,
    routes: Routes,
    ifindex: u32,
    /// What is to be unpinned, and since when.
    leaving: BTreeMap<IpAddr, Instant>,
}

/// How long an entry outlives its reason. The resets that cut a member's connections go to its address, and ZeroTier
/// no longer lets a deauthorised member answer ARP.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Pinner {
    /// # Errors
    /// If netlink cannot be had.
    pub fn new() -> io::Result<Self> {
        let (neighbours, routes) = (Neighbours::open()?, Routes::open()?);
        Ok(Self { neighbours, routes, ifindex: 0, leaving: BTreeMap::new() })
    }

    /// Brings the table of the overlay's device to what the roster asks for. What it asks for no more goes with the first
    /// call that comes a second after the one that found it so.
    pub fn settle(&mut self, roster: &Roster, overlay: &Overlay) -> Pinning {
        if !overlay.is_up() {
            return Pinning::Off { why: "the device is not there".to_owned() };
        }
        self.ifindex = overlay.ifindex;
        if !Capabilities::effective().net_admin {
            // Said even where nothing is to be done yet.
            return Pinning::off(&io::ErrorKind::PermissionDenied.into());
        }
        self.apply(roster, overlay).unwrap_or_else(|error| Pinning::off(&error))
    }

    fn apply(&mut self, roster: &Roster, overlay: &Overlay) -> io::Result<Pinning> {
        let mut desired = owners(roster, overlay);
        for address in desired.keys().copied().collect::<Vec<_>>() {
            // Answers that go by a router reach whomever the router's entry names. A pin would promise what it cannot keep.
            if !self.routes.is_on_link(self.ifindex, address)? {
                desired.remove(&address);
            }
        }
        let plan = pin_plan(desired, &self.neighbours.permanent(self.ifindex)?);
        let now = Instant::now();
        self.leaving.retain(|address, _| plan.unpin.contains(address));
        for address in plan.unpin {
            if now - *self.leaving.entry(address).or_insert(now) >= LAST_WORDS {
                self.neighbours.unpin(self.ifindex, address)?;
                self.leaving.remove(&address);
            }
        }
        for (address, mac) in plan.pin {
            self.neighbours.pin(self.ifindex, address, mac)?;
        }
        Ok(Pinning::On { ifindex: self.ifindex, pins: Arc::new(plan.all) })
    }
}

impl Drop for Pinner {
    fn drop(&mut self) {
        let ours = self.neighbours.permanent(self.ifindex).unwrap_or_default();
        for entry in ours.iter().filter(|entry| entry.ours) {
            // Nobody is left to tell; the next start finds what stays behind by its mark.
            let _ = self.neighbours.unpin(self.ifindex, entry.address);
        }
    }
}

/// In case the kernel's word of a change was missed.
const RECHECK: Duration = Duration::from_secs(30);

/// The least time between two looks at the table, for neighbours come and go as fast as somebody sends ARP.
const BREATH: Duration = Duration::from_millis(200);

/// Keeps the neighbour table in step with roster, overlay and routes, and tells whether it is, until either of the first two
/// ends or it is dropped; then its entries are removed. Entries that an operator or another program removed or changed are
/// back at once.
///
/// # Errors
/// If netlink cannot be had.
pub async fn keep_pinned(
    mut rosters: watch::Receiver<Option<Arc<Roster>>>,
    mut overlays: watch::Receiver<Overlay>,
    tell: watch::Sender<Pinning>,
) -> io::Result<()> {
    let mut pinner = Pinner::new()?;
    let mut table = Changes::watch_neighbours()?;
    loop {
        let looked = tokio::time::Instant::now();
        let (roster, overlay) = (rosters.borrow_and_update().clone(), overlays.borrow_and_update().clone());
        if let Some(roster) = roster {
            let pinning = pinner.settle(&roster, &overlay);
            tell.send_if_modified(|told| {
                let news = *told != pinning;
                *told = pinning;
                news
            });
        }
        let next = if pinner.leaving.is_empty() { RECHECK } else { LAST_WORDS };
        let ended = tokio::select! {
            () = tokio::time::sleep(next) => false,
            changed = rosters.changed() => changed.is_err(),
            changed = overlays.changed() => changed.is_err(),
            changed = table.wait() => {
                if let Err(error) = changed {
                    tracing::warn!(%error, "netlink fails; changes of neighbour entries are seen late");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                tokio::time::sleep_until(looked + BREATH).await;
                false
            }
        };
        if ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Member, examples};
    use crate::overlay::OverlayState;

    const GATEWAY: &str = "5e02d9cb41";
    const A: &str = "c4c8812898";
    const B: &str = "bcba17eef8";
    const A_ADDRESSES: [&str; 3] =
        ["10.147.20.2", "fc1f:c226:25c4:c881:2898::1", "fd5e:2d9:cb41:c0ff:ee99:93c4:c881:2898"];
    const A_MAC: &str = "ee:3b:08:c0:e3:41";
    const B_MAC: &str = "ee:43:7a:56:25:21";

    fn member(id: &str, state: MemberState, address: &str) -> Member {
        Member { state, ..examples::member(id, address) }
    }

    fn roster(a: MemberState, b_address: &str) -> Roster {
        examples::roster([
            member(GATEWAY, MemberState::Active, "10.147.20.1"),
            member(A, a, "10.147.20.2"),
            member(B, MemberState::Active, b_address),
        ])
    }

    fn overlay() -> Overlay {
        Overlay {
            state: OverlayState::Up,
            device: Some("zt0".into()),
            ifindex: 7,
            addresses: vec!["10.147.20.1".parse().unwrap()],
            own: GATEWAY.parse().ok(),
        }
    }

    fn entry(address: &str, mac: &str, ours: bool) -> Permanent {
        Permanent { address: address.parse().unwrap(), mac: mac.parse().unwrap(), ours }
    }

    /// The pins of a plan, for one MAC.
    fn pinned_to(plan: &PinPlan, mac: &str) -> Vec<String> {
        plan.pin.iter().filter(|(_, m)| m.to_string() == mac).map(|(a, _)| a.to_string()).collect()
    }

    #[test]
    fn active_members_are_pinned_at_each_address_and_we_are_not() {
        let plan = pin_plan(owners(&roster(MemberState::Active, "10.147.20.3"), &overlay()), &[]);
        assert_eq!(pinned_to(&plan, A_MAC), A_ADDRESSES);
        assert_eq!(pinned_to(&plan, B_MAC)[0], "10.147.20.3");
        assert_eq!((plan.pin.len(), plan.unpin.len(), plan.all.len()), (6, 0, 6));
    }

    #[test]
    fn entries_of_a_member_no_longer_active_are_removed_and_foreign_ones_are_left() {
        let present = [
            entry("10.147.20.2", A_MAC, true),
            entry("10.147.20.3", B_MAC, true),
            entry("10.147.20.77", "02:00:00:00:00:01", false),
        ];
        let plan = pin_plan(owners(&roster(MemberState::Revoked, "10.147.20.3"), &overlay()), &present);
        assert_eq!(plan.unpin, ["10.147.20.2".parse::<IpAddr>().unwrap()]);
        assert_eq!(pinned_to(&plan, B_MAC).len(), 2, "its derived ones; the assigned one is there");
        assert_eq!(pinned_to(&plan, A_MAC), [""; 0]);
    }

    #[test]
    fn a_wrong_mac_is_replaced_whoever_wrote_it() {
        for ours in [true, false] {
            let present = [entry("10.147.20.2", B_MAC, ours)];
            let plan = pin_plan(owners(&roster(MemberState::Active, "10.147.20.3"), &overlay()), &present);
            assert!(pinned_to(&plan, A_MAC).contains(&"10.147.20.2".to_owned()));
            assert!(plan.unpin.is_empty());
        }
    }

    #[test]
    fn an_address_given_twice_goes_to_the_lower_id() {
        let plan = pin_plan(owners(&roster(MemberState::Active, "10.147.20.2"), &overlay()), &[]);
        assert!(pinned_to(&plan, B_MAC).contains(&"10.147.20.2".to_owned()), "{B} < {A}");
        assert!(!pinned_to(&plan, A_MAC).contains(&"10.147.20.2".to_owned()));
    }

    #[test]
    fn a_bridge_is_no_hazard_where_the_table_of_the_overlays_device_stands_in() {
        let bridge = Hazard::ActiveBridge { member: B.parse().unwrap() };
        let mut roster = roster(MemberState::Active, "10.147.20.3");
        let pins = Arc::new(owners(&roster, &overlay()));
        let on = |ifindex| Pinning::On { ifindex, pins: pins.clone() };
        let off = Pinning::Off { why: "no CAP_NET_ADMIN".into() };
        for (pinning, hazards, left, bound) in [
            (on(7), vec![], vec![], false),
            (on(7), vec![bridge.clone()], vec![], true),
            (on(7), vec![bridge.clone(), Hazard::Public], vec![Hazard::Public], true),
            // The table of a device that has gone since.
            (on(6), vec![bridge.clone()], vec![bridge.clone()], false),
            (off, vec![bridge.clone()], vec![bridge], false),
        ] {
            roster.hazards = hazards;
            let seen = pinning.bind(&roster, &overlay());
            assert_eq!((seen.hazards, seen.own), (left, GATEWAY.parse().ok()), "{pinning:?}");
            assert_eq!(seen.pins, bound.then(|| pins.clone()), "{pinning:?}");
        }
    }

    #[test]
    fn our_own_address_is_never_pinned_to_another() {
        let plan = pin_plan(owners(&roster(MemberState::Active, "10.147.20.1"), &overlay()), &[]);
        assert!(!pinned_to(&plan, B_MAC).contains(&"10.147.20.1".to_owned()));
    }
}
