//! Where the overlay is: the node's word held against what the kernel shows. Pure.
//!
//! The node says which device and addresses are meant; the kernel alone says what is there. So an answer that is odd, late
//! or missing changes nothing while the device stands, and no answer keeps alive a device that is gone.

use std::net::IpAddr;

use serde::Serialize;

use crate::linux::interfaces::Interface;
use crate::model::{Mac, MemberId, NetworkId};

/// Where to listen, as of one moment. Two that differ in `ifindex` need new listeners: the old ones are dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overlay {
    pub state: OverlayState,
    pub device: Option<String>,
    /// 0 where there is no device.
    pub ifindex: u32,
    /// The managed addresses that are on the device, in the node's order; empty unless the state is `Up`. A tentative
    /// IPv6 address is among them, for listeners can wait on it.
    pub addresses: Vec<IpAddr>,
    /// This machine's own member ID on the network.
    pub own: Option<MemberId>,
}

/// Why there are listeners, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverlayState {
    /// The node has said nothing usable yet.
    WaitingForNode {
        why: String,
    },
    /// The node is not on the network.
    NotJoined,
    /// The node means a device that is not there, or is down.
    NoDevice,
    /// A device of that name is there, and its MAC is not the one that ZeroTier gives this member.
    NotOurs {
        mac: Option<Mac>,
    },
    /// The device is there and none of the managed addresses is on it yet.
    NoAddress,
    Up,
}

impl std::fmt::Display for OverlayState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WaitingForNode { why } => write!(f, "waiting for ZeroTier: {why}"),
            Self::NotJoined => f.write_str("this machine has not joined the network; zerotier-cli join it"),
            Self::NoDevice => f.write_str("waiting for ZeroTier's device; it is not there, or down"),
            Self::NotOurs { mac: Some(mac) } => {
                write!(f, "the device's MAC {mac} is not the one that ZeroTier gives this machine")
            }
            Self::NotOurs { mac: None } => f.write_str("the device has no MAC, so it is not ZeroTier's"),
            Self::NoAddress => {
                f.write_str("waiting for the device's addresses; authorise this machine at the controller")
            }
            Self::Up => f.write_str("up"),
        }
    }
}

impl Overlay {
    /// The one before anything is known.
    pub fn unknown() -> Self {
        Self::waiting("the node was not asked yet")
    }

    pub fn is_up(&self) -> bool {
        self.state == OverlayState::Up
    }

    fn waiting(why: &str) -> Self {
        Self::without(OverlayState::WaitingForNode { why: why.to_owned() })
    }

    fn without(state: OverlayState) -> Self {
        Self { state, device: None, ifindex: 0, addresses: Vec::new(), own: None }
    }
}

/// What the node answers when asked for the network; `Ok(None)` if it has not joined it, and otherwise why there is none.
pub type NodeAnswer = Result<Option<Joined>, String>;

/// The node's word about a network that it has joined (`GET /network/<id>`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// `OK`, `REQUESTING_CONFIGURATION`, `ACCESS_DENIED`, …
    pub status: String,
    pub device: String,
    pub mac: Mac,
    pub addresses: Vec<IpAddr>,
}

/// What the node last said that made sense. It outlives the node's silence, so that the listeners are back as soon as the
/// device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    device: String,
    own: MemberId,
    mac: Mac,
    managed: Vec<IpAddr>,
}

impl Known {
    fn from(network: NetworkId, joined: &Joined) -> Option<Self> {
        let whole = joined.status == "OK" && !joined.device.is_empty() && !joined.addresses.is_empty();
        let own = joined.mac.member(network).filter(|_| whole)?;
        let (device, managed) = (joined.device.clone(), joined.addresses.clone());
        Some(Self { device, own, mac: joined.mac, managed })
    }

    fn device_in<'a>(&self, interfaces: &'a [Interface]) -> Option<&'a Interface> {
        interfaces.iter().find(|i| i.name == self.device && i.up)
    }

    fn stands_in(&self, interfaces: &[Interface]) -> bool {
        self.device_in(interfaces).is_some_and(|device| device.mac == Some(self.mac))
    }

    fn overlay(&self, interfaces: &[Interface]) -> Overlay {
        let there = Overlay { device: Some(self.device.clone()), own: Some(self.own), ..Overlay::unknown() };
        let Some(device) = self.device_in(interfaces) else {
            return Overlay { state: OverlayState::NoDevice, ..there };
        };
        if device.mac != Some(self.mac) {
            return Overlay { state: OverlayState::NotOurs { mac: device.mac }, own: None, ..there };
        }
        let addresses: Vec<_> = self.managed.iter().copied().filter(|&a| device.has(a)).collect();
        let state = if addresses.is_empty() { OverlayState::NoAddress } else { OverlayState::Up };
        Overlay { state, ifindex: device.index, addresses, ..there }
    }
}

