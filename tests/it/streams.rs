//! Bodies in both directions, as they come; what is translated on the way; and what happens when somebody leaves.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use ztgate::audit::{Ending, Verdict};

use crate::world::upstream::{Upstream, says, script};
use crate::world::wire::Closed;
use crate::world::{Live, SOON, World, echo};

/// One device that may open one service.
async fn home(wiki: Upstream) -> Live {
    World::new().member("red-phone").service("wiki", wiki).allow("red-phone", "wiki").start().await
}

/// A service that reads a request, does something, and then tells when its connection is closed.
fn tells_when_left(first: &'static str) -> (Upstream, mpsc::Receiver<Instant>) {
    let (left, when) = mpsc::channel(8);
    let upstream = script(move |mut served| {
        let left = left.clone();
        async move {
            if served.request().await.is_some() {
                served.wire.send(first).await;
                while served.wire.closed_within(SOON).await == Closed::Bytes {
                    served.wire.rest().await;
                }
                let _ = left.send(Instant::now()).await;
            }
        }
    });
    (upstream, when)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n";

#[tokio::test]
async fn an_event_arrives_before_the_next_is_sent() {
    let seen = std::sync::Arc::new(tokio::sync::Notify::new());
    let wait = seen.clone();
    let events = script(move |mut served| {
        let wait = wait.clone();
        async move {
            served.request().await;
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            served.wire.send(format!("{head}9\r\ndata: 1\n\n\r\n")).await;
            wait.notified().await;
            served.wire.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n").await;
        }
    });
    let world = home(events).await;
    let mut wire = world.from("red-phone").open().await;
    wire.send(GET).await;
    assert_eq!(wire.head().await.unwrap().get("content-type"), Some("text/event-stream"));
    assert_eq!(wire.chunk().await.unwrap(), b"data: 1\n\n");
    seen.notify_one();
    assert_eq!(wire.chunk().await.unwrap(), b"data: 2\n\n");
    assert_eq!(wire.chunk().await.unwrap(), b"");
}

#[tokio::test]
async fn a_chunk_of_an_upload_arrives_before_the_next_is_sent() {
    let (came, mut chunks) = mpsc::channel(8);
    let upload = script(move |mut served| {
        let came = came.clone();
        async move {
            let head = served.request().await.unwrap();
            assert_eq!(head.get("transfer-encoding"), Some("chunked"));
            while let Some(chunk) = served.wire.chunk().await.filter(|chunk| !chunk.is_empty()) {
                came.send(chunk).await.unwrap();
            }
            served.wire.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    });
    let world = home(upload).await;
    let mut wire = world.from("red-phone").open().await;
    wire.send("PUT /x HTTP/1.1\r\nHost: wiki.home.arpa\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for part in ["one", "two"] {
        wire.send(format!("3\r\n{part}\r\n")).await;
        assert_eq!(chunks.recv().await.unwrap(), part.as_bytes());
    }
    wire.send("0\r\n\r\n").await;
    assert_eq!(wire.head().await.unwrap().status(), 204);
}

#[tokio::test]
async fn answers_without_a_body_keep_their_length_and_their_connection() {
    for (method, answer, status, length) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n", 200, Some("1234")),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        ("GET", "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n", 304, None),
    ] {
        let world = home(says(answer)).await;
        let phone = world.from("red-phone");
        let mut wire = phone.open().await;
        for _ in 0..2 {
            let request = format!("{method} / HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n");
            wire.send(&request).await;
            let reply = phone.reply(&mut wire, &request).await.is(status);
            assert_eq!(reply.head.get("content-length"), length, "{method} {status}");
        }
        assert_eq!(wire.closed_within(Duration::from_millis(20)).await, Closed::Open);
        assert_eq!(world.upstream("wiki").connections(), 1, "{method} {status}");
    }
}

#[tokio::test]
async fn ranges_pass_as_they_are() {
    let part = "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 2-4/10\r\ncontent-length: 3\r\n\r\ncde";
    let world = home(says(part)).await;
    let reply = world.from("red-phone").ask("wiki", "GET", "/film", "Range: bytes=2-4\r\n").await.is(206);
    assert_eq!((reply.text().as_str(), reply.head.get("content-range")), ("cde", Some("bytes 2-4/10")));
    assert_eq!(reply.upstream_saw().get("range"), Some("bytes=2-4"));
}

#[tokio::test]
async fn a_service_stays_within_its_own_name() {
    let world = home(says(
        "HTTP/1.1 302 Found\r\nset-cookie: sid=1; Domain=home.arpa; Path=/; HttpOnly\r\nset-cookie: theme=dark\r\n\
         strict-transport-security: max-age=31536000\r\nalt-svc: h3=\":443\"\r\nztgate-refusal: no-rule\r\n\
         connection: x-hop\r\nx-hop: 1\r\nlocation: http://wiki.home.arpa/login\r\ncontent-length: 0\r\n\r\n",
    ))
    .await;
    let phone = world.from("red-phone");
    let mut wire = phone.open_tls("wiki", &[b"http/1.1"]).await;
    wire.send(GET).await;
    let reply = phone.reply(&mut wire, GET).await.is(302).has("location", "https://wiki.home.arpa/login");
    let cookies: Vec<&str> = reply.head.all("set-cookie").collect();
    assert_eq!(cookies, ["sid=1; Path=/; HttpOnly", "theme=dark"]);
    for name in ["strict-transport-security", "alt-svc", "ztgate-refusal", "x-hop"] {
        assert!(!reply.head.has(name), "{name}: {:#?}", reply.head);
    }
}

#[tokio::test]
async fn a_service_binds_browsers_to_https_only_where_the_operator_asked_for_it() {
    let strict = "HTTP/1.1 200 OK\r\nstrict-transport-security: max-age=60\r\ncontent-length: 0\r\n\r\n";
    let world = World::new()
        .member("red-phone")
        .service_with("bank", says(strict), "plain_http = false\nhsts = true")
        .service_with("wiki", says(strict), "plain_http = false")
        .allow("red-phone", "bank")
        .allow("red-phone", "wiki")
        .start()
        .await;
    let phone = world.from("red-phone");
    for (service, passed) in [("bank", Some("max-age=60")), ("wiki", None)] {
        let (answer, _) = phone.h2(service).await.ask(service, "/", &[]).await;
        let strict = answer.headers().get("strict-transport-security");
        assert_eq!(strict.map(|value| value.to_str().unwrap()), passed, "{service}");
    }
    phone.get("bank", "/").await.is(308).lacks("strict-transport-security");
}

#[tokio::test]
async fn webdav_names_its_target_in_the_services_own_words() {
    let world = home(echo()).await;
    let phone = world.from("red-phone");
    let mut wire = phone.open_tls("wiki", &[b"http/1.1"]).await;
    let mv = |to: &str| format!("MOVE /a HTTP/1.1\r\nHost: wiki.home.arpa\r\nDestination: {to}\r\n\r\n");
    wire.send(mv("https://wiki.home.arpa/b")).await;
    let seen = phone.reply(&mut wire, "MOVE").await.is(200).upstream_saw();
    assert_eq!(seen.get("destination"), Some("http://wiki.home.arpa/b"));
    wire.send(mv("https://vault.home.arpa/b")).await;
    phone.reply(&mut wire, "MOVE").await.refused("bad-request");
}

#[tokio::test]
async fn one_id_names_a_request_at_both_ends_and_in_the_log() {
    let world = home(echo()).await;
    let reply = world.from("red-phone").get("wiki", "/page?token=s3cret").await.is(200);
    let id = reply.head.get("x-request-id").unwrap().to_owned();
    assert_eq!(reply.upstream_saw().get("x-request-id"), Some(id.as_str()));
    let record = world.audit().record(|record| record.request.is_some_and(|own| own.to_string() == id)).await;
    assert_eq!((record.status, record.sent), (Some(200), reply.body.len() as u64));
    assert!(!record.path.unwrap().contains("s3cret"));
}

#[tokio::test]
async fn a_reused_connection_that_the_service_had_closed_is_no_failure() {
    let once = script(|mut served| async move {
        served.request().await;
        served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        // Closed without a word, as servers do to idle connections.
    });
    let world = home(once).await;
    for _ in 0..5 {
        world.from("red-phone").get("wiki", "/").await.is(200);
    }
}

#[tokio::test]
async fn a_broken_answer_is_no_whole_one() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let breaks = script(move |mut served| async move {
            served.request().await;
            served.wire.send(answer).await;
        });
        let world = home(breaks).await;
        let mut wire = world.from("red-phone").open().await;
        wire.send(GET).await;
        let head = wire.head().await.unwrap();
        assert_eq!(wire.body(&head).await, None, "{answer:?}");
        let record = world.audit().record(|_| true).await;
        assert_eq!(record.ended, Some(Ending::UpstreamBroke));
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_the_services_fault() {
    for answer in [
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nxx",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ] {
        let world = home(says(answer)).await;
        world.from("red-phone").get("wiki", "/").await.refused("upstream-down");
    }
}

/// While it waits for the head, while it downloads, and while it uploads.
#[tokio::test]
async fn when_the_device_leaves_the_service_knows_within_a_second() {
    let put = "PUT / HTTP/1.1\r\nHost: wiki.home.arpa\r\nContent-Length: 1000\r\n\r\nhalf";
    let download = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf";
    for (phase, request, first) in
        [("waits", GET, ""), ("downloads", GET, download), ("uploads", put, ""), ("both", put, download)]
    {
        let (upstream, mut left) = tells_when_left(first);
        let world = home(upstream).await;
        let mut wire = world.from("red-phone").open().await;
        wire.send(request).await;
        if first.is_empty() {
            while world.upstream("wiki").requests().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        } else {
            wire.head().await.unwrap();
        }
        let leaves = Instant::now();
        drop(wire);
        let noticed = tokio::time::timeout(SOON, left.recv()).await.expect(phase).unwrap();
        assert!(noticed - leaves < Duration::from_secs(1), "{phase}: {:?}", noticed - leaves);
        let record = world.audit().record(|_| true).await;
        assert_eq!(record.ended, Some(Ending::DeviceGone), "{phase}");
    }
}

#[tokio::test]
async fn a_device_that_breaks_an_upload_off_says_nothing_about_the_service() {
    let (upstream, mut left) = tells_when_left("");
    let world = home(upstream).await;
    let mut wire = world.from("red-phone").open().await;
    wire.send("PUT / HTTP/1.1\r\nHost: wiki.home.arpa\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX")
        .await;
    left.recv().await.unwrap();
    let record = world.audit().record(|_| true).await;
    assert_eq!((record.verdict, record.ended), (Verdict::Allow, Some(Ending::DeviceGone)));
    assert!(wire.head().await.is_none_or(|head| head.status() == 400));
}

/// A film that was paused, a slow upload, and a connection that idles are all legal; a head that never ends is not.
#[tokio::test]
async fn slow_heads_are_ended_and_nothing_else_is() {
    let big = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", 8 << 20, "x".repeat(8 << 20));
    let world = World::new()
        .member("red-phone")
        .service("wiki", echo())
        .service("films", says(&big))
        .allow("red-phone", "wiki")
        .allow("red-phone", "films")
        .start()
        .await;
    let phone = world.from("red-phone");
    let pause = Duration::from_millis(2200);

    let slow_head = async {
        let (began, mut wire) = (Instant::now(), phone.open().await);
        wire.send("GET / HTTP/1.1\r\nHost: wiki.ho").await;
        assert_eq!(wire.closed_within(SOON).await, Closed::Yes);
        let lived = began.elapsed();
        assert!(Duration::from_millis(500) < lived && lived < pause, "{lived:?}");
    };
    let idle = async {
        let mut wire = phone.open().await;
        wire.send(GET).await;
        phone.reply(&mut wire, GET).await.is(200);
        tokio::time::sleep(pause).await;
        wire.send(GET).await;
        phone.reply(&mut wire, GET).await.is(200);
    };
    let never_used = async {
        let mut wire = phone.open().await;
        assert_eq!(wire.closed_within(pause).await, Closed::Open);
    };
    let slow_body = async {
        let mut wire = phone.open().await;
        wire.send("POST / HTTP/1.1\r\nHost: wiki.home.arpa\r\nContent-Length: 12\r\n\r\n").await;
        for _ in 0..12 {
            wire.send("x").await;
            tokio::time::sleep(pause / 12).await;
        }
        phone.reply(&mut wire, "POST").await.is(200).says("xxxxxxxxxxxx");
    };
    let paused_reader = async {
        let mut wire = phone.open().await;
        wire.send("GET / HTTP/1.1\r\nHost: films.home.arpa\r\n\r\n").await;
        let head = wire.head().await.unwrap();
        tokio::time::sleep(pause).await;
        assert_eq!(wire.body(&head).await.unwrap().len(), 8 << 20);
    };
    tokio::join!(slow_head, idle, never_used, slow_body, paused_reader);
}

/// A ClientHello that stops halfway holds up nobody, and is given up at the limit.
#[tokio::test]
async fn a_stalled_handshake_is_closed_at_the_limit_and_nobody_waits_for_it() {
    let limit = Duration::from_millis(400);
    let world = World::new()
        .member("red-phone")
        .service("wiki", echo())
        .allow("red-phone", "wiki")
        .limits(|limits| limits.handshake = limit)
        .start()
        .await;
    let phone = world.from("red-phone");
    // A record of 500 bytes is announced (RFC 8446, section 5.1), and a few of them come.
    let half = [&[22, 3, 1, 1, 244, 1, 0, 1, 240, 3, 3][..], &[7; 40]].concat();
    let (mut stalled, mut silent) = (phone.open_https().await, phone.open_https().await);
    let began = Instant::now();
    stalled.send(&half).await;

    let mut wire = phone.open_tls("wiki", &[b"http/1.1"]).await;
    wire.send(GET).await;
    phone.reply(&mut wire, GET).await.is(200);
    assert!(began.elapsed() < limit, "others waited");

    for wire in [&mut stalled, &mut silent] {
        assert_eq!(wire.closed_within(SOON).await, Closed::Yes);
    }
    assert!(began.elapsed() >= limit, "closed too early");
    let counted = async {
        while world.gateway().status().failed_handshakes != 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, counted).await.expect("both are counted");
    wire.send(GET).await;
    phone.reply(&mut wire, GET).await.is(200);
    world.audit().reads(&["red-phone allow wiki", "red-phone allow wiki"]).await;
}
