//! A real aria2 beside the gateway's word: what aria2 runs though it is not what it seems, and what reaches it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::real::aria2c::Daemon;

use super::{NOW, ROLES, SECRET, contents, files, model, property, room, spoken, talk};

/// Each makes a real aria2 pause everything, and is no JSON-RPC of which two readers must think alike.
const TRICKS: &[&[u8]] = &[
    br#"{"id":1,"method":"aria2.pauseAll","params":["token:s3cret"],"x":1,"x":2}"#,
    br#"{"id":1,"method":"aria2.pauseAll","params":["token:s3cret"],"jsonrpc":"2.0","jsonr\u0070c":"2.0"}"#,
    br#"{"id":1,"method":"system.multicall","params":[[{"methodName":"aria2.pauseAll","params":["token:s3cret"],
        "x":[],"x":[]}]]}"#,
    br#"{"id":1,"method":"aria2.pauseAll","params":["token:s3cret"]} trailing"#,
    b"{\"id\":1,\"method\":\"aria2.pauseAll\",\"params\":[\"token:s3cret\"]}\0{\"method\":\"aria2.getVersion\"}",
    br#"{"id":1,"method":"aria2.pause\All","params":["token:s3cret"]}"#,
    br#"{"id":1,"method":"aria2.pauseAll","params":["token:s3cret"],}"#,
    b"{\"id\":\"\xff\",\"method\":\"aria2.pauseAll\",\"params\":[\"token:s3cret\"]}",
    b"{\"id\":\"\n\",\"method\":\"aria2.pauseAll\",\"params\":[\"token:s3cret\"]}",
    br#"{"id":1.5,"method":"aria2.pauseAll","params":["token:s3cret"]}"#,
    br#"{"id":{},"method":"aria2.pauseAll","params":["token:s3cret"]}"#,
    br#"{"id":01,"method":"aria2.pauseAll","params":["token:s3cret"]}"#,
    br#"{"id":"\udc00","method":"aria2.pauseAll","params":["token:s3cret"]}"#,
    br#"{"jsonrpc":"1.0","id":1,"method":"aria2.pauseAll","params":["token:s3cret"]}"#,
];

/// One that stops whatever it is given, and would fetch it from a port where nobody listens, as nothing leaves this machine.
fn aria2() -> Option<Daemon> {
    let options = [
        "--pause",
        // Otherwise a name that was there before becomes another.
        "--auto-file-renaming=false",
        "--all-proxy=http://127.0.0.1:1",
        "--interface=127.0.0.1",
        "--async-dns-server=127.0.0.1",
        "--rpc-save-upload-metadata=false",
    ];
    Daemon::start(SECRET, &options)
}

/// What the property knows nothing of would be an unknown method to it, and refused without a look.
#[tokio::test]
async fn the_property_knows_each_method_that_aria2_has() {
    let Some(aria2) = aria2() else { return };
    let told = aria2.call("system.listMethods", json!([])).await;
    let mut told: Vec<&str> =
        told.as_array().unwrap().iter().map(|method| method.as_str().unwrap()).collect();
    let mut known = [&property::METHODS.concat()[..], &["system.multicall"]].concat();
    told.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, told);
}

