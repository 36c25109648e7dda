//! Reload, stop, restart, and gateways beside each other.

use std::time::Duration;

use ztgate::audit::{Ending, Verdict};

use crate::world::upstream::{radio, script};
use crate::world::wire::Closed;
use crate::world::{Live, SOON, World, echo};

const GET: &str = "GET / HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n";

async fn home() -> Live {
    World::new()
        .member("red-phone")
        .member("laptop")
        .service("wiki", echo())
        .service("radio", radio())
        .allow("red-phone", "wiki")
        .allow("red-phone", "radio")
        .start()
        .await
}

#[tokio::test]
async fn a_reload_drops_no_connection_and_a_new_service_is_there_at_once() {
    let mut world = home().await;
    let mut idle = world.from("red-phone").open().await;
    idle.send(GET).await;
    world.from("red-phone").reply(&mut idle, GET).await.is(200);
    let mut radio = world.from("red-phone").listen().await;

    let add = |plan: &mut crate::world::Plan| {
        plan.service("films", &echo(), "");
        plan.allow("red-phone", "films");
        plan.allow("laptop", "wiki");
    };
    world.reload(add).await.unwrap();

    world.from("red-phone").get("films", "/").await.is(200);
    world.from("laptop").get("wiki", "/").await.is(200);
    let films = GET.replace("wiki", "films");
    for request in [GET, &films] {
        idle.send(request).await;
        world.from("red-phone").reply(&mut idle, request).await.is(200);
    }
    assert_eq!(radio.closed_within(Duration::from_millis(50)).await, Closed::Open);
    let mut wire = world.from("red-phone").open_tls("films", &[b"http/1.1"]).await;
    wire.send(&films).await;
    world.from("red-phone").reply(&mut wire, &films).await.is(200);
}

#[tokio::test]
async fn a_service_that_goes_ends_its_streams_and_its_name() {
    let mut world = home().await;
    let mut radio = world.from("red-phone").listen().await;
    world.reload(|plan| plan.remove_service("radio")).await.unwrap();
    assert_eq!(radio.closed_within(SOON).await, Closed::Yes);
    world.from("red-phone").get("radio", "/").await.refused("unknown-name");
    world.from("red-phone").get("wiki", "/").await.is(200);
    let record = world.audit().record(|record| record.service.as_deref() == Some("radio")).await;
    assert_eq!((record.verdict, record.ended), (Verdict::Allow, Some(Ending::Cut)));
}

#[tokio::test]
async fn a_right_that_goes_ends_a_silent_stream() {
    let mut world = home().await;
    let mut radio = world.from("red-phone").listen().await;
    world.reload(|plan| plan.disallow("red-phone", "radio")).await.unwrap();
    assert_eq!(radio.closed_within(SOON).await, Closed::Yes);
}

#[tokio::test]
async fn a_broken_configuration_leaves_the_old_one_in_force() {
    let mut world = home().await;
    let broken = world.reload(|plan| plan.allow("everyone", "wiki")).await;
    assert!(broken.unwrap_err().contains("everyone"));
    world.from("red-phone").get("wiki", "/").await.is(200);
    world.from("laptop").get("wiki", "/").await.refused("no-rule");
}

#[tokio::test]
async fn a_name_that_nobody_bears_yet_lets_nobody_in() {
    let mut world = home().await;
    world.reload(|plan| plan.allow("guest-phone", "wiki")).await.unwrap();
    world.from("red-phone").get("wiki", "/").await.is(200);
    world.from("laptop").get("wiki", "/").await.refused("no-rule");
}

#[tokio::test]
async fn each_name_has_its_certificate_and_a_strange_one_gets_the_gateways() {
    let world = home().await;
    let phone = world.from("red-phone");
    for name in ["wiki", "radio", "gate"] {
        phone.tls(name, &[]).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let strange = phone.tls("no-such", &[]).await.unwrap_err();
    assert!(strange.to_string().contains("gate.home.arpa"), "{strange}");
}

#[tokio::test]
async fn a_name_can_be_kept_to_http_1_and_to_https() {
    let world = World::new()
        .member("red-phone")
        .service_with("old-tv", echo(), "http1_only = true")
        .service_with("bank", echo(), "plain_http = false")
        .allow("red-phone", "old-tv")
        .allow("red-phone", "bank")
        .start()
        .await;
    let phone = world.from("red-phone");
    let both: &[&[u8]] = &[b"h2", b"http/1.1"];
    for (name, protocol) in [("old-tv", &b"http/1.1"[..]), ("bank", b"h2")] {
        let stream = phone.tls(name, both).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol), "{name}");
    }
    let to = format!("https://bank.home.arpa:{}/a?b=c", world.https_port());
    phone.get("bank", "/a?b=c").await.is(308).has("location", &to);
    assert!(world.upstream("bank").requests().is_empty());
}

#[tokio::test]
async fn two_gateways_do_not_meet() {
    let (one, two) = (home().await, World::new().member("red-phone").start().await);
    one.from("red-phone").get("wiki", "/").await.is(200);
    two.from("red-phone").get("wiki", "/").await.refused("unknown-name");
    two.audit().reads(&["red-phone refuse unknown-name"]).await;
    one.audit().reads(&["red-phone allow wiki"]).await;
}

#[tokio::test]
async fn stopping_ends_streams_after_a_moment_and_says_so() {
    let mut world = home().await;
    let mut radio = world.from("red-phone").listen().await;
    let mut idle = world.from("red-phone").open().await;
    idle.send(GET).await;
    world.from("red-phone").reply(&mut idle, GET).await.is(200);
    world.stop().await;
    assert_eq!(radio.closed_within(SOON).await, Closed::Yes);
    assert_eq!(idle.closed_within(SOON).await, Closed::Yes);
    // In the order in which they began.
    world.audit().reads(&["red-phone allow radio shutdown", "red-phone allow wiki"]).await;
}

#[tokio::test]
async fn what_is_under_way_may_end_while_the_gateway_stops() {
    let slow = script(|mut served| async move {
        served.request().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    });
    let mut world =
        World::new().member("red-phone").service("wiki", slow).allow("red-phone", "wiki").start().await;
    let mut wire = world.from("red-phone").open().await;
    wire.send(GET).await;
    while world.upstream("wiki").requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.stop().await;
    assert_eq!(wire.head().await.unwrap().status(), 200);
    assert_eq!(wire.exactly(2).await.unwrap(), b"ok");
}

#[tokio::test]
async fn a_restart_serves_again_on_the_same_ports_and_keeps_the_log() {
    let mut world = home().await;
    world.from("red-phone").get("wiki", "/").await.is(200);
    world.restart().await;
    world.from("red-phone").get("wiki", "/").await.is(200);
    world.audit().reads(&["red-phone allow wiki", "red-phone allow wiki"]).await;
}
