//! Whom `ztgate run` takes a device for, what the service is told, and what becomes of a member that lies.
//!
//! The attacks measured on a real network, each by an authorised member b that wants to be a, and the test that shows
//! what comes of it here. "Free" is a gateway that may not pin neighbours, "pinned" one that may.
//!
//! | attack | free | pinned | test |
//! |---|---|---|---|
//! | a's IPv4 or IPv6 address, a down | `address-not-yours` | no connection | [`a_members_addresses_do_not_make_the_member`], [`pinned_neighbours_let_no_lie_finish_a_handshake`] |
//! | a's IPv4 address and an ARP lie, a up | `address-not-yours` | no connection | [`lies_while_the_true_owner_is_up`], [`pinned_neighbours_let_no_lie_finish_a_handshake`] |
//! | a's RFC 4193 address and an NA lie, a up | `address-not-yours` | no connection | the same |
//! | honest connect, then ARP "b's IP is at a's MAC" | still b | still b | [`a_lie_after_the_handshake_changes_nobody`] |
//! | a made-up address | `address-not-yours` | the same | [`a_members_addresses_do_not_make_the_member`] |
//! | a MAC of the network that is no member's | `unknown-member` | the same | [`macs_of_nobody`] |
//! | a MAC of no network | closed, `no-proof` | the same | [`macs_of_nobody`] |
//! | b may bridge, so any MAC is b's to use | `network-unsafe` for all | closed, `no-proof` | [`a_bridge_stops_everybody_or_only_itself`] |
//! | b may bridge, sends with a's or the gateway's MAC from its 6PLANE /80, and answers for that address | `network-unsafe` for all | `address-not-yours`, closed | [`a_bridge_is_nobody_at_an_address_that_is_not_pinned`] |
//! | a rule brings b others' frames, or the network is public | `network-unsafe` for all | the same | [`an_unsafe_network_lets_nobody_in_until_it_is_mended`] |
//! | a SYN flood, so that cookies come instead of saved SYNs | closed, `no-proof` | the same | [`a_syn_cookie_is_no_proof`] |
//!
//! Frames with a's MAC from a member that may not bridge never reach a gateway: ZeroTier drops them. A veth does not, so
//! that row has no test here.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;

use ztgate::model::{Mac, MemberId};

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::attacker::{arp_says, na_says};
use crate::client::{Client, get, refusal};
use crate::harness::{Namespace, Segment, with_namespaces};
use crate::home::{Home, PATIENCE, until};
use crate::lab::{A, B, GATEWAY, NETWORK, Node};

/// b's MAC, which ZeroTier sees to, and all of a's addresses, which b takes.
const B_AS_A: Node = Node { mac: B.mac, ..A };

/// A machine with a MAC and one IPv4 address.
fn machine(segment: &Segment, mac: &str, address: &str) -> Namespace {
    let machine = Namespace::new();
    segment.plug(&machine, "zt0", mac, &[&format!("{address}/24")]);
    machine
}

/// The lie that a's IPv4 address is at b's MAC.
fn a_is_here_v4() {
    arp_says("zt0", A.v4, B.mac, (GATEWAY.mac, GATEWAY.v4));
}

fn a_is_here_v6() {
    na_says("zt0", A.rfc4193, B.mac, (GATEWAY.mac, GATEWAY.rfc4193));
}

#[test]
fn the_service_learns_who_it_is_at_each_address() {
    with_namespaces("identity::the_service_learns_who_it_is_at_each_address", || {
        let home = Home::new();
        let (a, b) = (A.machine(&home.segment), B.machine(&home.segment));
        let _gateway = home.start();
        home.until_served(&a);
        home.until_served(&b);
        for (machine, node) in [(&a, A), (&b, B)] {
            for (at, from) in GATEWAY.at(80).into_iter().zip(node.addresses()) {
                let mut client = Client::new(machine, at).unwrap();
                assert_eq!(client.local().ip(), from);
                let path = format!("/{}-{from}", node.id);
                let answer = client.get(&path).unwrap();
                assert_eq!(answer.upstream_saw("x-ztgate-member"), Some(node.id), "{at}");
                assert_eq!(answer.upstream_saw("x-forwarded-for"), Some(from.to_string().as_str()), "{at}");
                let from = from.to_string();
                home.recorded(
                    "allow",
                    &[
                        ("member", Some(node.id)),
                        ("address", Some(&from)),
                        ("path", Some(&path)),
                        ("claimed", None),
                    ],
                );
            }
        }
        let root = home.ztgate(&["certs", "root"]).stdout;
        for at in GATEWAY.at(443) {
            let answer = Client::tls(&b, at, &root).and_then(|mut client| client.get("/tls")).unwrap();
            assert_eq!(answer.upstream_saw("x-ztgate-member"), Some(B.id), "{at}");
            assert_eq!(answer.upstream_saw("x-forwarded-proto"), Some("https"), "{at}");
        }
    });
}

