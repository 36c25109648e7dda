//! Requests that two parsers could read two ways, and devices that say who they are: the proxy's own promises.

use std::time::Duration;

use crate::world::h2::{field, frame, opening};
use crate::world::upstream::script;
use crate::world::wire::Closed;
use crate::world::{Live, SOON, World, echo};

/// One device, one service it may open and one it may not.
async fn home() -> Live {
    World::new()
        .member("red-phone")
        .service("wiki", echo())
        .service("vault", echo())
        .allow("red-phone", "wiki")
        .start()
        .await
}

#[tokio::test]
async fn a_request_has_one_name_however_it_is_said() {
    let world = home().await;
    let phone = world.from("red-phone");
    let port = world.http_port();
    for (target, hosts, code) in [
        ("/", "Host: wiki.home.arpa\r\n", None),
        ("/", "Host: WIKI.Home.Arpa\r\n", None),
        ("/", "Host: wiki.home.arpa.\r\n", None),
        ("/", &format!("Host: wiki.home.arpa:{port}\r\n"), None),
        ("http://wiki.home.arpa/", "Host: wiki.home.arpa\r\n", None),
        ("/", "", Some("bad-request")),
        ("/", "Host: \r\n", Some("bad-request")),
        ("/", "Host: wiki.home.arpa\r\nHost: wiki.home.arpa\r\n", Some("bad-request")),
        ("/", "Host: wiki.home.arpa\r\nhost: vault.home.arpa\r\n", Some("bad-request")),
        ("/", "Host: vault.home.arpa@wiki.home.arpa\r\n", Some("bad-request")),
        ("/", "Host: wiki.home.arpa:\r\n", Some("bad-request")),
        ("/", "Host: wiki.home.arpa:80x\r\n", Some("bad-request")),
        ("/", "Host: wiki.home.arpa/x\r\n", Some("bad-request")),
        ("/", "Host: wiki.home.arpa, vault.home.arpa\r\n", Some("bad-request")),
        ("http://vault.home.arpa/", "Host: wiki.home.arpa\r\n", Some("bad-request")),
        ("http://wiki.home.arpa/", "", Some("bad-request")),
        ("/", "Host: wiki.home.arpa:1\r\n", Some("unknown-name")),
        ("/", "Host: 127.0.0.1\r\n", Some("unknown-name")),
        ("/", "Host: 2130706433\r\n", Some("unknown-name")),
        ("/", "Host: [::1]\r\n", Some("unknown-name")),
        ("/", "Host: localhost\r\n", Some("unknown-name")),
        ("/", "Host: wiki.evil.example\r\n", Some("unknown-name")),
        ("/", "Host: wiki\r\n", Some("unknown-name")),
    ] {
        let reply = phone.raw(&format!("GET {target} HTTP/1.1\r\n{hosts}\r\n")).await;
        match code {
            None => assert_eq!(reply.is(200).upstream_saw().target(), "/", "{target} {hosts:?}"),
            Some(code) => drop(reply.refused(code)),
        }
    }
    assert_eq!(world.upstream("wiki").requests().len(), 5);
    assert!(world.upstream("vault").requests().is_empty());
}

#[tokio::test]
async fn the_name_is_the_one_that_tls_was_opened_for() {
    let world = home().await;
    let phone = world.from("red-phone");
    let mut wire = phone.open_tls("wiki", &[b"http/1.1"]).await;
    for (host, code) in [("wiki", None), ("vault", Some("unknown-name")), ("gate", Some("unknown-name"))] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}.home.arpa\r\n\r\n");
        wire.send(&request).await;
        let reply = phone.reply(&mut wire, &request).await;
        match code {
            None => drop(reply.is(200).upstream_saw_member("red-phone")),
            Some(code) => drop(reply.refused(code)),
        }
    }
}

