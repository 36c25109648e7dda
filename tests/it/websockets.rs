//! WebSockets: who gets a tunnel, by HTTP/1.1 and HTTP/2, and what ends it.

use std::time::Duration;

use http::{Method, Request, StatusCode};
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use ztgate::audit::Ending;

use crate::world::h2::{field, frame, opening};
use crate::world::upstream::{Upstream, script};
use crate::world::wire::Closed;
use crate::world::{Live, SOON, Wire, World, echo};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The request that opens one at the service `chat`, with these header lines changed.
pub fn handshake(changed: &[(&str, &str)]) -> String {
    let mut lines = vec![
        ("Host", "chat.home.arpa"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    for change in changed {
        lines.retain(|(name, _)| name != &change.0);
        lines.push(*change);
    }
    let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET /ws HTTP/1.1\r\n{lines}\r\n")
}

/// Accepts and sends back every byte. The frames inside are nothing to the gateway.
pub fn chat() -> Upstream {
    script(|mut served| async move {
        let Some(head) = served.request().await else { return };
        let accept = derive_accept_key(head.get("sec-websocket-key").unwrap().as_bytes());
        served
            .wire
            .send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
            ))
            .await;
        while let Some(bytes) = served.wire.some().await {
            served.wire.send(bytes).await;
        }
    })
}

async fn home(upstream: Upstream) -> Live {
    World::new()
        .member("red-phone")
        .member("laptop")
        .service("chat", upstream)
        .service("wiki", echo())
        .allow("red-phone", "chat")
        .allow("laptop", "chat")
        .start()
        .await
}

/// Opens a WebSocket and sees that it echoes.
async fn open(world: &Live, device: &str) -> Wire {
    let mut wire = world.from(device).open().await;
    wire.send(handshake(&[])).await;
    let head = wire.head().await.unwrap();
    assert_eq!((head.status(), head.get("sec-websocket-accept")), (101, Some(ACCEPT)), "{head:#?}");
    assert_eq!(head.get("sec-websocket-protocol"), Some("chat"));
    echoes(&mut wire, "hello").await;
    wire
}

