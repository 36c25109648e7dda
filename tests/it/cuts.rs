//! What runs must end when what let it in does: each of these once ran on.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::ext::Protocol;
use ztgate::demo::standin::Fault;
use ztgate::model::ManualClock;

use crate::world::upstream::{radio, says, script};
use crate::world::wire::Closed;
use crate::world::{SOON, Upstream, World, echo};

/// Takes whatever is uploaded and never answers.
fn sink() -> Upstream {
    script(|mut served| async move {
        served.request().await;
        while served.wire.some().await.is_some() {}
    })
}

fn home() -> World {
    World::new()
        .member("red-phone")
        .service("wiki", echo())
        .service("radio", radio())
        .service("inbox", sink())
        .allow("red-phone", "wiki")
        .allow("red-phone", "radio")
        .allow("red-phone", "inbox")
}

/// A request that is refused in the moment of the revocation must not shield the stream beside it.
#[tokio::test]
async fn a_revoked_devices_stream_ends_though_its_other_requests_go_on() {
    let world = home().start().await;
    let mut h2 = world.from("red-phone").h2("radio").await;
    let get = || Request::get("https://radio.home.arpa/").body(http_body_util::Full::default()).unwrap();
    let mut radio = h2.send(get()).await.into_body();
    radio.frame().await.unwrap().unwrap();
    let bad = || {
        let request = Request::get("https://radio.home.arpa/").method(Method::TRACE);
        request.body(http_body_util::Full::default()).unwrap()
    };
    let trickle = tokio::spawn(async move { while h2.try_send(bad()).await.is_some() {} });
    world.revoke("red-phone").await;
    let ended = tokio::time::timeout(SOON, radio.frame()).await.expect("the stream ran on");
    assert!(ended.is_none_or(|frame| frame.is_err()));
    tokio::time::timeout(SOON, trickle).await.expect("the connection lived on").unwrap();
}

#[tokio::test]
async fn a_roster_that_grows_too_old_ends_what_it_let_in() {
    let clock = Arc::new(ManualClock::at("2026-11-20T20:00:00Z".parse().unwrap()));
    let world = home().clock(clock.clone()).start().await;
    let mut radio = world.from("red-phone").listen().await;
    world.controller_fails(Fault::Down);
    clock.advance(Duration::from_secs(15 * 60 + 60));
    assert_eq!(radio.closed_within(SOON).await, Closed::Yes);
}

#[tokio::test]
async fn an_upload_ends_with_the_right_to_it() {
    let mut world = home().start().await;
    let mut upload = world.from("red-phone").open().await;
    upload
        .send("PUT / HTTP/1.1\r\nHost: inbox.home.arpa\r\nTransfer-Encoding: chunked\r\n\r\n2\r\non\r\n")
        .await;
    while world.upstream("inbox").requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.reload(|plan| plan.disallow("red-phone", "inbox")).await.unwrap();
    let told = upload.head().await.unwrap();
    assert_eq!((told.status(), told.get("ztgate-refusal")), (403, Some("no-rule")));
}

/// In HTTP/2 a 200 to a CONNECT says that the tunnel is open (RFC 8441), so a page must not pass for one.
#[tokio::test]
async fn a_page_is_no_tunnel() {
    let page = says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
    let world =
        World::new().member("red-phone").service("page", page).allow("red-phone", "page").start().await;
    let mut h2 = world.from("red-phone").h2("page").await;
    let connect = Request::builder()
        .method(Method::CONNECT)
        .uri("https://page.home.arpa/ws")
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(http_body_util::Full::default())
        .unwrap();
    let answer = h2.send(connect).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(answer.headers()["ztgate-refusal"], "upstream-down");
}

/// Methods are anybody's text, and once filled the log and the memory.
#[tokio::test]
async fn a_method_of_many_words_is_refused_and_recorded_in_few() {
    let world = home().start().await;
    let method = "M".repeat(5000);
    world.from("red-phone").ask("wiki", &method, "/", "").await.refused("bad-request");
    let record = world.audit().record(|record| record.method.is_some()).await;
    assert!(record.method.unwrap().len() <= 40);
}
