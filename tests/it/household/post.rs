//! Calls by POST, one by one and many at once.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::world::secret_file;
use crate::world::upstream::{down, says};

use super::socket::Socket;
use super::{Home, SECRET, call, household, json_of, post, post_with};

#[tokio::test]
async fn each_role_may_what_it_may_and_is_told_what_it_may_not() {
    let Some(home) = Home::new().await else { return };
    let gid = "2089b05ecca3d829";
    let add = json!([[home.slow_link(600)], { "gid": gid, "out": "film" }]);
    for (device, method, params, says) in [
        ("kids-tablet", "aria2.addUri", add.clone(), "aria2.addUri needs the role add; you have watch"),
        ("red-phone", "aria2.pause", json!([gid]), "aria2.pause needs the role manage; you have add"),
        ("laptop", "aria2.changeGlobalOption", json!([{}]), "needs the role admin; you have manage"),
        ("laptop", "aria2.shutdown", json!([]), "aria2.shutdown needs the role admin; you have manage"),
    ] {
        let reply = home.post(device, &call("a", method, params)).await.refused("no-rule");
        let reply = reply.has("content-type", "application/json");
        let error = json_of(&reply);
        assert!(error["error"]["message"].as_str().unwrap().contains(says), "{error}");
        assert_eq!((&error["id"], &error["error"]["code"]), (&json!("a"), &json!(-32_010)));
        assert_eq!(error["error"]["data"]["refusal"], "no-rule");
    }
    assert_eq!(home.aria2.call("aria2.getGlobalStat", json!([])).await["numActive"], "0");

    assert_eq!(home.result("red-phone", "aria2.addUri", add).await, gid);
    assert_eq!(home.result("kids-tablet", "aria2.tellStatus", json!([gid])).await["status"], "active");
    assert_eq!(home.result("laptop", "aria2.forcePause", json!([gid])).await, gid);
    let slower = json!([{ "max-overall-download-limit": "1M" }]);
    assert_eq!(home.result("desktop", "aria2.changeGlobalOption", slower).await, "OK");
    let options = home.aria2.call("aria2.getGlobalOption", json!([])).await;
    assert_eq!(options["max-overall-download-limit"], "1048576");
    let link = home.slow_link(600);
    home.world
        .audit()
        .tells(
            "aria2",
            &[
                "kids-tablet tried aria2.addUri: needs the role add; you have watch (no-rule)",
                "red-phone tried aria2.pause: needs the role manage; you have add (no-rule)",
                "laptop tried aria2.changeGlobalOption: needs the role admin; you have \
                 manage (no-rule)",
                "laptop tried aria2.shutdown: needs the role admin; you have manage (no-rule)",
                &format!("red-phone added {link} as {gid}"),
                "kids-tablet POST /jsonrpc",
                &format!("laptop paused {gid}"),
                "desktop changed global options max-overall-download-limit",
            ],
        )
        .await;
}

/// Apps are set up with no secret, with any, or with the real one: the gateway puts its own in place. aria2 makes who comes
/// with a wrong one wait for nearly two seconds.
#[tokio::test]
async fn whatever_secret_a_device_sends_the_right_one_arrives() {
    let Some(home) = Home::new().await else { return };
    let began = Instant::now();
    let real = format!("token:{SECRET}");
    for tokens in
        [vec![], vec!["token:"], vec!["token:dummy"], vec![&*real], vec!["token:a", "token:b", &*real]]
    {
        let with = |params: Value| {
            let tokens = tokens.iter().map(|token| json!(token));
            Value::Array(tokens.chain(params.as_array().unwrap().iter().cloned()).collect())
        };
        let params = with(json!([["gid"]]));
        assert_eq!(home.result("kids-tablet", "aria2.tellActive", params.clone()).await, json!([]));
        let nested = json!([[
            { "methodName": "aria2.tellActive", "params": params },
            { "methodName": "system.listMethods" },
        ]]);
        let told = home.result("kids-tablet", "system.multicall", with(nested)).await;
        assert_eq!(told[0], json!([[]]), "{told}");
        assert!(told[1][0].as_array().unwrap().len() > 30, "{told}");
        assert!(home.result("kids-tablet", "system.listNotifications", with(json!([]))).await.is_array());
    }
    assert!(began.elapsed() < Duration::from_millis(1800) * 3, "a wrong secret went out");
}