#[tokio::test]
async fn what_aria2_reads_in_a_way_of_its_own_never_reaches_it() {
    let Some(aria2) = aria2() else { return };
    for trick in TRICKS {
        let shown = String::from_utf8_lossy(trick);
        let answer = String::from_utf8_lossy(&aria2.post(trick).await).into_owned();
        assert!(answer.contains(r#""OK""#), "aria2 does not fall for {shown}: {answer}");
        let runs = model::runs(trick).unwrap_or_default();
        assert!(runs.iter().any(|run| run.method == "aria2.pauseAll"), "the model does not fall for {shown}");
        // Not even for somebody who may do everything.
        let ruling = talk(&*room(aria2.folder())).ask(trick, &ROLES, NOW);
        assert_eq!(ruling.forward, None, "{shown}");
    }
}

#[tokio::test]
async fn escapes_and_tokens_change_nothing_about_who_may_do_what() {
    let Some(aria2) = aria2() else { return };
    // Not where aria2 puts its downloads by itself.
    let films = tempfile::tempdir().unwrap();
    let room = room(films.path());
    let through = async |message: &str, roles: usize| {
        let mut talk = talk(&*room);
        let ruling = talk.ask(message.as_bytes(), &ROLES[..roles], NOW);
        match ruling.forward {
            Some(forward) => {
                talk.answer(Bytes::from(aria2.post(&forward).await), NOW).message.unwrap().to_vec()
            }
            None => ruling.reply.unwrap().message,
        }
    };
    for params in ["", r#""token:wrong","#, r#""token:","token:s3cret","\u0074oken:x","#] {
        let add = format!(
            r#"{{"id":"a","method":"aria2.\u0061ddUri","params":[{params}["https://me:s3cret@example.org/a"],{{"dir":"films","out":"x"}}]}}"#
        );
        let answer: Value = serde_json::from_slice(&through(&add, 2).await).unwrap();
        let gid = answer["result"].as_str().unwrap_or_else(|| panic!("{answer}"));
        let status = aria2.call("aria2.tellStatus", json!([gid])).await;
        assert_eq!(status["dir"], json!(films.path().to_str().unwrap()));
        let tell = format!(r#"{{"id":"b","method":"aria2.tellStatus","params":["{gid}"]}}"#);
        let (watching, everything) = (through(&tell, 1).await, through(&tell, 4).await);
        assert!(!String::from_utf8_lossy(&watching).contains("s3cret"));
        assert!(String::from_utf8_lossy(&everything).contains("s3cret"));
        let refused: Value = serde_json::from_slice(&through(&add, 1).await).unwrap();
        assert_eq!(refused["error"]["data"]["refusal"], "no-rule");
    }
    let batch = r#"[{"id":1,"method":"aria2.getVersion"},{"id":2,"method":"aria2.shutdown"},
        {"id":3,"method":"system.multicall","params":[[{"methodName":"aria2.pauseAll"},{"methodName":"aria2.getVersion"}]]}]"#;
    let answer: Value = serde_json::from_slice(&through(batch, 1).await).unwrap();
    assert_eq!(answer[0]["result"]["version"], answer[2]["result"][1][0]["version"]);
    assert_eq!(answer[1]["error"]["code"], answer[2]["result"][0]["code"]);
    assert!(answer[0]["result"]["version"].is_string());
}

#[tokio::test]
async fn a_real_aria2_runs_what_was_judged_and_nothing_else() {
    let Some(aria2) = aria2() else { return };
    // There a word about `dir` that is lost changes something.
    let films = tempfile::tempdir().unwrap();
    let room = room(films.path());
    let before = aria2.call("aria2.getGlobalOption", json!([])).await;
    let mut runner = TestRunner::new(Config::default());
    for case in 0..Config::default().cases {
        let message = spoken::message().new_tree(&mut runner).unwrap().current();
        // Who may at most add: what is stopped stays stopped, and aria2 runs on.
        let roles = (case % 3) as usize;
        let mut talk = talk(&*room);
        let Some(forward) = talk.ask(&message, &ROLES[..roles], NOW).forward else { continue };
        let shown = String::from_utf8_lossy(&forward).into_owned();
        let answer = aria2.post(&forward).await;
        let said = String::from_utf8_lossy(&answer).into_owned();
        // It read each call as a call, knew it, and took the secret.
        for never in ["-32700", "-32600", "-32601", "-32602", "Unauthorized", "No such method"] {
            assert!(!said.contains(never), "{shown}\n{said}");
        }
        let runs = model::runs(&forward).unwrap();
        assert!(runs.iter().all(|run| property::wrong(run, roles, films.path()).is_none()), "{shown}");
        let told = talk.answer(Bytes::from(answer), NOW).message.unwrap_or_else(|| panic!("{shown}\n{said}"));
        assert!(serde_json::from_slice::<Value>(&told).is_ok());
        assert_eq!(talk.due(), None);
    }
    assert_eq!(aria2.call("aria2.getGlobalOption", json!([])).await, before);
    let usual = before["dir"].as_str().unwrap();
    let chosen = films.path().to_str().unwrap();
    for download in all(&aria2).await {
        let dir = download["dir"].as_str().unwrap();
        assert!(dir == usual || dir == chosen, "{download}");
        let (links, names) = taken(&download);
        let odd = links.iter().find(|link| property::leads_into_the_house(link));
        let odd = odd.or_else(|| names.iter().find(|name| name.starts_with('.')));
        assert_eq!(odd, None, "{download}");
    }
}

/// A file's names and links are at least what aria2 finds in it, or the property looks away.
#[tokio::test]
async fn what_a_file_says_is_found_by_the_property_as_by_aria2() {
    let Some(aria2) = aria2() else { return };
    let mut runner = TestRunner::new(Config::default());
    let files = prop_oneof![
        files::torrent().prop_map(|file| ("aria2.addTorrent", contents::torrent(&file, &[]).ok(), file)),
        files::metalink().prop_map(|file| ("aria2.addMetalink", Some(contents::metalink(&file)), file)),
    ];
    let mut found = 0;
    for _ in 0..Config::default().cases {
        let (method, contents, file) = files.new_tree(&mut runner).unwrap().current();
        // It does not survive some of the others.
        let Some(contents) = contents else { continue };
        let add = json!({ "id": 1, "method": method, "params": [format!("token:{SECRET}"), STANDARD.encode(&file)] });
        aria2.post(add.to_string()).await;
        for download in all(&aria2).await {
            let shown = || format!("{download}\n{}\n{contents:?}", String::from_utf8_lossy(&file));
            let (links, names) = taken(&download);
            for link in links {
                found += 1;
                assert!(contents.links.iter().any(|known| asks(known, &link)), "{link}: {}", shown());
            }
            for name in names.iter().filter(|name| !name.starts_with("[METADATA]")) {
                let is_it = |known: &String| *name == *known || name.starts_with(&format!("{known}/"));
                assert!(contents.names.iter().any(is_it), "{name}: {}", shown());
            }
        }
        forget(&aria2).await;
    }
    assert!(found > 10, "{found}");
}

/// A magnet link asks its trackers.
fn asks(known: &str, link: &str) -> bool {
    known == link || known.starts_with("magnet:?") && property::percent_decoded(known).contains(link)
}

/// Whatever aria2 was given, stopped or not.
async fn all(aria2: &Daemon) -> Vec<Value> {
    let mut all = Vec::new();
    for (method, params) in [
        ("aria2.tellActive", json!([])),
        ("aria2.tellWaiting", json!([0, 100_000])),
        ("aria2.tellStopped", json!([0, 100_000])),
    ] {
        all.extend(aria2.call(method, params).await.as_array().unwrap().clone());
    }
    all
}

/// Leaves it with nothing, as it was.
async fn forget(aria2: &Daemon) {
    for _ in 0..500 {
        let left = all(aria2).await;
        if left.is_empty() {
            return;
        }
        for download in left {
            let params = [json!(format!("token:{SECRET}")), download["gid"].clone()];
            // What has ended by now is an error.
            aria2.post(json!({ "id": 1, "method": "aria2.forceRemove", "params": params }).to_string()).await;
        }
        aria2.call("aria2.purgeDownloadResult", json!([])).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("aria2 keeps something");
}

/// The links that aria2 would ask for a download, trackers too, and the files that it would write.
fn taken(download: &Value) -> (Vec<String>, Vec<String>) {
    let dir = format!("{}/", download["dir"].as_str().unwrap());
    let (mut links, mut names) = (Vec::new(), Vec::new());
    for file in download["files"].as_array().unwrap() {
        let path = file["path"].as_str().unwrap();
        names.extend((!path.is_empty()).then(|| path.strip_prefix(&dir).unwrap_or(path).to_owned()));
        links.extend(file["uris"].as_array().unwrap().iter().map(|uri| &uri["uri"]).cloned());
    }
    let trackers = download["bittorrent"]["announceList"].as_array().into_iter().flatten();
    links.extend(trackers.filter_map(Value::as_array).flatten().cloned());
    let links = links.iter().map(|link| link.as_str().unwrap().to_owned());
    (links.filter(|link| property::is_fetched(link)).collect(), names)
}
