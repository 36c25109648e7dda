//! Who is at the other end, on real devices: the honest, and the attacks of a member that lies.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ztgate::identity::{NoProof, Origin, SavedSyn, identify};
use ztgate::linux::clock::SystemClock;
use ztgate::linux::socket::listener;
use ztgate::model::{Clock, Mac, RefusalCode};
use ztgate::overlay::{Overlay, OverlayState, Pinner, Pinning};

use crate::attacker::arp_says;
use crate::harness::{Namespace, Segment, with_namespaces};
use crate::lab::{A, B, GATEWAY, Node, roster};

const PATIENCE: Duration = Duration::from_secs(3);

fn listen(gateway: &Namespace, at: SocketAddr) -> TcpListener {
    gateway.run(|| {
        let listener = listener(at, Some("zt0")).unwrap();
        listener.set_nonblocking(false).unwrap();
        listener
    })
}

fn origin(accepted: &TcpStream) -> String {
    SavedSyn.of(accepted.as_fd()).unwrap().to_string()
}

/// What the gateway makes of an accepted connection.
fn judge(accepted: &TcpStream, peer: SocketAddr) -> Result<String, RefusalCode> {
    let mac: Mac = origin(accepted).parse().unwrap();
    identify(&roster(), mac, peer.ip(), SystemClock.instant()).map(|m| m.id.to_string()).map_err(|r| r.code)
}

fn overlay(gateway: &Namespace) -> Overlay {
    let device = gateway.run(|| ztgate::linux::interfaces::interface("zt0")).unwrap().unwrap();
    Overlay {
        state: OverlayState::Up,
        device: Some(device.name),
        ifindex: device.index,
        addresses: GATEWAY.addresses().to_vec(),
        own: GATEWAY.id.parse().ok(),
    }
}

/// What the gateway's neighbour table says of an address, once it says `mac`, or when patience ends.
fn neighbour_until(gateway: &Namespace, address: &str, mac: &str) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let said = gateway.ip(&format!("neigh show {address} dev zt0"));
        if said.contains(mac) || Instant::now() > end {
            return said;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_member_is_known_by_ipv4_rfc4193_and_6plane() {
    with_namespaces("proof::a_member_is_known_by_ipv4_rfc4193_and_6plane", || {
        let segment = Segment::new();
        let (gateway, a) = (GATEWAY.machine(&segment), A.machine(&segment));
        for (at, from) in GATEWAY.at(80).into_iter().zip(A.addresses()) {
            let listener = listen(&gateway, at);
            let client = a.run(|| TcpStream::connect_timeout(&at, PATIENCE)).unwrap();
            let (accepted, peer) = listener.accept().unwrap();
            assert_eq!(peer.ip(), from, "the address of the same kind as {at}");
            assert_eq!(client.local_addr().unwrap(), peer);
            assert_eq!(judge(&accepted, peer), Ok(A.id.into()), "{at}");
        }
    });
}

#[test]
fn another_members_address_does_not_make_another_member() {
    with_namespaces("proof::another_members_address_does_not_make_another_member", || {
        let segment = Segment::new();
        // b takes all of a's addresses while a is down; its MAC is its own, as ZeroTier sees to.
        let (gateway, b) = (GATEWAY.machine(&segment), Node { mac: B.mac, ..A }.machine(&segment));
        for at in GATEWAY.at(80) {
            let listener = listen(&gateway, at);
            let _client = b.run(|| TcpStream::connect_timeout(&at, PATIENCE)).unwrap();
            let (accepted, peer) = listener.accept().unwrap();
            assert!(A.addresses().contains(&peer.ip()));
            assert_eq!(judge(&accepted, peer), Err(RefusalCode::AddressNotYours), "{at}");
        }
    });
}

#[test]
fn an_arp_lie_takes_a_members_place_while_it_is_up_and_not_its_name() {
    with_namespaces("proof::an_arp_lie_takes_a_members_place_while_it_is_up_and_not_its_name", || {
        let segment = Segment::new();
        let (gateway, a) = (GATEWAY.machine(&segment), A.machine(&segment));
        let at = GATEWAY.at(80)[0];
        let listener = listen(&gateway, at);
        drop(a.run(|| TcpStream::connect_timeout(&at, PATIENCE)).unwrap());
        let (honest, peer) = listener.accept().unwrap();
        assert_eq!(judge(&honest, peer), Ok(A.id.into()));
        drop(honest);

        let b = Node { mac: B.mac, ..A }.machine(&segment);
        let lying = AtomicBool::new(true);
        let _client = b.run(|| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    while lying.load(Ordering::Relaxed) {
                        arp_says("zt0", A.v4, B.mac, (GATEWAY.mac, GATEWAY.v4));
                        thread::sleep(Duration::from_millis(20));
                    }
                });
                let connected = TcpStream::connect_timeout(&at, 3 * PATIENCE);
                lying.store(false, Ordering::Relaxed);
                connected.unwrap()
            })
        });
        let (accepted, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip().to_string(), A.v4, "b connects as a");
        assert_eq!(judge(&accepted, peer), Err(RefusalCode::AddressNotYours));
    });
}

