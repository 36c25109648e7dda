//! Who is let in, and what the others are told: every code, in its order.

use std::time::Duration;

use ztgate::demo::standin::Fault;
use ztgate::model::ManualClock;

use crate::world::upstream::{down, script};
use crate::world::wire::Closed;
use crate::world::{SOON, World, echo};

/// Two devices that may come in, two that may not, and one service that only the phone has a right to.
fn home() -> World {
    World::new()
        .member("red-phone")
        .member("laptop")
        .pending("new-tv")
        .stranger("drive-by")
        .service("wiki", echo())
        .allow("red-phone", "wiki")
}

#[tokio::test]
async fn an_allowed_device_gets_through_and_a_pending_one_is_told_so() {
    let world = home().start().await;
    world.from("red-phone").get("wiki", "/").await.is(200).says("GET /").upstream_saw_member("red-phone");
    world.from("new-tv").get("wiki", "/").await.refused("member-pending");
    world.audit().reads(&["red-phone allow wiki", "new-tv refuse member-pending"]).await;
}

#[tokio::test]
async fn only_an_active_device_learns_which_names_exist() {
    let world = home().start().await;
    for service in ["wiki", "no-such", "gate"] {
        world.from("new-tv").get(service, "/").await.refused("member-pending");
        world.from("drive-by").get(service, "/").await.refused("unknown-member");
    }
    world.from("laptop").get("no-such", "/").await.refused("unknown-name");
    world.from("laptop").get("wiki", "/").await.refused("no-rule");
    world.from("laptop").get("gate", "/whoami").await.is(200).says("laptop");
    assert!(world.upstream("wiki").requests().is_empty(), "nobody refused reaches a service");
}

/// The name is judged before the request, and the request before the rule.
#[tokio::test]
async fn of_two_faults_the_earlier_is_told() {
    let world = home().start().await;
    let two_codings = "Transfer-Encoding: gzip, chunked\r\n";
    world.from("new-tv").ask("wiki", "TRACE", "/", "").await.refused("member-pending");
    world.from("laptop").ask("no-such", "TRACE", "/", "").await.refused("unknown-name");
    world.from("laptop").ask("wiki", "TRACE", "/", two_codings).await.refused("bad-request");
    world.from("laptop").get("wiki", "/").await.refused("no-rule");
}

/// Neither by the certificate nor by the protocol of its handshake.
#[tokio::test]
async fn a_handshake_tells_no_name_to_who_is_not_let_in() {
    let world = home().service_with("old-tv", echo(), "http1_only = true").start().await;
    world.from("red-phone").tls("no-such", &[]).await.unwrap_err();
    for device in ["new-tv", "drive-by"] {
        for service in ["wiki", "old-tv", "no-such", "gate"] {
            let both: &[&[u8]] = &[b"h2", b"http/1.1"];
            // The device checks the certificate's name.
            let stream = world.from(device).tls(service, both).await.unwrap();
            let agreed = stream.get_ref().1.alpn_protocol();
            assert_eq!(agreed, Some(&b"h2"[..]), "{device}, {service}");
        }
    }
    let request = "GET / HTTP/1.1\r\nHost: no-such.home.arpa\r\n\r\n";
    let mut wire = world.from("new-tv").open_tls("no-such", &[b"http/1.1"]).await;
    wire.send(request).await;
    world.from("new-tv").reply(&mut wire, request).await.refused("member-pending");
}

#[tokio::test]
async fn an_address_is_no_proof_and_both_members_are_named() {
    let world = home().start().await;
    world.steals_address("laptop", "red-phone");
    world.from("red-phone").get("wiki", "/").await.refused("address-not-yours");
    world.steals_address("drive-by", "red-phone");
    world.from("red-phone").get("wiki", "/").await.refused("unknown-member");
    let lines =
        ["laptop refuse address-not-yours as red-phone", "drive-by refuse unknown-member as red-phone"];
    world.audit().reads(&lines).await;
}

