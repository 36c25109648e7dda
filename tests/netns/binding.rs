//! `ztgate run` listens on ZeroTier's device only, and follows it as it goes and comes.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use ztgate::demo::standin::Fault;
use ztgate::linux::holder::{Protocol, holder};
use ztgate::linux::socket::listener;

use crate::client::{Client, get};
use crate::harness::{Namespace, Segment, with_namespaces};
use crate::home::{Home, PATIENCE, until};
use crate::lab::{A, GATEWAY};

/// An attempt that meets no listener, or no neighbour yet, must not count as much as the time that is measured.
const MOMENT: Duration = Duration::from_millis(50);

#[test]
fn it_listens_on_the_devices_managed_addresses_and_nowhere_else() {
    with_namespaces("binding::it_listens_on_the_devices_managed_addresses_and_nowhere_else", || {
        let home = Home::new();
        // An address that ZeroTier does not manage, and another network card.
        home.machine.ip("address add 10.147.20.99/24 dev zt0");
        Segment::new().plug(&home.machine, "lan0", "02:00:00:00:00:01", &["192.168.7.1/24", "fd07::1/64"]);
        let gateway = home.start();
        home.until_status("all are open", |status| open(status).len() == 6);

        let wanted: BTreeSet<String> = [53, 80, 443]
            .into_iter()
            .flat_map(|port| GATEWAY.at(port))
            .map(|at| match at.ip() {
                IpAddr::V4(ip) => format!("{ip}%zt0:{}", at.port()),
                IpAddr::V6(ip) => format!("[{ip}]%zt0:{}", at.port()),
            })
            .collect();
        let mut found = BTreeSet::new();
        until(PATIENCE, || {
            found = listening(&home.machine, gateway.pid());
            found == wanted
        });
        assert_eq!(found, wanted);
    });
}

/// The gateway's listening sockets as `ss` prints them: address, device, port.
fn listening(machine: &Namespace, pid: u32) -> BTreeSet<String> {
    let output = machine.run(|| Command::new("ss").args(["-Hlntup"]).output().unwrap());
    let lines = String::from_utf8(output.stdout).unwrap();
    let ours = lines.lines().filter(|line| line.contains(&format!("pid={pid},")));
    ours.map(|line| line.split_whitespace().nth(4).unwrap().to_owned()).collect()
}

fn open(status: &ztgate::admin::Status) -> BTreeSet<SocketAddr> {
    status.listeners.iter().filter(|l| l.error.is_none()).map(|l| l.at).collect()
}

#[test]
fn another_network_card_does_not_reach_it() {
    with_namespaces("binding::another_network_card_does_not_reach_it", || {
        let home = Home::new();
        let lan = Segment::new();
        lan.plug(&home.machine, "lan0", "02:00:00:00:00:01", &["192.168.7.1/24", "fd07::1/64"]);
        let neighbour = Namespace::new();
        lan.plug(&neighbour, "lan0", "02:00:00:00:00:02", &["192.168.7.2/24", "fd07::2/64"]);
        neighbour.ip(&format!("route add {}/32 via 192.168.7.1", GATEWAY.v4));
        neighbour.ip(&format!("route add {}/128 via fd07::1", GATEWAY.rfc4193));
        neighbour.ip(&format!("route add {}/128 via fd07::1", GATEWAY.six_plane));

        let connect =
            |at| neighbour.run(|| TcpStream::connect_timeout(&at, PATIENCE).map(drop).map_err(|e| e.kind()));
        for at in GATEWAY.at(80) {
            // Without the device there is a way: Linux answers for its addresses on any card.
            let weak = home.machine.run(|| listener(at, None)).unwrap();
            assert_eq!(connect(at), Ok(()), "{at}");
            drop(weak);
        }
        let _gateway = home.start();
        let a = A.machine(&home.segment);
        home.until_served(&a);
        for at in [80, 443].into_iter().flat_map(|port| GATEWAY.at(port)) {
            assert_eq!(connect(at), Err(ErrorKind::ConnectionRefused), "{at}: reached through the LAN");
        }
        // The machine itself gets as far as a connection, for Linux counts its own addresses as the device's. What it
        // sends never crosses ZeroTier, so nothing proves who it is.
        for at in GATEWAY.at(80) {
            assert!(get(&home.machine, at).is_err(), "{at}");
        }
        home.until_status("closed unheard", |status| status.closed_without_proof == 3);
    });
}

