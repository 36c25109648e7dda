//! What DNS knows: names, addresses and members as of one moment. Immutable; a newer one replaces it whole.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::rr::Name;
use jiff::Timestamp;

use crate::ca::Alpn;
use crate::identity::{Member, Pins, Roster};
use crate::model::{AddressKind, Mac, MemberId, MemberState, NetworkId};
use crate::overlay::{Overlay, Pinning};
use crate::routes::{GATE, Site, Target};

/// What a view is composed from.
pub struct Facts<'a> {
    pub site: &'a Site,
    /// As the data path judges by it: whom its record keeps out there, it keeps out here.
    pub roster: &'a Arc<Roster>,
    pub overlay: &'a Overlay,
    pub pinning: &'a Pinning,
    /// The addresses at which a web port really is open, of either kind.
    pub listening: &'a [IpAddr],
    /// Those at which the port of HTTPS is.
    pub listening_https: &'a [IpAddr],
    /// Whether every device trusts the certificates without being told to: they are files of one's own, or ACME's.
    pub publicly_trusted: bool,
    pub now: Timestamp,
}

/// Names, addresses and members as of one moment.
#[derive(Debug)]
pub struct View {
    pub zone: Name,
    pub gate: Name,
    /// Grows with each change of what the zone says, and is the time of that change unless two come within a second.
    pub serial: u32,
    pub roster: Arc<Roster>,
    /// This machine's own overlay addresses.
    pub own: Vec<IpAddr>,
    /// The addresses to which answers go to their owners only; `None` where nothing sees to that.
    pins: Option<Arc<Pins>>,
    zone_says: Zone,
    senders: Senders,
}

/// All that the zone says; two that are equal share a serial.
#[derive(Debug, PartialEq, Eq)]
struct Zone {
    /// Of the apex, the gate and every service, in the order in which clients should try them.
    addresses: Arc<[IpAddr]>,
    names: BTreeMap<Box<str>, Entry>,
    pointers: BTreeMap<IpAddr, Box<str>>,
}

/// What one name of the zone has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub addresses: Arc<[IpAddr]>,
    pub https: Option<Https>,
    /// Where that is served.
    pub https_at: Arc<[IpAddr]>,
}

/// The protocols that an HTTPS record promises (RFC 9460).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Https {
    Http1,
    Http2,
}

/// Who may be behind a source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    One(MemberId),
    /// The controller gave the address to several, this one among them.
    Several(MemberId),
}

impl View {
    /// Composes the view. Its serial goes on from the previous one's.
    pub fn compose(facts: &Facts<'_>, previous: Option<&Self>) -> Self {
        let zone = dns_name(facts.site.zone.as_str());
        let gate = zone.prepend_label(GATE).unwrap_or_else(|_| zone.clone());
        let zone_says = Zone::compose(facts);
        let clock = u32::try_from(facts.now.as_second()).unwrap_or(1);
        let serial = match previous {
            Some(before) if before.zone_says == zone_says && before.zone == zone => before.serial,
            Some(before) => clock.max(before.serial.wrapping_add(1)),
            None => clock,
        };
        Self {
            zone,
            gate,
            serial,
            roster: facts.roster.clone(),
            own: facts.overlay.addresses.clone(),
            pins: pins(facts),
            zone_says,
            senders: Senders::of(facts.roster),
        }
    }

    /// The addresses of the gateway's own names.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.zone_says.addresses
    }

    /// What a name right below the apex has; the label in lower case.
    pub fn entry(&self, label: &str) -> Option<&Entry> {
        self.zone_says.names.get(label)
    }

    /// The name of the zone behind an address, if it may be shown.
    pub fn pointer(&self, address: IpAddr) -> Option<&str> {
        self.zone_says.pointers.get(&address).map(AsRef::as_ref)
    }

    /// Who may send from this address.
    pub fn sender(&self, source: IpAddr) -> Option<Sender> {
        self.senders.find(source)
    }

    /// Whether an answer to this address reaches that member and nobody else, as far as anything sees to that. ZeroTier
    /// gives a member 2^48 addresses of 6PLANE, and only the first is pinned: whoever answers for another one would
    /// hear what is meant for the member.
    pub fn reaches(&self, member: MemberId, address: IpAddr) -> bool {
        let mac = Mac::of(member, self.roster.network);
        self.pins.as_ref().is_none_or(|pins| pins.get(&address) == Some(&mac))
    }

    /// Whether an address is on this network: given to a member, or derived from one's ID.
    pub fn knows(&self, address: IpAddr) -> bool {
        self.own.contains(&address) || self.sender(address).is_some()
    }
}

impl Zone {
    fn compose(facts: &Facts<'_>) -> Self {
        let network = facts.roster.network;
        let own = facts.overlay.own;
        let addresses = in_order(facts.listening.to_vec(), own, network);
        let https_at = in_order(facts.listening_https.to_vec(), own, network);
        let mut names: BTreeMap<Box<str>, Entry> = BTreeMap::new();
        let zone = facts.site.zone.as_str();
        for full in facts.site.names() {
            let Some(label) = full.strip_suffix(zone).and_then(|rest| rest.strip_suffix('.')) else {
                continue;
            };
            let https = facts.site.find(full).and_then(|target| https(facts, full, target));
            let https = https.filter(|_| !https_at.is_empty());
            let entry = Entry { addresses: addresses.clone(), https, https_at: https_at.clone() };
            names.insert(label.into(), entry);
        }
        let mut pointers: BTreeMap<IpAddr, Box<str>> = BTreeMap::new();
        let shows_devices =
            matches!(facts.pinning, Pinning::On { ifindex, .. } if *ifindex == facts.overlay.ifindex);
        if shows_devices {
            for member in facts.roster.sorted() {
                let Some(name) = member.device.as_ref().filter(|_| is_shown(member, own)) else { continue };
                // A service's name wins: its device can be called something else, and a link to the service cannot.
                if names.contains_key(name.as_str()) {
                    continue;
                }
                let addresses = in_order(addresses_of(member, facts), Some(member.id), network);
                for &address in addresses.iter() {
                    pointers.entry(address).or_insert_with(|| name.as_str().into());
                }
                names
                    .insert(name.as_str().into(), Entry { addresses, https: None, https_at: Arc::default() });
            }
        }
        for &address in &facts.overlay.addresses {
            pointers.insert(address, GATE.into());
        }
        Self { addresses, names, pointers }
    }
}

