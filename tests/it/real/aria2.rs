//! A real aria2 behind a service of kind "aria2": JSON-RPC by POST and by WebSocket.

use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::world::upstream::Upstream;
use crate::world::{Live, World, secret_file};

use super::aria2c::Daemon;
use super::door::{Door, PATIENCE};
use super::needs;
use super::origin::{Origin, content};
use super::process::hex;

fn call(id: &str, method: &str, params: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()
}

/// What is neither refused nor hidden comes as aria2 said it.
#[test]
fn answers_by_post_are_those_of_aria2() {
    let (Some(_), Some(_)) = (needs("aria2c"), needs("curl")) else { return };
    let door = Door::open();
    let direct = door.upstream_of("aria2").unwrap();
    let unknown = |id| call(id, "aria2.tellStatus", json!(["0000000000000000"]));
    let version = |id| call(id, "aria2.getVersion", json!([]));
    let nested = json!([[{ "methodName": "aria2.getVersion", "params": [] }, { "methodName": "aria2.tellStatus", "params": ["0"] }]]);
    for body in [
        version("1"),
        call("2", "aria2.getGlobalStat", json!([])),
        unknown("3"),
        call("4", "system.listMethods", json!([])),
        call("5", "system.multicall", nested),
        format!("[{},{}]", version("a"), unknown("b")),
    ] {
        let ask = |base: &str| {
            let url = format!("{base}/jsonrpc");
            let json = "Content-Type: application/json";
            let told = door.curl(&["-d", &body, "-H", json, &url, "-w", " %{http_code}"]);
            assert!(told.contains("jsonrpc"), "{told}");
            told
        };
        let expected = ask(&direct);
        assert_eq!(ask(&door.http("aria2", "")), expected);
        assert_eq!(ask(&door.https("aria2", "")), expected);
    }
}

#[tokio::test]
async fn a_download_is_told_over_websocket_as_it_goes() {
    let Some(_) = needs("aria2c") else { return };
    let (door, origin) = (Door::open(), Origin::start());
    let direct = door.upstream_of("aria2").unwrap().replace("http://", "");
    let through = format!("aria2.localhost:{}", door.port());
    let listen = async |authority: &str, port| {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let url = format!("ws://{authority}/jsonrpc");
        tokio_tungstenite::client_async(url, socket).await.unwrap().0
    };
    let mut adder = listen(&direct, direct.rsplit(':').next().unwrap().parse().unwrap()).await;
    let mut listener = listen(&through, door.port()).await;
    // What is said after an answer is heard by whoever was answered.
    listener.send(Message::text(call("there", "aria2.getVersion", json!([])))).await.unwrap();
    listener.next().await.unwrap().unwrap();
    let file = format!("http://{}/1000000", origin.address);
    // By aria2's own door, for the demo's aria2 may fetch nothing from this machine.
    adder.send(Message::text(call("add", "aria2.addUri", json!([[file]])))).await.unwrap();
    assert_eq!(heard(&mut listener, 2).await, ["aria2.onDownloadComplete", "aria2.onDownloadStart"]);
    assert_eq!(heard(&mut adder, 3).await[0], "added");

    listener.send(Message::text(call("add", "aria2.addUri", json!([[file]])))).await.unwrap();
    let refused = listener.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(refused.contains("not-offered") && refused.contains("private_targets"), "{refused}");
}

const SECRET: &str = "a-secret-of-the-tests";
const BYTES: usize = 1000;

/// Somebody who may add has a metalink fetched and a torrent, each from a server of the house, which this service allows.
#[tokio::test]
async fn a_metalink_and_a_torrent_are_fetched_as_they_say() {
    let Some(aria2) = Daemon::start(SECRET, &["--seed-time=0"]) else { return };
    let origin = Origin::start();
    let film = &content().next().unwrap()[..BYTES];
    let link = format!("http://{}/{BYTES}", origin.address);
    let metalink = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\
         <file name=\"metalink.film\"><size>{BYTES}</size><hash type=\"sha-256\">{}</hash><url>{link}</url></file></metalink>",
        hex(digest::digest(&digest::SHA256, film).as_ref()),
    );
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, film);
    let torrent = [
        format!("d4:infod6:lengthi{BYTES}e4:name12:torrent.film12:piece lengthi16384e6:pieces20:").as_bytes(),
        hash.as_ref(),
        format!("e8:url-list{}:{link}e", link.len()).as_bytes(),
    ]
    .concat();
    let add = |method, file: &[u8]| call("1", method, json!([STANDARD.encode(file)]));
    let added = [
        ("metalink.film", add("aria2.addMetalink", metalink.as_bytes())),
        ("torrent.film", add("aria2.addTorrent", &torrent)),
    ];

    let strict = household(&aria2, "").await;
    for (_, add) in &added {
        assert_eq!(post(&strict, add).await["error"]["data"]["refusal"], "not-offered");
    }
    assert_eq!(aria2.call("aria2.tellStopped", json!([0, 9])).await, json!([]));

    let open = household(&aria2, "private_targets = true").await;
    for (name, add) in added {
        let result = post(&open, &add).await["result"].take();
        // A metalink may be several downloads.
        let gid = if result.is_array() { result[0].clone() } else { result };
        let status = ended(&aria2, &gid).await;
        assert_eq!((&status["status"], &status["errorCode"]), (&json!("complete"), &json!("0")), "{status}");
        let file = aria2.folder().join(name);
        assert_eq!(status["files"][0]["path"], file.to_str().unwrap());
        assert!(std::fs::read(file).unwrap() == film, "{name}");
    }
}

/// A household in which the phone may add.
async fn household(aria2: &Daemon, lines: &str) -> Live {
    let settings = format!("kind = \"aria2\"\nsecret_file = \"aria2.secret\"\n{lines}");
    let upstream = Upstream::Elsewhere(aria2.address.port());
    let world = World::new().service_with("aria2", upstream, &settings);
    secret_file(world.folder(), "aria2.secret", SECRET);
    world.member("red-phone").allow_as("red-phone", "add", "aria2").start().await
}

async fn post(world: &Live, body: &str) -> Value {
    let head = format!("POST /jsonrpc HTTP/1.1\r\nHost: aria2.home.arpa\r\nContent-Length: {}", body.len());
    let reply = world.from("red-phone").raw(&format!("{head}\r\n\r\n{body}")).await;
    serde_json::from_slice(&reply.body).unwrap()
}

/// What aria2 says of a download when it is over.
async fn ended(aria2: &Daemon, gid: &Value) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = aria2.call("aria2.tellStatus", json!([gid])).await;
        if !matches!(status["status"].as_str(), Some("active" | "waiting")) {
            return status;
        }
        assert!(Instant::now() < end, "{status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// So many messages, sorted; an answer and a notification may overtake each other.
async fn heard(
    talk: &mut (impl StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin),
    messages: usize,
) -> Vec<String> {
    let mut heard = Vec::new();
    while heard.len() < messages {
        let message = tokio::time::timeout(Duration::from_secs(20), talk.next()).await;
        let Message::Text(text) = message.unwrap().unwrap().unwrap() else { continue };
        let news: Value = serde_json::from_str(&text).unwrap();
        heard.push(match news["method"].as_str() {
            Some(method) => method.to_owned(),
            None => {
                assert!(news["result"].is_string(), "{news}");
                "added".to_owned()
            }
        });
    }
    heard.sort();
    heard
}
