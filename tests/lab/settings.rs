//! Settings of the network that void the proof of identity, and the node's token.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use crate::gateway::{Gateway, Privileges};
use crate::harness::{A, B, GATEWAY, Lab, Undo, within};

pub fn a_bridge_stops_everybody(lab: &Lab) {
    let undo = Undo(|| lab.set_member(B, &json!({ "activeBridge": false })));
    let gateway = Gateway::start(lab, Privileges::NoNetAdmin);
    lab.set_member(B, &json!({ "activeBridge": true }));
    println!("  unpinned: refused after {:?}", gateway.refuses(A, "network-unsafe"));
    assert!(gateway.doctor().iter().any(|it| it.contains("activeBridge") && it.contains(B.id)));
    assert!(gateway.status()["hazards"].to_string().contains(B.id));
    drop(gateway);

    let gateway = Gateway::start_only(lab, Privileges::All);
    gateway.lets_in(A);
    let status = gateway.says(&["status"]);
    assert!(status.contains(B.id), "the bridge is named: {status}");
    let bridge = B.curl("http://wiki.home.arpa/", GATEWAY.v4, &[]).map(|it| (it.status, it.refusal));
    println!("  pinned: the bridge itself gets {bridge:?}");
    assert!(!matches!(bridge, Ok((200, _))), "a bridge is never identified");
    drop(undo);
    gateway.lets_in(B);
}

pub fn a_public_network_stops_everybody(lab: &Lab) {
    let gateway = Gateway::start(lab, Privileges::All);
    let undo = Undo(|| lab.set_network(&json!({ "private": true })));
    lab.set_network(&json!({ "private": false }));
    println!("  refused after {:?}", gateway.refuses(A, "network-unsafe"));
    assert!(gateway.doctor().iter().any(|it| it.contains("private")));
    drop(undo);
    println!("  let in after {:?}", gateway.lets_in(A));
}

pub fn the_token_is_read_live(lab: &Lab) {
    let gateway = Gateway::start(lab, Privileges::All);
    let file = lab.home(GATEWAY).join("authtoken.secret");
    let old = fs::read_to_string(&file).unwrap();
    let write = |token: &str| {
        fs::write(&file, token).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let trouble = || gateway.status()["controller_error"].as_str().map(str::to_owned);

    write("thisisnotthetokenofthenode");
    let limit = Duration::from_secs(12);
    let (said, time) = within(limit, "a wrong token is noticed", trouble);
    println!("  after {time:?}: {said}");
    gateway.lets_in(A);

    // The node takes its token from the file when it starts.
    lab.node(GATEWAY, "restart");
    let mended = || trouble().is_none().then_some(());
    println!("  the new token works after {:?}", within(limit, "the new token is read", mended).1);
    gateway.lets_in(A);
    write(&old);
    lab.node(GATEWAY, "restart");
    within(limit, "the old token is read again", mended);
}