/// Whether a name promises HTTPS. A browser that is told so never tries plain HTTP again (RFC 9460, section 9.5), so that is
/// said only where nothing but TLS is served, or where TLS needs nothing that a device may lack. The gate of a private
/// CA must open without: its page is how the CA comes to be trusted.
fn https(facts: &Facts<'_>, name: &str, target: &Target) -> Option<Https> {
    let only_tls = match target {
        Target::Gate | Target::TrustProbe => false,
        Target::Service(route) => !route.service.plain_http,
    };
    let promised = facts.site.https_port == 443 && (facts.publicly_trusted || only_tls);
    let protocols = match facts.site.handshake(Some(name)).alpn {
        Alpn::Http1 => Https::Http1,
        Alpn::Http2 => Https::Http2,
    };
    promised.then_some(protocols)
}

/// What is pinned now. An overlay that is simulated has no device, and nothing to pin on it.
fn pins(facts: &Facts<'_>) -> Option<Arc<Pins>> {
    match facts.pinning {
        Pinning::On { ifindex, pins } if *ifindex == facts.overlay.ifindex && *ifindex != 0 => {
            Some(pins.clone())
        }
        Pinning::On { .. } | Pinning::Off { .. } => None,
    }
}

fn is_shown(member: &Member, own: Option<MemberId>) -> bool {
    member.state == MemberState::Active && Some(member.id) != own
}

/// Where a device answers: what the controller gave it, and what ZeroTier derives where the network does that. Whether it
/// does, our own addresses tell: the setting is the network's.
fn addresses_of(member: &Member, facts: &Facts<'_>) -> Vec<IpAddr> {
    let network = facts.roster.network;
    let mut addresses = member.assigned.clone();
    let ours = |derived: fn(MemberId, NetworkId) -> Ipv6Addr| {
        let own = facts.overlay.own.map(|own| IpAddr::from(derived(own, network)));
        own.is_some_and(|own| facts.overlay.addresses.contains(&own))
    };
    if ours(MemberId::rfc4193) {
        addresses.push(member.id.rfc4193(network).into());
    }
    if ours(MemberId::six_plane) {
        addresses.push(member.id.six_plane(network).into());
    }
    addresses
}

/// Managed addresses first, IPv4 before IPv6, then the RFC 4193 one, then 6PLANE, each once.
fn in_order(mut addresses: Vec<IpAddr>, owner: Option<MemberId>, network: NetworkId) -> Arc<[IpAddr]> {
    addresses.sort_by_key(|address| (AddressKind::of(*address, owner, network), *address));
    addresses.dedup();
    addresses.into()
}

/// Every address of a member, to be found at once: a flood must not cost a look at each of ten thousand. Where an active
/// member has an address, it is nobody else's: what one that was let in no longer had before shuts nobody out.
#[derive(Debug, Default)]
struct Senders {
    exact: HashMap<IpAddr, Sender>,
    /// By the first 80 bits of 6PLANE, which are one member's.
    planes: HashMap<[u8; PLANE], MemberId>,
}

const PLANE: usize = 10;

impl Senders {
    fn of(roster: &Roster) -> Self {
        let mut found = Self::default();
        let (active, others): (Vec<_>, Vec<_>) =
            roster.sorted().into_iter().partition(|member| member.state == MemberState::Active);
        let mut taken = HashSet::new();
        for member in active.into_iter().chain(others) {
            for address in member.addresses(roster.network) {
                match member.state {
                    MemberState::Active => {
                        taken.insert(address);
                    }
                    _ if taken.contains(&address) => continue,
                    _ => {}
                }
                let several = |known: &mut Sender| {
                    let (Sender::One(other) | Sender::Several(other)) = *known;
                    if other != member.id {
                        *known = Sender::Several(other.min(member.id));
                    }
                };
                found.exact.entry(address).and_modify(several).or_insert(Sender::One(member.id));
            }
            found.planes.insert(plane(member.id.six_plane(roster.network)), member.id);
        }
        found
    }

    fn find(&self, source: IpAddr) -> Option<Sender> {
        let by_plane = || match source {
            IpAddr::V6(v6) => self.planes.get(&plane(v6)).map(|&id| Sender::One(id)),
            IpAddr::V4(_) => None,
        };
        self.exact.get(&source).copied().or_else(by_plane)
    }
}

fn plane(address: Ipv6Addr) -> [u8; PLANE] {
    let [a, b, c, d, e, f, g, h, i, j, ..] = address.octets();
    [a, b, c, d, e, f, g, h, i, j]
}

/// A checked name as DNS has it.
fn dns_name(name: &str) -> Name {
    // A zone is at most 180 letters in labels of at most 63, which always fits.
    let labels = name.split('.').map(str::as_bytes);
    Name::from_labels(labels).unwrap_or_else(|_| Name::root())
}