#[tokio::test]
async fn a_connection_without_an_origin_is_closed_unheard() {
    let world = home().start().await;
    let nobody = crate::world::Device { world: &world, source: "127.0.9.9".parse().unwrap() };
    let mut wire = nobody.open().await;
    wire.send("GET / HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n").await;
    assert_eq!(wire.closed_within(SOON).await, Closed::Yes);
    world.audit().reads(&["127.0.9.9 refuse no-proof"]).await;
}

#[tokio::test]
async fn one_device_cannot_take_every_connection_there_is() {
    // Two are a device's share, half of four.
    let world = home().allow("laptop", "wiki").limits(|limits| limits.connections_of_all = 4).start().await;
    let get = "GET / HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n";
    let mut held = Vec::new();
    for device in ["red-phone", "laptop"] {
        for _ in 0..2 {
            let mut wire = world.from(device).open().await;
            wire.send(get).await;
            world.from(device).reply(&mut wire, get).await.is(200);
            held.push(wire);
        }
        let mut beyond = world.from(device).open().await;
        assert_eq!(beyond.closed_within(SOON).await, Closed::Yes, "{device} has its share");
    }
    let mut late = world.from("new-tv").open().await;
    assert_eq!(late.closed_within(SOON).await, Closed::Yes, "there is no room at all");
    let status = world.gateway().status();
    assert_eq!((status.connections, status.most_connections), (4, 4));
    assert_eq!((status.closed_over_share, status.closed_for_want_of_room), (2, 1));
    drop(held);
}

#[tokio::test]
async fn a_revoked_device_loses_what_it_has_open_and_others_keep_theirs() {
    let world = home().allow("laptop", "wiki").start().await;
    let request = "GET / HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n";
    let mut lost = world.from("red-phone").open().await;
    let mut kept = world.from("laptop").open().await;
    for (device, wire) in [("red-phone", &mut lost), ("laptop", &mut kept)] {
        wire.send(request).await;
        world.from(device).reply(wire, request).await.is(200);
    }
    world.revoke("red-phone").await;
    assert_eq!(lost.closed_within(SOON).await, Closed::Yes);
    world.from("red-phone").get("wiki", "/").await.refused("member-revoked");
    kept.send(request).await;
    world.from("laptop").reply(&mut kept, request).await.is(200);
}

#[tokio::test]
async fn a_service_that_is_down_says_so_and_since_when() {
    let world =
        World::new().member("red-phone").service("wiki", down()).allow("red-phone", "wiki").start().await;
    world.from("red-phone").get("wiki", "/").await.refused("upstream-down").says("wiki");
    let json = world.from("red-phone").ask("wiki", "GET", "/", "Accept: application/json\r\n").await;
    let told: serde_json::Value = serde_json::from_slice(&json.refused("upstream-down").body).unwrap();
    assert!(told["refusal"]["since"].is_string(), "{told}");
    world.audit().reads(&["red-phone refuse upstream-down wiki"]).await;
}

#[tokio::test]
async fn a_service_that_says_nothing_is_given_up_and_its_connection_closed() {
    let (closed, mut was_closed) = tokio::sync::mpsc::channel(1);
    let silent = script(move |mut served| {
        let closed = closed.clone();
        async move {
            served.request().await;
            closed.send(served.wire.closed_within(SOON).await).await.unwrap();
        }
    });
    let world = World::new()
        .member("red-phone")
        .service("wiki", silent)
        .allow("red-phone", "wiki")
        .limits(|limits| limits.answer = Duration::from_millis(200))
        .start()
        .await;
    world.from("red-phone").get("wiki", "/").await.refused("upstream-slow");
    assert_eq!(was_closed.recv().await, Some(Closed::Yes));
}

