//! The device comes and goes with its node; the listeners follow.

use std::collections::HashSet;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use ztgate::linux::interfaces::interfaces;

use crate::gateway::{Gateway, Privileges};
use crate::harness::{A, GATEWAY, Host, Lab, NETWORK, within};

/// What the product promises.
const BACK: Duration = Duration::from_secs(1);

pub fn listeners_follow_the_device(lab: &Lab) {
    let gateway = Gateway::start(lab, Privileges::All);
    let network = format!("/network/{NETWORK}");
    let ways: [(&str, &dyn Fn()); 4] = [
        ("restarted", &|| lab.node(GATEWAY, "restart")),
        ("stopped and started", &|| {
            lab.node(GATEWAY, "stop");
            // Long enough for the gateway to have noticed, and asked the absent node in vain.
            thread::sleep(Duration::from_secs(3));
            lab.node(GATEWAY, "start");
        }),
        ("killed and started", &|| {
            lab.node(GATEWAY, "kill9");
            lab.node(GATEWAY, "start");
        }),
        ("left and joined", &|| {
            lab.api(GATEWAY, "DELETE", &network, &json!(null));
            thread::sleep(Duration::from_secs(1));
            lab.api(GATEWAY, "POST", &network, &json!({}));
        }),
    ];
    for (what, way) in ways {
        let before = GATEWAY.device().unwrap().index;
        let watch = watch();
        way();
        let Back { device, listener } =
            watch.recv_timeout(Duration::from_secs(60)).expect("no listener came back");
        let after = GATEWAY.device().unwrap().index;
        assert_ne!(before, after, "{what}: the same device");
        let lag = listener.saturating_duration_since(device);
        println!("  {what}: ifindex {before} -> {after}, listening {lag:?} after the address was there");
        assert!(lag < BACK, "{what}: {lag:?}");
        println!("  {what}: a is let in {:?} later", gateway.lets_in(A));
        for at in GATEWAY.addresses() {
            // IPv6 addresses are tentative for a second or two.
            let open = || A.curl("http://wiki.home.arpa/", at, &[]).ok();
            within(Duration::from_secs(10), at, open).0.upstream_saw_member(A);
        }
    }
}

/// When the device was there again with its IPv4 address, and when a new socket listened on it.
struct Back {
    device: Instant,
    listener: Instant,
}

fn watch() -> mpsc::Receiver<Back> {
    let (tell, told) = mpsc::channel();
    let index = GATEWAY.device().unwrap().index;
    GATEWAY.run(|| {
        let old = listeners();
        assert!(!old.is_empty(), "nothing listens to begin with");
        thread::spawn(move || {
            let back = |device: Instant| loop {
                if listeners().iter().any(|inode| !old.contains(inode)) {
                    return Back { device, listener: Instant::now() };
                }
                thread::sleep(Duration::from_millis(2));
            };
            while !has_new_device(GATEWAY, index) {
                thread::sleep(Duration::from_millis(2));
            }
            let _ = tell.send(back(Instant::now()));
        });
    });
    told
}

fn has_new_device(host: Host, old: u32) -> bool {
    let address = host.v4.parse().unwrap();
    interfaces().unwrap().iter().any(|it| it.index != old && it.up && it.has(address))
}

/// The inodes of the sockets that listen on the gateway's IPv4 address and port 80 (proc_pid_net(5)), in the calling
/// thread's network.
fn listeners() -> HashSet<String> {
    const LISTEN: &str = "0A";
    let octets = GATEWAY.v4.parse::<std::net::Ipv4Addr>().unwrap().octets();
    let local = format!("{:08X}:{:04X}", u32::from_le_bytes(octets), 80);
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let words = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = words.filter(|words| words[1] == local && words[3] == LISTEN);
    ours.map(|words| words[9].to_owned()).collect()
}
