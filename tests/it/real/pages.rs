//! Pages that Chromium really opens, and what the gateway makes of what they ask: over HTTPS, and over http by a name that
//! is not localhost, where browsers say less.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use ztgate::audit::{Record, Verdict};
use ztgate::model::RefusalCode;

use super::browser::Browser;
use super::needs;
use crate::world::upstream::{Upstream, script};
use crate::world::{Live, World};

const PAGE: &str = include_str!("page.html");

/// Where names lead. Loopback has room for a machine each.
const NAMES: &str = "MAP *.home.arpa 127.0.0.2, MAP *.example 127.0.0.3, MAP rebound.test 127.0.0.4";
const GATEWAY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const REBOUND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

/// All that the page asks for, but for what its sandbox does.
const ALL: [&str; 23] = [
    "beacon",
    "cors-include-GET",
    "cors-include-POST",
    "cors-omit-GET",
    "cors-omit-POST",
    "form",
    "frame",
    "hidden-form",
    "image",
    "no-cors-include-GET",
    "no-cors-include-POST",
    "no-cors-omit-GET",
    "no-cors-omit-POST",
    "preflight",
    "same-origin-include-GET",
    "same-origin-include-POST",
    "same-origin-omit-GET",
    "same-origin-omit-POST",
    "script",
    "speculation",
    "style",
    "unsaid",
    "websocket",
];

/// Shows the page to whoever asks for it, and answers all else, WebSockets too.
fn pages() -> Upstream {
    script(|mut served| async move {
        while let Some(head) = served.request().await {
            if served.wire.body(&head).await.is_none() {
                return;
            }
            if let Some(key) = head.get("sec-websocket-key") {
                let accept = derive_accept_key(key.as_bytes());
                let head =
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
                served.wire.send(format!("{head}Sec-WebSocket-Accept: {accept}\r\n\r\n")).await;
                // A close frame without a reason (RFC 6455, section 5.5.1).
                served.wire.send([0x88, 0]).await;
                return;
            }
            served.wire.send(answer(head.target())).await;
        }
    })
}

fn answer(target: &str) -> String {
    let (kind, body) = match target.split(['?', '/']).nth(1) {
        Some("page") => ("text/html", PAGE),
        _ if target.ends_with("style") => ("text/css", "p {}"),
        _ if target.contains("script") => ("text/javascript", "1"),
        _ => ("text/html", "<p>here it is</p>"),
    };
    // A name that leads elsewhere next time leaves no connection behind, and neither does an idle browser.
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\nConnection: close\r\n\
         Access-Control-Allow-Origin: *\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A gateway whose names a browser can open as one device's, and a server elsewhere.
struct Street {
    world: Live,
    browser: Browser,
    elsewhere: u16,
}

impl Street {
    async fn open() -> Option<Self> {
        let (certutil, folder) = (needs("certutil")?, tempfile::tempdir().unwrap());
        needs("chromium")?;
        let server = TcpListener::bind((ELSEWHERE, 0)).await.unwrap();
        let elsewhere = server.local_addr().unwrap().port();
        let lists = format!("allow_origins = [\"http://friend.example:{elsewhere}\"]");
        let world = World::new()
            .member("laptop")
            .service_with("wiki", pages(), &lists)
            .service("films", pages())
            .allow("laptop", "wiki")
            .allow("laptop", "films")
            .start()
            .await;
        let browser = Browser::open(&folder.keep()).unwrap();
        browser.trust(&certutil, &world.state_dir().join("certs/root.pem"));
        tokio::spawn(async move {
            while let Ok((stream, _)) = server.accept().await {
                tokio::spawn(show(stream));
            }
        });
        let laptop = world.from("laptop").source;
        for port in [world.http_port(), world.https_port()] {
            lead(GATEWAY, port, laptop, Arc::new(AtomicBool::new(true))).await;
        }
        Some(Self { world, browser, elsewhere })
    }

    fn url(&self, scheme: &str, name: &str) -> String {
        let port = if scheme == "http" { self.world.http_port() } else { self.world.https_port() };
        format!("{scheme}://{name}.home.arpa:{port}")
    }

    /// Opens the page there, which asks for all that it can at `to`: what of it the service saw, and what the page read.
    fn asks(&self, page: &str, to: &str) -> (BTreeSet<String>, String) {
        let who = format!("{}-{}", page.replace([':', '/', '.'], ""), to.split(':').next().unwrap());
        let url = format!("{page}/page?who={who}&to={to}");
        let shown = tokio::task::block_in_place(|| self.browser.shown_where(NAMES, &url, ">FINISHED "));
        let shown = shown.unwrap_or_else(|| panic!("{url} never ends"));
        let read = shown.split_once(">FINISHED ").and_then(|(_, rest)| rest.split_once('.')).unwrap().0;
        let seen = self.world.upstream("wiki").requests();
        let mark = format!("/{who}/");
        let seen = seen.iter().filter_map(|head| head.target().strip_prefix(&mark)?.split('?').next());
        (seen.map(str::to_owned).collect(), read.trim().to_owned())
    }
}

/// Answers a request without any gateway.
async fn show(mut stream: TcpStream) {
    let mut head = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut head).await {
        if head.windows(4).any(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&head);
            let target = head.split(' ').nth(1).unwrap_or("/");
            // A browser that has left does not want it.
            let _ = stream.write_all(answer(target).as_bytes()).await;
            return;
        }
    }
}

