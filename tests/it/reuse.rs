//! Connections to services: which are used again, what is sent a second time, and how many there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::world::upstream::{Served, Upstream, script};
use crate::world::{Live, SOON, Wire, World, echo};

const GET: &str = "GET / HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn home(wiki: Upstream) -> Live {
    World::new().member("red-phone").service("wiki", wiki).allow("red-phone", "wiki").start().await
}

/// A service whose first connection answers one request in order and hangs up on the second, once it has read so much of
/// its body and perhaps said a first word. All other connections echo.
fn hangs_up(body: usize, word: &'static str, heard: Arc<Notify>) -> Upstream {
    let (connections, Upstream::Runs(others)) = (AtomicUsize::new(0), echo()) else { unreachable!() };
    script(move |mut served: Served| {
        let (first, heard) = (connections.fetch_add(1, Ordering::Relaxed) == 0, heard.clone());
        let others = others.clone();
        async move {
            if !first {
                return others(served).await;
            }
            served.request().await.unwrap();
            served.wire.send(OK).await;
            served.request().await.unwrap();
            heard.notify_one();
            served.wire.exactly(body).await.unwrap();
            served.wire.send(word).await;
        }
    })
}

/// What was taken of a body is gone: another connection would be sent the rest of it in place of a request, or a head
/// whose body is the next device's request.
#[tokio::test]
async fn an_upload_that_was_begun_is_not_sent_again() {
    let smuggled = "GET /admin HTTP/1.1\r\nHost: wiki.home.arpa\r\nx-ztgate-owner: admin\r\n\r\n";
    for body in [smuggled, &"b".repeat(6000)] {
        let heard = Arc::new(Notify::new());
        let world = home(hangs_up(body.len(), "", heard.clone())).await;
        let phone = world.from("red-phone");
        let mut wire = phone.open().await;
        wire.send(GET).await;
        phone.reply(&mut wire, GET).await.is(200);
        let length = body.len();
        let put = format!("PUT /x HTTP/1.1\r\nHost: wiki.home.arpa\r\nContent-Length: {length}\r\n\r\n");
        wire.send(&put).await;
        // The body comes in a piece of its own.
        heard.notified().await;
        wire.send(body).await;
        phone.reply(&mut wire, &put).await.refused("upstream-down");
        assert_eq!(world.upstream("wiki").connections(), 1, "{length} bytes");
    }
}

#[tokio::test]
async fn an_upload_that_was_not_begun_is_sent_again_whole() {
    let world = home(hangs_up(0, "", Arc::default())).await;
    let phone = world.from("red-phone");
    phone.get("wiki", "/").await.is(200);
    let put = "PUT /x HTTP/1.1\r\nHost: wiki.home.arpa\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let mut wire = phone.open().await;
    wire.send(put).await;
    assert_eq!(wire.head().await.unwrap().status(), 100);
    wire.send("hello").await;
    phone.reply(&mut wire, put).await.is(200).says("PUT /x\nhello");
    assert_eq!(world.upstream("wiki").connections(), 2);
}

#[tokio::test]
async fn a_request_that_was_heard_is_not_sent_again() {
    let world = home(hangs_up(0, "HTTP/1.1 102 Processing\r\n\r\n", Arc::default())).await;
    let phone = world.from("red-phone");
    phone.get("wiki", "/").await.is(200);
    phone.ask("wiki", "DELETE", "/x", "").await.refused("upstream-down");
    assert_eq!(world.upstream("wiki").requests().len(), 2);
}

/// Answers each request with these bytes as soon as its head is there, whatever it announced.
fn hasty(answer: &'static str) -> Upstream {
    script(move |mut served| async move {
        while served.request().await.is_some() {
            served.wire.send(answer).await;
        }
    })
}

