//! A gateway whose services are pages that ask whatever pages can ask, servers elsewhere with the same page, and a browser
//! that finds all of them by name.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use ztgate::audit::Verdict;
use ztgate::model::RefusalCode;

use super::browser::Browser;
use super::needs;
use super::netlog::Asked;
use crate::world::pem::Pair;
use crate::world::upstream::{Upstream, down, script};
use crate::world::{Live, World, secret_file};

const PAGE: &str = include_str!("page.html");
const WORKER: &str = "onfetch = event => event.respondWith(fetch(event.request))";

/// Where names lead. Loopback has room for a machine each.
const NAMES: &str = "MAP *.home.arpa 127.0.0.2, MAP *.lab.internal 127.0.0.2, MAP *.example 127.0.0.3";
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// What the page loads until it is done. It begins, and never ends.
const HOLD: &str = "/hold";
const ENDLESS: &str = "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 100\r\n\r\n";

pub struct Street {
    pub world: Live,
    pub browser: Browser,
    zone: &'static str,
    /// The ports of who is elsewhere.
    http: u16,
    https: u16,
}

/// What came of a page's asking.
pub struct Outcome {
    /// The ways by which the service was reached.
    pub through: BTreeSet<String>,
    /// Those that the gateway refused with `cross-site`, as the browser heard it.
    pub refused: BTreeSet<String>,
    /// Those by which the browser sent anything at all.
    pub sent: BTreeSet<String>,
    /// What the page could read, with spaces between.
    pub read: String,
    /// How often the gateway refused.
    pub refusals: u32,
    /// All that was sent to the service.
    pub asked: Vec<Asked>,
}

impl Street {
    pub async fn open() -> Option<Self> {
        Self::open_in("home.arpa").await
    }

    /// With a zone of that name. One device may open `wiki`, which lists a friend's page, `films`, which lists none, and
    /// `drop`, which lists pages that hide where they are from. `ariang` is the page as a file that the gateway itself shows.
    pub async fn open_in(zone: &'static str) -> Option<Self> {
        let (certutil, folder) = (needs("certutil")?, tempfile::tempdir().unwrap().keep());
        needs("chromium")?;
        let certificate = Pair::new(&["evil.example", "friend.example"]);
        let (http, https) = (listens(None).await, listens(Some(&certificate)).await);
        let friend =
            format!("allow_origins = [\"http://friend.example:{http}\", \"https://friend.example:{https}\"]");
        let mut world = World::new()
            .zone(zone)
            .member("laptop")
            .service_with("wiki", pages(), &friend)
            .service("films", pages())
            .service_with("drop", pages(), "allow_origins = [\"null\"]")
            .service_with(
                "ariang",
                down(),
                "kind = \"aria2\"\nsecret_file = \"aria2.secret\"\nfiles = \"pages\"",
            );
        for service in ["wiki", "films", "drop", "ariang"] {
            world = world.allow("laptop", service);
        }
        secret_file(world.folder(), "aria2.secret", "a-secret-of-the-tests");
        std::fs::create_dir(world.folder().join("pages")).unwrap();
        std::fs::write(world.folder().join("pages/page.html"), PAGE).unwrap();
        let world = world.start().await;
        let browser = Browser::open(&folder).unwrap();
        browser.trust(&certutil, &world.state_dir().join("certs/root.pem"));
        certificate.write_certificate(&folder);
        browser.trust_server(&certutil, &folder.join("certificate.pem"));
        for port in [world.http_port(), world.https_port()] {
            world.from("laptop").door(port).await;
        }
        Some(Self { world, browser, zone, http, https })
    }

    /// The origin of a service's pages.
    pub fn service(&self, scheme: &str, name: &str) -> String {
        let port = if scheme == "http" { self.world.http_port() } else { self.world.https_port() };
        format!("{scheme}://{name}.{}:{port}", self.zone)
    }

    /// The origin of the pages of `evil` and `friend`.
    pub fn elsewhere(&self, scheme: &str, name: &str) -> String {
        let port = if scheme == "http" { self.http } else { self.https };
        format!("{scheme}://{name}.example:{port}")
    }

    /// Whether the page at that address, or the one that it leads to, comes to show those words.
    pub fn shows(&self, url: &str, words: &str) -> bool {
        tokio::task::block_in_place(|| self.browser.shown_where(NAMES, url, words)).is_some()
    }

    /// Opens the page there, which asks that service over that lane for all that it can.
    pub fn asks(&self, page: &str, service: &str, lane: &str) -> Outcome {
        let who = format!("{}-{lane}", page.replace([':', '/', '.'], ""));
        let url = format!("{page}/page?who={who}&to={}", self.service(lane, service));
        let mut shown = tokio::task::block_in_place(|| self.browser.watched_where(NAMES, &url));
        let read = shown.dom.split_once(">FINISHED ").and_then(|(_, rest)| rest.split_once('.'));
        let read = read.unwrap_or_else(|| panic!("{url} never ends: {}", shown.dom)).0.trim().to_owned();
        let mark = format!("/{who}/");
        let way = |target: &str| Some(target.strip_prefix(&mark)?.split('?').next()?.to_owned());
        let seen = self.world.upstream(service).requests();
        shown.asked.retain(|asked| way(asked.target()).is_some());
        let refused = || shown.asked.iter().filter(|asked| asked.is_refused());
        Outcome {
            through: seen.iter().filter_map(|head| way(head.target())).collect(),
            refused: refused().filter_map(|asked| way(asked.target())).collect(),
            sent: shown.asked.iter().filter_map(|asked| way(asked.target())).collect(),
            read,
            refusals: u32::try_from(refused().count()).unwrap(),
            asked: shown.asked,
        }
    }

