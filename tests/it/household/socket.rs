//! Calls over a WebSocket, in every shape in which frames may carry them, and what comes back unasked.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{Method, Request};
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

use crate::world::device::host;
use crate::world::{Live, SOON};

use super::{Home, call};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A device's end of a conversation.
pub struct Socket {
    stream: WebSocketStream<Box<dyn Stream>>,
    /// The notifications that came, as `onDownloadStart 2089…`.
    pub news: Vec<String>,
}

impl Socket {
    /// Over HTTP/1.1 in plain.
    pub async fn open(world: &Live, device: &str) -> Self {
        let stream: Box<dyn Stream> = Box::new(world.from(device).connect(world.http_port()).await);
        let url = format!("ws://{}/jsonrpc?token=x", host("aria2"));
        let (stream, answer) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        assert!(!answer.headers().contains_key("sec-websocket-extensions"));
        Self { stream, news: Vec::new() }
    }

    /// Over HTTP/2, by an extended CONNECT.
    async fn open_h2(world: &Live, device: &str) -> Self {
        let mut h2 = world.from(device).h2("aria2").await;
        let connect = Request::builder()
            .method(Method::CONNECT)
            .uri("https://aria2.home.arpa/jsonrpc")
            .extension(Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .body(http_body_util::Full::default())
            .unwrap();
        let mut agreed = h2.send(connect).await;
        assert_eq!(agreed.status(), 200, "{agreed:?}");
        let stream: Box<dyn Stream> = Box::new(TokioIo::new(hyper::upgrade::on(&mut agreed).await.unwrap()));
        // The connection ends with its client.
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(h2);
        });
        Self { stream: WebSocketStream::from_raw_socket(stream, Role::Client, None).await, news: Vec::new() }
    }

    pub async fn say(&mut self, message: impl Into<Message>) {
        tokio::time::timeout(SOON, self.stream.send(message.into())).await.expect("nobody reads").unwrap();
    }

    /// The next message that is no notification; `None` once the conversation is over.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            let message = tokio::time::timeout(SOON, self.stream.next()).await.expect("no word")?.ok()?;
            let said: Value =
                message.to_text().map_or(Value::Null, |text| serde_json::from_str(text).unwrap_or_default());
            match said["method"].as_str() {
                Some(method) => {
                    let gid = said["params"][0]["gid"].as_str().unwrap();
                    self.news.push(format!("{} {gid}", method.trim_start_matches("aria2.")));
                }
                None => return Some(message),
            }
        }
    }

    pub async fn answer(&mut self) -> Value {
        let message = self.next().await.expect("the conversation is over");
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }

    /// Makes a call: the whole answer.
    pub async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.say(call("1", method, params)).await;
        self.answer().await
    }

    /// Waits for a notification.
    async fn hears(&mut self, news: &str) {
        while !self.news.iter().any(|heard| heard == news) {
            // Whatever comes of it, it is an answer.
            self.ask("aria2.getSessionInfo", json!([])).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// With what the gateway closes it.
    pub async fn closes(&mut self) -> Option<CloseCode> {
        match self.next().await {
            Some(Message::Close(frame)) => frame.map(|frame| frame.code),
            None => None,
            Some(other) => panic!("it goes on: {other}"),
        }
    }
}

/// Answers to them must not gather in the gateway's memory.
#[tokio::test]
async fn a_device_that_pings_and_never_reads_is_soon_read_no_more() {
    let Some(home) = Home::new().await else { return };
    let mut socket = Socket::open(&home.world, "kids-tablet").await;
    // A masked ping of 125 bytes (RFC 6455, section 5.2), the mask all zeros.
    let ping = [&[0x89, 0x80 | 125, 0, 0, 0, 0], &[b'x'; 125][..]].concat();
    let mebibyte = ping.repeat((1 << 20) / ping.len());
    // What the kernel holds on both ways is less by far.
    let flood = async {
        for _ in 0..64 {
            tokio::time::timeout(Duration::from_secs(2), socket.stream.get_mut().write_all(&mebibyte))
                .await?
                .unwrap();
        }
        Ok::<_, tokio::time::error::Elapsed>(())
    };
    assert!(flood.await.is_err(), "64 MiB of pings were read");
    // Others are heard meanwhile.
    assert!(
        Socket::open(&home.world, "laptop").await.ask("aria2.getVersion", json!([])).await["result"]
            .is_object()
    );
}

#[tokio::test]
async fn text_binary_and_fragments_are_all_calls() {
    let Some(home) = Home::new().await else { return };
    for mut socket in
        [Socket::open(&home.world, "red-phone").await, Socket::open_h2(&home.world, "red-phone").await]
    {
        let asked = call("\u{e9}", "aria2.getVersion", json!([]));
        let (first, rest) = asked.as_bytes().split_at(20);
        let (second, third) = rest.split_at(7);
        let piece = |bytes: &[u8], kind, last| {
            Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(kind), last))
        };
        for messages in [
            vec![Message::text(asked.clone())],
            vec![Message::binary(asked.clone())],
            vec![
                piece(first, Data::Text, false),
                Message::Ping("between".into()),
                piece(second, Data::Continue, false),
                piece(third, Data::Continue, true),
            ],
            vec![piece(first, Data::Binary, false), piece(rest, Data::Continue, true)],
        ] {
            let pings = messages.iter().filter(|message| message.is_ping()).count();
            for message in messages {
                socket.say(message).await;
            }
            if pings > 0 {
                assert_eq!(socket.next().await, Some(Message::Pong("between".into())));
            }
            let answer = socket.answer().await;
            assert_eq!((&answer["id"], answer["result"]["version"].is_string()), (&json!("\u{e9}"), true));
        }
        let refused = socket.ask("aria2.pauseAll", json!([])).await;
        assert_eq!(refused["error"]["data"]["refusal"], "no-rule");
        socket.say("no JSON").await;
        assert_eq!(socket.answer().await["error"]["data"]["refusal"], "bad-request");
        assert!(socket.ask("aria2.getVersion", json!([])).await["result"].is_object());
    }
}

