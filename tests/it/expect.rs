//! 1xx answers: `100-continue` is between the device and the service; the rest ends here.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::world::upstream::{Upstream, script};
use crate::world::{Live, World, echo};

const PUT: &str =
    "PUT /x HTTP/1.1\r\nHost: wiki.home.arpa\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

async fn home(wiki: Upstream) -> Live {
    World::new()
        .member("red-phone")
        .service("wiki", wiki)
        .allow("red-phone", "wiki")
        .limits(|limits| limits.go_on = Duration::from_millis(400))
        .start()
        .await
}

#[tokio::test]
async fn a_service_that_says_go_on_is_sent_the_body() {
    let willing = script(|mut served| async move {
        let head = served.request().await.unwrap();
        assert_eq!(head.get("expect"), Some("100-continue"));
        served.wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        let body = served.wire.body(&head).await.unwrap();
        assert_eq!(body, b"hello");
        served.wire.send("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await;
    });
    let world = home(willing).await;
    let mut wire = world.from("red-phone").open().await;
    let began = Instant::now();
    wire.send(PUT).await;
    assert_eq!(wire.head().await.unwrap().status(), 100);
    assert!(began.elapsed() < Duration::from_millis(350), "it did not wait for the limit");
    wire.send("hello").await;
    assert_eq!(wire.head().await.unwrap().status(), 201);
}

#[tokio::test]
async fn a_service_that_will_not_have_it_is_never_sent_the_body() {
    let (rest, mut sent) = mpsc::channel(1);
    let unwilling = script(move |mut served| {
        let rest = rest.clone();
        async move {
            served.request().await;
            served.wire.send("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n").await;
            rest.send(served.wire.rest().await).await.unwrap();
        }
    });
    let world = home(unwilling).await;
    let phone = world.from("red-phone");
    let mut wire = phone.open().await;
    wire.send(PUT).await;
    phone.reply(&mut wire, PUT).await.is(417).has("connection", "close");
    assert_eq!(wire.rest().await, b"");
    assert_eq!(sent.recv().await.unwrap(), b"");
}

#[tokio::test]
async fn a_service_that_says_nothing_is_sent_the_body_after_a_while() {
    let world = home(echo()).await;
    let phone = world.from("red-phone");
    let mut wire = phone.open().await;
    let began = Instant::now();
    wire.send(PUT).await;
    assert_eq!(wire.head().await.unwrap().status(), 100);
    assert!(began.elapsed() >= Duration::from_millis(400));
    wire.send("hello").await;
    phone.reply(&mut wire, PUT).await.is(200).says("hello");
}

#[tokio::test]
async fn other_interim_answers_end_here() {
    let hints = script(|mut served| async move {
        served.request().await;
        let early = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
        served.wire.send(format!("{early}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")).await;
    });
    let world = home(hints).await;
    world.from("red-phone").get("wiki", "/").await.is(200).says("ok").lacks("link");
}

/// A field that `Connection` names ends here, and so does the promise to wait.
#[tokio::test]
async fn an_expectation_of_the_connections_own_holds_nothing_up() {
    let world = home(echo()).await;
    let phone = world.from("red-phone");
    let put = PUT.replace("\r\nExpect", "\r\nConnection: expect\r\nExpect") + "hello";
    let mut wire = phone.open().await;
    let began = Instant::now();
    wire.send(&put).await;
    assert_eq!(wire.head().await.unwrap().status(), 100);
    let seen = phone.reply(&mut wire, &put).await.is(200).says("hello").upstream_saw();
    assert!(began.elapsed() < Duration::from_millis(350), "it waited for a word that cannot come");
    assert!(!seen.has("expect"));
}

#[tokio::test]
async fn interim_answers_end_sometime() {
    for (interim, status) in [(16, 200), (17, 502)] {
        let chatty = script(move |mut served| async move {
            served.request().await;
            served.wire.send("HTTP/1.1 102 Processing\r\n\r\n".repeat(interim)).await;
            served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        });
        home(chatty).await.from("red-phone").get("wiki", "/").await.is(status);
    }
}
