//! Names on the real network, as dig asks for them on its machines: what members are told, and who is told nothing.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::gateway::{Gateway, Privileges};
use crate::harness::{A, B, C, GATEWAY, Host, Lab, Undo, has, within};
use crate::revoke::{A_POLL, CUT};

/// From when the device has its addresses again to an answer at each of them. IPv6 ones are tentative for a second or two.
pub const BACK: Duration = Duration::from_secs(10);

/// What dig was told: its code, and the data of each answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub code: String,
    pub data: Vec<String>,
}

impl Said {
    pub fn answer(data: &[&str]) -> Self {
        let mut data: Vec<_> = data.iter().map(|&it| it.to_owned()).collect();
        data.sort_unstable();
        Self { code: "NOERROR".to_owned(), data }
    }

    pub fn code(code: &str) -> Self {
        Self { code: code.to_owned(), data: Vec::new() }
    }
}

/// Asks once; `None` is silence.
pub fn dig(host: Host, at: &str, words: &str) -> Option<Said> {
    let mut dig = host.command("dig");
    dig.args([&format!("@{at}"), "+time=1", "+tries=1", "+noall", "+comments", "+answer"]);
    let output = dig.args(words.split(' ')).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let code = said.split_once("status: ")?.1.split(',').next()?.to_owned();
    let answers = said.lines().filter(|line| !line.starts_with(';'));
    let mut data: Vec<_> =
        answers.filter_map(|line| line.split_whitespace().nth(4)).map(str::to_owned).collect();
    data.sort_unstable();
    Some(Said { code, data })
}

/// Waits until the member is told at this address where the wiki is.
fn finds_the_wiki(host: Host, at: &str, limit: Duration) -> Duration {
    let found = || (dig(host, at, "A wiki.home.arpa")? == Said::answer(&[GATEWAY.v4])).then_some(());
    within(limit, &format!("{} finds the wiki at {at}", host.name), found).1
}

/// When an answer came for the last time before one that was asked for did not.
fn last_told(host: Host, limit: Duration) -> Instant {
    let mut last = Instant::now();
    let unheard = || match dig(host, GATEWAY.v4, "A wiki.home.arpa") {
        Some(Said { code, .. }) if code == "NOERROR" => {
            last = Instant::now();
            None
        }
        _ => Some(()),
    };
    // The question without an answer takes a second itself.
    within(limit + Duration::from_secs(1), &format!("{} is told nothing more", host.name), unheard);
    last
}

pub fn members_find_services_and_each_other(lab: &Lab) {
    if !has("dig") {
        return;
    }
    let gateway = Gateway::start(lab, Privileges::All);
    // Sockets on IPv6 addresses wait until these are not tentative any more.
    for (host, at) in [A, B].into_iter().flat_map(|host| GATEWAY.addresses().map(|at| (host, at))) {
        finds_the_wiki(host, at, BACK);
    }
    for (host, other, name) in [(A, B, "tablet"), (B, A, "red-phone")] {
        for at in GATEWAY.addresses() {
            let other_name = format!("{name}.home.arpa");
            let both = [other.rfc4193, other.six_plane];
            for (words, said) in [
                ("A wiki.home.arpa", Said::answer(&[GATEWAY.v4])),
                ("A wiki.home.arpa +tcp", Said::answer(&[GATEWAY.v4])),
                ("AAAA wiki.home.arpa", Said::answer(&[GATEWAY.rfc4193, GATEWAY.six_plane])),
                ("A gate.home.arpa", Said::answer(&[GATEWAY.v4])),
                (&format!("A {other_name}"), Said::answer(&[other.v4])),
                (&format!("AAAA {other_name}"), Said::answer(&both)),
                (&format!("-x {}", GATEWAY.v4), Said::answer(&["gate.home.arpa."])),
                (&format!("-x {}", other.v4), Said::answer(&[&format!("{other_name}.")])),
                (&format!("-x {}", other.rfc4193), Said::answer(&[&format!("{other_name}.")])),
                (&format!("-x {}", other.six_plane), Said::answer(&[&format!("{other_name}.")])),
                ("A nosuch.home.arpa", Said::code("NXDOMAIN")),
                ("A use-application-dns.net", Said::code("NXDOMAIN")),
            ] {
                assert_eq!(dig(host, at, words), Some(said), "{} @{at} {words}", host.name);
            }
        }
    }
    drop(gateway);

    let _gateway = Gateway::start(lab, Privileges::NoNetAdmin);
    finds_the_wiki(A, GATEWAY.v4, BACK);
    let said = dig(A, GATEWAY.v4, "A tablet.home.arpa").unwrap();
    println!("  without pinned neighbours a device's name is {}", said.code);
    assert_eq!(said, Said::code("NXDOMAIN"));
}

