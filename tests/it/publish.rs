//! Records kept at the domain's own name server, a real BIND: by the gateway and by hand, and never anybody else's.

use std::process::Output;
use std::time::Duration;

use ztgate::admin::Status;

use crate::real::named::{Named, WRONG_SECRET, write_secret};
use crate::world::command::ztgate;
use crate::world::{Live, World, echo};

const ZONE: &str = "home.arpa";
/// A resolver that everybody knows, so that it is on the internet for sure.
const HOUSE: &str = "93.184.216.34";

/// A world with two services whose `[publish]` has these lines.
fn world(named: &Named, publish: &str) -> World {
    let world = World::new().member("phone").service("wiki", echo()).service("films", echo());
    let paragraph = named.paragraph(world.folder(), "");
    world.gateway_lines(&format!("{paragraph}[publish]\n{publish}"))
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Waits until something holds of the status.
async fn until(live: &Live, what: &str, holds: impl Fn(&Status) -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let status = live.gateway().status();
        if holds(&status) {
            return;
        }
        assert!(
            std::time::Instant::now() < end,
            "not {what}: {:?} {:?}",
            status.publish,
            status.certificates
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn published(live: &Live, records: usize) {
    until(live, "published", |status| {
        status.publish.as_ref().is_some_and(|it| it.published == records && it.server_error.is_none())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_keeps_its_names_and_no_others() {
    let Some(named) = Named::start(ZONE) else { return };
    named.update("update add films.home.arpa 300 A 192.0.2.99");
    let mut live = world(&named, "services = true\nttl = 60\n").start().await;
    published(&live, 2).await;
    for name in ["gate", "wiki"] {
        assert_eq!(named.dig(&format!("{name}.{ZONE}"), "A"), ["127.0.0.1"], "{name}");
    }
    let status = live.gateway().status().publish.unwrap();
    assert_eq!(status.foreign, ["films.home.arpa A"]);
    assert_eq!(named.dig("films.home.arpa", "A"), ["192.0.2.99"], "somebody else's");

    // A service that goes takes its record with it, and nothing else.
    live.reload(|plan| plan.remove_service("wiki")).await.unwrap();
    published(&live, 1).await;
    assert!(named.dig("wiki.home.arpa", "A").is_empty());
    assert_eq!(named.dig("foreign.home.arpa", "A"), ["192.0.2.7"]);

    // What went astray at the server comes back with the next start.
    named.update("update delete gate.home.arpa A");
    live.restart().await;
    published(&live, 1).await;
    assert_eq!(named.dig("gate.home.arpa", "A"), ["127.0.0.1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_house_is_where_a_command_says_and_stays_when_it_fails() {
    let Some(named) = Named::start(ZONE) else { return };
    let draft = World::new().member("phone");
    let folder = draft.folder().to_owned();
    std::fs::write(folder.join("answer"), format!("{HOUSE}\n")).unwrap();
    let nameserver = named.paragraph(&folder, "");
    let command = format!("[\"/bin/cat\", \"{}\"]", folder.join("answer").display());
    let lines = format!("{nameserver}[publish]\npublic = \"house.home.arpa\"\naddress = {command}\n");
    let mut live = draft.gateway_lines(&lines).start().await;
    published(&live, 1).await;
    assert_eq!(named.dig("house.home.arpa", "A"), [HOUSE]);

    for (said, part) in [
        ("", "printed nothing"),
        ("<html>busy</html>\n", "no address"),
        ("192.168.1.7\n", "no address on the internet"),
    ] {
        std::fs::write(folder.join("answer"), said).unwrap();
        // Any reload looks anew.
        live.reload(|_| {}).await.unwrap();
        until(&live, part, |status| {
            let fault = status.publish.as_ref().and_then(|it| it.address_error.as_ref());
            fault.is_some_and(|fault| fault.why.contains(part))
        })
        .await;
        assert_eq!(named.dig("house.home.arpa", "A"), [HOUSE], "{said}");
    }
    std::fs::write(folder.join("answer"), "93.184.216.35\n").unwrap();
    live.reload(|_| {}).await.unwrap();
    until(&live, "moved", |_| named.dig("house.home.arpa", "A") == ["93.184.216.35"]).await;
    published(&live, 1).await;
    assert!(live.gateway().status().publish.unwrap().address_error.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_down_or_refuses_is_told_and_asked_again() {
    let Some(mut named) = Named::start(ZONE) else { return };
    named.stop();
    let mut live = world(&named, "services = true\n").start().await;
    let wrong = |status: &Status, part: &str| {
        let fault = status.publish.as_ref().and_then(|it| it.server_error.as_ref());
        fault.is_some_and(|fault| fault.why.contains(part))
    };
    until(&live, "down", |status| wrong(status, "cannot be reached")).await;
    named.resume();
    write_secret(live.folder(), WRONG_SECRET);
    live.reload(|_| {}).await.unwrap();
    until(&live, "refused", |status| wrong(status, "another secret for the key")).await;
    named.paragraph(live.folder(), "");
    live.reload(|_| {}).await.unwrap();
    published(&live, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_hand_it_shows_the_diff_and_changes_it_after_a_yes() {
    let Some(named) = Named::start(ZONE) else { return };
    named.update("update add films.home.arpa 300 A 192.0.2.99");
    // The gateway is not told of it, so that it is by hand alone.
    let mut live = world(&named, "services = true\n").start().await;
    published(&live, 2).await;
    let folder = live.folder().to_owned();
    let by_hand = |plan: &str| {
        let told = ztgate(&folder, &["dns", "publish", plan]);
        (told.status.code(), stdout(&told))
    };
    named.update("update delete wiki.home.arpa A");
    let (code, shown) = by_hand("--dry-run");
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("+ wiki.home.arpa") && shown.contains("! films.home.arpa"), "{shown}");
    assert!(named.dig("wiki.home.arpa", "A").is_empty(), "only shown");
    let neither = ztgate(&folder, &["dns", "publish"]);
    assert_eq!(neither.status.code(), Some(2));
    let (code, _) = by_hand("--yes");
    assert_eq!(code, Some(1), "something is in the way still");
    assert_eq!(named.dig("wiki.home.arpa", "A"), ["127.0.0.1"]);
    assert_eq!(named.dig("films.home.arpa", "A"), ["192.0.2.99"]);

    let adopted = ztgate(&folder, &["dns", "publish", "--yes", "--adopt", "--json"]);
    assert_eq!(adopted.status.code(), Some(0), "{adopted:?}");
    let json: serde_json::Value = serde_json::from_slice(&adopted.stdout).unwrap();
    assert_eq!((&json["published"], json["foreign"].as_array().map(Vec::len)), (&3.into(), Some(0)));
    assert_eq!(named.dig("films.home.arpa", "A"), ["127.0.0.1"]);

    // Without [publish] the gateway leaves what stands there, and by hand all of ours goes.
    live.reload(|plan| plan.replace_lines(&named.paragraph(&folder, ""))).await.unwrap();
    until(&live, "ended", |status| status.publish.is_none()).await;
    assert_eq!(named.dig("films.home.arpa", "A"), ["127.0.0.1"]);
    let (code, shown) = by_hand("--yes");
    assert_eq!(code, Some(0), "{shown}");
    for name in ["gate", "wiki", "films"] {
        assert!(named.dig(&format!("{name}.{ZONE}"), "A").is_empty(), "{name}: {shown}");
    }
    assert_eq!(named.dig("foreign.home.arpa", "A"), ["192.0.2.7"]);
}