#[tokio::test]
async fn news_of_a_download_reach_whoever_listens() {
    let Some(home) = Home::new().await else { return };
    let mut watcher = Socket::open(&home.world, "kids-tablet").await;
    let mut adder = Socket::open_h2(&home.world, "red-phone").await;
    let (small, gone) = ("2089b05ecca3d829", "2089b05ecca3d82a");
    adder.ask("aria2.addUri", json!([[home.link(100_000)], { "gid": small, "out": "small" }])).await;
    adder.ask("aria2.addUri", json!([["http://127.0.0.1:1/x"], { "gid": gone }])).await;
    for socket in [&mut watcher, &mut adder] {
        for news in ["onDownloadStart", "onDownloadComplete"] {
            socket.hears(&format!("{news} {small}")).await;
        }
        socket.hears(&format!("onDownloadError {gone}")).await;
    }
    assert_eq!(std::fs::metadata(home.aria2.folder().join("small")).unwrap().len(), 100_000);
}

/// Each message's record is written as it is done; the conversation's own comes when it ends.
#[tokio::test]
async fn the_log_tells_each_deed_when_it_is_done() {
    let Some(home) = Home::new().await else { return };
    let mut socket = Socket::open(&home.world, "laptop").await;
    let (gid, link) = ("2089b05ecca3d829", home.slow_link(600));
    socket
        .ask("aria2.addUri", json!([[format!("{link}?key=s3cret")], { "gid": gid, "pause": "true" }]))
        .await;
    socket.ask("aria2.tellActive", json!([])).await;
    socket.ask("aria2.forceRemove", json!([gid])).await;
    socket.ask("aria2.pause", json!(["0000000000000001"])).await;
    socket.ask("aria2.changeGlobalOption", json!([{ "dir": "/" }])).await;
    let mut told = vec![
        format!("laptop added {link} as {gid}"),
        format!("laptop removed {gid}"),
        "laptop could not pause 0000000000000001: GID 0000000000000001 is not found".to_owned(),
        "laptop tried aria2.changeGlobalOption: needs the role admin; you have manage (no-rule)".to_owned(),
    ];
    home.world.audit().tells("aria2", &told).await;
    drop(socket);
    // In the order in which things began.
    told.insert(0, "laptop GET /jsonrpc?token=…".to_owned());
    home.world.audit().tells("aria2", &told).await;
}