#[tokio::test]
async fn a_refusal_is_a_page_or_json_and_to_head_only_its_headers() {
    let world = home().start().await;
    let device = world.from("new-tv");
    let page = device.ask("wiki", "GET", "/", "Accept: text/html\r\n").await.refused("member-pending");
    let page = page.has("content-type", "text/html; charset=utf-8").has("cache-control", "no-store");
    let json = device.ask("wiki", "GET", "/", "Accept: application/json\r\n").await.refused("member-pending");
    let json = json.has("content-type", "application/json");
    let told: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert!(told.to_string().contains("member-pending"), "{told}");
    assert!(told.to_string().contains(&world.id("new-tv").to_string()), "{told}");

    let mut wire = device.open().await;
    wire.send("HEAD / HTTP/1.1\r\nHost: wiki.home.arpa\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
        .await;
    let head = wire.head().await.unwrap();
    assert_eq!(head.get("ztgate-refusal"), Some("member-pending"));
    let length: usize = head.get("content-length").unwrap().parse().unwrap();
    assert!(length.abs_diff(page.body.len()) < 16, "as long as the page: {length} and {}", page.body.len());
    assert_eq!(wire.rest().await, b"", "and no body");
}

#[tokio::test]
async fn refusals_that_repeat_are_one_record_and_a_count() {
    let mut world = home().start().await;
    for _ in 0..4 {
        world.from("new-tv").get("wiki", "/").await.refused("member-pending");
        world.from("laptop").get("wiki", "/").await.refused("no-rule");
    }
    world.stop().await;
    let mut folded = world.audit().records();
    folded.sort_by_key(|record| (record.member, record.count));
    let mut counts: Vec<u32> = folded.iter().map(|record| record.count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 1, 3, 3]);
}

#[tokio::test]
async fn a_restart_without_the_controller_stands_on_the_kept_roster_until_it_is_too_old() {
    let clock = std::sync::Arc::new(ManualClock::at("2026-11-20T20:00:00Z".parse().unwrap()));
    let mut world = home().clock(clock.clone()).start().await;
    world.from("red-phone").get("wiki", "/").await.is(200);
    world.controller_fails(Fault::Down);
    clock.advance(Duration::from_secs(600));
    world.restart().await;
    world.from("red-phone").get("wiki", "/").await.is(200);
    world.from("new-tv").get("wiki", "/").await.refused("member-pending");
    clock.advance(Duration::from_secs(301));
    world.from("red-phone").get("wiki", "/").await.refused("roster-stale");
    world.from("drive-by").get("wiki", "/").await.refused("roster-stale");
}

/// On a public network a device that was thrown out stays in, so nobody is let in.
#[tokio::test]
async fn an_unsafe_network_lets_nobody_in() {
    let world = home().start().await;
    world.network().change(|net| net.private = false);
    world.poll().await;
    world.from("red-phone").get("wiki", "/").await.refused("network-unsafe");
    world.from("drive-by").get("wiki", "/").await.refused("network-unsafe");
}

/// A controller that shows another public identity for a member, by mistake or because somebody took it over, changes
/// nothing about who that member is.
#[tokio::test]
async fn another_identity_than_the_pinned_one_is_refused_and_the_pin_stays() {
    let world = home().allow("laptop", "wiki").start().await;
    let id = world.id("red-phone");
    let show = async |identity: Option<String>| {
        world.network().change(|net| net.member(id).unwrap().identity = identity);
        world.poll().await;
    };
    let pinned = world.network().change(|net| net.member(id).unwrap().identity.clone()).unwrap();
    let (name, key) = pinned.rsplit_once(':').unwrap();
    let other = format!("{name}:{}", key.chars().rev().collect::<String>());

    show(Some(other)).await;
    world.from("red-phone").get("wiki", "/").await.refused("identity-changed");
    world.from("laptop").get("wiki", "/").await.is(200);
    world.audit().reads(&["red-phone refuse identity-changed", "laptop allow wiki"]).await;
    let status = world.gateway().status();
    let alarms: Vec<_> = status.changed.iter().map(|person| person.member).collect();
    assert_eq!(alarms, [id]);

    // Nor does forgetting it: only the pinned one opens the door again.
    show(None).await;
    world.from("red-phone").get("wiki", "/").await.refused("identity-changed");
    show(Some(pinned)).await;
    world.from("red-phone").get("wiki", "/").await.is(200);
    assert!(world.gateway().status().changed.is_empty());
}