/// The service may take what the device sends next for a request of its own, or we its next words for an answer.
#[tokio::test]
async fn a_connection_in_doubt_is_not_used_again() {
    let post = "POST / HTTP/1.1\r\nHost: wiki.home.arpa\r\nContent-Length: 5\r\n\r\n";
    let expects = post.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    let head = GET.replace("GET", "HEAD");
    for (request, rest, answer) in [
        (post, "hello", OK),
        (expects.as_str(), "hello", OK),
        (GET, "", "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n"),
        (GET, "", "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n"),
        (head.as_str(), "", OK),
    ] {
        let world = home(hasty(answer)).await;
        let phone = world.from("red-phone");
        for connections in 1..=2 {
            let mut wire = phone.open().await;
            wire.send(request).await;
            let reply = phone.reply(&mut wire, request).await;
            wire.send(rest).await;
            assert_eq!(world.upstream("wiki").connections(), connections, "{request} {:?}", reply.head);
        }
    }
}

/// The whole of it was sent, but only because the service was silent for too long to be waited for.
#[tokio::test]
async fn a_late_answer_without_the_100_that_was_due_ends_its_connection() {
    let late = script(|mut served| async move {
        while let Some(head) = served.request().await {
            served.wire.body(&head).await.unwrap();
            served.wire.send(OK).await;
        }
    });
    let world = home(late).await;
    let phone = world.from("red-phone");
    let put =
        "PUT / HTTP/1.1\r\nHost: wiki.home.arpa\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello";
    for connections in 1..=2 {
        let mut wire = phone.open().await;
        wire.send(put).await;
        assert_eq!(wire.head().await.unwrap().status(), 100);
        phone.reply(&mut wire, put).await.is(200);
        assert_eq!(world.upstream("wiki").connections(), connections);
    }
}

/// A service that answers when it is told to, once for each permit.
fn when_told(told: Arc<Semaphore>) -> Upstream {
    script(move |mut served| {
        let told = told.clone();
        async move {
            while served.request().await.is_some() {
                told.acquire().await.unwrap().forget();
                served.wire.send(OK).await;
            }
        }
    })
}

/// A request that waits for its service, which has it.
async fn waits(world: &Live, device: &str) -> Wire {
    let before = world.upstream("wiki").requests().len();
    let mut wire = world.from(device).open().await;
    wire.send(GET).await;
    let came = async {
        while world.upstream("wiki").requests().len() == before {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, came).await.expect("it has not come");
    wire
}

#[tokio::test]
async fn one_device_leaves_room_for_another_to_reach_a_service() {
    let told = Arc::new(Semaphore::new(0));
    let world = World::new()
        .member("red-phone")
        .member("blue-tablet")
        .service("wiki", when_told(told.clone()))
        .allow("red-phone", "wiki")
        .allow("blue-tablet", "wiki")
        .limits(|limits| limits.upstreams = 4)
        .start()
        .await;
    let mut open = vec![waits(&world, "red-phone").await, waits(&world, "red-phone").await];
    let busy = world.from("red-phone").get("wiki", "/").await.refused("gateway-busy").is(503);
    assert_eq!(busy.head.get("retry-after"), Some("10"));
    open.extend([waits(&world, "blue-tablet").await, waits(&world, "blue-tablet").await]);
    told.add_permits(5);
    for wire in &mut open {
        assert_eq!(wire.head().await.unwrap().status(), 200);
    }
    world.from("red-phone").get("wiki", "/").await.is(200);
    assert_eq!(world.upstream("wiki").connections(), 4, "the connections are used again");
    world
        .audit()
        .reads(&[
            "red-phone allow wiki",
            "red-phone allow wiki",
            "red-phone refuse gateway-busy wiki",
            "blue-tablet allow wiki",
            "blue-tablet allow wiki",
            "red-phone allow wiki",
        ])
        .await;
}

#[tokio::test]
async fn idle_connections_make_room() {
    let mut world = World::new().member("red-phone").limits(|limits| limits.upstreams = 2);
    for name in ["wiki", "films", "nas"] {
        world = world.service(name, echo()).allow("red-phone", name);
    }
    let world = world.start().await;
    for name in ["wiki", "films", "nas", "wiki"] {
        world.from("red-phone").get(name, "/").await.is(200);
    }
    assert_eq!(world.upstream("wiki").connections(), 2);
}
