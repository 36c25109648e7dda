//! Whatever somebody says who may only watch, nothing changes in a real aria2. `PROPTEST_CASES` says how many messages.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::socket::Socket;
use super::{Home, SECRET};

/// What somebody would try who knows aria2: names that act, as they are and nearly.
const METHODS: [&str; 16] = [
    "aria2.pauseAll",
    "aria2.unpause",
    "aria2.forceRemove",
    "aria2.addUri",
    "aria2.changeOption",
    "aria2.changeGlobalOption",
    "aria2.changePosition",
    "aria2.purgeDownloadResult",
    "aria2.removeDownloadResult",
    "aria2.shutdown",
    "aria2.tellStatus",
    "aria2.getOption",
    "system.multicall",
    "system.listMethods",
    "aria2.pauseAll\0",
    "aria2\\u002epauseAll",
];

const PAUSED: &str = "2089b05ecca3d829";
const STOPPED: &str = "2089b05ecca3d82a";

fn param() -> impl Strategy<Value = String> {
    let token = format!("\"token:{SECRET}\"");
    let leaf = prop_oneof![
        Just(token),
        select(vec!["\"token:\"", "\"\"", "null", "1", "-1", "1.5", "true", "{}", "[]"])
            .prop_map(str::to_owned),
        select(vec![PAUSED, STOPPED, "POS_SET", "gid", "http://127.0.0.1:1/x"])
            .prop_map(|text| format!("\"{text}\"")),
        Just(r#"{"dir":"/","pause":"false"}"#.to_owned()),
        Just(r#"{"max-overall-download-limit":"1"}"#.to_owned()),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            (select(METHODS.to_vec()), vec(inner, 0..3)).prop_map(|(method, params)| {
                format!(r#"[{{"methodName":"{method}","params":[{}]}}]"#, params.join(","))
            }),
        ]
    })
}

fn call() -> impl Strategy<Value = String> {
    let member = prop_oneof![
        4 => Just(r#""jsonrpc":"2.0""#.to_owned()),
        1 => Just(r#""jsonrpc":"1.0""#.to_owned()),
        1 => select(METHODS.to_vec()).prop_map(|method| format!(r#""method":"{method}""#)),
        1 => vec(param(), 0..3).prop_map(|params| format!(r#""params":[{}]"#, params.join(","))),
    ];
    let id = select(vec!["1", "\"a\"", "null", "[]", "1e3", "-0", "18446744073709551616"]);
    (id, select(METHODS.to_vec()), vec(param(), 0..4), vec(member, 0..3)).prop_map(
        |(id, method, params, more)| {
            let more: String = more.iter().map(|member| format!(",{member}")).collect();
            format!(r#"{{"id":{id},"method":"{method}","params":[{}]{more}}}"#, params.join(","))
        },
    )
}

/// What a watcher may ask.
const ALLOWED: [&str; 3] = [
    r#"{"jsonrpc":"2.0","id":1,"method":"aria2.tellStatus","params":["2089b05ecca3d829"]}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"aria2.getOption","params":["token:","2089b05ecca3d829"]}"#,
    r#"{"id":1,"method":"system.multicall","params":[[{"methodName":"aria2.tellActive","params":[]}]]}"#,
];

/// A message, with a few bytes of it changed.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![
        3 => call(),
        2 => select(ALLOWED.to_vec()).prop_map(str::to_owned),
        1 => vec(call(), 0..4).prop_map(|calls| format!("[{}]", calls.join(","))),
        1 => (call(), call()).prop_map(|(one, other)| format!("{one}{other}")),
    ];
    let change =
        (any::<Index>(), prop_oneof![Just(None), select(b"\"\\{}[],:\0 au\x80".to_vec()).prop_map(Some)]);
    (whole, vec(change, 0..3)).prop_map(|(whole, changes)| {
        let mut bytes = whole.into_bytes();
        for (at, change) in changes {
            let at = at.index(bytes.len());
            match change {
                None => drop(bytes.remove(at)),
                Some(byte) => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

/// All of aria2's state that somebody could have changed.
async fn state(home: &Home) -> Value {
    let keys = json!(["gid", "status", "dir", "files"]);
    json!([
        home.aria2.call("aria2.tellActive", json!([["gid"]])).await,
        home.aria2.call("aria2.tellWaiting", json!([0, 100, keys])).await,
        home.aria2.call("aria2.tellStopped", json!([0, 100, keys])).await,
        home.aria2.call("aria2.getOption", json!([PAUSED])).await,
        home.aria2.call("aria2.getGlobalOption", json!([])).await,
    ])
}

/// What the tablet, which may only watch, is answered: the status and the body.
async fn post(home: &Home, said: &[u8]) -> (u16, String) {
    let head = "POST /jsonrpc HTTP/1.1\r\nHost: aria2.home.arpa\r\nContent-Length: ";
    let tablet = home.world.from("kids-tablet");
    let mut wire = tablet.open().await;
    wire.send([format!("{head}{}\r\n\r\n", said.len()).as_bytes(), said].concat()).await;
    let reply = tablet.reply(&mut wire, head).await;
    (reply.head.status(), reply.text())
}

#[tokio::test]
async fn nothing_that_a_watcher_says_changes_aria2() {
    let Some(home) = Home::new().await else { return };
    let paused = json!([[home.slow_link(600)], { "gid": PAUSED, "pause": "true" }]);
    home.result("laptop", "aria2.addUri", paused).await;
    let gone = json!([["http://127.0.0.1:1/x"], { "gid": STOPPED, "max-tries": "1" }]);
    home.result("laptop", "aria2.addUri", gone).await;
    while home.aria2.call("aria2.getGlobalStat", json!([])).await["numStopped"] == "0" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = state(&home).await;
    for asked in ALLOWED {
        let (status, answer) = post(&home, asked.as_bytes()).await;
        assert!(status == 200 && answer.contains("\"result\""), "{asked}: aria2 said {answer}");
    }
    let mut socket = Socket::open(&home.world, "kids-tablet").await;
    let mut runner = TestRunner::default();
    let mut last = Vec::new();
    for case in 0..runner.config().cases {
        let said = message().new_tree(&mut runner).unwrap().current();
        post(&home, &said).await;
        socket.say(Message::binary(said.clone())).await;
        socket.answer().await;
        last.push(String::from_utf8_lossy(&said).into_owned());
        if case % 16 == 15 {
            assert_eq!(state(&home).await, before, "after one of {last:#?}");
            last.clear();
        }
    }
    assert_eq!(state(&home).await, before, "after one of {last:#?}");
}
