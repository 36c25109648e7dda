//! Links from pages elsewhere: they lead anywhere, unless the service says where. Each request is written as browsers write it.

use ztgate::audit::Verdict;
use ztgate::model::RefusalCode;

use crate::world::device::Reply;
use crate::world::{Device, Live, Wire, World, echo};

async fn home() -> Live {
    World::new()
        .member("red-phone")
        .service("wiki", echo())
        .service_with("nas", echo(), "links = [\"/share/*\"]\nallow_origins = [\"https://ariang.example\"]")
        .allow("red-phone", "wiki")
        .allow("red-phone", "nas")
        .start()
        .await
}

const LINK: &str = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n";

/// A GET over https.
async fn get<'a>(phone: &Device<'a>, service: &str, address: &str, headers: &str) -> Reply<'a> {
    let mut wire = Wire::new(phone.tls_on(phone.world.https_port(), service).await);
    let request = format!("GET {address} HTTP/1.1\r\nHost: {service}.home.arpa\r\n{headers}\r\n");
    wire.send(&request).await;
    phone.reply(&mut wire, &request).await
}

#[tokio::test]
async fn a_link_leads_to_what_is_listed_and_to_the_first_page() {
    let world = home().await;
    let phone = world.from("red-phone");
    for address in ["/", "/share/film%20night", "/share/?at=7"] {
        get(&phone, "nas", address, LINK).await.is(200);
    }
    for address in ["/reboot", "/?reboot=1", "/share/..;/reboot", "/share/%2e%2e/reboot", "/share//reboot"] {
        get(&phone, "nas", address, LINK).await.refused("cross-site").says("Links do not lead here");
        get(&phone, "wiki", address, LINK).await.is(200);
        // Typed, or the service's own.
        for site in ["none", "same-origin"] {
            get(&phone, "nas", address, &LINK.replace("cross-site", site)).await.is(200);
        }
        // A page of its own, or a listed one, may have led to another site, and that one here.
        for page in ["https://ariang.example/", "https://nas.home.arpa/"] {
            get(&phone, "nas", address, &format!("{LINK}Referer: {page}\r\n")).await.refused("cross-site");
        }
        get(&phone, "nas", address, "").await.is(200);
    }
}

#[tokio::test]
async fn the_page_and_the_record_say_what_was_wrong_with_the_link() {
    let world = home().await;
    let phone = world.from("red-phone");
    get(&phone, "nas", "/watch?v=1", LINK)
        .await
        .refused("cross-site")
        .says("links = [&quot;/watch?v=*&quot;]")
        .says("[service.nas]")
        .says("a link from elsewhere led to an address");
    let told = world.audit().record(|record| record.service.as_deref() == Some("nas")).await;
    assert_eq!(told.verdict, Verdict::Refuse(RefusalCode::CrossSite));
    assert_eq!(told.path.as_deref(), Some("/watch?v=…"));
}

/// Chromium does not say then whether it is for a tab or a frame.
#[tokio::test]
async fn a_link_through_a_service_worker_is_one_and_is_shown_in_no_frame() {
    let world = home().await;
    let phone = world.from("red-phone");
    let through = LINK.replace("document", "empty");
    let unframed = "frame-ancestors 'self'";
    get(&phone, "wiki", "/auth", &through).await.is(200).has("content-security-policy", unframed);
    get(&phone, "nas", "/share/x", &through).await.is(200).has("content-security-policy", unframed);
    get(&phone, "nas", "/reboot", &through).await.refused("cross-site").says("Open its first page");
    get(&phone, "wiki", "/auth", LINK).await.is(200).lacks("content-security-policy");
    get(&phone, "wiki", "/auth", &format!("{through}Origin: https://evil.example\r\n"))
        .await
        .refused("cross-site");
}

/// What fills a tab says so over http, too, by a line of its own; a page that hides its name goes as it always did.
#[tokio::test]
async fn over_http_a_link_is_told_by_the_page_that_it_names() {
    let world = home().await;
    let phone = world.from("red-phone");
    let tab = "Upgrade-Insecure-Requests: 1\r\n";
    let from = |page: &str| format!("{tab}Referer: {page}\r\n");
    for (service, address, headers, is_refused) in [
        ("nas", "/reboot", from("http://evil.example/"), true),
        ("nas", "/share/x", from("http://evil.example/"), false),
        ("nas", "/", from("http://evil.example/"), false),
        ("nas", "/reboot", from("http://nas.home.arpa/"), false),
        ("nas", "/reboot", tab.to_owned(), false),
        ("wiki", "/reboot", from("http://evil.example/"), false),
    ] {
        let headers = headers.replace("nas.home.arpa", &format!("nas.home.arpa:{}", world.http_port()));
        let reply = phone.ask(service, "GET", address, &headers).await;
        if is_refused {
            reply.refused("cross-site")
        } else {
            reply.is(200)
        };
    }
}