/// Carries what comes to this address to the gateway's port as a device's own, once `to_gateway` says so; until then
/// somebody else answers there.
async fn lead(at: Ipv4Addr, port: u16, device: IpAddr, to_gateway: Arc<AtomicBool>) {
    let listener = TcpListener::bind((at, port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if !to_gateway.load(Ordering::Relaxed) {
                to_gateway.store(true, Ordering::Relaxed);
                tokio::spawn(show(stream));
                continue;
            }
            tokio::spawn(async move {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind(SocketAddr::new(device, 0)).unwrap();
                if let Ok(mut gateway) = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await {
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut gateway).await;
                }
            });
        }
    });
}

fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|&path| path.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_services_own_page_does_all_that_pages_do() {
    let Some(street) = Street::open().await else { return };
    for lane in ["https", "http"] {
        let wiki = street.url(lane, "wiki");
        let (seen, read) = street.asks(&wiki, &wiki);
        let mut all = set(&ALL);
        if lane == "http" {
            // A form that is not to say where it is from: over http it looks like anybody's.
            all.remove("hidden-form");
            // Chromium fetches nothing ahead over http.
            all.remove("speculation");
        }
        assert_eq!(seen, all, "{lane}");
        assert!(read.contains("cors-include-POST") && read.contains("preflight"), "{lane}: {read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_from_elsewhere_and_of_sibling_services_do_none_of_it() {
    let Some(street) = Street::open().await else { return };
    let evil = format!("http://evil.example:{}", street.elsewhere);
    for (page, lane, arrives) in [
        (evil.clone(), "https", &[][..]),
        (street.url("https", "films"), "https", &[]),
        // The service's own name, but the page came by http.
        (street.url("http", "wiki"), "https", &[]),
        // What the plain lane cannot tell, as README says: frames from links, and what names no page from natives.
        (evil, "http", &["frame", "unsaid"]),
        (street.url("http", "films"), "http", &["frame", "unsaid"]),
    ] {
        let (seen, read) = street.asks(&page, &street.url(lane, "wiki"));
        assert_eq!(seen, set(arrives), "from {page} over {lane}");
        assert_eq!(read, "", "from {page} over {lane}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_page_asks_and_reads_what_names_it() {
    let Some(street) = Street::open().await else { return };
    let friend = format!("http://friend.example:{}", street.elsewhere);
    for lane in ["https", "http"] {
        let (seen, read) = street.asks(&friend, &street.url(lane, "wiki"));
        for named in [
            "beacon",
            "cors-include-GET",
            "cors-omit-POST",
            "form",
            "no-cors-include-POST",
            "preflight",
            "websocket",
        ] {
            assert!(seen.contains(named), "{named} over {lane}: {seen:?}");
        }
        assert!(!seen.contains("sandbox-fetch") && !seen.contains("sandbox-form"), "{lane}: {seen:?}");
        for readable in ["cors-include-GET", "cors-include-POST", "cors-omit-GET", "preflight"] {
            assert!(read.split(' ').any(|what| what == readable), "{readable} over {lane}: {read}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_from_anywhere_leads_to_a_service() {
    let Some(street) = Street::open().await else { return };
    let evil = format!("http://evil.example:{}", street.elsewhere);
    for lane in ["https", "http"] {
        for page in [&evil, &street.url(lane, "films"), &street.url(lane, "wiki")] {
            let to = street.url(lane, "wiki");
            let url = format!("{page}/page?link={to}/linked");
            let shown = tokio::task::block_in_place(|| street.browser.shown_where(NAMES, &url, "here it is"));
            assert!(shown.is_some(), "from {page} over {lane}");
        }
    }
}

/// A refusal of what was fetched ahead is for the browser alone: it is not what a person sees who goes there.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_ahead_is_asked_anew_when_somebody_goes_there() {
    let Some(street) = Street::open().await else { return };
    let films = street.url("https", "films");
    let url = format!("{films}/page?ahead=1&link={}/linked", street.url("https", "wiki"));
    let shown = tokio::task::block_in_place(|| street.browser.shown_where(NAMES, &url, "here it is"));
    assert!(shown.is_some());
    let is_ahead = |record: &Record| record.verdict == Verdict::Refuse(RefusalCode::CrossSite);
    let refused = street.world.audit().record(is_ahead).await;
    assert_eq!((refused.path.as_deref(), refused.service.as_deref()), (Some("/linked"), Some("wiki")));
    let seen = street.world.upstream("wiki").requests();
    let seen: Vec<_> = seen.iter().filter(|head| head.target() == "/linked").collect();
    assert!(!seen.is_empty() && seen.iter().all(|head| !head.has("sec-purpose")), "{seen:?}");
}

/// The name is the page's own to the browser, which then asks whoever it leads to.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_comes_to_lead_to_the_gateway_opens_nothing() {
    let Some(street) = Street::open().await else { return };
    let (port, laptop) = (street.world.http_port(), street.world.from("laptop").source);
    lead(REBOUND, port, laptop, Arc::new(AtomicBool::new(false))).await;
    let url = format!("http://rebound.test:{port}/page?rebind=1");
    let shown = tokio::task::block_in_place(|| street.browser.shown_where(NAMES, &url, "unknown-name"));
    assert!(shown.is_some_and(|dom| dom.contains("told: 421 unknown-name")));
    assert!(street.world.upstream("wiki").requests().is_empty());
}