#[test]
fn a_members_addresses_do_not_make_the_member() {
    with_namespaces("identity::a_members_addresses_do_not_make_the_member", || {
        let home = Home::new();
        let gateway = home.start_without_net_admin();
        home.until_status("open", |status| status.listeners.len() == 6);
        let refused = (403, "address-not-yours".to_owned());

        let b = B_AS_A.machine(&home.segment);
        for at in GATEWAY.at(80) {
            assert_eq!(answered(&b, at), refused, "{at}");
        }
        home.recorded("address-not-yours", &[("member", Some(B.id)), ("claimed", Some(A.id))]);
        drop(b);

        let nobodys = "10.147.20.77";
        let b = machine(&home.segment, B.mac, nobodys);
        assert_eq!(answered(&b, GATEWAY.at(80)[0]), refused);
        home.recorded(
            "address-not-yours",
            &[("member", Some(B.id)), ("claimed", None), ("address", Some(nobodys))],
        );
        gateway.stop();
        assert_eq!(home.refused("address-not-yours", B.id), 4, "each of them");
        assert_eq!(home.refused("address-not-yours", A.id), 3, "those that used a's addresses");
    });
}

/// What a device is refused with, once the listeners are open.
fn answered(machine: &Namespace, at: SocketAddr) -> (u16, String) {
    assert!(until(PATIENCE, || Client::new(machine, at).is_ok()), "{at}: no connection");
    refusal(machine, at)
}

#[test]
fn lies_while_the_true_owner_is_up() {
    with_namespaces("identity::lies_while_the_true_owner_is_up", || {
        let home = Home::new();
        let a = A.machine(&home.segment);
        let gateway = home.start_without_net_admin();
        home.until_served(&a);
        let b = B_AS_A.machine(&home.segment);
        let [v4, rfc4193, _] = GATEWAY.at(80);
        let lies: [(SocketAddr, fn()); 2] = [(v4, a_is_here_v4), (rfc4193, a_is_here_v6)];
        for (at, lie) in lies {
            let mut last = None;
            let got_through = while_lying(&b, lie, || {
                until(PATIENCE, || {
                    last = Some(Client::here(at).and_then(|mut client| client.get("/")));
                    last.as_ref().is_some_and(Result::is_ok)
                })
            });
            assert!(got_through, "the lie works: {last:?}");
            let answer = last.unwrap().unwrap();
            assert_eq!((answer.status, answer.refusal.as_deref()), (403, Some("address-not-yours")), "{at}");
        }
        gateway.stop();
        assert_eq!(home.refused("address-not-yours", A.id), 2);
    });
}

#[test]
fn a_lie_after_the_handshake_changes_nobody() {
    with_namespaces("identity::a_lie_after_the_handshake_changes_nobody", || {
        let home = Home::new();
        let b = B.machine(&home.segment);
        let _gateway = home.start_without_net_admin();
        home.until_served(&b);
        let mut honest = Client::new(&b, GATEWAY.at(80)[0]).unwrap();
        assert_eq!(honest.get("/before").unwrap().upstream_saw("x-ztgate-member"), Some(B.id));

        let table = || home.machine.ip(&format!("neigh show {} dev zt0", B.v4));
        let lied = while_lying(
            &b,
            || arp_says("zt0", B.v4, A.mac, (GATEWAY.mac, GATEWAY.v4)),
            || {
                let lied = until(PATIENCE, || table().contains(A.mac));
                honest.ask("/after").unwrap();
                lied
            },
        );
        assert!(lied, "the lie works: {}", table());
        home.recorded("allow", &[("member", Some(B.id)), ("address", Some(B.v4)), ("path", Some("/after"))]);
        assert_eq!(home.audit(&["--member", A.id]).len(), 0, "nothing is held against a");
    });
}

