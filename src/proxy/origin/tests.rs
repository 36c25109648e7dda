//! Requests as browsers and native clients send them, and what becomes of each.

use proptest::prelude::*;

use super::*;
use crate::config::from_text;
use crate::routes::{Site, Target};

const WIKI: &str = "wiki.home.arpa";

/// A service that lists one page, and one that lists none.
fn site() -> Site {
    let text = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n\
        [service.wiki]\nupstream = \"http://127.0.0.1:1\"\nallow = [\"*\"]\naliases = [\"notes\"]\n\
        allow_origins = [\"https://ariang.example\", \"chrome-extension://abc\"]\n\
        [service.films]\nupstream = \"http://127.0.0.1:1\"\nallow = [\"*\"]\nallow_origins = [\"null\"]\n";
    Site::new(&from_text(text, &[]).unwrap(), None).unwrap()
}

fn fields(lines: &str) -> HeaderMap {
    let lines = lines.split(" | ").filter(|line| !line.is_empty());
    let fields = lines.map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line:?}")));
    fields
        .map(|(name, value)| {
            (
                name.to_ascii_lowercase().parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            )
        })
        .collect()
}

/// What becomes of a request: `goes`, `goes, read by X`, `preflight for X` or `refused: why`.
fn outcome(lane: Lane, method: &str, lines: &str, is_websocket: bool, links: Links) -> String {
    outcome_at(WIKI, lane, method, lines, is_websocket, links)
}

fn outcome_at(host: &str, lane: Lane, method: &str, lines: &str, is_websocket: bool, links: Links) -> String {
    let site = site();
    let Some(target @ Target::Service(_)) = site.find(host) else { panic!("{host}") };
    let headers = fields(lines);
    let method = method.parse().unwrap();
    let asking =
        Asking { lane, port: lane.default_port(), host, method: &method, headers: &headers, is_websocket };
    match judge(asking, site.origins(target), || links) {
        Ok(Passage::Goes { reader: None }) => "goes".to_owned(),
        Ok(Passage::Goes { reader: Some(page) }) => format!("goes, read by {}", page.to_str().unwrap()),
        Ok(Passage::GoesUnframed) => "goes, unframed".to_owned(),
        Ok(Passage::Preflight { reader }) => format!("preflight for {}", reader.to_str().unwrap()),
        Err(Foreign::Malformed) => "refused: malformed".to_owned(),
        Err(Foreign::Nowhere) => "refused: nowhere".to_owned(),
        Err(Foreign::Unnamed) => "refused: unnamed".to_owned(),
        Err(Foreign::Link) => "refused: link".to_owned(),
        Err(Foreign::Origin(origin)) => format!("refused: {origin}"),
    }
}

fn on(lane: Lane, method: &str, lines: &str) -> String {
    outcome(lane, method, lines, false, Links::Lead)
}

use Lane::{Http, Https};

const EVIL: &str = "refused: https://evil.example";
const SIBLING: &str = "refused: https://films.home.arpa";

#[test]
fn native_clients_say_none_of_it_and_go_on() {
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "MKCOL", "MOVE", "LOCK"] {
        for lane in [Http, Https] {
            assert_eq!(on(lane, method, ""), "goes", "{method}");
            assert_eq!(on(lane, method, "User-Agent: Mozilla/5.0 | Accept: text/html"), "goes", "{method}");
            // rclone names the folder that it serves; curl what it is told to.
            assert_eq!(
                on(lane, method, &format!("Referer: {}://{WIKI}/dav/", lane.scheme())),
                "goes",
                "{method}"
            );
            assert_eq!(on(lane, method, "Referer: about:blank"), "goes", "{method}");
            assert_eq!(on(lane, method, "Referer: /dav/"), "goes", "{method}");
        }
    }
    assert_eq!(outcome(Https, "GET", "", true, Links::Closed), "goes");
    // aria2p's client writes its own.
    assert_eq!(outcome(Http, "GET", "Origin: http://wiki.home.arpa:80", true, Links::Closed), "goes");
}

