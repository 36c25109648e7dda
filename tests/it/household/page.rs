//! A page in a real browser that calls aria2, as AriaNg does: from its own name it may, from another it may not.

use ztgate::audit::Verdict;
use ztgate::model::RefusalCode;

use crate::real::browser::Browser;
use crate::real::needs;
use crate::world::device::DOOR;
use crate::world::upstream::{Upstream, says};

use super::daemon::Daemon;
use super::household;

const PAGE: &str = include_str!("page.html");

#[tokio::test(flavor = "multi_thread")]
async fn a_page_calls_aria2_from_its_own_name_and_from_no_other() {
    let (Some(certutil), Some(aria2)) = (needs("certutil"), Daemon::start(&[])) else { return };
    let sibling = says(&format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{PAGE}",
        PAGE.len()
    ));
    let world = household(Upstream::Elsewhere(aria2.address.port()), "files = \"pages\"")
        .service("wiki", sibling)
        .allow("laptop", "wiki");
    std::fs::create_dir(world.folder().join("pages")).unwrap();
    std::fs::write(world.folder().join("pages/index.html"), PAGE).unwrap();
    let world = world.start().await;
    let Some(browser) = Browser::open(world.folder()) else { return };
    browser.trust(&certutil, &world.state_dir().join("certs/root.pem"));
    let names = format!("MAP *.home.arpa {DOOR}");
    let laptop = world.from("laptop");
    for (scheme, port) in [("https", world.https_port()), ("http", world.http_port())] {
        laptop.door(port).await;
        let at = |name: &str| format!("{scheme}://{name}.home.arpa:{port}");
        for (url, outcome) in [
            (at("aria2"), "post 1.36.0, socket 1.36.0."),
            (format!("{}/?at={}", at("wiki"), at("aria2")), "post refused, socket refused."),
        ] {
            let shown = tokio::task::block_in_place(|| browser.shown_where(&names, &url, outcome));
            assert!(shown.is_some(), "{url}");
        }
    }
    let refused = Verdict::Refuse(RefusalCode::CrossSite);
    world
        .audit()
        .record(|record| record.verdict == refused && record.service.as_deref() == Some("aria2"))
        .await;
}
