//! The ruleset of `ztgate nft`, loaded for real.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use ztgate::linux::socket::listener;
use ztgate::model::MemberId;
use ztgate::overlay::nft::{BreakGlass, Ruleset, render};

use crate::attacker::arp_says;
use crate::harness::{Namespace, Segment, with_namespaces};
use crate::lab::{A, B, GATEWAY, Node, roster};

fn load(gateway: &Namespace, ruleset: &str) {
    gateway.run(|| {
        let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(ruleset.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success(), "nft refuses\n{ruleset}");
    });
}

#[test]
fn the_ruleset_opens_the_gateways_ports_to_true_owners_only() {
    let name = "firewall::the_ruleset_opens_the_gateways_ports_to_true_owners_only";
    with_namespaces(name, || {
        if Command::new("nft").arg("-v").stdout(Stdio::null()).status().is_err() {
            return println!("skipped: {name}: nft (nftables) is not here");
        }
        let segment = Segment::new();
        let (gateway, a) = (GATEWAY.machine(&segment), A.machine(&segment));
        let friends: [MemberId; 1] = [A.id.parse().unwrap()];
        let ruleset = |friends| {
            render(&Ruleset {
                device: "zt0",
                roster: &roster(),
                own: GATEWAY.id.parse().ok(),
                tcp: &[80],
                udp: &[],
                break_glass: Some(BreakGlass { port: 22, members: friends }),
            })
        };
        load(&gateway, &ruleset(&friends));
        let listeners =
            [22, 80, 8096].map(|port| GATEWAY.at(port).map(|at| gateway.run(|| listener(at, None)).unwrap()));
        let reaches = |machine: &Namespace, port| {
            let one = |at| match machine.run(|| TcpStream::connect_timeout(&at, Duration::from_millis(400))) {
                Ok(_) => true,
                Err(error)
                    if error.kind() == ErrorKind::TimedOut
                        || error.raw_os_error() == Some(libc::EHOSTUNREACH) =>
                {
                    false
                }
                Err(error) => panic!("{at}: {error}"),
            };
            GATEWAY.at(port).map(one)
        };
        assert_eq!(reaches(&a, 80), [true; 3]);
        assert_eq!(reaches(&a, 22), [true; 3], "a is named");
        assert_eq!(reaches(&a, 8096), [false; 3], "not the gateway's");

        load(&gateway, &ruleset(&[]));
        assert_eq!(reaches(&a, 22), [false; 3], "loading again replaces");

        drop(a);
        gateway.ip("neigh flush dev zt0");
        let b = Node { mac: B.mac, ..A }.machine(&segment);
        b.run(|| arp_says("zt0", A.v4, B.mac, (GATEWAY.mac, GATEWAY.v4)));
        assert_eq!(reaches(&b, 80), [false; 3], "b with a's addresses");
        drop(listeners);
    });
}
