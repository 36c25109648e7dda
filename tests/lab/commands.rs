//! What the other commands say of a real node, and the ruleset that `ztgate nft` prints.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::gateway::{Gateway, Privileges};
use crate::harness::{A, B, GATEWAY, Host, Lab, NETWORK, text};

pub fn tell_what_is_there(lab: &Lab) {
    let gateway = Gateway::start(lab, Privileges::All);
    // `init` knows the node's usual home only; each command of a namespace has mounts of its own, so it can be there.
    let moved = "mount -t tmpfs none /var/lib && mkdir /var/lib/zerotier-one && \
                 mount --bind \"$1\" /var/lib/zerotier-one && exec \"$2\" init --print";
    let mut init = GATEWAY.command("sh");
    init.args(["-c", moved, "sh"]).arg(lab.home(GATEWAY)).arg(env!("CARGO_BIN_EXE_ztgate"));
    let written = text(&mut init);
    let network = written.lines().find(|line| line.starts_with("network")).unwrap_or_default();
    assert_eq!(network, format!("network = \"{NETWORK}\"  # lab"), "{written}");

    let status = gateway.status();
    let listening = status["listeners"].as_array().unwrap();
    assert_eq!(listening.len(), 6, "three addresses, two ports: {status}");
    assert!(listening.iter().all(|it| it["error"].is_null()), "{status}");
    assert_eq!(status["own"], GATEWAY.id);

    let doctor = gateway.doctor();
    assert!(doctor.iter().any(|it| it.contains("the node's API")), "{doctor:?}");
    let whois = gateway.says(&["whois", A.v4]);
    assert!(whois.contains("red-phone") && whois.contains(A.id), "{whois}");
}

pub fn the_ruleset_closes_other_doors(lab: &Lab) {
    if Command::new("nft").arg("-v").output().is_err() {
        return println!("  skipped: nft (nftables) is not here");
    }
    let gateway = Gateway::start(lab, Privileges::All);
    let door = GATEWAY.run(|| TcpListener::bind("0.0.0.0:18083")).unwrap();
    let reaches = |host: Host, port| {
        let at = SocketAddr::new(GATEWAY.v4.parse().unwrap(), port);
        host.run(|| TcpStream::connect_timeout(&at, Duration::from_millis(800))).is_ok()
    };
    assert_eq!([80, 18083, 9993].map(|port| reaches(A, port)), [true; 3], "before");

    let file = gateway.file("ztgate.nft");
    fs::write(&file, gateway.says(&["nft"])).unwrap();
    text(GATEWAY.command("nft").arg("-f").arg(&file));
    for host in [A, B] {
        // Each has to ask anew where the gateway is, past the ruleset.
        let _ = host.command("ip").args(["neigh", "flush", "all"]).output();
        for at in GATEWAY.addresses() {
            host.curl("http://wiki.home.arpa/", at, &[]).unwrap().upstream_saw_member(host);
        }
        assert_eq!([18083, 9993].map(|port| reaches(host, port)), [false; 2], "after");
    }
    // The node and its controller go on behind it.
    thread::sleep(Duration::from_secs(6));
    assert!(gateway.status()["controller_error"].is_null());
    text(GATEWAY.command("nft").args(["delete", "table", "netdev", "ztgate"]));
    text(GATEWAY.command("nft").args(["delete", "table", "inet", "ztgate"]));
    assert!(reaches(A, 18083));
    drop(door);
}