#[tokio::test]
async fn a_role_that_shrinks_holds_from_the_next_call_on_and_a_right_that_ends_cuts() {
    let Some(mut home) = Home::new().await else { return };
    let mut socket = Socket::open(&home.world, "laptop").await;
    let mut other = Socket::open(&home.world, "desktop").await;
    assert_eq!(socket.ask("aria2.pauseAll", json!([])).await["result"], "OK");
    let watch = |plan: &mut crate::world::Plan| {
        plan.disallow("laptop", "aria2");
        plan.allow_as("laptop", "watch", "aria2");
    };
    home.world.reload(watch).await.unwrap();
    assert_eq!(socket.ask("aria2.pauseAll", json!([])).await["error"]["data"]["refusal"], "no-rule");
    assert!(socket.ask("aria2.getVersion", json!([])).await["result"].is_object());
    home.world.reload(|plan| plan.disallow("laptop", "aria2")).await.unwrap();
    assert_eq!(socket.closes().await, None);
    assert!(other.ask("aria2.getVersion", json!([])).await["result"].is_object());
    home.world.revoke("desktop").await;
    assert_eq!(other.closes().await, None);
}

/// What the configuration allows is part of the right: a conversation that began under another one begins anew.
#[tokio::test]
async fn a_conversation_does_not_outlive_the_settings_it_began_under() {
    let Some(mut home) = Home::new().await else { return };
    let mut socket = Socket::open(&home.world, "red-phone").await;
    let link = json!([[home.link(1)], { "dry-run": "true" }]);
    assert!(socket.ask("aria2.addUri", link.clone()).await["result"].is_string());
    home.world.reload(|plan| plan.gateway_lines("")).await.unwrap();
    assert!(socket.ask("aria2.addUri", link.clone()).await["result"].is_string(), "nothing changed");
    let lines = "kind = \"aria2\"\nsecret_file = \"aria2.secret\"";
    home.world.reload(|plan| plan.service_lines("aria2", lines)).await.unwrap();
    assert_eq!(socket.closes().await, None);
    let mut socket = Socket::open(&home.world, "red-phone").await;
    assert_eq!(socket.ask("aria2.addUri", link).await["error"]["data"]["refusal"], "not-offered");
}

#[tokio::test]
async fn a_message_that_is_too_long_is_answered_and_ends_the_conversation() {
    let Some(home) = Home::new().await else { return };
    let mut socket = Socket::open(&home.world, "red-phone").await;
    let torrent = "A".repeat(3 << 20);
    socket.stream.feed(Message::text(call("1", "aria2.addTorrent", json!([torrent])))).await.unwrap();
    let _ = socket.stream.flush().await;
    let answer = socket.answer().await;
    assert_eq!(answer["error"]["code"], -32_013, "{answer}");
    assert_eq!(socket.closes().await, Some(CloseCode::Size));
}

/// Messages are held until they are whole, and memory is finite.
#[tokio::test]
async fn unfinished_messages_fill_no_more_than_their_share() {
    let Some(home) = Home::with(&[], "max_request_size = \"32M\"").await else { return };
    let mut hoards = Vec::new();
    for _ in 0..3 {
        let mut socket = Socket::open(&home.world, "red-phone").await;
        let hoard = vec![b' '; 9 << 20];
        for (at, piece) in hoard.chunks(1 << 20).enumerate() {
            let kind = if at == 0 { Data::Text } else { Data::Continue };
            socket.say(Message::Frame(Frame::message(piece.to_vec(), OpCode::Data(kind), false))).await;
            socket.say(Message::Ping("there?".into())).await;
            assert_eq!(socket.next().await, Some(Message::Pong("there?".into())));
        }
        hoards.push(socket);
    }
    let mut socket = Socket::open(&home.world, "red-phone").await;
    let _ = socket.stream.send(Message::text(" ".repeat(9 << 20))).await;
    assert_eq!(socket.closes().await, Some(CloseCode::Again));
    let mut other = Socket::open(&home.world, "laptop").await;
    other.say(" ".repeat(9 << 20)).await;
    assert_eq!(other.answer().await["error"]["data"]["refusal"], "bad-request");
    // What is whole, or never will be, is held no more.
    let version = call("1", "aria2.getVersion", json!([]));
    let rest = Message::Frame(Frame::message(version, OpCode::Data(Data::Continue), true));
    hoards[0].say(rest).await;
    assert!(hoards[0].answer().await["result"].is_object());
    hoards.pop();
    let mut socket = Socket::open(&home.world, "red-phone").await;
    socket.say(" ".repeat(9 << 20)).await;
    assert_eq!(socket.answer().await["error"]["data"]["refusal"], "bad-request");
}