/// R1. A WebSocket has no preflight and no same-origin policy: this is all that there is.
#[test]
fn a_websocket_is_for_the_services_own_pages_and_those_listed() {
    for (lane, lines, becomes) in [
        (Https, "Origin: https://wiki.home.arpa", "goes"),
        (Https, "Origin: https://wiki.home.arpa | Sec-Fetch-Site: same-origin", "goes"),
        (Https, "Origin: https://notes.home.arpa", "goes, read by https://notes.home.arpa"),
        (Https, "Origin: https://ariang.example", "goes, read by https://ariang.example"),
        (Https, "Origin: chrome-extension://abc", "goes, read by chrome-extension://abc"),
        (Https, "Origin: http://wiki.home.arpa", "refused: http://wiki.home.arpa"),
        (Http, "Origin: http://wiki.home.arpa", "goes"),
        (Http, "Origin: https://wiki.home.arpa", "goes, read by https://wiki.home.arpa"),
        (Https, "Origin: https://films.home.arpa", SIBLING),
        (Https, "Origin: https://evil.example", EVIL),
        // What the browser says of the site beside it makes it no better.
        (Https, "Origin: https://evil.example | Sec-Fetch-Site: same-origin", EVIL),
        (Https, "Origin: https://evil.example | Sec-Fetch-Site: none", EVIL),
        (Https, "Origin: chrome-extension://other", "refused: chrome-extension://other"),
        (Https, "Origin: null", "refused: nowhere"),
        (Http, "Origin: null", "refused: nowhere"),
        (Https, "Origin: https://wiki.home.arpa | Origin: https://wiki.home.arpa", "refused: malformed"),
        (Https, "Origin: https://wiki.home.arpa/", "refused: malformed"),
        (Https, "Origin: ", "refused: malformed"),
        // Browsers name the page; one that says the site and not the page is none that we know.
        (Https, "Sec-Fetch-Site: same-origin", "refused: unnamed"),
        (Https, "Sec-Fetch-Site: cross-site", "refused: unnamed"),
    ] {
        let found = outcome(lane, "GET", lines, true, Links::Closed);
        assert_eq!(found, becomes, "{lane:?} {lines}");
        // Over HTTP/2 its method is another.
        assert_eq!(outcome(lane, "CONNECT", lines, true, Links::Lead), becomes, "{lane:?} {lines}");
    }
    assert_eq!(
        outcome_at("films.home.arpa", Https, "GET", "Origin: null", true, Links::Lead),
        "goes, read by null"
    );
}

/// R2.
#[test]
fn a_preflight_is_answered_here_and_other_options_go_through() {
    let ask = "Access-Control-Request-Method: PUT";
    for (lines, becomes) in [
        (format!("Origin: https://ariang.example | {ask}"), "preflight for https://ariang.example"),
        (
            format!("Origin: https://ariang.example | {ask} | Sec-Fetch-Site: cross-site"),
            "preflight for https://ariang.example",
        ),
        (
            format!("Origin: https://notes.home.arpa | {ask} | Sec-Fetch-Site: same-site"),
            "preflight for https://notes.home.arpa",
        ),
        (format!("Origin: https://wiki.home.arpa | {ask}"), "preflight for https://wiki.home.arpa"),
        (format!("Origin: https://evil.example | {ask} | Sec-Fetch-Site: cross-site"), EVIL),
        (format!("Origin: https://evil.example | {ask} | Sec-Fetch-Site: none"), EVIL),
        (format!("Origin: https://films.home.arpa | {ask} | Sec-Fetch-Site: same-site"), SIBLING),
        (format!("Origin: null | {ask}"), "refused: nowhere"),
        // Not from a browser.
        (ask.to_owned(), "goes"),
        ("Origin: https://wiki.home.arpa".to_owned(), "goes"),
        ("Origin: https://evil.example".to_owned(), EVIL),
        ("Depth: 1".to_owned(), "goes"),
    ] {
        assert_eq!(on(Https, "OPTIONS", &lines), becomes, "{lines}");
    }
}