#[test]
fn it_serves_again_within_a_second_of_the_device() {
    with_namespaces("binding::it_serves_again_within_a_second_of_the_device", || {
        let home = Home::new();
        let a = A.machine(&home.segment);
        let _gateway = home.start();
        home.until_served(&a);
        let index = |home: &Home| home.machine.ip("-o link show zt0").split(':').next().unwrap().to_owned();

        let mut took = Vec::new();
        for node_is_back in [false, true, true] {
            let (before, mut open) = (index(&home), Client::new(&a, GATEWAY.at(80)[0]).unwrap());
            assert_eq!(open.get("/").unwrap().status, 200);
            home.node.fail(Some(Fault::Down));
            home.unplug();
            home.until_status("no listener without a device", |status| status.listeners.is_empty());

            if node_is_back {
                home.node.fail(None);
            }
            home.plug();
            let back = Instant::now();
            assert!(until(PATIENCE, || GATEWAY.at(80).iter().all(|&at| serves(&a, at))), "{}", home.log());
            took.push(back.elapsed());
            assert_ne!(index(&home), before, "another device with the same name");
            assert!(open.get("/").is_err(), "its connection went with the device");
            home.node.fail(None);
        }
        println!("device with its addresses there, to served at all three: {took:?}");
        assert!(took.iter().all(|took| *took < Duration::from_secs(1)), "{took:?}");
    });
}

/// Whether a request is answered; quick to say no.
fn serves(machine: &Namespace, at: SocketAddr) -> bool {
    let there = machine.run(|| TcpStream::connect_timeout(&at, MOMENT).is_ok());
    there && get(machine, at).is_ok_and(|answer| answer.status == 200)
}

#[test]
fn an_address_that_goes_takes_only_its_own_connections() {
    with_namespaces("binding::an_address_that_goes_takes_only_its_own_connections", || {
        let home = Home::new();
        let a = A.machine(&home.segment);
        let _gateway = home.start();
        home.until_served(&a);
        let [mut v4, mut rfc4193, mut six_plane] = GATEWAY.at(80).map(|at| Client::new(&a, at).unwrap());
        for client in [&mut v4, &mut rfc4193, &mut six_plane] {
            assert_eq!(client.get("/").unwrap().status, 200);
        }

        home.machine.ip(&format!("address del {}/40 dev zt0", GATEWAY.six_plane));
        home.until_status("four listeners", |status| open(status).len() == 4);
        home.until_status("its connection is cut", |status| status.connections == 2);
        assert_eq!(v4.get("/stays").unwrap().status, 200);
        assert_eq!(rfc4193.get("/stays").unwrap().status, 200);

        home.machine.ip(&format!("address add {}/40 dev zt0 nodad", GATEWAY.six_plane));
        assert!(until(PATIENCE, || serves(&a, GATEWAY.at(80)[2])), "{}", home.log());
        assert_eq!(v4.get("/still").unwrap().status, 200);
        assert!(six_plane.get("/never").is_err(), "what was cut stays cut");

        // The controller gives this machine a further address.
        let further: IpAddr = "10.147.20.200".parse().unwrap();
        home.machine.ip("address add 10.147.20.200/24 dev zt0");
        assert!(!serves(&a, (further, 80).into()), "the node does not manage it");
        home.node.change(|net| net.addresses.push("10.147.20.200/24".parse().unwrap()));
        assert!(until(PATIENCE, || serves(&a, (further, 80).into())), "{}", home.log());
        assert_eq!(rfc4193.get("/still").unwrap().status, 200);
    });
}

