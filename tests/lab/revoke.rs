//! A device that is put out in the middle of a film, stays out whatever restarts, and is let in again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::film::Film;
use crate::gateway::{Gateway, Privileges};
use crate::harness::{A, B, GATEWAY, Host, Lab, Undo, within};

/// What the product promises, from the moment the gateway knows.
pub const CUT: Duration = Duration::from_secs(2);

/// The gateway asks its controller every 5 s; the rest is for a busy machine.
pub const A_POLL: Duration = Duration::from_secs(6);

pub fn a_revoked_device_loses_its_film(lab: &Lab) {
    let gateway = Gateway::start(lab, Privileges::All);
    let _undo = Undo(|| lab.set_member(B, &json!({ "authorized": true })));
    let of_another = Film::start(A);
    let revoke = || drop(gateway.says(&["revoke", "tablet", "--why", "left on the train"]));
    let edit = || lab.set_member(B, &json!({ "authorized": false }));
    let ways: [(&str, &dyn Fn(), Duration); 2] =
        [("ztgate revoke", &revoke, CUT), ("an edit at the controller", &edit, A_POLL)];
    for (what, way, limit) in ways {
        let film = Film::start(B);
        let began = Began::now();
        way();
        println!("  {what}: returned after {:?}", began.ago());
        ends_everywhere(lab, &gateway, film, began, limit);
        of_another.goes_on();
        assert_eq!(lab.member(B)["authorized"], false);
        println!("  history: {}", newest(&gateway));
        gateway.is_in_step();

        gateway.says(&["restore", "tablet"]);
        println!("  restored: let in after {:?}", gateway.lets_in(B));
        gateway.is_in_step();
    }
    of_another.stop();
}

/// A moment on both clocks.
#[derive(Clone, Copy)]
pub struct Began {
    pub at: Instant,
    pub wall: jiff::Timestamp,
}

impl Began {
    pub fn now() -> Self {
        Self { at: Instant::now(), wall: jiff::Timestamp::now() }
    }

    pub fn ago(self) -> Duration {
        self.at.elapsed()
    }
}

/// A film ends within `limit` from then on: for the service, for the device, and by the audit log.
#[track_caller]
pub fn ends_everywhere(lab: &Lab, gateway: &Gateway, film: Film, from: Began, limit: Duration) {
    let host = film.host;
    let cut = lab.film_ended(host, from.at, limit).saturating_duration_since(from.at);
    // ZeroTier drops what a deauthorised member sends and not what it is sent: a reset arrives, where an orderly end would
    // wait for its word.
    let (end, heard) = film.end();
    let heard = heard.saturating_duration_since(from.at);
    let words = ["audit", "--json", "--member", host.id];
    let record = || {
        let records = gateway.says(&words);
        let mut records = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.find(|it| it["ended"] == "cut" && ended(it) >= from.wall)
    };
    let (record, _) = within(Duration::from_secs(3), "the record is kept", record);
    let recorded = Duration::try_from(ended(&record).duration_since(from.wall)).unwrap();
    println!(
        "  the film of {}: the service is left after {cut:?}, \"{end}\" after {heard:?}, recorded {recorded:?}",
        host.name
    );
    assert!(end.contains("reset"), "{end}");
    for time in [cut, heard, recorded] {
        assert!(time < limit, "{time:?}");
    }
}

/// When what a record is about ended.
fn ended(record: &Value) -> jiff::Timestamp {
    let began: jiff::Timestamp = record["time"].as_str().unwrap().parse().unwrap();
    began + Duration::from_micros(record["micros"].as_u64().unwrap())
}

/// The newest line of b's history.
fn newest(gateway: &Gateway) -> String {
    let history = gateway.says(&["audit", "--control", "--device", "tablet", "-n", "1"]);
    history.trim().to_owned()
}

/// One thing or another that stops and starts.
type Way = fn(&Lab, &mut Gateway);

pub fn a_revoked_device_stays_out(lab: &Lab) {
    let mut gateway = Gateway::start(lab, Privileges::All);
    let _undo = Undo(|| lab.set_member(B, &json!({ "authorized": true })));
    gateway.says(&["revoke", "tablet"]);
    // A node that starts anew has forgotten the revocation, and lets b's packets through; the gateway has not.
    let ways: [(&str, Way); 5] = [
        ("the gateway's node restarts", |lab, _| lab.node(GATEWAY, "restart")),
        ("it is killed and starts", |lab, _| {
            lab.node(GATEWAY, "kill9");
            lab.node(GATEWAY, "start");
        }),
        ("the gateway restarts", |_, gateway| {
            gateway.stop();
            gateway.start_again();
        }),
        ("the gateway is killed, the node restarts, the gateway starts", |lab, gateway| {
            gateway.kill();
            lab.node(GATEWAY, "restart");
            gateway.start_again();
        }),
        ("b's node restarts", |lab, _| lab.node(B, "restart")),
    ];
    for (what, way) in ways {
        way(lab, &mut gateway);
        println!("  {what}: b gets {:?}, a is let in after {:?}", stays_out(B), gateway.lets_in(A));
        assert_eq!(lab.member(B)["authorized"], false, "{what}");
    }
    gateway.is_in_step();
    gateway.says(&["restore", "tablet"]);
    println!("  restored: let in after {:?}", gateway.lets_in(B));
    within(Duration::from_secs(10), "all of b's addresses can be used", || B.is_ready().then_some(()));
    gateway.is_in_step();
}

/// What a device gets for some seconds, which may be anything but the service.
#[track_caller]
fn stays_out(host: Host) -> Vec<String> {
    let (mut heard, until) = (Vec::new(), Instant::now() + Duration::from_secs(5));
    while Instant::now() < until {
        let answer = host.curl("http://wiki.home.arpa/", GATEWAY.v4, &["--max-time", "1"]);
        let said = answer.map(|it| it.refusal.unwrap_or(it.status.to_string()));
        assert_ne!(said, Ok("200".to_owned()), "{} is in again", host.name);
        // curl's words tell the time in them.
        heard.push(said.unwrap_or_else(|error| error.split(')').next().unwrap().to_owned() + ")"));
    }
    heard.dedup();
    heard
}

pub fn a_revocation_waits_for_its_controller(lab: &Lab) {
    let mut gateway = Gateway::start(lab, Privileges::All);
    let _undo = Undo(|| lab.set_member(B, &json!({ "authorized": true })));
    lab.node(GATEWAY, "stop");
    let node_is_back = Undo(|| lab.node(GATEWAY, "start"));
    let asked = Instant::now();
    let said = gateway.says(&["revoke", "tablet"]);
    println!("  told after {:?}:\n    {}", asked.elapsed(), said.trim().replace('\n', "\n    "));
    assert!(said.contains("not told yet"), "{said}");

    gateway.kill();
    drop(node_is_back);
    assert_eq!(lab.member(B)["authorized"], true, "nobody has told it");
    let started = Instant::now();
    gateway.start_again();
    let told = || (lab.member(B)["authorized"] == false).then_some(());
    within(Duration::from_secs(10), "the controller is told", told);
    println!("  the controller knows {:?} after the gateway started", started.elapsed());
    println!("  b gets {:?}", stays_out(B));
    gateway.is_in_step();

    // A controller pushes nothing to a member that it has not heard since its start: b comes back when it asks by itself.
    gateway.says(&["restore", "tablet"]);
    println!("  restored: let in after {:?}", gateway.lets_in(B));
}