    /// Opens the page, which puts that other page of the gateway's into a frame: whether anything of it came to be seen, and
    /// how it was asked for.
    pub fn frames(&self, page: &str, framed: &str) -> (bool, Asked) {
        self.watches_frame(&self.framing(page, framed), framed)
    }

    /// The same once a page of that service had its worker fetch all that is asked of it from now on.
    pub fn frames_after_worker(&self, service: &str, page: &str, framed: &str) -> (bool, Asked) {
        self.watches_frame(&self.after_worker(service, &self.framing(page, framed)), framed)
    }

    /// Opens the page after such a worker was there, and follows its link: what is shown there, and how it was asked for.
    pub fn follows_after_worker(&self, service: &str, page: &str, path: &str) -> (String, Asked) {
        let hold = self.elsewhere(page.split(':').next().unwrap(), "friend");
        let url = self.after_worker(service, &format!("{page}?lead={service}{path}&hold={hold}{HOLD}"));
        let mut shown = tokio::task::block_in_place(|| self.browser.watched_where(NAMES, &url));
        let at = shown.asked.iter().position(|asked| asked.target() == path);
        let at = at.unwrap_or_else(|| panic!("{url} never leads there: {:?}", shown.asked));
        (shown.dom, shown.asked.swap_remove(at))
    }

    fn after_worker(&self, service: &str, then: &str) -> String {
        let hold = self.elsewhere("https", "friend");
        format!("{service}/page?worker&hold={hold}{HOLD}&then={}", then.replace('&', "%26"))
    }

    fn framing(&self, page: &str, framed: &str) -> String {
        let hold = self.elsewhere(page.split(':').next().unwrap(), "friend");
        format!("{page}?frame={framed}&hold={hold}{HOLD}")
    }

    fn watches_frame(&self, url: &str, framed: &str) -> (bool, Asked) {
        let mut shown = tokio::task::block_in_place(|| self.browser.watched_where(NAMES, url));
        let path = &framed[framed.rfind('/').unwrap()..];
        let at = shown.asked.iter().position(|asked| asked.target() == path);
        let at = at.unwrap_or_else(|| panic!("{url} never frames it: {:?}", shown.asked));
        let is_seen = shown.dom.contains(">FRAMED seen<");
        assert!(is_seen || shown.dom.contains(">FRAMED unseen<"), "{url} never ends: {}", shown.dom);
        (is_seen, shown.asked.swap_remove(at))
    }

    /// How many refusals of pages from elsewhere the log holds once the gateway has stopped. Those that repeat within ten
    /// seconds are one record, without their paths.
    pub async fn refusals_on_record(&mut self) -> u32 {
        self.world.stop().await;
        let refused = Verdict::Refuse(RefusalCode::CrossSite);
        let records = self.world.audit().records();
        records.iter().filter(|record| record.verdict == refused).map(|record| record.count).sum()
    }
}

/// Shows the page to whoever asks for it, and answers all else, WebSockets too.
pub fn pages() -> Upstream {
    script(|mut served| async move {
        while let Some(head) = served.request().await {
            if served.wire.body(&head).await.is_none() {
                return;
            }
            if head.target() == HOLD {
                served.wire.send(ENDLESS).await;
                while served.wire.some().await.is_some() {}
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
        Some("worker.js") => ("text/javascript", WORKER),
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

/// The port of a server elsewhere, which speaks TLS if it has a certificate.
async fn listens(certificate: Option<&Pair>) -> u16 {
    let listener = TcpListener::bind((ELSEWHERE, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = certificate.map(Pair::acceptor);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    None => show(stream, |_| ()).await,
                    // A browser that has left wants no handshake.
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            show(stream, |_| ()).await;
                        }
                    }
                }
            });
        }
    });
    port
}

/// Answers a request without any gateway, once it was told what is asked for.
pub async fn show(mut stream: impl AsyncRead + AsyncWrite + Unpin, told: impl Fn(&str)) {
    let mut head = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut head).await {
        if head.windows(4).any(|four| four == b"\r\n\r\n") {
            let line = String::from_utf8_lossy(&head).into_owned();
            let target = line.split(' ').nth(1).unwrap_or("/");
            told(target);
            if target == HOLD {
                let _ = stream.write_all(ENDLESS.as_bytes()).await;
                head.clear();
                continue;
            }
            // A browser that has left does not want it.
            let _ = stream.write_all(answer(target).as_bytes()).await;
            let _ = stream.shutdown().await;
            return;
        }
    }
}