/// Holds back the first "not joined" until the next answer says so, too: while a node starts or stops, it answers like
/// that for a moment about networks that it is on. Held back it counts as no answer, which opens nothing.
pub fn confirmed(answer: NodeAnswer, said_no: &mut bool) -> NodeAnswer {
    let says_no = matches!(answer, Ok(None));
    let said_before = std::mem::replace(said_no, says_no);
    if says_no && !said_before {
        Err("the node says that it has not joined the network; asking again".to_owned())
    } else {
        answer
    }
}

/// What is known, and where the overlay is, given the node's latest answer and all interfaces there are.
///
/// A whole answer (`OK`, a device, a MAC of the network, addresses) is believed unless the kernel contradicts it: it names a device
/// that is not there while the known one stands. Any other answer changes nothing while the known device stands, and the
/// node's "not joined" is believed once it does not.
pub fn next(
    known: Option<&Known>,
    network: NetworkId,
    answer: &NodeAnswer,
    interfaces: &[Interface],
) -> (Option<Known>, Overlay) {
    let stands = known.is_some_and(|known| known.stands_in(interfaces));
    let said = match answer {
        Ok(Some(joined)) => Known::from(network, joined),
        Ok(None) if !stands => return (None, Overlay::without(OverlayState::NotJoined)),
        Ok(None) | Err(_) => None,
    };
    let said = said.filter(|said| !stands || said.stands_in(interfaces));
    match said.or_else(|| known.cloned()) {
        Some(known) => {
            let overlay = known.overlay(interfaces);
            (Some(known), overlay)
        }
        None => (None, Overlay::waiting(&why_waiting(answer))),
    }
}