/// R3.
#[test]
fn what_a_browser_says_comes_from_elsewhere_goes_on_only_as_a_link_or_from_a_listed_page() {
    const LINK: &str = "Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: document";
    for (method, lines, becomes) in [
        ("GET", "Sec-Fetch-Site: same-origin | Sec-Fetch-Mode: cors | Sec-Fetch-Dest: empty", "goes"),
        ("POST", "Sec-Fetch-Site: same-origin | Origin: https://wiki.home.arpa", "goes"),
        // A form on a page with `Referrer-Policy: no-referrer`, which many services set.
        ("POST", "Sec-Fetch-Site: same-origin | Origin: null", "goes"),
        ("GET", "Sec-Fetch-Site: none | Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: document", "goes"),
        ("POST", "Sec-Fetch-Site: none", "goes"),
        // Shared to the service from another app, by the browser's own menu.
        ("POST", "Sec-Fetch-Site: none | Origin: null", "goes"),
        // Extensions, as Chromium and Firefox send theirs. A GET of one names nobody.
        (
            "POST",
            "Sec-Fetch-Site: none | Origin: chrome-extension://other",
            "refused: chrome-extension://other",
        ),
        ("POST", "Sec-Fetch-Site: same-origin | Origin: moz-extension://a-b", "refused: moz-extension://a-b"),
        ("POST", "Sec-Fetch-Site: none | Origin: https://evil.example", EVIL),
        ("POST", "Sec-Fetch-Site: same-origin | Origin: https://evil.example", EVIL),
        ("GET", "Sec-Fetch-Site: none | Sec-Fetch-Mode: cors | Sec-Fetch-Dest: empty", "goes"),
        // Links, typed by nobody, in a tab of their own.
        ("GET", &format!("Sec-Fetch-Site: cross-site | {LINK}"), "goes"),
        ("HEAD", &format!("Sec-Fetch-Site: cross-site | {LINK}"), "goes"),
        ("GET", &format!("Sec-Fetch-Site: same-site | {LINK} | Referer: https://films.home.arpa/"), "goes"),
        // Forms.
        ("POST", &format!("Sec-Fetch-Site: cross-site | {LINK} | Origin: https://evil.example"), EVIL),
        ("POST", &format!("Sec-Fetch-Site: same-site | {LINK} | Origin: https://films.home.arpa"), SIBLING),
        ("POST", &format!("Sec-Fetch-Site: cross-site | {LINK} | Origin: null"), "refused: nowhere"),
        // Frames, images, scripts, fetch.
        (
            "GET",
            "Sec-Fetch-Site: cross-site | Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: iframe",
            "refused: unnamed",
        ),
        (
            "GET",
            "Sec-Fetch-Site: same-site | Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: frame",
            "refused: unnamed",
        ),
        (
            "GET",
            "Sec-Fetch-Site: cross-site | Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: object",
            "refused: unnamed",
        ),
        (
            "GET",
            "Sec-Fetch-Site: cross-site | Sec-Fetch-Mode: no-cors | Sec-Fetch-Dest: image",
            "refused: unnamed",
        ),
        (
            "GET",
            "Sec-Fetch-Site: same-site | Sec-Fetch-Mode: no-cors | Sec-Fetch-Dest: script",
            "refused: unnamed",
        ),
        (
            "GET",
            "Sec-Fetch-Site: cross-site | Sec-Fetch-Mode: no-cors | Sec-Fetch-Dest: document",
            "refused: unnamed",
        ),
        ("GET", "Sec-Fetch-Site: cross-site", "refused: unnamed"),
        ("GET", "Sec-Fetch-Site: cross-site | Sec-Fetch-Mode: cors | Origin: https://evil.example", EVIL),
        ("PUT", "Sec-Fetch-Site: cross-site | Sec-Fetch-Mode: cors | Origin: null", "refused: nowhere"),
        // Listed, or the service's own by another of its names.
        (
            "PUT",
            "Sec-Fetch-Site: cross-site | Origin: https://ariang.example",
            "goes, read by https://ariang.example",
        ),
        (
            "GET",
            "Sec-Fetch-Site: same-site | Origin: https://notes.home.arpa",
            "goes, read by https://notes.home.arpa",
        ),
        (
            "POST",
            "Sec-Fetch-Site: none | Origin: chrome-extension://abc",
            "goes, read by chrome-extension://abc",
        ),
        // The same name over http is nobody's over https.
        (
            "POST",
            "Sec-Fetch-Site: cross-site | Origin: http://wiki.home.arpa",
            "refused: http://wiki.home.arpa",
        ),
        // Words that are not known, and two at once.
        ("GET", "Sec-Fetch-Site: Same-Origin", "refused: unnamed"),
        ("GET", "Sec-Fetch-Site: ", "refused: unnamed"),
        ("GET", "Sec-Fetch-Site: same-origin | Sec-Fetch-Site: same-origin", "refused: unnamed"),
        ("GET", &format!("Sec-Fetch-Site: cross-site | {LINK} | Sec-Fetch-Dest: iframe"), "refused: unnamed"),
        (
            "GET",
            "Sec-Fetch-Site: same-origin | Origin: https://a.example, https://b.example",
            "refused: malformed",
        ),
    ] {
        // Browsers say so over plain HTTP, too, to localhost.
        let lanes = if becomes.contains("//notes") || lines.contains("http://wiki") {
            &[Https][..]
        } else {
            &[Http, Https]
        };
        for &lane in lanes {
            if lane == Http && lines.contains("https://wiki") {
                continue;
            }
            assert_eq!(on(lane, method, lines), becomes, "{lane:?} {method} {lines}");
        }
    }
}