/// Whatever would let the service read another request than the gateway did ends here, and takes its connection along.
#[tokio::test]
async fn doubtful_framing_reaches_no_service_and_ends_the_connection() {
    let world = home().await;
    let phone = world.from("red-phone");
    for lines in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\u{b}chunked",
        "X: a\r\n Transfer-Encoding: chunked",
        "X: a\r\n\tb",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length: 5, 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 99999999999999999999999",
        "Content-Length : 5",
        "X: a\rTransfer-Encoding: chunked",
        "X: a\0b",
        "X",
        ": x",
        "Expect: 200-ok",
    ] {
        let mut wire = phone.open().await;
        let request = format!("POST /first HTTP/1.1\r\nHost: wiki.home.arpa\r\n{lines}\r\n\r\n");
        wire.send(format!("{request}0\r\n\r\nGET /second HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n")).await;
        let reply = phone.reply(&mut wire, &request).await;
        assert_eq!(reply.head.status(), 400, "{lines:?}");
        assert_eq!(wire.closed_within(SOON).await, Closed::Yes, "{lines:?}");
    }
    for first in
        ["GET /", "GET / HTTP/1.2", "GET / HTTP/2.0", "GET  / HTTP/1.1", "GE T / HTTP/1.1", "PRI * HTTP/2.0"]
    {
        let mut wire = phone.open().await;
        wire.send(format!("{first}\r\nHost: wiki.home.arpa\r\n\r\n")).await;
        let answer = String::from_utf8_lossy(&wire.rest().await).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{first}: {answer}");
    }
    let reached: Vec<String> =
        world.upstream("wiki").requests().iter().map(|head| head.target().to_owned()).collect();
    assert_eq!(reached, [""; 0]);
}

/// CL.TE and TE.CL need two readers. Here the second reader is given a request of the gateway's own making, and what was
/// hidden behind it is judged like any other request.
#[tokio::test]
async fn what_is_smuggled_is_judged_by_itself() {
    let world = home().await;
    let phone = world.from("red-phone");
    let hidden = "GET /hidden HTTP/1.1\r\nHost: vault.home.arpa\r\n\r\n";
    let mut wire = phone.open().await;
    let request = "POST /both HTTP/1.1\r\nHost: wiki.home.arpa\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
    wire.send(format!("{request}0\r\n\r\n{hidden}")).await;
    let reply = phone.reply(&mut wire, request).await;
    if reply.head.status() == 200 {
        let seen = reply.upstream_saw();
        assert!(!(seen.has("content-length") && seen.has("transfer-encoding")), "{seen:#?}");
    }
    let rest = String::from_utf8_lossy(&wire.rest_within(Duration::from_millis(200)).await).into_owned();
    assert!(rest.is_empty() || rest.contains("no-rule") || rest.starts_with("HTTP/1.1 400 "), "{rest}");
    assert!(world.upstream("vault").requests().is_empty());
    assert!(world.upstream("wiki").requests().iter().all(|head| head.target() == "/both"));
}

#[tokio::test]
async fn a_chunked_body_is_taken_apart_and_its_odd_forms_are_refused() {
    let world = home().await;
    let phone = world.from("red-phone");
    let start = "POST / HTTP/1.1\r\nHost: wiki.home.arpa\r\nTransfer-Encoding: chunked\r\n\r\n";
    phone.raw(&format!("{start}5;ext=\"x\"\r\nhello\r\n0\r\n\r\n")).await.is(200).says("hello");
    for body in [
        "5\r\nhelloXX0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\n",
    ] {
        let mut wire = phone.open().await;
        wire.send(format!("{start}{body}GET /second HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n")).await;
        let answer = String::from_utf8_lossy(&wire.rest().await).into_owned();
        assert!(!answer.contains(" 200 OK"), "{body:?}: {answer}");
    }
    assert!(world.upstream("wiki").requests().iter().all(|head| head.target() == "/"));
}

#[tokio::test]
async fn requests_in_one_go_are_answered_one_by_one() {
    let world = home().await;
    let phone = world.from("red-phone");
    let mut wire = phone.open().await;
    let request = |path| format!("GET {path} HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n");
    wire.send(request("/1") + &request("/2") + &request("/3")).await;
    for path in ["/1", "/2", "/3"] {
        phone.reply(&mut wire, &request(path)).await.is(200).says(&format!("GET {path}\n"));
    }
    assert_eq!(world.upstream("wiki").connections(), 1, "one at a time shares a connection");
}

