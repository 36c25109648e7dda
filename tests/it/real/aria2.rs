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

#[test]
fn answers_by_post_are_those_of_aria2() {
    let (Some(_), Some(_)) = (needs("aria2c"), needs("curl")) else { return };
    let door = Door::open();
    let direct = door.upstream_of("aria2").unwrap();
    let batch = format!(
        "[{},{}]",
        call("a", "aria2.getVersion", json!([])),
        call("b", "aria2.tellStatus", json!(["0000000000000000"]))
    );
    for body in [
        call("1", "aria2.getVersion", json!([])),
        call("2", "aria2.getGlobalOption", json!([])),
        call("3", "aria2.nonsense", json!([])),
        call("4", "system.listMethods", json!([])),
        "{ this is no JSON".to_owned(),
        batch,
    ] {
        let ask = |base: &str| {
            let url = format!("{base}/jsonrpc");
            let told = door.curl(&[
                "-d",
                &body,
                "-H",
                "Content-Type: application/json",
                &url,
                "-w",
                " %{http_code}",
            ]);
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
    let mut told = Vec::new();
    for (name, authority, port) in [
        ("direct", &direct, direct.rsplit(':').next().unwrap().parse().unwrap()),
        ("through", &through, door.port()),
    ] {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let url = format!("ws://{authority}/jsonrpc");
        let (mut talk, _) = tokio_tungstenite::client_async(url, socket).await.unwrap();
        let file = format!("http://{}/1000000", origin.address);
        let add = call("add", "aria2.addUri", json!([[file], { "out": name }]));
        talk.send(Message::text(add)).await.unwrap();
        told.push(heard(&mut talk).await);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[1], ["added", "aria2.onDownloadComplete", "aria2.onDownloadStart"]);
}

/// What came until the download was complete; an answer and a notification may overtake each other.
async fn heard(
    talk: &mut (impl StreamExt<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin),
) -> Vec<String> {
    let mut heard = Vec::new();
    while heard.len() < 3 {
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