#[test]
fn a_connection_through_a_syn_cookie_has_no_proof() {
    with_namespaces("proof::a_connection_through_a_syn_cookie_has_no_proof", || {
        let segment = Segment::new();
        let (gateway, a) = (GATEWAY.machine(&segment), A.machine(&segment));
        // 2: cookies always, as if the backlog were full.
        gateway.run(|| std::fs::write("/proc/sys/net/ipv4/tcp_syncookies", "2")).unwrap();
        for at in GATEWAY.at(80) {
            let listener = listen(&gateway, at);
            let _client = a.run(|| TcpStream::connect_timeout(&at, PATIENCE)).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            assert!(matches!(SavedSyn.of(accepted.as_fd()), Err(NoProof::Cookie)), "{at}");
        }
    });
}

#[test]
fn the_neighbour_table_believes_an_arp_lie_and_the_saved_syn_does_not() {
    with_namespaces("proof::the_neighbour_table_believes_an_arp_lie_and_the_saved_syn_does_not", || {
        let segment = Segment::new();
        let (gateway, b) = (GATEWAY.machine(&segment), B.machine(&segment));
        let at = GATEWAY.at(80)[0];
        let listener = listen(&gateway, at);
        let _client = b.run(|| TcpStream::connect_timeout(&at, PATIENCE)).unwrap();
        let (accepted, peer) = listener.accept().unwrap();

        let end = Instant::now() + PATIENCE;
        let mut table = String::new();
        while !table.contains(A.mac) && Instant::now() < end {
            b.run(|| arp_says("zt0", B.v4, A.mac, (GATEWAY.mac, GATEWAY.v4)));
            thread::sleep(Duration::from_millis(20));
            table = gateway.ip(&format!("neigh show {} dev zt0", B.v4));
        }
        assert!(table.contains(A.mac), "the lie works: {table}");
        assert_eq!(origin(&accepted), B.mac);
        assert_eq!(peer.ip().to_string(), B.v4);
    });
}

#[test]
fn what_a_route_leads_elsewhere_is_not_pinned() {
    with_namespaces("proof::what_a_route_leads_elsewhere_is_not_pinned", || {
        let segment = Segment::new();
        let gateway = GATEWAY.machine(&segment);
        let overlay = overlay(&gateway);
        let mut pinner = gateway.run(Pinner::new).unwrap();
        let mut pinned = || match gateway.run(|| pinner.settle(&roster(), &overlay)) {
            Pinning::On { pins, .. } => pins.keys().map(ToString::to_string).collect::<Vec<_>>(),
            off => panic!("{off:?}"),
        };
        let all = pinned();
        assert_eq!(all.len(), 6);
        // More specific than the device's own prefix, by the bridge b: as managed routes may be.
        for (address, route) in [
            (A.v4, format!("route add {}/32 via {} dev zt0", A.v4, B.v4)),
            (A.rfc4193, format!("route add {}/128 via {} dev zt0", A.rfc4193, B.rfc4193)),
            (A.six_plane, format!("route add {}/128 via {} dev zt0", A.six_plane, B.six_plane)),
        ] {
            gateway.ip(&route);
            let rest: Vec<_> = all.iter().filter(|known| *known != address).cloned().collect();
            assert_eq!(pinned(), rest, "{route}");
            gateway.ip(&route.replace(" add ", " del "));
            assert_eq!(pinned(), all, "{route}, and gone again");
        }
    });
}

#[test]
fn a_permanent_neighbour_entry_defeats_the_lie() {
    with_namespaces("proof::a_permanent_neighbour_entry_defeats_the_lie", || {
        let segment = Segment::new();
        let gateway = GATEWAY.machine(&segment);
        let overlay = overlay(&gateway);
        let mut pinner = gateway.run(Pinner::new).unwrap();
        let pinning = gateway.run(|| pinner.settle(&roster(), &overlay));
        let Pinning::On { ifindex, pins } = &pinning else { panic!("{pinning:?}") };
        assert_eq!((*ifindex, pins.len()), (overlay.ifindex, 6));
        assert_eq!(gateway.run(|| pinner.settle(&roster(), &overlay)), pinning, "twice is once");

        // b takes a's IPv4 address: its SYN arrives, but the answers go to a's MAC, and the handshake never ends.
        let b = Node { mac: B.mac, ..A }.machine(&segment);
        let at = GATEWAY.at(80)[0];
        let listener = listen(&gateway, at);
        b.run(|| arp_says("zt0", A.v4, B.mac, (GATEWAY.mac, GATEWAY.v4)));
        let attempt = b.run(|| TcpStream::connect_timeout(&at, Duration::from_millis(800)));
        assert!(attempt.is_err(), "b got through as a");
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err());
        let table = gateway.ip("neigh show nud permanent dev zt0");
        assert_eq!(table.matches(A.mac).count(), 3, "{table}");

        gateway.run(|| drop(pinner));
        assert_eq!(gateway.ip("neigh show nud permanent dev zt0 proto 90"), "", "removed at the end");
        drop(b);
        let a = A.machine(&segment);
        let _client = a.run(|| TcpStream::connect_timeout(&at, PATIENCE)).unwrap();
        assert!(neighbour_until(&gateway, A.v4, A.mac).contains(A.mac));
    });
}