/// An answer before the end of the upload leaves bytes whose meaning nobody should guess.
#[tokio::test]
async fn neither_connection_is_used_again_after_an_early_answer() {
    let early = script(|mut served| async move {
        served.request().await;
        served.wire.send("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await;
        served.wire.rest().await;
    });
    let world =
        World::new().member("red-phone").service("wiki", early).allow("red-phone", "wiki").start().await;
    let phone = world.from("red-phone");
    let mut wire = phone.open().await;
    let request = "POST /early HTTP/1.1\r\nHost: wiki.home.arpa\r\nContent-Length: 100000\r\n\r\n";
    wire.send(request).await;
    phone.reply(&mut wire, request).await.is(413);
    wire.send("x".repeat(100_000) + "GET /hidden HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n").await;
    assert_eq!(wire.closed_within(SOON).await, Closed::Yes);
    phone.get("wiki", "/after").await.is(413);
    assert_eq!(world.upstream("wiki").connections(), 2);
    let targets: Vec<String> =
        world.upstream("wiki").requests().iter().map(|head| head.target().to_owned()).collect();
    assert_eq!(targets, ["/early", "/after"]);
}

#[tokio::test]
async fn nothing_a_device_says_about_itself_survives() {
    let world = home().await;
    let phone = world.from("red-phone");
    let forged = "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX.Forwarded.For: 6.6.6.6\r\n\
        X-Forwarded-Host: evil\r\nX-Forwarded-User: root\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
        X_Real_Ip: 6.6.6.6\r\nRemote-User: root\r\nRemote_User: root\r\nX-Ztgate-Member: 0000000000\r\n\
        X-Ztgate-Member: 1111111111\r\nX_ZtGate_Member: 0\r\nX-Ztgate-Groups: admins\r\nX-Request-Id: mine\r\n\
        Connection: x-ztgate-member, x-forwarded-for, host, x-mine\r\nX-Mine: hop\r\nProxy-Authorization: x\r\n\
        TE: trailers\r\nKeep-Alive: timeout=5\r\nX-Kept: yes\r\n";
    let reply = phone.ask("wiki", "GET", "/", forged).await.is(200).upstream_saw_member("red-phone");
    let seen = reply.upstream_saw();
    let mut names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let ours = [
        "host",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-kept",
        "x-request-id",
        "x-ztgate-device",
        "x-ztgate-member",
    ];
    assert_eq!(names, ours, "{seen:#?}");
    assert_eq!(seen.get("host"), Some("wiki.home.arpa"));
    assert_eq!(seen.get("x-forwarded-proto"), Some("http"));
}

#[tokio::test]
async fn a_body_arrives_whole_though_connection_names_its_framing() {
    let world = home().await;
    let phone = world.from("red-phone");
    let request = "POST / HTTP/1.1\r\nHost: wiki.home.arpa\r\nConnection: content-length, transfer-encoding\r\n\
        Content-Length: 5\r\n\r\nhello";
    phone.raw(request).await.is(200).says("hello");
}

/// RFC 9110, section 8.6, leaves it to us to make one of two that agree.
#[tokio::test]
async fn two_lengths_that_agree_are_one_upstream() {
    let world = home().await;
    let twice = "Content-Length: 5\r\nContent-Length: 5\r\n";
    let request = format!("POST / HTTP/1.1\r\nHost: wiki.home.arpa\r\n{twice}\r\nhello");
    let reply = world.from("red-phone").raw(&request).await.is(200).says("hello");
    assert_eq!(reply.upstream_saw().get("content-length"), Some("5"));
}

/// A line may end without CR (RFC 9112, section 2.2). Whatever is made of it, upstream it is regenerated.
#[tokio::test]
async fn bare_line_feeds_do_not_reach_the_service() {
    let world = home().await;
    let mut wire = world.from("red-phone").open().await;
    wire.send("GET / HTTP/1.1\nHost: wiki.home.arpa\nX: a\nX-Ztgate-Member: 0000000000\n\n").await;
    if wire.head().await.is_some_and(|head| head.status() == 200) {
        let seen = world.upstream("wiki").requests().remove(0);
        assert_eq!(seen.get("x-ztgate-member"), Some(world.id("red-phone").to_string().as_str()));
        assert!(seen.headers.iter().all(|(_, value)| !value.contains('\n')), "{seen:#?}");
    }
}

#[tokio::test]
async fn methods_that_are_for_proxies_stop_here_and_webdavs_pass() {
    let world = home().await;
    let phone = world.from("red-phone");
    phone.ask("wiki", "TRACE", "/", "").await.refused("bad-request");
    for method in ["PROPFIND", "OPTIONS", "PURGE"] {
        phone.ask("wiki", method, "/dav", "").await.is(200).says(&format!("{method} /dav"));
    }
    let mut wire = phone.open().await;
    wire.send("CONNECT wiki.home.arpa:22 HTTP/1.1\r\nHost: wiki.home.arpa:22\r\n\r\n").await;
    assert!(matches!(wire.head().await.unwrap().status(), 400 | 421));
    assert_eq!(world.upstream("wiki").requests().len(), 3);
}

/// h2c would be a second protocol that nobody here reads.
#[tokio::test]
async fn no_other_upgrade_than_websocket_is_asked_for() {
    let world = home().await;
    let upgrade =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let reply = world.from("red-phone").ask("wiki", "GET", "/", upgrade).await.is(200);
    let seen = reply.upstream_saw();
    for name in ["upgrade", "connection", "http2-settings"] {
        assert!(!seen.has(name), "{seen:#?}");
    }
}

#[tokio::test]
async fn trailers_are_dropped_both_ways() {
    let trailing = script(|mut served| async move {
        let head = served.request().await.unwrap();
        assert_eq!(served.wire.body(&head).await.unwrap(), b"hello");
        let came = served.wire.trailers.len();
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n";
        served.wire.send(format!("{head}1\r\n{came}\r\n0\r\nX-T: 1\r\nZtgate-Refusal: no\r\n\r\n")).await;
    });
    let world =
        World::new().member("red-phone").service("wiki", trailing).allow("red-phone", "wiki").start().await;
    let phone = world.from("red-phone");
    let request = "POST / HTTP/1.1\r\nHost: wiki.home.arpa\r\nTE: trailers\r\nTrailer: x-ztgate-member\r\n\
        Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Ztgate-Member: 0000000000\r\n\r\n";
    let mut wire = phone.open().await;
    wire.send(request).await;
    let reply = phone.reply(&mut wire, request).await.is(200).lacks("trailer");
    assert_eq!(reply.text(), "0");
    assert_eq!(wire.trailers, [""; 0]);
}

#[tokio::test]
async fn heads_have_a_size_and_a_number_of_lines() {
    let world = home().await;
    let phone = world.from("red-phone");
    phone.ask("wiki", "GET", "/", &"X: y\r\n".repeat(90)).await.is(200);
    phone.ask("wiki", "GET", "/", &"X: y\r\n".repeat(200)).await.is(431);
    phone.ask("wiki", "GET", "/", &format!("X: {}\r\n", "y".repeat(40_000))).await.is(200);
    let mut wire = phone.open().await;
    wire.send(format!("GET / HTTP/1.1\r\nHost: wiki.home.arpa\r\nX: {}\r\n\r\n", "y".repeat(200_000))).await;
    assert_eq!(wire.head().await.map_or(431, |head| head.status()), 431);
}

/// A URL may leave the root's slash out; a request line may not.
#[tokio::test]
async fn a_url_without_a_path_asks_for_the_root() {
    let world = home().await;
    let phone = world.from("red-phone");
    let request = "GET http://wiki.home.arpa?a=1 HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n";
    assert_eq!(phone.raw(request).await.is(200).upstream_saw().target(), "/?a=1");

    for (path, told) in [("?a=2", true), ("a=3", false), ("*", false)] {
        let mut wire = phone.open_tls("wiki", &[b"h2"]).await;
        let fields = [
            field(":method", "GET"),
            field(":scheme", "https"),
            field(":path", path),
            field(":authority", "wiki.home.arpa"),
        ];
        wire.send([opening(), frame(1, 5, 1, &fields.concat())].concat()).await;
        wire.rest_within(Duration::from_millis(300)).await;
        let last = world.upstream("wiki").requests().pop().unwrap();
        assert_eq!(last.target() == format!("/{path}"), told, "{path}: {last:?}");
    }
}