fn why_waiting(answer: &NodeAnswer) -> String {
    match answer {
        Err(why) => why.clone(),
        Ok(Some(joined)) if joined.status == "ACCESS_DENIED" => {
            "the controller has not authorised this machine on the network".to_owned()
        }
        Ok(Some(joined)) if joined.status == "OK" => {
            "the node names no device, no address, or a MAC of another network; see `zerotier-cli listnetworks`".to_owned()
        }
        Ok(Some(joined)) => format!("the network's status is {:?}", joined.status),
        Ok(None) => "the node has not joined the network".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;
    use crate::linux::interfaces::InterfaceAddress;

    const V4: &str = "10.147.20.1";
    const RFC4193: &str = "fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41";
    const OWN_MAC: &str = "ee:a1:c2:98:00:98";

    fn network() -> NetworkId {
        "5e02d9cb41c0ffee".parse().unwrap()
    }

    fn joined() -> Joined {
        Joined {
            status: "OK".into(),
            device: "ztsvbrsnfp".into(),
            mac: OWN_MAC.parse().unwrap(),
            addresses: vec![RFC4193.parse().unwrap(), V4.parse().unwrap()],
        }
    }

    fn device(index: u32, addresses: &[&str]) -> Interface {
        let on = |a: &&str| InterfaceAddress { address: a.parse().unwrap(), tentative: a.contains(':') };
        Interface {
            name: "ztsvbrsnfp".into(),
            index,
            mac: OWN_MAC.parse().ok(),
            up: true,
            addresses: addresses.iter().map(on).collect(),
        }
    }

    /// One step from `known`; the overlay and what is known then.
    fn step(known: &mut Option<Known>, answer: NodeAnswer, interfaces: &[Interface]) -> Overlay {
        let (after, overlay) = next(known.as_ref(), network(), &answer, interfaces);
        *known = after;
        overlay
    }

    fn up() -> (Option<Known>, Overlay, Interface) {
        let (mut known, device) = (None, device(7, &["fe80::1", V4, RFC4193]));
        let overlay = step(&mut known, Ok(Some(joined())), from_ref(&device));
        (known, overlay, device)
    }

    #[test]
    fn managed_addresses_on_the_device_are_listened_on_and_no_others() {
        let (_, overlay, _) = up();
        assert_eq!(overlay.state, OverlayState::Up);
        assert_eq!(overlay.addresses, joined().addresses, "not the link-local one");
        assert_eq!((overlay.ifindex, overlay.own), (7, "5e02d9cb41".parse().ok()));
    }

    #[test]
    fn odd_answers_change_nothing_while_the_device_stands() {
        let odd: [NodeAnswer; 8] = [
            Err("connection refused".into()),
            Err("the answer is no JSON".into()),
            Ok(None),
            Ok(Some(Joined { status: "REQUESTING_CONFIGURATION".into(), addresses: vec![], ..joined() })),
            Ok(Some(Joined { status: "NOT_FOUND".into(), ..joined() })),
            Ok(Some(Joined { addresses: vec![], ..joined() })),
            Ok(Some(Joined { device: "ztother".into(), ..joined() })),
            Ok(Some(Joined { mac: "02:09:63:79:c6:8f".parse().unwrap(), ..joined() })),
        ];
        for answer in odd {
            let (mut known, before, device) = up();
            assert_eq!(step(&mut known, answer.clone(), &[device]), before, "{answer:?}");
        }
    }

    #[test]
    fn no_answer_keeps_a_device_that_is_gone() {
        for answer in [Ok(Some(joined())), Ok(None), Err("connection refused".into())] {
            let (mut known, _, _) = up();
            let overlay = step(&mut known, answer.clone(), &[]);
            assert!(!overlay.is_up() && overlay.addresses.is_empty() && overlay.ifindex == 0, "{answer:?}");
        }
    }

    #[test]
    fn the_device_is_enough_to_be_back_before_the_node_answers() {
        let (mut known, before, device) = up();
        let refused = || Err("connection refused".into());
        assert_eq!(step(&mut known, refused(), &[]).state, OverlayState::NoDevice);
        let back = step(&mut known, refused(), &[Interface { index: 9, ..device }]);
        assert_eq!(back, Overlay { ifindex: 9, ..before.clone() });
        assert_ne!(back, before, "a new index means new listeners");
    }

    #[test]
    fn a_network_that_was_left_is_forgotten_once_the_device_is_gone() {
        let (mut known, before, device) = up();
        assert_eq!(step(&mut known, Ok(None), from_ref(&device)), before);
        assert_eq!(step(&mut known, Ok(None), &[]).state, OverlayState::NotJoined);
        let requesting = Joined { status: "REQUESTING_CONFIGURATION".into(), addresses: vec![], ..joined() };
        let waiting = step(&mut known, Ok(Some(requesting)), &[Interface { addresses: vec![], ..device }]);
        assert!(matches!(waiting.state, OverlayState::WaitingForNode { .. }), "{waiting:?}");
    }

    #[test]
    fn not_joined_is_believed_when_it_is_said_twice_and_opens_nothing_before() {
        let (mut known, _, _) = up();
        let mut said_no = false;
        let mut hear =
            |answer, interfaces: &[Interface]| step(&mut known, confirmed(answer, &mut said_no), interfaces);
        let first = hear(Ok(None), &[]);
        assert_eq!((first.state, first.addresses), (OverlayState::NoDevice, vec![]));
        assert_eq!(hear(Err("connection refused".into()), &[]).state, OverlayState::NoDevice);
        assert_eq!(hear(Ok(None), &[]).state, OverlayState::NoDevice, "each time anew");
        assert_eq!(hear(Ok(None), &[]).state, OverlayState::NotJoined);
        assert_eq!(hear(Ok(None), &[]).state, OverlayState::NotJoined);

        let (mut known, mut said_no) = (None, false);
        let OverlayState::WaitingForNode { why } =
            step(&mut known, confirmed(Ok(None), &mut said_no), &[]).state
        else {
            panic!("nothing is known yet");
        };
        assert!(why.ends_with("asking again"), "{why}");
    }

    #[test]
    fn addresses_follow_the_node_and_the_device() {
        let (mut known, ..) = up();
        let moved = Joined { addresses: vec!["10.147.20.99".parse().unwrap()], ..joined() };
        let both = device(7, &[V4, "10.147.20.99"]);
        assert_eq!(step(&mut known, Ok(Some(moved.clone())), &[both]).addresses, moved.addresses);
        let none = step(&mut known, Ok(Some(moved)), &[device(7, &[V4])]);
        assert_eq!((none.state, none.addresses), (OverlayState::NoAddress, vec![]));
    }

    #[test]
    fn a_device_with_another_mac_is_not_ours() {
        let (mut known, ..) = up();
        let impostor = Interface { mac: "02:00:00:00:00:01".parse().ok(), ..device(8, &[V4]) };
        let overlay = step(&mut known, Ok(Some(joined())), from_ref(&impostor));
        assert_eq!((overlay.state, overlay.addresses), (OverlayState::NotOurs { mac: impostor.mac }, vec![]));
    }

    #[test]
    fn a_device_that_is_down_is_no_device() {
        let (mut known, _, device) = up();
        let overlay = step(&mut known, Ok(Some(joined())), &[Interface { up: false, ..device }]);
        assert_eq!(overlay.state, OverlayState::NoDevice);
    }

    #[test]
    fn waiting_says_for_what() {
        for (answer, why) in [
            (Err("is zerotier-one running?".into()), "is zerotier-one running?"),
            (Ok(Some(Joined { status: "ACCESS_DENIED".into(), ..joined() })), "not authorised this machine"),
            (Ok(Some(Joined { device: String::new(), ..joined() })), "names no device"),
        ] {
            let overlay = step(&mut None, answer, &[device(7, &[V4])]);
            let OverlayState::WaitingForNode { why: said } = overlay.state else { panic!("{overlay:?}") };
            assert!(said.contains(why), "{said}");
        }
    }
}
