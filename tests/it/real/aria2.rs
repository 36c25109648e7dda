//! A real aria2 behind a service of kind "aria2": JSON-RPC by POST and by WebSocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::door::Door;
use super::needs;
use super::origin::Origin;

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
