//! The network's DNS setting: told to the real controller, and by it to the members' own nodes.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::gateway::{BY_ITSELF, Gateway, Privileges};
use crate::harness::{A, B, GATEWAY, Host, Lab, NETWORK, Undo, has, within};
use crate::names::{BACK, Said, dig};

/// Where the gateway's machine is moved to for a while.
const MOVED: &str = "10.147.20.2";

pub fn members_are_told_whom_to_ask(lab: &Lab) {
    if !has("dig") {
        return;
    }
    let gateway = Gateway::start(lab, Privileges::All);
    let _undo = Undo(|| lab.set_network(&json!({ "dns": { "domain": "", "servers": [] } })));
    println!("  before: the controller has {}, a's node {}", setting(lab), node(lab, A)["dns"]);
    look_first(lab, &gateway);

    let pushed = Instant::now();
    gateway.says(&["dns", "push", "--yes"]);
    let all = json!({ "domain": "home.arpa", "servers": GATEWAY.addresses() });
    assert_eq!(setting(lab), all);
    nodes_are_told(lab, &all, pushed);
    let doctor = gateway.doctors_word("setting");
    assert!(doctor["what"].as_str().unwrap().ends_with("kept in step"), "{doctor}");

    assert_eq!(node(lab, A)["allowDNS"], false, "nobody allowed it");
    let _undo_a = Undo(|| drop(lab.cli(A, &["set", NETWORK, "allowDNS=0"])));
    let said = lab.cli(A, &["set", NETWORK, "allowDNS=1"]);
    assert_eq!(node(lab, A)["allowDNS"], true, "{said}");
    a_resolver_finds_names_by(&node(lab, A)["dns"], GATEWAY.v4);

    let _undo_move = Undo(|| move_to(lab, GATEWAY.v4));
    let moved = Instant::now();
    move_to(lab, MOVED);
    let elsewhere = [MOVED, GATEWAY.rfc4193, GATEWAY.six_plane];
    let elsewhere = json!({ "domain": "home.arpa", "servers": elsewhere });
    nodes_are_told(lab, &elsewhere, moved);
    a_resolver_finds_names_by(&node(lab, A)["dns"], MOVED);

    gateway.says(&["dns", "push", "--off", "--yes"]);
    let nothing = json!({ "domain": "", "servers": [] });
    assert_eq!(setting(lab), nothing);
    nodes_are_told(lab, &nothing, Instant::now());
}

/// What the controller has members told.
fn setting(lab: &Lab) -> Value {
    lab.api(GATEWAY, "GET", &format!("/controller/network/{NETWORK}"), &Value::Null)["dns"].clone()
}

/// The network as a member's own node tells of it.
fn node(lab: &Lab, host: Host) -> Value {
    lab.api(host, "GET", &format!("/network/{NETWORK}"), &Value::Null)
}

/// A person sees the change before anybody is told of it.
fn look_first(lab: &Lab, gateway: &Gateway) {
    let before = setting(lab);
    // It would tell of the addresses where it answers; IPv6 ones are tentative at first.
    let all = || {
        let look = gateway.json(&["dns", "push", "--dry-run"]);
        (look["wanted"]["servers"] == json!(GATEWAY.addresses())).then_some(())
    };
    within(BACK, "DNS is on all addresses", all);
    let diff = gateway.says(&["dns", "push", "--dry-run"]);
    print!("{diff}");
    let added: Vec<_> = diff.lines().filter_map(|line| line.strip_prefix("+ ")).collect();
    let words = |line: &&str| line.split_whitespace().last().unwrap().to_owned();
    let [v4, rfc4193, six_plane] = GATEWAY.addresses();
    assert_eq!(added.iter().map(words).collect::<Vec<_>>(), ["home.arpa", v4, rfc4193, six_plane]);
    assert_eq!(setting(lab), before, "looking changed it");
}

#[track_caller]
fn nodes_are_told(lab: &Lab, dns: &Value, since: Instant) {
    for host in [A, B] {
        let told = || (node(lab, host)["dns"] == *dns).then_some(());
        within(BY_ITSELF, &format!("the node of {} is told {dns}", host.name), told);
        println!("  the node of {} says {dns} after {:?}", host.name, since.elapsed());
    }
}

/// Gives the gateway's machine another managed address.
fn move_to(lab: &Lab, address: &str) {
    lab.set_member(GATEWAY, &json!({ "ipAssignments": [address] }));
    let answers = || (dig(A, address, "A wiki.home.arpa")? == Said::answer(&[address])).then_some(());
    let (_, time) = within(BY_ITSELF, &format!("the gateway answers at {address}"), answers);
    println!("  the gateway answers at {address} after {time:?}");
}

/// A resolver on a's machine that asks about the domain whom a's node says, and nobody about anything else.
fn a_resolver_finds_names_by(told: &Value, gate: &str) {
    if !has("unbound") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let _resolver = Resolver::start(folder.path(), told);
    let asked = |words: &str| dig(A, Resolver::AT, words);
    let found = || asked("A wiki.home.arpa").filter(|it| *it == Said::answer(&[gate]));
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    let begin = Instant::now();
    while found().is_none() {
        assert!(begin.elapsed() < BACK, "{told}: {:?}\n{}", asked("A wiki.home.arpa"), log());
    }
    println!("  a resolver that asks {} finds the wiki after {:?}", told["servers"], begin.elapsed());
    assert_eq!(asked("A tablet.home.arpa"), Some(Said::answer(&[B.v4])));
    assert_eq!(asked("A nosuch.home.arpa"), Some(Said::code("NXDOMAIN")));
}

struct Resolver(Child);

impl Resolver {
    const AT: &str = "127.0.0.2";

    fn start(folder: &Path, told: &Value) -> Self {
        let domain = told["domain"].as_str().unwrap();
        let mut config = format!(
            "server:\n interface: {at}\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n pidfile: \"\"\n use-syslog: no\n \
             module-config: \"iterator\"\n local-zone: \"{domain}.\" transparent\n\
             remote-control:\n control-enable: no\nforward-zone:\n name: \"{domain}\"\n",
            at = Self::AT
        );
        for server in told["servers"].as_array().unwrap() {
            config.push_str(&format!(" forward-addr: {}\n", server.as_str().unwrap()));
        }
        let file = folder.join("unbound.conf");
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut unbound = A.command("unbound");
        unbound.arg("-d").arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self(unbound.spawn().unwrap())
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