#[test]
fn macs_of_nobody() {
    with_namespaces("identity::macs_of_nobody", || {
        let home = Home::new();
        let _gateway = home.start_without_net_admin();
        home.until_status("open", |status| status.listeners.len() == 6);
        let at = GATEWAY.at(80)[0];

        let stranger: MemberId = "538c34e03c".parse().unwrap();
        let mac = Mac::of(stranger, NETWORK.parse().unwrap()).to_string();
        for (address, owner) in [("10.147.20.50", None), (A.v4, Some(A.id))] {
            let machine = machine(&home.segment, &mac, address);
            assert_eq!(answered(&machine, at), (403, "unknown-member".to_owned()), "{address}");
            home.recorded(
                "unknown-member",
                &[("member", Some("538c34e03c")), ("claimed", owner), ("address", Some(address))],
            );
        }

        // Another network's first octet: no member of this one can have it.
        let outside = machine(&home.segment, "32:c4:c8:c0:e3:41", A.v4);
        let closed = get(&outside, at).unwrap_err();
        assert!(is_closed(closed.kind()), "{closed}");
        home.recorded(
            "no-proof",
            &[("member", None), ("claimed", Some(A.id)), ("address", Some(A.v4)), ("method", None)],
        );
        home.until_status("counted", |status| status.closed_without_proof == 1);
    });
}