#[tokio::test]
async fn many_calls_are_judged_one_by_one_and_answered_in_their_places() {
    let Some(home) = Home::new().await else { return };
    let (first, second) = ("2089b05ecca3d829", "2089b05ecca3d82a");
    let add = |gid: &str| json!([[home.slow_link(600)], { "gid": gid, "out": gid }]);
    let batch = [
        call("1", "aria2.addUri", add(first)),
        call("2", "aria2.pauseAll", json!([])),
        call("3", "aria2.tellStatus", json!(["0000000000000000"])),
        "5".to_owned(),
        call("5", "aria2.addUri", json!([["ftp://example.org/x"], { "dir": "/etc" }])),
        call("6", "aria2.getVersion", json!([])),
    ];
    let answers = json_of(&home.post("red-phone", &format!("[{}]", batch.join(","))).await.is(200));
    let ids: Vec<&Value> = answers.as_array().unwrap().iter().map(|answer| &answer["id"]).collect();
    assert_eq!(json!(ids), json!(["1", "2", "3", null, "5", "6"]));
    assert_eq!((&answers[0]["result"], answers[5]["result"]["version"].is_string()), (&json!(first), true));
    let codes: Vec<&Value> = (1..5).map(|at| &answers[at]["error"]["code"]).collect();
    assert_eq!(json!(codes), json!([-32_010, 1, -32_012, -32_011]));

    let nested = |method: &str, params: Value| json!({ "methodName": method, "params": params });
    let calls = json!([[
        nested("aria2.pauseAll", json!([])),
        nested("aria2.addUri", add(second)),
        nested("aria2.getVersion", json!(["token:dummy"])),
        nested("aria2.tellStatus", json!(["0000000000000000"])),
        nested("system.multicall", json!([[]])),
    ]]);
    let told = home.result("red-phone", "system.multicall", calls).await;
    assert_eq!((&told[1], told[2][0]["version"].is_string()), (&json!([second]), true), "{told}");
    assert_eq!(json!([told[0]["code"], told[3]["code"], told[4]["code"]]), json!([-32_010, 1, -32_012]));
    assert_eq!(home.aria2.call("aria2.getGlobalStat", json!([])).await["numActive"], "2");
    let link = home.slow_link(600);
    home.world
        .audit()
        .tells(
            "aria2",
            &[
                "red-phone tried aria2.pauseAll: needs the role manage; you have add (no-rule)".to_owned(),
                "red-phone sent no call: expected a call: an object with id, method and params (bad-request)".to_owned(),
                "red-phone tried aria2.addUri: no folder may be chosen; name those that may as dirs = { … } for this service \
                 in ztgate.toml (not-offered)"
                    .to_owned(),
                format!("red-phone added {link} as {first}"),
                "red-phone POST /jsonrpc".to_owned(),
                "red-phone tried system.multicall: a multicall within a multicall (bad-request)".to_owned(),
                format!("red-phone added {link} as {second}"),
                "red-phone POST /jsonrpc".to_owned(),
            ],
        )
        .await;
}

/// Three megabytes of hashes make a torrent of four in base64.
#[tokio::test]
async fn a_large_torrent_is_told_off_or_goes_through_whole() {
    let Some(home) = Home::with(&["--rpc-max-request-size=8M"], "max_request_size = \"8M\"").await else {
        return;
    };
    let torrent = STANDARD.encode(torrent(3 << 20));
    let options = json!({ "pause": "true", "gid": "2089b05ecca3d829" });
    let add = call("t", "aria2.addTorrent", json!([torrent, [], options]));
    let reply = home.post("red-phone", &add).await.is(200);
    assert_eq!(json_of(&reply)["result"], "2089b05ecca3d829");
    let mut socket = Socket::open(&home.world, "laptop").await;
    socket.ask("aria2.forceRemove", json!(["2089b05ecca3d829"])).await;
    socket.ask("aria2.removeDownloadResult", json!(["2089b05ecca3d829"])).await;
    socket.say(add.clone()).await;
    assert_eq!(socket.answer().await["result"], "2089b05ecca3d829");
    drop(home);

    let Some(home) = Home::new().await else { return };
    let reply = home.post("red-phone", &add).await.is(413).has("ztgate-refusal", "bad-request");
    let error = json_of(&reply);
    assert_eq!((&error["id"], &error["error"]["code"]), (&Value::Null, &json!(-32_013)));
    let mut wire = home.world.from("red-phone").open().await;
    let head = "POST /jsonrpc HTTP/1.1\r\nHost: aria2.home.arpa\r\nExpect: 100-continue\r\nContent-Length: 4000000\r\n\r\n";
    wire.send(head).await;
    home.world.from("red-phone").reply(&mut wire, head).await.is(413).has("connection", "close");
    let told = "red-phone sent no call: longer than 2097152 bytes (bad-request)";
    home.world.audit().tells("aria2", &[told]).await;
}

