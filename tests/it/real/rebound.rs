//! DNS rebinding: a name of somebody's own that leads to their server, and then to the gateway. To the browser the page and
//! what it asks are of one origin.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use ztgate::audit::Verdict;
use ztgate::model::RefusalCode;

use super::browser::Browser;
use super::needs;
use super::street::{pages, show};
use crate::world::World;
use crate::world::device::DOOR;

const THEIRS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const NAME: &str = "rebound.test";

/// The name has two addresses, theirs and the gateway's. Once the page is there, nobody listens at theirs any more, and the
/// browser goes on to the other at once. (An answer that changes it would not see for a minute: it keeps each that long.)
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_comes_to_lead_to_the_gateway_opens_nothing() {
    let (Some(_), Some(_)) = (needs("chromium"), needs("unshare")) else { return };
    let world = World::new().member("laptop").service("wiki", pages()).allow("laptop", "wiki").start().await;
    let (folder, port) = (tempfile::tempdir().unwrap(), world.http_port());
    world.from("laptop").door(port).await;
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, format!("127.0.0.1 localhost\n{THEIRS} {NAME}\n{DOOR} {NAME}\n")).unwrap();
    let listener = TcpListener::bind((THEIRS, port)).await.unwrap();
    let rebound = Arc::new(Notify::new());
    tokio::spawn(async move {
        loop {
            let (stream, _) = tokio::select! {
                accepted = listener.accept() => accepted.unwrap(),
                () = rebound.notified() => return,
            };
            let rebound = rebound.clone();
            tokio::spawn(show(stream, move |target| {
                if target == "/rebind" {
                    rebound.notify_one();
                }
            }));
        }
    });
    let browser = Browser::open(folder.path()).unwrap();
    let url = format!("http://{NAME}:{port}/page?rebind=1");
    let dom = tokio::task::block_in_place(|| browser.dom_knowing(&hosts, &url));
    assert!(dom.contains("told: 200 null, then 421 unknown-name"), "{dom}");
    assert!(world.upstream("wiki").requests().is_empty());
    let refused = Verdict::Refuse(RefusalCode::UnknownName);
    let record = world.audit().record(|record| record.verdict == refused).await;
    assert_eq!((record.member, record.host.as_deref()), (Some(world.id("laptop")), Some(NAME)));
}
