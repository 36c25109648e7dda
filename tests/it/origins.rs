//! Pages that are open on an enrolled device: what they make its browser send reaches no service, and what natives, links
//! and listed pages send does. Each request is written as browsers write it; `real/pages.rs` lets one write it itself.

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper::ext::Protocol;
use ztgate::audit::Verdict;
use ztgate::model::RefusalCode;

use crate::websockets::{chat, handshake};
use crate::world::upstream::says;
use crate::world::{Live, Wire, World, echo};

const LISTS: &str = "allow_origins = [\"https://ariang.example\"]";

/// An answer full of what services say to browsers about other origins.
const TALKATIVE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nETag: \"1\"\r\nAccess-Control-Allow-Origin: *\r\n\
    Access-Control-Expose-Headers: x\r\nClear-Site-Data: \"*\"\r\nVary: accept\r\n\r\nok";

async fn home() -> Live {
    World::new()
        .member("red-phone")
        .member("laptop")
        .service("wiki", echo())
        .service_with("files", says(TALKATIVE), LISTS)
        .service_with("chat", chat(), LISTS)
        .allow("red-phone", "wiki")
        .allow("red-phone", "files")
        .allow("red-phone", "chat")
        .start()
        .await
}

#[tokio::test]
async fn a_page_from_elsewhere_reaches_no_service_and_is_recorded() {
    let world = home().await;
    let phone = world.from("red-phone");
    for (method, headers) in [
        ("POST", "Origin: https://evil.example\r\nContent-Length: 0\r\n"),
        ("POST", "Origin: null\r\nContent-Length: 0\r\n"),
        ("GET", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: script\r\n"),
        ("GET", "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n"),
        ("GET", "Referer: http://evil.example/\r\n"),
        ("OPTIONS", "Origin: https://evil.example\r\nAccess-Control-Request-Method: PUT\r\n"),
        ("GET", "Origin: https://evil.example\r\nOrigin: https://evil.example\r\n"),
    ] {
        let reply = phone.ask("wiki", method, "/", headers).await.refused("cross-site");
        reply.lacks("access-control-allow-origin").has("cache-control", "no-store");
    }
    assert_eq!(world.upstream("wiki").connections(), 0);
    let record = world.audit().record(|record| record.status == Some(403)).await;
    assert_eq!(record.verdict, Verdict::Refuse(RefusalCode::CrossSite));
    assert_eq!((record.member, record.service.as_deref()), (Some(world.id("red-phone")), Some("wiki")));
}

#[tokio::test]
async fn what_is_no_page_from_elsewhere_goes_on() {
    let world = home().await;
    let phone = world.from("red-phone");
    let own = format!("Host: wiki.home.arpa:{0}\r\nOrigin: http://wiki.home.arpa:{0}", world.http_port());
    let https = format!("Host: wiki.home.arpa\r\nOrigin: https://wiki.home.arpa:{}", world.https_port());
    for (method, headers) in [
        ("GET", "Host: wiki.home.arpa"),
        ("PROPFIND", "Host: wiki.home.arpa\r\nDepth: 1"),
        ("OPTIONS", "Host: wiki.home.arpa"),
        ("DELETE", "Host: wiki.home.arpa\r\nUser-Agent: Mozilla/5.0"),
        ("POST", &own),
        // By a port that is mapped on the way here, the browser's URL has another.
        ("POST", "Host: wiki.home.arpa\r\nOrigin: http://wiki.home.arpa"),
        ("POST", &https),
        ("GET", "Host: wiki.home.arpa\r\nReferer: http://evil.example/\r\nUpgrade-Insecure-Requests: 1"),
        (
            "GET",
            "Host: wiki.home.arpa\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document",
        ),
    ] {
        let request = format!("{method} / HTTP/1.1\r\n{headers}\r\nContent-Length: 0\r\n\r\n");
        let reply = phone.raw(&request).await.is(200);
        assert_eq!(reply.upstream_saw().method(), method, "{headers}");
    }
}

#[tokio::test]
async fn over_tls_a_page_that_came_by_http_is_another() {
    let world = home().await;
    let phone = world.from("red-phone");
    let mut h2 = phone.h2("wiki").await;
    for (origin, status) in [
        (format!("https://wiki.home.arpa:{}", world.https_port()), 200),
        ("https://wiki.home.arpa".to_owned(), 200),
        (format!("http://wiki.home.arpa:{}", world.http_port()), 403),
        ("https://chat.home.arpa".to_owned(), 403),
    ] {
        let (response, _) = h2.ask("wiki", "/", &[("origin", &origin)]).await;
        assert_eq!(response.status(), status, "{origin}");
    }
    let sibling =
        [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")];
    let (response, _) = h2.ask("wiki", "/", &sibling).await;
    assert_eq!(response.headers()["ztgate-refusal"], "cross-site");
}

#[tokio::test]
async fn a_listed_page_reads_what_is_said_and_nobody_else_is_told_that_it_may() {
    let world = home().await;
    let phone = world.from("red-phone");
    let reply = phone.ask("files", "GET", "/", "Origin: https://ariang.example\r\n").await.is(200);
    let reply = reply
        .has("access-control-allow-origin", "https://ariang.example")
        .has("access-control-allow-credentials", "true")
        .lacks("clear-site-data");
    assert!(reply.head.get("access-control-expose-headers").unwrap().contains("etag"));
    assert_eq!(reply.head.all("vary").collect::<Vec<_>>(), ["accept", "origin"]);
    // What another page may be told is not for a cache to give to this one.
    let reply = phone.get("files", "/").await.is(200);
    assert_eq!(reply.head.all("vary").collect::<Vec<_>>(), ["accept", "origin"]);
    reply.lacks("access-control-allow-origin").lacks("access-control-expose-headers");
    // Neither does a rule's refusal hide from a listed page behind an error of its browser's.
    let refused = world.from("laptop").ask("files", "GET", "/", "Origin: https://ariang.example\r\n").await;
    let refused = refused.refused("no-rule").has("access-control-allow-origin", "https://ariang.example");
    assert!(refused.head.get("access-control-expose-headers").unwrap().contains("ztgate-refusal"));
    assert_eq!(refused.head.all("vary").collect::<Vec<_>>(), ["accept", "origin"]);
}

/// What the gateway itself says is for listed pages, too, once it knows whose device asks and that the page is listed.
#[tokio::test]
async fn no_other_page_and_no_other_device_is_told_anything() {
    let mut world = World::new()
        .member("laptop")
        .pending("new-tv")
        .service_with("files", says(TALKATIVE), LISTS)
        .start()
        .await;
    let listed = "Origin: https://ariang.example\r\n";
    let preflight = format!("{listed}Access-Control-Request-Method: PUT\r\n");
    for (device, service, headers, code) in [
        ("new-tv", "files", listed, "member-pending"),
        ("new-tv", "no-such", listed, "member-pending"),
        ("laptop", "no-such", listed, "unknown-name"),
        ("laptop", "files", "Origin: https://evil.example\r\n", "cross-site"),
        ("laptop", "files", "Origin: null\r\n", "cross-site"),
    ] {
        for (method, more) in [("GET", ""), ("OPTIONS", "Access-Control-Request-Method: PUT\r\n")] {
            let reply = world.from(device).ask(service, method, "/", &format!("{headers}{more}")).await;
            let reply = reply.refused(code);
            let told = format!("{:?}", reply.head);
            assert!(!told.contains("access-control-"), "{device} {method} {service} {headers}: {told}");
        }
    }
    world.from("laptop").ask("files", "OPTIONS", "/", &preflight).await.is(204);
    world.reload(|plan| plan.remove_service("files")).await.unwrap();
    world.from("laptop").ask("files", "OPTIONS", "/", &preflight).await.refused("unknown-name");
}

#[tokio::test]
async fn a_preflight_is_answered_without_the_service() {
    let world = home().await;
    let phone = world.from("red-phone");
    let asks =
        "Access-Control-Request-Method: PROPPATCH\r\nAccess-Control-Request-Headers: depth,x-token\r\n";
    let listed = format!("Origin: https://ariang.example\r\nSec-Fetch-Site: cross-site\r\n{asks}");
    let reply = phone.ask("files", "OPTIONS", "/a", &listed).await.is(204);
    let vary = reply.head.all("vary").collect::<Vec<_>>().join(",");
    assert!(vary.contains("origin") && vary.contains("access-control-request-headers"), "{vary}");
    reply
        .has("access-control-allow-origin", "https://ariang.example")
        .has("access-control-allow-methods", "PROPPATCH")
        .has("access-control-allow-headers", "depth,x-token")
        .has("access-control-allow-credentials", "true")
        .has("access-control-max-age", "600")
        .lacks("access-control-allow-private-network");
    let private = format!("{listed}Access-Control-Request-Private-Network: true\r\n");
    phone
        .ask("files", "OPTIONS", "/a", &private)
        .await
        .is(204)
        .has("access-control-allow-private-network", "true");
    phone.ask("wiki", "OPTIONS", "/a", &listed).await.refused("cross-site");
    // Its browser hears that the page may ask, and the page that this device may not.
    world.from("laptop").ask("files", "OPTIONS", "/a", &listed).await.is(204);
    assert_eq!(world.upstream("files").connections(), 0);
}

#[tokio::test]
async fn a_websocket_of_a_page_from_elsewhere_is_refused_before_the_service_hears_of_it() {
    let world = home().await;
    let phone = world.from("red-phone");
    for origin in ["https://evil.example", "null", "http://wiki.home.arpa", "https://chat.home.arpa:1"] {
        phone.raw(&handshake(&[("Origin", origin)])).await.refused("cross-site");
    }
    phone.raw(&handshake(&[("Sec-Fetch-Site", "same-origin")])).await.refused("cross-site");
    let mut h2 = phone.h2("chat").await;
    let connect = |origin: &str| {
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = "https://chat.home.arpa/ws".parse().unwrap();
        request.headers_mut().insert("origin", origin.parse().unwrap());
        request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        request
    };
    let response = h2.send(connect("https://evil.example")).await;
    assert_eq!(response.headers()["ztgate-refusal"], "cross-site");
    assert_eq!(world.upstream("chat").connections(), 0);
    let response = h2.send(connect("https://chat.home.arpa")).await;
    assert_eq!(response.status(), StatusCode::OK);
    for origin in ["http://chat.home.arpa", "https://ariang.example"] {
        phone.raw(&handshake(&[("Origin", origin)])).await.is(101);
    }
    assert_eq!(world.upstream("chat").connections(), 3);
}

#[tokio::test]
async fn the_page_names_the_line_that_would_let_it_and_nothing_that_is_no_origin() {
    let world = home().await;
    let phone = world.from("red-phone");
    let asks = |origin: &str, accept: &str| format!("Origin: {origin}\r\nAccept: {accept}\r\n");
    let page = phone.ask("wiki", "GET", "/", &asks("https://new.example", "text/html")).await;
    page.refused("cross-site")
        .says("allow_origins = [&quot;https://new.example&quot;]")
        .says("[service.wiki]")
        .says("a page of https://new.example asks");
    let json = phone.ask("wiki", "GET", "/", &asks("https://new.example", "application/json")).await;
    let json: serde_json::Value = serde_json::from_slice(&json.refused("cross-site").body).unwrap();
    assert_eq!(json["refusal"]["code"], "cross-site");
    assert!(json["refusal"]["next"].as_str().unwrap().contains("https://new.example in allow_origins"));
    for no_origin in ["https://a\"<script>", "javascript:alert(1)", "https://new.example/path"] {
        let page = phone.ask("wiki", "GET", "/", &asks(no_origin, "text/html")).await.refused("cross-site");
        assert!(!page.text().contains("allow_origins") && !page.text().contains("<script"), "{no_origin}");
    }
}

/// Its app, a sandboxed frame of anybody's, or the service's own form where its pages are not to be named: over https a
/// browser tells the last of them apart.
#[tokio::test]
async fn a_page_that_hides_is_shown_the_way_on_and_the_line_with_its_price() {
    let world = home().await;
    let phone = world.from("red-phone");
    let form = "Origin: null\r\nContent-Length: 0\r\nAccept: text/html\r\n";
    let secure = format!("https://wiki.home.arpa:{}/", world.https_port());
    phone
        .ask("wiki", "POST", "/save", form)
        .await
        .refused("cross-site")
        .says(&format!("href=\"{secure}\""))
        .says("allow_origins = [&quot;null&quot;]")
        .says("every other page that hides where it is from");
    let mut tls = Wire::new(phone.tls_on(world.https_port(), "wiki").await);
    let framed =
        format!("POST /save HTTP/1.1\r\nHost: wiki.home.arpa\r\nSec-Fetch-Site: cross-site\r\n{form}\r\n");
    tls.send(&framed).await;
    let page = phone.reply(&mut tls, &framed).await.refused("cross-site");
    assert!(page.says("allow_origins = [&quot;null&quot;]").text().contains("any page can"));
    let own = framed.replace("cross-site", "same-origin");
    let mut tls = Wire::new(phone.tls_on(world.https_port(), "wiki").await);
    tls.send(&own).await;
    phone.reply(&mut tls, &own).await.is(200);
}

/// R7, as far as the gateway's own pages act at all today.
#[tokio::test]
async fn the_gateways_own_pages_are_read_at_the_top_of_a_tab_and_by_no_page() {
    let world = home().await;
    let phone = world.from("red-phone");
    let framed = "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n";
    let script = "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n";
    let linked = "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    for path in ["/", "/whoami", "/trust", "/trust/root.crt"] {
        phone.ask("gate", "GET", path, framed).await.refused("cross-site");
        phone.ask("gate", "GET", path, script).await.refused("cross-site");
        let page = phone.ask("gate", "GET", path, linked).await.is(200);
        let policy = page.head.get("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("form-action 'none'"), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        phone.ask("gate", method, "/", "Content-Length: 0\r\n").await.is(405).has("allow", "GET, HEAD");
    }
    for page in [phone.get("no-such", "/").await, phone.ask("wiki", "GET", "/", script).await] {
        assert!(page.head.get("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
    }
}

/// It tells nothing but that it could be asked, and even that only to the page that is made for it.
#[tokio::test]
async fn the_trust_page_asks_its_question_across_the_lanes() {
    let world = home().await;
    let own = format!("http://gate.home.arpa:{}/", world.http_port());
    for (name, path, referer, status) in [
        ("trust-probe", "/trust/probe", own.as_str(), 200),
        ("trust-probe", "/trust/probe", "http://evil.example/", 403),
        ("trust-probe", "/whoami", own.as_str(), 404),
        ("gate", "/trust/probe", own.as_str(), 403),
        ("gate", "/trust", own.as_str(), 403),
        ("gate", "/whoami", own.as_str(), 403),
    ] {
        let mut h2 = world.from("red-phone").h2(name).await;
        let browser = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("referer", referer)];
        let (response, _) = h2.ask(name, path, &browser).await;
        assert_eq!(response.status(), status, "{name} {path} {referer}");
        assert!(!response.headers().contains_key("access-control-allow-origin"));
    }
}

/// A right to ask that is taken back holds from the next request on.
#[tokio::test]
async fn the_list_is_edited_while_it_runs() {
    let mut world = home().await;
    let listed = "Origin: https://ariang.example\r\n";
    world.from("red-phone").ask("files", "GET", "/", listed).await.is(200);
    world
        .reload(|plan| {
            plan.remove_service("files");
            plan.service("files", &says(TALKATIVE), "");
            plan.allow("red-phone", "files");
        })
        .await
        .unwrap();
    world.from("red-phone").ask("files", "GET", "/", listed).await.refused("cross-site");
}