#[test]
fn links_lead_nowhere_where_something_is_done() {
    let link = "Sec-Fetch-Site: cross-site | Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: document | Sec-Fetch-User: ?1";
    for closed in [Links::Closed, Links::OwnPages] {
        assert_eq!(outcome(Https, "GET", link, false, closed), "refused: unnamed");
    }
    let old = "Upgrade-Insecure-Requests: 1 | Referer: http://evil.example/";
    assert_eq!(outcome(Http, "GET", old, false, Links::Lead), "goes");
    assert_eq!(outcome(Http, "GET", old, false, Links::Closed), "refused: http://evil.example");
}

#[test]
fn where_a_service_says_where_links_lead_they_lead_nowhere_else() {
    const LINK: &str = "Sec-Fetch-Site: cross-site | Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: document";
    const OLD: &str = "Upgrade-Insecure-Requests: 1";
    for (lane, lines, becomes) in [
        (Https, format!("{LINK} | Referer: https://evil.example/"), "refused: link"),
        (Https, LINK.to_owned(), "refused: link"),
        (Https, LINK.replace("cross-site", "same-site"), "refused: link"),
        (Https, LINK.replace("document", "iframe"), "refused: unnamed"),
        (Https, format!("{LINK} | Sec-Purpose: prefetch"), "refused: unnamed"),
        (Https, LINK.replace("cross-site", "none"), "goes"),
        (Https, LINK.replace("cross-site", "same-origin"), "goes"),
        // What a link on these pages led to, maybe, and what sent the browser on to here.
        (Https, format!("{LINK} | Referer: https://wiki.home.arpa/"), "refused: link"),
        (Https, format!("{LINK} | Referer: https://notes.home.arpa/"), "refused: link"),
        (Https, format!("{LINK} | Referer: https://ariang.example/"), "refused: link"),
        (Https, LINK.replace("document", "empty"), "refused: link"),
        (Https, format!("{LINK} | Referer: http://wiki.home.arpa/"), "refused: link"),
        // Browsers that do not say.
        (Https, format!("{OLD} | Referer: https://evil.example/"), "refused: link"),
        (Https, "Referer: https://evil.example/".to_owned(), "refused: link"),
        (Https, format!("{OLD} | Referer: https://wiki.home.arpa/"), "goes"),
        (Https, OLD.to_owned(), "goes"),
        (Http, format!("{OLD} | Referer: http://evil.example/"), "refused: link"),
        (Http, "Referer: http://evil.example/".to_owned(), "refused: http://evil.example"),
        (Http, format!("{OLD} | Referer: http://wiki.home.arpa/"), "goes"),
        (Http, OLD.to_owned(), "goes"),
    ] {
        for method in ["GET", "HEAD"] {
            let found = outcome(lane, method, &lines, false, Links::LeadElsewhere);
            assert_eq!(found, becomes, "{lane:?} {method} {lines}");
        }
    }
    let natives = "Referer: https://evil.example/";
    assert_eq!(outcome(Https, "OPTIONS", natives, false, Links::LeadElsewhere), "goes");
}

