//! Devices that knock: one stays, one is a guest, and one is let in by an edit at the controller.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::film::Film;
use crate::gateway::{Gateway, Privileges};
use crate::harness::{B, C, GATEWAY, Lab, Undo, within};
use crate::revoke::{A_POLL, Began, CUT, ends_everywhere};

/// From the order to the first answer of a service; the device asks its controller for addresses meanwhile.
const USABLE: Duration = Duration::from_secs(10);

/// c as if it had never asked, also afterwards.
fn unheard_of(lab: &Lab) -> Undo<impl FnMut()> {
    lab.forget(C);
    Undo(|| {
        lab.forget(C);
        lab.join(C);
    })
}

/// Waits until the wiki opens for c, and tells what c got on the way there and when.
fn on_the_way_in(asked: Instant) -> Duration {
    let mut last = String::new();
    let open = || {
        let answer = C.curl("http://wiki.home.arpa/", GATEWAY.v4, &["--connect-timeout", "0.3"]);
        let opens = answer.as_ref().is_ok_and(|it| it.status == 200);
        let device = C.device().map(|it| it.addresses).unwrap_or_default();
        let v4 = device.iter().any(|it| it.address.is_ipv4());
        let said = match answer {
            Ok(it) => it.refusal.unwrap_or(it.status.to_string()),
            Err(_) => "no connection".to_owned(),
        };
        let said = format!("{said}{}", if v4 { "" } else { " (it has no address yet)" });
        if said != last {
            println!("  c after {:?}: {said}", asked.elapsed());
            last = said;
        }
        opens.then_some(())
    };
    within(Duration::from_secs(30), "the wiki opens for c", open);
    asked.elapsed()
}

/// Has c ask to join, and returns what is told of it once it waits, within a poll from when the controller knows.
fn knock(lab: &Lab, gateway: &Gateway) -> Value {
    lab.join(C);
    // A node that left asks again when it sees fit.
    let asked = || (!lab.member(C).is_null()).then_some(());
    let (_, after) = within(Duration::from_secs(20), "c asks the controller", asked);
    let waits = || {
        let waiting = gateway.json(&["devices", "--pending"]);
        waiting.as_array().unwrap().iter().find(|it| it["member"] == C.id).cloned()
    };
    let (seen, later) = within(A_POLL, "c is among those who wait", waits);
    println!("  c asks the controller after {after:?}, and is seen to wait {later:?} later");
    seen
}

pub fn a_device_knocks_and_is_admitted(lab: &Lab) {
    let _undo = unheard_of(lab);
    let gateway = Gateway::start(lab, Privileges::All);
    assert!(gateway.device(C).is_null(), "c was heard of before it knocks");
    let seen = knock(lab, &gateway);
    print!("{}", gateway.says(&["devices", "--pending"]));
    assert_eq!(seen["physical"], "10.99.0.13:9993");
    assert_eq!(seen["version"], "1.14.1");
    assert_eq!((&seen["state"], &seen["authorized"]), (&json!("pending"), &json!(false)));

    let asked = Instant::now();
    let said = gateway.says(&["admit", C.id, "--name", "new-tv", "--owner", "mum", "--group", "family"]);
    println!("  admitted after {:?}:\n{}", asked.elapsed(), said.trim());
    let usable = on_the_way_in(asked);
    assert!(usable < USABLE, "{usable:?}");
    assert_eq!(lab.member(C)["authorized"], true);
    let (address, later) = within(A_POLL, "c has an IPv4 address in the list", || {
        let shown = gateway.device(C);
        let assigned = lab.member(C)["ipAssignments"][0].clone();
        shown["addresses"].as_array().unwrap().contains(&assigned).then_some(assigned)
    });
    println!("  {address} is shown {later:?} later");
    let whois = gateway.says(&["whois", C.id]);
    assert!(whois.contains("new-tv") && whois.contains("mum"), "{whois}");
    gateway.is_in_step();
}

pub fn a_guest_goes_at_its_second(lab: &Lab) {
    let _undo = unheard_of(lab);
    let gateway = Gateway::start(lab, Privileges::All);
    knock(lab, &gateway);
    let lent = Began::now();
    let stay = Duration::from_secs(10);
    let until = (lent.wall + stay).to_string();
    gateway.says(&["admit", C.id, "--name", "visitor", "--group", "family", "--until", &until]);
    println!("  in after {:?} of {stay:?}", on_the_way_in(lent.at));
    let film = Film::start(C);
    let end = Began { at: lent.at + stay, wall: lent.wall + stay };
    std::thread::sleep(end.at.saturating_duration_since(Instant::now()));
    ends_everywhere(lab, &gateway, film, end, CUT);
    assert_eq!(gateway.device(C)["state"], "expired");
    let told = || (lab.member(C)["authorized"] == false).then_some(());
    within(CUT, "the controller knows", told);
    gateway.is_in_step();

    gateway.says(&["restore", "visitor", "--for", "24h"]);
    println!("  restored: let in after {:?}", gateway.lets_in(C));
    gateway.is_in_step();
}

pub fn sync_tells_an_edit_at_the_controller(lab: &Lab) {
    let _undo = unheard_of(lab);
    let _undo_b = Undo(|| lab.set_member(B, &json!({ "authorized": true })));
    let gateway = Gateway::start(lab, Privileges::All);
    knock(lab, &gateway);
    assert_eq!(gateway.says(&["sync", "--dry-run"]), "in step\n");

    lab.set_member(C, &json!({ "authorized": true }));
    print!("{}", gateway.says(&["sync", "--dry-run"]));
    let [difference] = &gateway.plan()[..] else { panic!("{:?}", gateway.plan()) };
    let shown = ["member", "here", "authorized", "step"].map(|key| &difference[key]);
    assert_eq!(shown, [&json!(C.id), &json!("pending"), &json!(true), &json!("leave")]);
    println!(
        "  c is on the network, and refused by its code after {:?}",
        gateway.refuses(C, "member-pending")
    );
    lab.set_member(C, &json!({ "authorized": false }));
    gateway.is_in_step();

    // The smaller right wins at once, so there is nothing left to do about this one.
    lab.set_member(B, &json!({ "authorized": false }));
    gateway.is_in_step();
    assert_eq!(gateway.device(B)["state"], "revoked");
    lab.set_member(B, &json!({ "authorized": true }));
    print!("{}", gateway.says(&["sync", "--dry-run"]));
    assert_eq!(gateway.plan().len(), 1);
    assert_eq!(gateway.device(B)["state"], "pending", "nobody here has let it in again");
    gateway.says(&["admit", B.id]);
    println!("  b is let in after {:?}", gateway.lets_in(B));
    gateway.is_in_step();
}
