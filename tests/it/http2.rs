//! HTTP/2: the same promises as over HTTP/1.1, and the floods that it makes cheap.

use std::time::Duration;

use ztgate::audit::Ending;

use crate::world::h2::{field, frame, opening};
use crate::world::upstream::script;
use crate::world::wire::Closed;
use crate::world::{Live, SOON, World, echo};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

async fn home() -> Live {
    World::new()
        .member("red-phone")
        .member("laptop")
        .service("wiki", echo())
        .service("vault", echo())
        .allow("red-phone", "wiki")
        .allow("laptop", "wiki")
        .start()
        .await
}

/// A request's head, without `host`.
fn request(authority: &str) -> Vec<u8> {
    [field(":method", "GET"), field(":scheme", "https"), field(":path", "/"), field(":authority", authority)]
        .concat()
}

#[tokio::test]
async fn a_service_sees_the_same_request_as_over_http_1() {
    let world = home().await;
    let mut h2 = world.from("red-phone").h2("wiki").await;
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("x_forwarded_for", "6.6.6.6"), ("te", "trailers")];
    let (answer, body) = h2.ask("wiki", "/page", &crumbs).await;
    assert_eq!((answer.status().as_u16(), body.as_str()), (200, "GET /page\n"));
    let seen = world.upstream("wiki").requests().remove(0);
    assert_eq!(seen.get("cookie"), Some("a=1; b=2"));
    assert_eq!(seen.get("host"), Some("wiki.home.arpa"));
    assert_eq!(seen.get("x-forwarded-for"), Some("127.0.1.1"));
    assert_eq!(seen.get("x-forwarded-proto"), Some("https"));
    for name in ["x_forwarded_for", "te", ":authority"] {
        assert!(!seen.has(name), "{seen:#?}");
    }
}

#[tokio::test]
async fn authority_host_and_tls_name_agree() {
    let world = home().await;
    let mut h2 = world.from("red-phone").h2("wiki").await;
    for (authority, host, code) in [
        ("wiki", "wiki.home.arpa", None),
        ("wiki", "vault.home.arpa", Some("bad-request")),
        ("vault", "vault.home.arpa", Some("unknown-name")),
        ("no-such", "no-such.home.arpa", Some("unknown-name")),
    ] {
        let (answer, _) = h2.ask(authority, "/", &[("host", host)]).await;
        let refusal = answer.headers().get("ztgate-refusal").map(|code| code.to_str().unwrap());
        assert_eq!(refusal, code, "{authority} {host}");
    }
    assert!(world.upstream("vault").requests().is_empty());
}

/// A player that seeks resets one stream; the others on its connection go on.
#[tokio::test]
async fn a_stream_that_is_reset_ends_upstream_and_its_connection_lives() {
    let (left, mut when) = tokio::sync::mpsc::channel(1);
    let film = script(move |mut served| {
        let left = left.clone();
        async move {
            served.request().await;
            served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf").await;
            assert_eq!(served.wire.closed_within(SOON).await, Closed::Yes);
            left.send(()).await.unwrap();
        }
    });
    let world =
        World::new().member("red-phone").service("films", film).allow("red-phone", "films").start().await;
    let mut h2 = world.from("red-phone").h2("films").await;
    let film = http::Request::get("https://films.home.arpa/").body(http_body_util::Full::default()).unwrap();
    let playing = h2.send(film).await;
    drop(playing);
    tokio::time::timeout(Duration::from_secs(1), when.recv()).await.expect("the service goes on").unwrap();
    let gate = http::Request::get("https://films.home.arpa/2").body(http_body_util::Full::default()).unwrap();
    assert_eq!(h2.send(gate).await.status(), 200);
    let record = world.audit().record(|_| true).await;
    assert_eq!((record.ended, record.sent), (Some(Ending::DeviceGone), 4));
}

/// CVE-2023-44487: streams that are opened and reset at once.
#[tokio::test]
async fn rapid_resets_end_the_connection_and_hurt_nobody_else() {
    let world = home().await;
    let mut attack = world.from("red-phone").open_tls("wiki", &[b"h2"]).await;
    let mut bytes = opening();
    for stream in (1..20_001).step_by(2) {
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &request("wiki.home.arpa")));
        bytes.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
    }
    attack.send(&bytes).await;
    attack.rest().await;
    let reached = world.upstream("wiki").requests().len();
    assert!(reached < 500, "{reached} of 10000 requests reached the service");
    let (answer, _) = world.from("laptop").h2("wiki").await.ask("wiki", "/", &[]).await;
    assert_eq!(answer.status(), 200);
}

/// A head that never ends (2024's CONTINUATION flood).
#[tokio::test]
async fn a_head_in_endless_pieces_ends_the_connection() {
    let world = home().await;
    let mut attack = world.from("red-phone").open_tls("wiki", &[b"h2"]).await;
    let mut bytes = opening();
    bytes.extend(frame(HEADERS, END_STREAM, 1, &request("wiki.home.arpa")));
    let piece = field("x-more", &"y".repeat(120)).repeat(100);
    for _ in 0..300 {
        bytes.extend(frame(CONTINUATION, 0, 1, &piece));
    }
    attack.send(&bytes).await;
    attack.rest().await;
    assert!(world.upstream("wiki").requests().is_empty());
    tokio::time::timeout(SOON, world.from("laptop").get("wiki", "/")).await.unwrap().is(200);
}
