//! What `ztgate revoke` and its like leave behind, on the real gateway, also when that is killed in the middle.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::client::{get, refusal};
use crate::harness::with_namespaces;
use crate::home::{Home, PATIENCE, until};
use crate::lab::{A, B, GATEWAY};

/// Where b stands, once the controller has nothing to be told of it.
fn settled(home: &Home) -> String {
    let mut last = Value::Null;
    let is_settled = until(PATIENCE, || {
        let output = home.ztgate(&["devices", "--json"]);
        let devices: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
        last = devices.into_iter().find(|device| device["member"] == B.id).unwrap_or_default();
        last["state"].is_string() && last["queued"].is_null()
    });
    assert!(is_settled, "{last:#}\n{}", home.log());
    last["state"].as_str().unwrap().to_owned()
}

fn is_authorized(home: &Home) -> bool {
    home.node.change(|net| net.member(B.id.parse().unwrap()).unwrap().authorized)
}

#[test]
fn orders_outlive_a_gateway_that_is_killed_in_the_middle() {
    with_namespaces("orders::orders_outlive_a_gateway_that_is_killed_in_the_middle", || {
        let home = Home::new();
        let (a, b) = (A.machine(&home.segment), B.machine(&home.segment));
        for round in 0..8 {
            let gateway = home.start();
            let before = settled(&home);
            let (verb, after) =
                if before == "active" { ("revoke", "revoked") } else { ("restore", "active") };
            let mut order = home.command(&[verb, B.id]);
            order.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut order = order.spawn().unwrap();
            // From before it is heard until after it is done.
            std::thread::sleep(Duration::from_millis(round * 8));
            gateway.signal(libc::SIGKILL);
            gateway.ended();
            let acknowledged = order.wait().unwrap().success();

            let gateway = home.start();
            let now = settled(&home);
            assert!(now == after || now == before && !acknowledged, "{verb} ({acknowledged}) left it {now}");
            assert_eq!(is_authorized(&home), now == "active", "{verb}");
            if now == "active" {
                home.until_served(&b);
            } else {
                home.until_served(&a);
                assert_eq!(refusal(&b, GATEWAY.at(80)[0]), (403, "member-revoked".to_owned()));
            }
            gateway.stop();
        }
        // Only what was ordered was asked for.
        let told = home.node.authorizations();
        assert!(told.iter().all(|(member, _)| member.to_string() == B.id), "{told:?}");
    });
}

#[test]
fn a_device_is_revoked_and_restored_by_its_commands() {
    with_namespaces("orders::a_device_is_revoked_and_restored_by_its_commands", || {
        let home = Home::new();
        let b = B.machine(&home.segment);
        let _gateway = home.start();
        home.until_served(&b);
        let said = home.ztgate(&["revoke", B.id, "--why", "lost"]);
        assert!(said.status.success(), "{said:?}");
        let at = GATEWAY.at(80)[0];
        let is_out = || get(&b, at).is_ok_and(|answer| answer.refusal.as_deref() == Some("member-revoked"));
        assert!(until(Duration::from_secs(2), is_out), "{}", home.log());
        assert!(!is_authorized(&home));
        assert!(home.ztgate(&["restore", B.id]).status.success());
        home.until_served(&b);
        assert!(is_authorized(&home));
    });
}