#[test]
fn a_port_that_is_held_names_its_holder_and_heals() {
    with_namespaces("binding::a_port_that_is_held_names_its_holder_and_heals", || {
        let home = Home::new();
        let a = A.machine(&home.segment);
        let [v4, rfc4193, six_plane] = GATEWAY.at(80);
        let held = home.machine.run(|| TcpListener::bind("0.0.0.0:80")).unwrap();
        let name = home.machine.run(|| holder(Protocol::Tcp, v4)).unwrap();
        assert_eq!(name.pid, std::process::id(), "it is this test");
        let _gateway = home.start();

        let fault = |status: &ztgate::admin::Status| {
            status.listeners.iter().find(|l| l.at == v4).and_then(|l| l.error.clone()).unwrap_or_default()
        };
        let named = |text: &str| text.contains(&name.command) && text.contains(&name.pid.to_string());
        let status = home.until_status("the fault is told", |status| named(&fault(status)));
        assert_eq!(open(&status).len(), 5, "{:?}", status.listeners);
        assert!(home.status_screen().lines().any(|line| line.contains("10.147.20.1:80") && named(line)));
        assert!(
            home.log().lines().any(|line| line.contains("10.147.20.1:80") && named(line)),
            "{}",
            home.log()
        );
        for at in [rfc4193, six_plane] {
            assert!(until(PATIENCE, || serves(&a, at)), "{at}: {}", home.log());
        }
        drop(held);
        assert!(until(PATIENCE, || serves(&a, v4)), "{}", home.log());
        home.until_status("healed", |status| open(status).len() == 6);
        let told = home.log().matches("cannot listen on 10.147.20.1:80").count();
        assert_eq!(told, 1, "said once, not each second\n{}", home.log());
    });
}

#[test]
fn started_before_zerotier_it_waits_and_says_so() {
    with_namespaces("binding::started_before_zerotier_it_waits_and_says_so", || {
        let home = Home::without_device();
        let a = A.machine(&home.segment);
        home.node.fail(Some(Fault::Down));
        let mut gateway = home.start();
        home.until_status("no node", |status| status.overlay.starts_with("waiting for ZeroTier: "));
        assert!(home.status_screen().contains("waiting for ZeroTier"), "{}", home.status_screen());
        assert!(home.status_screen().contains("no port is open"), "{}", home.status_screen());

        home.node.change(|net| net.joined = false);
        home.node.fail(None);
        home.until_status("not joined", |status| status.overlay.contains("has not joined"));

        home.node.change(|net| {
            net.joined = true;
            net.status = "REQUESTING_CONFIGURATION".to_owned();
        });
        home.until_status("no configuration", |status| status.overlay.contains("REQUESTING_CONFIGURATION"));

        home.node.change(|net| net.status = "OK".to_owned());
        home.until_status("no device", |status| status.overlay.contains("device"));
        assert!(gateway.is_running());
        home.plug();
        home.until_served(&a);
    });
}

#[test]
fn a_silent_node_changes_nothing_while_the_device_stands() {
    with_namespaces("binding::a_silent_node_changes_nothing_while_the_device_stands", || {
        let home = Home::new();
        let a = A.machine(&home.segment);
        let _gateway = home.start();
        home.until_served(&a);
        let mut open_before = Client::new(&a, GATEWAY.at(80)[0]).unwrap();
        assert_eq!(open_before.get("/").unwrap().status, 200);
        home.node.fail(Some(Fault::Down));
        home.until_status("the controller is missed", |status| status.controller_error.is_some());
        let status = home.status().unwrap();
        assert!(status.overlay_up && open(&status).len() == 6, "{status:#?}");
        assert_eq!(open_before.get("/").unwrap().status, 200);
        assert!(GATEWAY.at(80).iter().all(|&at| serves(&a, at)));
    });
}