/// Chromium 156, where the service's worker answers `fetch(event.request)`, as Home Assistant's does.
#[test]
fn a_link_that_a_service_worker_passes_on_is_one_but_is_framed_by_nobody() {
    const LINK: &str = "Sec-Fetch-Site: cross-site | Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: empty";
    for (lines, becomes) in [
        (LINK.to_owned(), "goes, unframed"),
        (LINK.replace("cross-site", "same-site"), "goes, unframed"),
        (LINK.replace("cross-site", "none"), "goes"),
        (LINK.replace("cross-site", "same-origin"), "goes"),
        (LINK.replace("navigate", "no-cors"), "refused: unnamed"),
        (LINK.replace("empty", "iframe"), "refused: unnamed"),
        (format!("{LINK} | Sec-Purpose: prefetch"), "refused: unnamed"),
        // A background fetch.
        (format!("{LINK} | Origin: https://evil.example"), "refused: https://evil.example"),
        (format!("{LINK} | Origin: null"), "refused: nowhere"),
    ] {
        for method in ["GET", "HEAD"] {
            assert_eq!(on(Https, method, &lines), becomes, "{method} {lines}");
            let closed = outcome(Https, method, &lines, false, Links::Closed);
            assert!(closed.starts_with("refused") || becomes == "goes", "{lines}");
        }
        assert!(on(Https, "POST", &lines).starts_with("refused") || becomes == "goes", "{lines}");
    }
}

/// Programs that write their WebSocket's own URL where browsers name the page: Starscream, and Socket.IO's for Swift.
#[test]
fn a_websockets_own_url_is_its_origin_in_other_words() {
    for (lane, origin, becomes) in [
        (Https, "wss://wiki.home.arpa", "goes"),
        (Https, "wss://wiki.home.arpa:443", "goes"),
        (Http, "ws://wiki.home.arpa", "goes"),
        (Https, "ws://wiki.home.arpa", "refused: ws://wiki.home.arpa"),
        (Https, "wss://films.home.arpa", "refused: wss://films.home.arpa"),
        (Https, "wss://evil.example", "refused: wss://evil.example"),
    ] {
        let lines = format!("Origin: {origin}");
        assert_eq!(outcome(lane, "GET", &lines, true, Links::Lead), becomes, "{lane:?} {origin}");
        let refused = format!("refused: {origin}");
        assert_eq!(outcome(lane, "GET", &lines, false, Links::Lead), refused, "what is no WebSocket");
    }
}

/// Chromium 156 sends all of these for a page's speculation rules, whosever page it is.
#[test]
fn what_is_fetched_before_anybody_asked_is_no_link_and_no_typed_address() {
    const RULES: &str = "Sec-Fetch-Site: none | Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: document | Upgrade-Insecure-Requests: 1";
    for (lines, becomes) in [
        ("Sec-Purpose: prefetch | Referer: https://evil.example/", "refused: unnamed"),
        ("Sec-Purpose: prefetch | Referer: http://wiki.home.arpa/", "refused: unnamed"),
        ("Sec-Purpose: prefetch | Referer: https://films.home.arpa/", "refused: unnamed"),
        ("Sec-Purpose: prefetch", "refused: unnamed"),
        ("Sec-Purpose: prefetch;prerender", "refused: unnamed"),
        ("Sec-Purpose: prefetch;anonymous-client-ip", "refused: unnamed"),
        ("Sec-Purpose: ", "refused: unnamed"),
        ("Purpose: prefetch", "refused: unnamed"),
        ("X-Purpose: preview", "refused: unnamed"),
        ("X-Moz: prefetch", "refused: unnamed"),
        // The service's own page asked this of another site, maybe, which sent its browser here.
        ("Sec-Purpose: prefetch | Referer: https://wiki.home.arpa/page", "refused: unnamed"),
        ("Sec-Purpose: prefetch | Referer: https://notes.home.arpa/", "refused: unnamed"),
        ("Sec-Purpose: prefetch | Referer: https://ariang.example/", "refused: unnamed"),
    ] {
        for site in ["none", "cross-site", "same-site"] {
            let lines = format!("{} | {lines}", RULES.replace("none", site));
            assert_eq!(on(Https, "GET", &lines), becomes, "{lines}");
            assert_eq!(outcome(Https, "GET", &lines, false, Links::Closed), "refused: unnamed", "{lines}");
            assert_eq!(on(Https, "POST", &lines), "refused: unnamed", "{lines}");
        }
    }
    let own = "Sec-Purpose: prefetch | Sec-Fetch-Site: same-origin | Sec-Fetch-Mode: no-cors | Sec-Fetch-Dest: empty";
    assert_eq!(on(Https, "GET", own), "goes");
    let old = "Upgrade-Insecure-Requests: 1 | Purpose: prefetch | Referer: http://evil.example/";
    assert_eq!(on(Http, "GET", old), "refused: http://evil.example");
}

