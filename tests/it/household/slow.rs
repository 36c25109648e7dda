//! An aria2 that thinks too long, hangs, or is gone: the device hears so in its own language, and nothing waits for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use ztgate::audit::Ending;
use ztgate::linux::clock::SystemClock;
use ztgate::model::{Clock, Moment};
use ztgate::services::PATIENCE;

use crate::world::upstream::{Upstream, down, script};

use super::socket::Socket;
use super::{Home, call, household, json_of, post};

/// Takes everything, says nothing, and tells what it heard on WebSockets.
fn silent() -> (Upstream, mpsc::Receiver<Vec<u8>>) {
    let (tell, heard) = mpsc::channel(64);
    let upstream = script(move |mut served| {
        let tell = tell.clone();
        async move {
            let head = served.request().await.unwrap();
            if let Some(key) = head.get("sec-websocket-key") {
                let accept = derive_accept_key(key.as_bytes());
                let yes = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
                served.wire.send(format!("{yes}Sec-WebSocket-Accept: {accept}\r\n\r\n")).await;
            }
            while let Some(bytes) = served.wire.some().await {
                let _ = tell.send(bytes).await;
            }
        }
    });
    (upstream, heard)
}

/// The machine's clock, put ahead.
#[derive(Default)]
struct Ahead(AtomicU64);

impl Ahead {
    fn by(&self, time: Duration) {
        self.0.fetch_add(time.as_secs(), Ordering::Relaxed);
    }
}

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn instant(&self) -> Moment {
        SystemClock.instant() + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn by_post_a_silent_aria2_is_an_error_within_its_time() {
    let (upstream, _heard) = silent();
    let soon = Duration::from_millis(600);
    let world = household(upstream, "").limits(|limits| limits.answer = soon).start().await;
    let add = call("a", "aria2.addUri", json!([["https://example.org/a.iso"]]));
    let other = call("a", "aria2.addUri", json!([["https://example.org/b.iso"]]));
    for body in [add, format!("[{other},{}]", call("b", "aria2.shutdown", json!([])))] {
        let began = Instant::now();
        let reply = post(&world, "red-phone", &body).await.refused("upstream-slow");
        assert!((soon..soon * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
        let answers = match json_of(&reply) {
            serde_json::Value::Array(answers) => answers,
            one => vec![one],
        };
        assert_eq!(
            (&answers[0]["id"], &answers[0]["error"]["data"]["refusal"]),
            (&json!("a"), &json!("upstream-slow"))
        );
        assert!(answers.get(1).is_none_or(|second| second["error"]["data"]["refusal"] == "no-rule"));
    }
    let asked = "red-phone asked to add https://example.org/a.iso, no answer (upstream-slow)";
    let tried = "red-phone tried aria2.shutdown: needs the role admin; you have add (no-rule)";
    world
        .audit()
        .tells(
            "aria2",
            &[asked, tried, &asked.replace("a.iso", "b.iso"), "red-phone POST /jsonrpc (upstream-slow)"],
        )
        .await;
}

#[tokio::test]
async fn by_post_a_dead_aria2_is_an_error_at_once() {
    let breaks_off = script(|mut served| async move {
        served.request().await;
    });
    let half = script(|mut served| async move {
        served.request().await;
        served.wire.send("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"id\":1,").await;
    });
    for upstream in [down(), breaks_off, half] {
        let world = household(upstream, "").start().await;
        let reply = post(&world, "kids-tablet", &call("a", "aria2.getVersion", json!([]))).await;
        let answer = json_of(&reply.refused("upstream-down"));
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("a"), &json!(-32_015)));
    }
}

/// Over a WebSocket the others go on, late answers are nobody's, and pings are the gateway's to answer.
#[tokio::test]
async fn over_a_websocket_a_silent_aria2_is_an_error_within_its_time() {
    let (upstream, mut heard) = silent();
    let clock = Arc::new(Ahead::default());
    let world = household(upstream, "").clock(clock.clone()).start().await;
    let mut socket = Socket::open(&world, "kids-tablet").await;
    socket.say(Message::Ping("anybody there?".into())).await;
    assert_eq!(socket.next().await, Some(Message::Pong("anybody there?".into())));
    socket.say(call("first", "aria2.getVersion", json!([]))).await;
    let frame = heard.recv().await.unwrap();
    assert_eq!(frame[0], 0x81, "one whole text message, and no ping before it");
    clock.by(PATIENCE);
    socket.say(call("second", "aria2.getVersion", json!([]))).await;
    let answer = socket.answer().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("first"), &json!(-32_016)));
    assert_eq!(heard.recv().await.unwrap()[0], 0x81);
}

#[tokio::test]
async fn over_a_websocket_a_dead_aria2_is_an_error_and_the_end() {
    let Some(home) = Home::new().await else { return };
    let mut socket = Socket::open(&home.world, "kids-tablet").await;
    home.aria2.process.signal("STOP");
    socket.say(call("waits", "aria2.getVersion", json!([]))).await;
    socket.say(Message::Ping("hello".into())).await;
    assert_eq!(socket.next().await, Some(Message::Pong("hello".into())));
    home.aria2.process.signal("KILL");
    let answer = socket.answer().await;
    assert_eq!(
        (&answer["id"], &answer["error"]["data"]["refusal"]),
        (&json!("waits"), &json!("upstream-down"))
    );
    assert_eq!(socket.closes().await, Some(CloseCode::Again));
    home.world.audit().reads(&["kids-tablet allow aria2 upstream-broke"]).await;
}

#[tokio::test]
async fn an_aria2_that_hangs_wedges_nobody_and_goes_on_when_it_wakes() {
    let Some(home) = Home::new().await else { return };
    let mut socket = Socket::open(&home.world, "laptop").await;
    home.aria2.process.signal("STOP");
    for at in 0..8 {
        socket.say(call(&at.to_string(), "aria2.getVersion", json!([]))).await;
    }
    home.post("laptop", &call("p", "aria2.getVersion", json!([]))).await.refused("upstream-slow");
    home.aria2.process.signal("CONT");
    for at in 0..8 {
        let answer = socket.answer().await;
        assert_eq!((&answer["id"], answer["result"].is_object()), (&json!(at.to_string()), true));
    }
    assert!(home.result("laptop", "aria2.getVersion", json!([])).await.is_object());
}

/// Who leaves before the answer, or is sent away, may still have had it done.
#[tokio::test]
async fn what_was_asked_is_told_though_nobody_waited_for_the_answer() {
    let (upstream, mut heard) = silent();
    let world = household(upstream, "").start().await;
    let add = |name: &str| call("1", "aria2.addUri", json!([[format!("https://example.org/{name}")]]));
    let mut socket = Socket::open(&world, "desktop").await;
    socket.say(add("b")).await;
    heard.recv().await.unwrap();
    world.revoke("desktop").await;
    assert_eq!(socket.closes().await, None);
    let asked = "desktop asked to add https://example.org/b, no answer";
    world.audit().tells("aria2", &["desktop GET /jsonrpc?token=…", asked]).await;

    let mut wire = world.from("red-phone").open().await;
    let (body, head) = (add("a"), "POST /jsonrpc HTTP/1.1\r\nHost: aria2.home.arpa\r\nContent-Length: ");
    wire.send(format!("{head}{}\r\n\r\n{body}", body.len())).await;
    heard.recv().await.unwrap();
    drop(wire);
    let record = world.audit().record(|record| record.member == Some(world.id("red-phone"))).await;
    assert_eq!(record.deed.as_deref(), Some("asked to add https://example.org/a, no answer"));
    assert_eq!(record.ended, Some(Ending::DeviceGone));
}