async fn echoes(wire: &mut Wire, words: &str) {
    wire.send(words).await;
    assert_eq!(wire.exactly(words.len()).await.as_deref(), Some(words.as_bytes()));
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_end_can_close() {
    let world = home(chat()).await;
    let mut wire = open(&world, "red-phone").await;
    echoes(&mut wire, &"x".repeat(300_000)).await;
    wire.finish().await;
    assert_eq!(wire.closed_within(SOON).await, Closed::Yes);
    let record = world.audit().record(|record| record.status == Some(101)).await;
    assert_eq!((record.received, record.sent, record.ended), (300_005, 300_005, None));
    let seen = world.upstream("chat").requests().remove(0);
    assert_eq!(seen.get("x-ztgate-device"), Some("red-phone"));
    assert_eq!((seen.get("connection"), seen.get("upgrade")), (Some("Upgrade"), Some("websocket")));
}

/// A tunnel is a connection like any other, for as long as it lives.
#[tokio::test]
async fn tunnels_count_among_the_connections_to_services() {
    let world = World::new()
        .member("red-phone")
        .service("chat", chat())
        .allow("red-phone", "chat")
        .limits(|limits| limits.upstreams = 2)
        .start()
        .await;
    let mut wire = open(&world, "red-phone").await;
    world.from("red-phone").raw(&handshake(&[])).await.refused("gateway-busy");
    echoes(&mut wire, "still here").await;
    wire.finish().await;
    assert_eq!(wire.closed_within(SOON).await, Closed::Yes);
    world.audit().record(|record| record.status == Some(101)).await;
    open(&world, "red-phone").await;
}

#[tokio::test]
async fn only_a_handshake_to_the_letter_reaches_the_service() {
    let world = home(chat()).await;
    let phone = world.from("red-phone");
    for changed in [
        ("Sec-WebSocket-Version", "8"),
        ("Sec-WebSocket-Version", "13, 8"),
        ("Sec-WebSocket-Key", "short"),
        ("Sec-WebSocket-Key", "AAAA"),
        ("Sec-WebSocket-Key", ""),
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
    ] {
        phone.raw(&handshake(&[changed])).await.refused("bad-request");
    }
    let post = handshake(&[]).replacen("GET", "POST", 1);
    phone.raw(&post).await.refused("bad-request");
    assert!(world.upstream("chat").requests().is_empty());
}

#[tokio::test]
async fn a_device_without_the_right_gets_no_tunnel() {
    let world = home(chat()).await;
    let to_wiki = handshake(&[("Host", "wiki.home.arpa")]);
    world.from("red-phone").raw(&to_wiki).await.refused("no-rule");
}

/// Without the accept key that fits, what answered did not understand the question, and bytes sent to it would be read as
/// something else.
#[tokio::test]
async fn a_wrong_accept_key_opens_nothing() {
    for accept in ["Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n", ""] {
        let (rest, mut sent) = mpsc::channel(1);
        let liar = script(move |mut served| {
            let rest = rest.clone();
            async move {
                served.request().await;
                let answer =
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
                served.wire.send(format!("{answer}{accept}\r\n")).await;
                rest.send(served.wire.rest().await).await.unwrap();
            }
        });
        let world = home(liar).await;
        world.from("red-phone").raw(&(handshake(&[]) + "early words")).await.refused("upstream-down");
        assert_eq!(sent.recv().await.unwrap(), b"", "nothing comes through");
    }
}

/// What a device sends before the service's 101 is not the service's yet (CVE-2026-2833): it would read it as a request.
#[tokio::test]
async fn nothing_is_forwarded_before_the_service_has_agreed() {
    let (early, mut came) = mpsc::channel(1);
    let slow = script(move |mut served| {
        let early = early.clone();
        async move {
            let head = served.request().await.unwrap();
            early.send(served.wire.rest_within(Duration::from_millis(200)).await).await.unwrap();
            if head.target() == "/ws" {
                let no = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
                served.wire.send(no).await;
                assert_eq!(served.wire.rest().await, b"");
            }
        }
    });
    let world = home(slow).await;
    let phone = world.from("red-phone");
    let mut wire = phone.open().await;
    wire.send(handshake(&[]) + "GET /hidden HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n").await;
    assert_eq!(came.recv().await.unwrap(), b"");
    phone.reply(&mut wire, "GET /ws").await.is(404);
    if let Some(head) = wire.head().await {
        assert_eq!(head.get("ztgate-refusal"), Some("no-rule"), "judged like any other request");
    }
    assert!(world.upstream("wiki").requests().is_empty());
    assert_eq!(world.upstream("chat").requests().len(), 1);
}

#[tokio::test]
async fn a_revoked_devices_tunnel_is_cut_and_others_stay() {
    let world = home(chat()).await;
    let mut cut = open(&world, "red-phone").await;
    let mut kept = open(&world, "laptop").await;
    world.revoke("red-phone").await;
    assert_eq!(cut.closed_within(SOON).await, Closed::Yes);
    echoes(&mut kept, "still here").await;
    let record = world.audit().record(|record| record.member == Some(world.id("red-phone"))).await;
    assert_eq!((record.ended, record.status), (Some(Ending::Cut), Some(101)));
}

#[tokio::test]
async fn a_tunnel_ends_when_the_right_to_its_service_does() {
    let mut world = home(chat()).await;
    let mut cut = open(&world, "red-phone").await;
    let mut kept = open(&world, "laptop").await;
    world.reload(|plan| plan.disallow("red-phone", "chat")).await.unwrap();
    assert_eq!(cut.closed_within(SOON).await, Closed::Yes);
    echoes(&mut kept, "still here").await;
    world.from("red-phone").raw(&handshake(&[])).await.refused("no-rule");
}

#[tokio::test]
async fn stopping_ends_a_tunnel_at_once() {
    let mut world = home(chat()).await;
    let mut wire = open(&world, "red-phone").await;
    world.stop().await;
    assert_eq!(wire.closed_within(SOON).await, Closed::Yes);
    world.audit().reads(&["red-phone allow chat shutdown"]).await;
}

#[tokio::test]
async fn when_one_end_vanishes_the_other_knows_within_a_second() {
    let (gone, mut left) = mpsc::channel(1);
    let upstream = script(move |mut served| {
        let gone = gone.clone();
        async move {
            let head = served.request().await.unwrap();
            let accept = derive_accept_key(head.get("sec-websocket-key").unwrap().as_bytes());
            let yes = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
            served.wire.send(format!("{yes}Sec-WebSocket-Accept: {accept}\r\n\r\n")).await;
            served.wire.rest().await;
            gone.send(()).await.unwrap();
        }
    });
    let world = home(upstream).await;
    let mut wire = world.from("red-phone").open().await;
    wire.send(handshake(&[])).await;
    wire.head().await.unwrap();
    drop(wire);
    tokio::time::timeout(Duration::from_secs(1), left.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn over_http2_a_websocket_is_an_extended_connect() {
    let world = home(chat()).await;
    let mut h2 = world.from("red-phone").h2("chat").await;
    let connect = |version: &str| {
        Request::builder()
            .method(Method::CONNECT)
            .uri("https://chat.home.arpa/ws")
            .extension(Protocol::from_static("websocket"))
            .header("sec-websocket-version", version)
            .body(http_body_util::Full::default())
            .unwrap()
    };
    let refused = h2.send(connect("8")).await;
    assert_eq!(refused.headers()["ztgate-refusal"], "bad-request");

    let mut agreed = h2.send(connect("13")).await;
    assert_eq!(agreed.status(), StatusCode::OK, "{agreed:?}");
    assert_eq!(agreed.headers()["sec-websocket-protocol"], "chat");
    assert!(!agreed.headers().contains_key("sec-websocket-accept"));
    let tunnel = hyper::upgrade::on(&mut agreed).await.unwrap();
    let mut wire = Wire::new(TokioIo::new(tunnel));
    echoes(&mut wire, "hello").await;
    echoes(&mut wire, &"x".repeat(200_000)).await;
    world.revoke("red-phone").await;
    assert_eq!(wire.closed_within(SOON).await, Closed::Yes);
}

/// Says hello, and then `more` again and again until nobody listens.
fn greets(more: &'static str) -> Upstream {
    script(move |mut served| async move {
        let head = served.request().await.unwrap();
        let accept = derive_accept_key(head.get("sec-websocket-key").unwrap().as_bytes());
        let yes = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
        served.wire.send(format!("{yes}Sec-WebSocket-Accept: {accept}\r\n\r\nhello")).await;
        while served.wire.closed_within(Duration::from_millis(1)).await != Closed::Yes {
            served.wire.send(more).await;
        }
    })
}

/// A browser that closes a page resets the stream (RST_STREAM, CANCEL) and says no word to the service. Nobody broke off:
/// the device left, and what the service went on to say did not reach it.
#[tokio::test]
async fn a_page_that_is_closed_is_no_fault_of_the_service() {
    let (headers, end_headers) = (1, 4);
    let reset = frame(3, 0, 1, &8_u32.to_be_bytes());
    // Whoever ends the stream in order says that nothing more is to come, and may have the last words.
    let end = frame(0, 1, 1, &[]);
    for (service, goodbye, ended) in [
        (greets(""), &reset, Some(Ending::DeviceGone)),
        (greets("news "), &reset, Some(Ending::DeviceGone)),
        (greets(""), &end, None),
        (greets("news "), &end, None),
    ] {
        let world = home(service).await;
        let mut browsers = Vec::new();
        for _ in 0..10 {
            let mut browser = world.from("red-phone").open_tls("chat", &[b"h2"]).await;
            let head = [
                field(":method", "CONNECT"),
                field(":protocol", "websocket"),
                field(":scheme", "https"),
                field(":path", "/ws"),
                field(":authority", "chat.home.arpa"),
                field("sec-websocket-version", "13"),
            ];
            browser.send([opening(), frame(headers, end_headers, 1, &head.concat())].concat()).await;
            let mut came = Vec::new();
            while !came.windows(5).any(|window| window == b"hello") {
                came.extend(browser.some().await.expect("a greeting"));
            }
            browser.send(goodbye).await;
            // The connection outlives its streams, as a browser's does.
            browsers.push(browser);
        }
        world.audit().count(browsers.len()).await;
        for record in world.audit().records() {
            assert_eq!((record.status, record.ended), (Some(200), ended));
        }
    }
}