pub fn who_is_not_let_in_hears_nothing(lab: &Lab) {
    if !has("dig") {
        return;
    }
    let gateway = Gateway::start(lab, Privileges::All);
    let _undo = Undo(|| lab.set_member(B, &json!({ "authorized": true })));
    finds_the_wiki(B, GATEWAY.v4, BACK);

    let device = C.device().unwrap().name;
    C.ip(&format!("address add 10.147.20.13/24 dev {device}"));
    C.ip(&format!("link set {device} up"));
    let c_has_none = Undo(|| drop(C.ip(&format!("address delete 10.147.20.13/24 dev {device}"))));
    for words in ["A wiki.home.arpa", "A wiki.home.arpa +tcp", "A example.org"] {
        assert_eq!(dig(C, GATEWAY.v4, words), None, "a pending device, {words}");
    }
    drop(c_has_none);

    let revoke = || drop(gateway.says(&["revoke", "tablet"]));
    let edit = || lab.set_member(B, &json!({ "authorized": false }));
    let ways: [(&str, &dyn Fn(), Duration); 2] =
        [("ztgate revoke", &revoke, CUT), ("an edit at the controller", &edit, A_POLL)];
    for (what, way, limit) in ways {
        let ordered = Instant::now();
        way();
        let told = last_told(B, limit);
        println!("  {what}: b is told for the last time after {:?}", told.saturating_duration_since(ordered));
        for at in GATEWAY.addresses() {
            for words in ["A wiki.home.arpa", "A example.org", &format!("-x {}", A.v4)] {
                let said = dig(B, at, words);
                assert!(said.is_none(), "{what}: b @{at} {words}: {said:?}");
            }
        }
        let gone = dig(A, GATEWAY.v4, "A tablet.home.arpa");
        assert_eq!(gone, Some(Said::code("NXDOMAIN")), "{what}: its name goes with it");
        gateway.says(&["restore", "tablet"]);
        gateway.lets_in(B);
        println!("  restored: b finds the wiki {:?} later", finds_the_wiki(B, GATEWAY.v4, BACK));
    }
}

pub fn a_revoked_device_hears_none(lab: &Lab) {
    if !has("dig") {
        return;
    }
    let gateway = Gateway::start(lab, Privileges::All);
    let _undo = Undo(|| lab.set_member(B, &json!({ "authorized": true })));
    gateway.says(&["revoke", "tablet"]);
    // The nodes forget the revocation, and let b's packets through again.
    lab.node(GATEWAY, "restart");
    lab.node(B, "restart");
    println!("  a finds the wiki {:?} later", finds_the_wiki(A, GATEWAY.v4, Duration::from_secs(30)));
    let (mut heard, until) = (Vec::new(), Instant::now() + Duration::from_secs(5));
    while Instant::now() < until {
        let said = dig(B, GATEWAY.v4, "A wiki.home.arpa");
        let said = said.map_or("silence".to_owned(), |said| said.code);
        assert!(said == "silence" || said == "REFUSED", "b is told {said}");
        heard.push(said);
    }
    heard.dedup();
    println!("  b is told {heard:?}");
    for at in GATEWAY.addresses() {
        println!("  a finds it at {at} {:?} later", finds_the_wiki(A, at, BACK));
    }
    gateway.says(&["restore", "tablet"]);
    println!("  restored: let in after {:?}", gateway.lets_in(B));
    within(BACK, "all of b's addresses can be used", || B.is_ready().then_some(()));
}