fn is_closed(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

#[test]
fn pinned_neighbours_let_no_lie_finish_a_handshake() {
    with_namespaces("identity::pinned_neighbours_let_no_lie_finish_a_handshake", || {
        let home = Home::new();
        let honest = A.machine(&home.segment);
        let _gateway = home.start();
        home.until_served(&honest);
        let requests = home.status().unwrap().requests;
        let lie = || {
            a_is_here_v4();
            a_is_here_v6();
        };
        let b = B_AS_A.machine(&home.segment);
        // All three at once, for each takes as long as b is patient.
        let attacks = || {
            while_lying(&b, lie, || {
                std::thread::scope(|scope| {
                    let attempts = GATEWAY.at(80).map(|at| scope.spawn(move || Client::here(at).is_ok()));
                    attempts.map(|attempt| attempt.join().unwrap())
                })
            })
        };
        assert_eq!(attacks(), [false; 3], "a up: b got through");
        drop(honest);
        assert_eq!(attacks(), [false; 3], "a down: b got through");
        let status = home.status().unwrap();
        assert_eq!((status.requests, status.closed_without_proof), (requests, 0));
        let table = home.machine.ip("neigh show nud permanent dev zt0");
        assert_eq!(table.matches(A.mac).count(), 3, "{table}");
    });
}

#[test]
fn a_bridge_stops_everybody_or_only_itself() {
    with_namespaces("identity::a_bridge_stops_everybody_or_only_itself", || {
        let home = Home::new();
        let (a, b) = (A.machine(&home.segment), B.machine(&home.segment));
        home.node.change(|net| net.member(B.id.parse().unwrap()).unwrap().active_bridge = true);
        let at = GATEWAY.at(80)[0];

        let free = home.start_without_net_admin();
        home.until_status("the hazard is told", |status| {
            status.hazards.iter().any(|hazard| hazard.contains("activeBridge") && hazard.contains(B.id))
        });
        for (machine, member) in [(&a, A.id), (&b, B.id)] {
            assert_eq!(answered(machine, at), (503, "network-unsafe".to_owned()), "{member}");
            home.recorded("network-unsafe", &[("member", Some(member))]);
        }
        drop(free);

        let _pinned = home.start();
        home.until_served(&a);
        let closed = get(&b, at).unwrap_err();
        assert!(is_closed(closed.kind()), "{closed}");
        home.recorded("no-proof", &[("member", Some(B.id)), ("claimed", None), ("address", Some(B.v4))]);
        home.until_status("counted", |status| status.closed_without_proof == 1 && status.hazards.is_empty());

        // As a bridge it may also send what a would send; the answers go to a, so no handshake ends.
        let as_a = Node { mac: "02:00:00:00:00:0b", ..A }.machine(&home.segment);
        assert!(while_lying(&as_a, a_is_here_v4, || Client::here(at).map(drop)).is_err());
    });
}

/// The bridge b: what it sends from this address has the victim's MAC, and what is sent to the address finds b's own.
fn bridge(segment: &Segment, victim: Node, address: &str) -> Namespace {
    let bridge = Namespace::new();
    segment.plug(&bridge, "zt0", B.mac, &[&format!("{address}/40")]);
    segment.deafen(&segment.plug(&bridge, "out0", victim.mac, &[]));
    let gateway = GATEWAY.six_plane;
    bridge.ip(&format!("neigh add {gateway} lladdr {} dev out0 nud permanent", GATEWAY.mac));
    bridge.ip(&format!("route add {gateway}/128 dev out0 src {address}"));
    bridge
}

#[test]
fn a_bridge_is_nobody_at_an_address_that_is_not_pinned() {
    with_namespaces("identity::a_bridge_is_nobody_at_an_address_that_is_not_pinned", || {
        let home = Home::new();
        let a = A.machine(&home.segment);
        home.node.change(|net| net.member(B.id.parse().unwrap()).unwrap().active_bridge = true);
        let _gateway = home.start();
        home.until_served(&a);
        drop(a);
        let at = GATEWAY.at(80)[2];

        let pinned = bridge(&home.segment, A, A.six_plane);
        assert!(Client::new(&pinned, at).is_err(), "the answers go to a");
        drop(pinned);

        let beside = "fc1f:c226:25c4:c881:2898::2";
        let as_a = bridge(&home.segment, A, beside);
        assert_eq!(answered(&as_a, at), (403, "address-not-yours".to_owned()));
        home.recorded("address-not-yours", &[("member", Some(A.id)), ("address", Some(beside))]);
        drop(as_a);

        let beside = "fc1f:c226:255e:2d9:cb41::2";
        let as_gateway = bridge(&home.segment, GATEWAY, beside);
        assert!(until(PATIENCE, || Client::new(&as_gateway, at).is_ok()), "no connection");
        let closed = get(&as_gateway, at).unwrap_err();
        assert!(is_closed(closed.kind()), "{closed}");
        home.recorded("no-proof", &[("member", Some(GATEWAY.id)), ("address", Some(beside))]);
    });
}

#[test]
fn an_unsafe_network_lets_nobody_in_until_it_is_mended() {
    with_namespaces("identity::an_unsafe_network_lets_nobody_in_until_it_is_mended", || {
        let home = Home::new();
        let a = A.machine(&home.segment);
        let sound = home.node.change(|net| (net.private, net.rules.clone()));
        home.node.change(|net| net.private = false);
        let gateway = home.start();
        home.until_status("public", |status| status.hazards.iter().any(|h| h.contains("\"private\": true")));
        for at in GATEWAY.at(80) {
            assert_eq!(answered(&a, at), (503, "network-unsafe".to_owned()), "{at}");
        }
        home.recorded("network-unsafe", &[("member", Some(A.id)), ("claimed", None)]);
        gateway.stop();
        assert_eq!(home.refused("network-unsafe", A.id), 3);

        // A tee to the gateway brings it frames that others sent, with their MACs.
        home.node.change(|net| {
            (net.private, net.rules) = (
                true,
                serde_json::json!([
                    {"type": "ACTION_TEE", "address": GATEWAY.id, "flags": 0, "length": -1, "not": false, "or": false},
                    {"type": "ACTION_ACCEPT", "not": false, "or": false},
                ]),
            );
        });
        let _gateway = home.start();
        home.until_status("tee", |status| status.hazards.iter().any(|hazard| hazard.contains("tee")));
        assert_eq!(answered(&a, GATEWAY.at(80)[2]), (503, "network-unsafe".to_owned()));
        home.recorded("network-unsafe", &[("member", Some(A.id)), ("address", Some(A.six_plane))]);
        assert_eq!(home.audit(&["--verdict", "allow"]).len(), 0);

        home.node.change(|net| (net.private, net.rules) = sound);
        home.until_served(&a);
    });
}

#[test]
fn a_syn_cookie_is_no_proof() {
    with_namespaces("identity::a_syn_cookie_is_no_proof", || {
        let home = Home::new();
        let a = A.machine(&home.segment);
        let _gateway = home.start();
        home.until_served(&a);
        // 2: always, as in a flood that fills the backlog.
        let cookies = |how| home.machine.run(|| fs::write("/proc/sys/net/ipv4/tcp_syncookies", how)).unwrap();
        cookies("2");
        for (at, from) in GATEWAY.at(80).into_iter().zip(A.addresses()) {
            let closed = get(&a, at).unwrap_err();
            assert!(is_closed(closed.kind()), "{at}: {closed}");
            let from = from.to_string();
            home.recorded("no-proof", &[("member", None), ("claimed", Some(A.id)), ("address", Some(&from))]);
        }
        home.until_status("counted", |status| status.closed_without_proof == 3);
        assert!(home.status_screen().contains("3 connections closed"), "{}", home.status_screen());
        cookies("1");
        home.until_served(&a);
    });
}

/// Does something on a machine while it lies, over and over.
pub fn while_lying<T: Send>(
    machine: &crate::harness::Namespace,
    lie: impl Fn() + Send + Sync,
    work: impl FnOnce() -> T + Send,
) -> T {
    let lying = AtomicBool::new(true);
    machine.run(|| {
        thread::scope(|scope| {
            scope.spawn(|| {
                while lying.load(Ordering::Relaxed) {
                    lie();
                    thread::sleep(Duration::from_millis(10));
                }
            });
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            lying.store(false, Ordering::Relaxed);
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}
