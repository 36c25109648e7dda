//! A page in a real browser that calls aria2, as AriaNg does: from its own name it may, from another it may not.

use serde_json::json;
use ztgate::audit::Verdict;
use ztgate::model::RefusalCode;

use crate::real::aria2c::Daemon;
use crate::real::browser::Browser;
use crate::real::needs;
use crate::world::device::DOOR;
use crate::world::upstream::{Upstream, says};

use super::{SECRET, household};

const PAGE: &str = include_str!("page.html");

#[tokio::test(flavor = "multi_thread")]
async fn a_page_calls_aria2_from_its_own_name_and_from_no_other() {
    let (Some(certutil), Some(aria2)) = (needs("certutil"), Daemon::start(SECRET, &[])) else { return };
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
    laptop.door(world.http_port()).await;
    laptop.door(world.https_port()).await;
    let (http, https) = (world.http_port(), world.https_port());
    let from_sibling = format!("https://wiki.home.arpa:{https}/?at=https://aria2.home.arpa:{https}");
    let version = aria2.call("aria2.getVersion", json!([])).await;
    let version = version["version"].as_str().unwrap();
    let told = format!("post {version}, socket {version}.");
    for (url, outcome) in [
        (format!("https://aria2.home.arpa:{https}/"), &*told),
        (format!("http://aria2.home.arpa:{http}/"), &*told),
        (from_sibling, "post refused, socket refused."),
    ] {
        let shown = tokio::task::block_in_place(|| browser.shown_where(&names, &url, outcome));
        assert!(shown.is_some(), "{url}");
    }
    let refused = Verdict::Refuse(RefusalCode::CrossSite);
    world
        .audit()
        .record(|record| record.verdict == refused && record.service.as_deref() == Some("aria2"))
        .await;
}