#[test]
fn a_probe_is_asked_by_the_names_own_page_of_the_other_lane_and_by_nobody_else() {
    let probe = |method, lines| outcome(Https, method, lines, false, Links::OwnPages);
    let own = "Sec-Fetch-Site: cross-site | Sec-Fetch-Mode: no-cors | Referer: http://wiki.home.arpa/";
    assert_eq!(probe("GET", own), "goes");
    assert_eq!(probe("POST", own), "refused: unnamed");
    for lines in [
        "Sec-Fetch-Site: cross-site | Sec-Fetch-Mode: no-cors",
        "Sec-Fetch-Site: cross-site | Sec-Fetch-Mode: no-cors | Referer: http://evil.example/",
        "Sec-Fetch-Site: same-site | Sec-Fetch-Mode: no-cors | Referer: http://films.home.arpa/",
        "Sec-Fetch-Site: cross-site | Referer: http://wiki.home.arpa/ | Referer: http://evil.example/",
    ] {
        assert_eq!(probe("GET", lines), "refused: unnamed", "{lines}");
    }
    assert_eq!(outcome(Https, "GET", own, false, Links::Lead), "refused: unnamed", "anywhere else");
}

/// R4.
#[test]
fn where_no_browser_says_the_page_is_told_by_origin_and_referer() {
    for (lane, method, lines, becomes) in [
        (Http, "POST", "Origin: http://wiki.home.arpa", "goes"),
        (Http, "POST", "Origin: http://wiki.home.arpa | Referer: http://evil.example/", "goes"),
        (Http, "POST", "Origin: http://notes.home.arpa", "goes, read by http://notes.home.arpa"),
        (Http, "POST", "Origin: https://ariang.example", "goes, read by https://ariang.example"),
        (Http, "POST", "Origin: https://evil.example", EVIL),
        (Http, "GET", "Origin: https://evil.example", EVIL),
        (Http, "POST", "Origin: http://films.home.arpa", "refused: http://films.home.arpa"),
        // The same name on another machine's port, or a program's own beside the gateway.
        (Http, "POST", "Origin: http://wiki.home.arpa:9090", "refused: http://wiki.home.arpa:9090"),
        (Http, "POST", "Origin: null", "refused: nowhere"),
        (Https, "POST", "Origin: http://wiki.home.arpa", "refused: http://wiki.home.arpa"),
        (Https, "POST", "Origin: https://wiki.home.arpa", "goes"),
        // Old browsers left Origin out of forms.
        (Https, "POST", "Referer: https://wiki.home.arpa/edit", "goes"),
        (Https, "POST", "Referer: https://evil.example/", EVIL),
        (Https, "POST", "Referer: https://ariang.example/", "goes"),
        (Https, "DELETE", "Referer: https://films.home.arpa/x", SIBLING),
        (Https, "POST", "Referer: android-app://com.example/", "refused: android-app://com.example"),
        (Https, "POST", "Referer: wiki.home.arpa", "refused: unnamed"),
        (Https, "POST", "Referer: //evil.example/", "refused: unnamed"),
        (Https, "POST", "Referer: https://wiki.home.arpa@evil.example/", "refused: unnamed"),
        (
            Https,
            "POST",
            "Referer: https://wiki.home.arpa.evil.example/",
            "refused: https://wiki.home.arpa.evil.example",
        ),
        // Over HTTPS a browser without Sec-Fetch is old, and what it reads is no harm.
        (Https, "GET", "Referer: https://evil.example/", "goes"),
        // On the plain lane no browser has it: images and scripts are told from links by what only a navigation has.
        (Http, "GET", "Referer: https://evil.example/ | Accept: text/html", EVIL),
        (Http, "HEAD", "Referer: http://films.home.arpa/", "refused: http://films.home.arpa"),
        (Http, "GET", "Referer: http://evil.example/ | Upgrade-Insecure-Requests: 1", "goes"),
        (Http, "POST", "Referer: https://evil.example/ | Upgrade-Insecure-Requests: 1", EVIL),
        (Http, "GET", "Referer: http://wiki.home.arpa/", "goes"),
        (Http, "GET", "Referer: https://wiki.home.arpa/", "goes"),
        (Http, "GET", "Referer: http://notes.home.arpa./", "goes"),
        (Http, "OPTIONS", "Referer: https://evil.example/", "goes"),
    ] {
        assert_eq!(on(lane, method, lines), becomes, "{lane:?} {method} {lines}");
    }
}