/// A torrent of one file with so many bytes of hashes.
fn torrent(hashes: usize) -> Vec<u8> {
    let (hashes, piece) = (hashes / 20 * 20, 16_384);
    let length = hashes / 20 * piece;
    let head = format!("d4:infod6:lengthi{length}e4:name4:film12:piece lengthi{piece}e6:pieces{hashes}:");
    [head.as_bytes(), &vec![7; hashes], b"ee"].concat()
}

#[tokio::test]
async fn only_json_rpc_is_offered() {
    let Some(home) = Home::new().await else { return };
    let (world, none) = (&home.world, "Content-Length: 0\r\n");
    let phone = world.from("desktop");
    let jsonp = "/jsonrpc?jsoncallback=x&method=aria2.getVersion&id=1";
    phone.ask("aria2", "GET", jsonp, "").await.refused("not-offered").says("send them by POST");
    phone.ask("aria2", "GET", "/rpc", "").await.refused("not-offered").says("XML-RPC is off");
    phone.ask("aria2", "POST", "/rpc", none).await.refused("not-offered");
    for (method, path) in [
        ("GET", "/"),
        ("HEAD", "/"),
        ("POST", "/"),
        ("POST", "/jsonrpc/"),
        ("POST", "/JSONRPC"),
        ("POST", "//jsonrpc"),
        ("POST", "/%6asonrpc"),
        ("POST", "/x/../jsonrpc"),
        ("OPTIONS", "/jsonrpc"),
        ("PUT", "/jsonrpc"),
        ("DELETE", "/rpc/x"),
    ] {
        phone.ask("aria2", method, path, none).await.is(404).lacks("ztgate-refusal");
    }
}

/// aria2 hears our words only: no credentials that a browser or an app brings along, no wish for a packed answer.
#[tokio::test]
async fn nothing_that_a_device_says_beside_its_call_reaches_aria2() {
    let answers = says(
        "HTTP/1.1 200 OK\r\nContent-Length: 35\r\nSet-Cookie: a=b\r\n\r\n{\"id\":1,\"jsonrpc\":\"2.0\",\"result\":1}",
    );
    let world = household(answers, "").start().await;
    let headers = "Authorization: Basic dG9rZW46eA==\r\nCookie: a=b\r\nAccept-Encoding: gzip\r\nX-Api-Key: x\r\n\
        Origin: http://aria2.home.arpa\r\nReferer: http://aria2.home.arpa/x\r\n";
    let body = call("1", "aria2.getVersion", json!([]));
    let reply = post_with(&world, "kids-tablet", headers, &body).await.is(200);
    let seen = reply.upstream_saw_member("kids-tablet").upstream_saw();
    for name in ["authorization", "cookie", "accept-encoding", "x-api-key", "origin", "referer", "expect"] {
        assert!(!seen.has(name), "{seen:#?}");
    }
    assert_eq!((seen.target(), seen.get("content-type")), ("/jsonrpc", Some("application/json")));
}

/// A page of some other server's, say: an app can tell it from a refusal.
#[tokio::test]
async fn what_is_no_answer_is_told_as_an_error() {
    let page = says("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n<p>hello");
    let world = household(page, "").start().await;
    let asked = call("1", "aria2.getVersion", json!([]));
    let told = post(&world, "kids-tablet", &asked).await.refused("upstream-down").text();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["id"], &told["error"]["code"]), (&json!("1"), &json!(-32015)));
}

