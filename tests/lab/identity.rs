//! Who is at the other end: the honest, the pending, and a member that lies.

use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::attacker::arp_says;
use crate::gateway::{Gateway, Privileges};
use crate::harness::{A, Answer, B, C, GATEWAY, GATEWAY_UNDERLAY, Host, Lab, ROOT, Undo, within};

pub fn members_open_services(lab: &Lab) {
    let gateway = Gateway::start(lab, Privileges::All);
    let root = gateway.file("root.pem");
    std::fs::write(&root, gateway.says(&["certs", "root"])).unwrap();
    let trust = ["--cacert", root.to_str().unwrap()];
    for host in [A, B] {
        for (at, from) in GATEWAY.addresses().into_iter().zip(host.addresses()) {
            host.curl("http://wiki.home.arpa/", at, &[]).unwrap().upstream_saw_member(host);
            host.curl("https://wiki.home.arpa/", at, &trust).unwrap().upstream_saw_member(host);
            let whoami = host.curl("http://gate.home.arpa/whoami", at, &[]).unwrap();
            let whoami: Value = serde_json::from_str(&whoami.body).unwrap();
            assert_eq!((&whoami["member"], &whoami["address"]), (&host.id.into(), &from.into()), "{whoami}");
        }
    }
    let pinned = GATEWAY.ip("neigh show nud permanent");
    for host in [A, B] {
        for address in host.addresses() {
            let entry = |line: &&str| line.starts_with(&format!("{address} ")) && line.contains(host.mac);
            assert!(pinned.lines().any(|line| entry(&line)), "{address} is not pinned:\n{pinned}");
        }
    }
    drop(gateway);
    assert!(!GATEWAY.ip("neigh show nud permanent").contains(A.mac), "pins go with the gateway");
}

pub fn a_pending_member_has_no_way_in(lab: &Lab) {
    let gateway = Gateway::start(lab, Privileges::All);
    let seen = || (gateway.status()["pending"][0]["member"] == C.id).then_some(());
    within(Duration::from_secs(30), "c asks to join", seen);
    // It has a device, and the network gave it no address; what it makes up for itself its peers do not hear.
    let device = C.device().unwrap();
    assert!(!device.addresses.iter().any(|it| it.address.is_ipv4()), "{device:?}");
    let name = device.name;
    C.ip(&format!("address add 10.147.20.13/24 dev {name}"));
    C.ip(&format!("link set {name} up"));
    let _undo = Undo(|| drop(C.ip(&format!("address delete 10.147.20.13/24 dev {name}"))));
    let failed = C.curl("http://wiki.home.arpa/", GATEWAY.v4, &[]).unwrap_err();
    println!("  c: {failed}");
}

pub fn an_arp_lie_is_refused(lab: &Lab) {
    let gateway = Gateway::start(lab, Privileges::NoNetAdmin);
    assert!(gateway.status()["costs"].to_string().contains("CAP_NET_ADMIN"));
    b_speaks_as_a().unwrap().is_refused("address-not-yours");
    let words = ["audit", "--json", "--verdict", "address-not-yours"];
    let record = || Some(gateway.says(&words)).filter(|record| !record.is_empty());
    let (record, _) = within(Duration::from_secs(3), "the record is kept", record);
    assert!(record.contains(A.id) && record.contains(B.id), "both are named: {record}");
    // That is what pinning is for: without it a finds its answers led astray, here until the kernel's table is emptied.
    let device = GATEWAY.device().unwrap().name;
    GATEWAY.ip(&format!("neigh flush dev {device}"));
    gateway.lets_in(A);
}

pub fn an_arp_lie_meets_pinned_neighbours(lab: &Lab) {
    let gateway = Gateway::start(lab, Privileges::All);
    let failed = b_speaks_as_a().unwrap_err();
    println!("  b: {failed}");
    gateway.lets_in(A);
}

/// b takes a's address, tells the gateway by ARP that it is there, and asks for the wiki.
fn b_speaks_as_a() -> Result<Answer, String> {
    let device = B.device().unwrap().name;
    B.ip(&format!("address add {}/32 dev {device}", A.v4));
    let lying = AtomicBool::new(true);
    let answer = thread::scope(|scope| {
        let (lying, device) = (&lying, &device);
        scope.spawn(move || {
            B.run(|| {
                while lying.load(Ordering::Relaxed) {
                    arp_says(device, A.v4, B.mac, (GATEWAY.mac, GATEWAY.v4));
                    thread::sleep(Duration::from_millis(20));
                }
            });
        });
        let answer = B.curl("http://wiki.home.arpa/", GATEWAY.v4, &["--interface", A.v4]);
        lying.store(false, Ordering::Relaxed);
        answer
    });
    B.ip(&format!("address delete {}/32 dev {device}", A.v4));
    answer
}

pub fn the_underlay_does_not_reach_the_gateway(lab: &Lab) {
    let _gateway = Gateway::start(lab, Privileges::All);
    let underlay = |host: Host| {
        let devices = host.run(|| ztgate::linux::interfaces::interface("eth0")).unwrap().unwrap();
        let local =
            |it: &std::net::IpAddr| matches!(it, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local());
        devices.addresses.into_iter().map(|it| it.address).find(local).unwrap()
    };
    ROOT.ip(&format!("route add {}/32 via {GATEWAY_UNDERLAY} dev eth0", GATEWAY.v4));
    ROOT.ip(&format!("-6 route add {}/128 via {} dev eth0", GATEWAY.rfc4193, underlay(GATEWAY)));
    // Linux answers on any device for any of its addresses; that is what this is about.
    let open = GATEWAY.run(|| {
        [("0.0.0.0", 18081), (&Ipv6Addr::UNSPECIFIED.to_string(), 18082)]
            .map(|(at, port)| TcpListener::bind((at, port)).unwrap())
    });
    let connect = |address: &str, port| {
        let at = SocketAddr::new(address.parse().unwrap(), port);
        ROOT.run(|| TcpStream::connect_timeout(&at, Duration::from_secs(2))).map(drop)
    };
    for (address, other) in [(GATEWAY.v4, 18081), (GATEWAY.rfc4193, 18082)] {
        connect(address, other).unwrap_or_else(|error| panic!("{address} {other}: {error}"));
        for port in [80, 443] {
            let refused = connect(address, port).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{address} {port}");
        }
    }
    drop(open);
    ROOT.ip(&format!("route delete {}/32", GATEWAY.v4));
    ROOT.ip(&format!("-6 route delete {}/128", GATEWAY.rfc4193));
}