#[test]
fn only_what_a_browser_would_write_is_offered_for_the_list() {
    let asked = Uri::from_static("/");
    for (origin, offered) in [
        ("https://evil.example", true),
        ("http://evil.example:8080", true),
        ("moz-extension://a-b", true),
        ("https://Evil.example", false),
        ("https://evil.example:443", false),
    ] {
        assert_eq!(Foreign::Origin(origin).elsewhere(&asked).is_some(), offered, "{origin}");
    }
    for (asked, entry) in [
        ("/share/x", Some("/share/x")),
        ("/watch?v=1", Some("/watch?v=*")),
        ("/share/%2e%2e/x", None),
        ("/share/\"x", None),
    ] {
        let told = Foreign::Link.elsewhere(&Uri::from_static(asked));
        assert_eq!(told, Some(Elsewhere::Link(entry.map(Into::into))), "{asked}");
    }
    let long = format!("https://{}.example", "a".repeat(300));
    assert_eq!(Foreign::Origin(&long).elsewhere(&asked), None);
    assert_eq!(Foreign::Nowhere.elsewhere(&asked), Some(Elsewhere::Nowhere));
    assert_eq!(Foreign::Unnamed.elsewhere(&asked), None);
}

proptest! {
    /// Whatever else a browser says, nothing that names a foreign page, or comes from one, changes anything.
    #[test]
    fn no_page_from_elsewhere_does_anything(
        lane in prop_oneof![Just(Http), Just(Https)],
        method in prop_oneof![Just("POST"), Just("PUT"), Just("DELETE"), Just("PROPFIND")],
        origin in "https://evil[.]example|null|https://films[.]home[.]arpa|https://wiki[.]home[.]arpa:9090|[ -~]{0,40}",
        site in prop_oneof![
            Just(""), Just("Sec-Fetch-Site: cross-site | "), Just("Sec-Fetch-Site: same-site | "),
            Just("Sec-Fetch-Site: none | "), Just("Sec-Fetch-Site: same-origin | "),
        ],
        more in prop_oneof![
            Just(""), Just(" | Referer: https://wiki.home.arpa/"), Just(" | Sec-Fetch-Mode: navigate | Sec-Fetch-Dest: document"),
            Just(" | Upgrade-Insecure-Requests: 1"),
        ],
    ) {
        // Beside these two it is no page from elsewhere.
        prop_assume!(origin != "null" || !site.contains(": none") && !site.contains(": same-origin"));
        prop_assume!(!origin.contains(" | ") && !origin.contains("wiki.home.arpa") || origin.ends_with(":9090"));
        let found = on(lane, method, &format!("{site}Origin: {origin}{more}"));
        prop_assert!(found.starts_with("refused"), "{}", found);
    }

    /// Any text there is no origin, or an origin that reads back the same.
    #[test]
    fn origins_are_read_as_they_are_written(text in "(https?|file|a-z)://[a-zA-Z0-9.:\\[\\]@/-]{0,30}") {
        if let Some(origin) = WebOrigin::parse(&text) {
            let written = origin.as_browsers_write();
            prop_assert_eq!(WebOrigin::parse(&written).unwrap().as_browsers_write(), written);
        }
    }
}