#[tokio::test]
async fn however_a_body_comes_the_answer_is_aria2s_own() {
    let Some(home) = Home::new().await else { return };
    let body = call("1", "aria2.getVersion", json!([]));
    let token = json!([format!("token:{SECRET}")]);
    let direct = home.aria2.post(call("1", "aria2.getVersion", token)).await;

    let reply = post_with(&home.world, "laptop", "Accept-Encoding: gzip\r\n", &body).await.is(200);
    assert_eq!(reply.lacks("content-encoding").body, direct);

    let (mut h2, length) = (home.world.from("laptop").h2("aria2").await, body.len());
    let request = Request::post("https://aria2.home.arpa/jsonrpc?token=x")
        .header("authorization", "Basic dG9rZW46eA==");
    let (parts, answer) = h2.send(request.body(Full::from(body.clone())).unwrap()).await.into_parts();
    assert_eq!(parts.status, 200);
    assert_eq!(answer.collect().await.unwrap().to_bytes(), direct);

    let laptop = home.world.from("laptop");
    let mut wire = laptop.open().await;
    wire.send("POST /jsonrpc HTTP/1.1\r\nHost: aria2.home.arpa\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for byte in body.bytes() {
        wire.send(format!("1\r\n{}\r\n", byte as char)).await;
        tokio::task::yield_now().await;
    }
    wire.send("0\r\n\r\n").await;
    assert_eq!(laptop.reply(&mut wire, "POST").await.is(200).body, direct);

    wire.send(format!(
        "POST /jsonrpc HTTP/1.1\r\nHost: aria2.home.arpa\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    ))
    .await;
    assert_eq!(wire.head().await.unwrap().status(), 100);
    wire.send(&body).await;
    assert_eq!(laptop.reply(&mut wire, "POST").await.is(200).body, direct);
}

/// Who gives up in the middle has said nothing.
#[tokio::test]
async fn half_a_call_is_none() {
    let Some(home) = Home::new().await else { return };
    let mut wire = home.world.from("desktop").open().await;
    let body = call("1", "aria2.shutdown", json!([]));
    let head = format!(
        "POST /jsonrpc HTTP/1.1\r\nHost: aria2.home.arpa\r\nContent-Length: {}\r\n\r\n",
        body.len() + 1
    );
    wire.send(head + &body).await;
    drop(wire);
    home.world.audit().reads(&["desktop allow aria2 device-gone"]).await;
    assert!(home.aria2.call("aria2.getVersion", json!([])).await.is_object());
}

/// The gateway reads the secret's file again when it is told to.
#[tokio::test]
async fn a_secret_that_changes_is_read_anew() {
    let Some(mut home) = Home::new().await else { return };
    secret_file(home.world.folder(), "aria2.secret", "another\n");
    home.world.reload(|_| {}).await.unwrap();
    let asked = call("1", "aria2.getVersion", json!([]));
    let many = json!([[{ "methodName": "aria2.getVersion", "params": [] }]]);
    let one = json_of(&home.post("laptop", &asked).await);
    let nested = json_of(&home.post("laptop", &call("1", "system.multicall", many)).await);
    for error in [&one["error"], &nested["result"][0]] {
        assert_eq!((&error["code"], &error["data"]["refusal"]), (&json!(-32_015), &json!("upstream-down")));
        assert!(error["message"].as_str().unwrap().contains("ztgate doctor"), "{error}");
    }
    secret_file(home.world.folder(), "aria2.secret", &format!("{SECRET}\n"));
    home.world.reload(|_| {}).await.unwrap();
    assert!(home.result("laptop", "aria2.getVersion", json!([])).await.is_object());
}

/// Messages are held to be judged, and memory is finite: one member fills its own half.
#[tokio::test]
async fn unfinished_messages_fill_no_more_than_their_share() {
    let world = household(down(), "max_request_size = \"32M\"").start().await;
    let head = "POST /jsonrpc HTTP/1.1\r\nHost: aria2.home.arpa\r\nContent-Length: 30000000\r\n\r\n";
    let piece = vec![b' '; 1 << 20];
    let phone = world.from("red-phone");
    let (mut first, mut second) = (phone.open().await, phone.open().await);
    for wire in [&mut first, &mut second] {
        wire.send(head).await;
    }
    for _ in 0..20 {
        first.send(&piece).await;
    }
    for _ in 0..13 {
        second.send(&piece).await;
    }
    let reply = phone.reply(&mut second, head).await.refused("gateway-busy").has("connection", "close");
    assert_eq!(json_of(&reply)["error"]["code"], -32_014);
    let tablet = call("1", "aria2.getVersion", json!([]));
    post(&world, "kids-tablet", &tablet).await.refused("upstream-down");
    drop(first);
    world.audit().record(|record| record.ended.is_some()).await;
    post(&world, "red-phone", &tablet).await.refused("upstream-down");
}
