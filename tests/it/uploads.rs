//! Uploads to services that do not read them: what is held, when it ends, and who notices that the device has left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use ztgate::audit::Ending;
use ztgate::linux::socket;

use crate::world::upstream::{Upstream, script};
use crate::world::{Live, SOON, World};

const CHUNKED: &str = "PUT /x HTTP/1.1\r\nHost: wiki.home.arpa\r\nTransfer-Encoding: chunked\r\n\r\n";

async fn home(wiki: Upstream) -> Live {
    World::new().member("red-phone").service("wiki", wiki).allow("red-phone", "wiki").start().await
}

/// Reads a head, says something, and reads no more until it is told to; then it tells when its connection has ended.
fn deaf(word: &'static str, wake: Arc<Notify>) -> (Upstream, mpsc::Receiver<()>) {
    let (left, when) = mpsc::channel(1);
    let upstream = script(move |mut served| {
        let (left, wake) = (left.clone(), wake.clone());
        async move {
            if served.request().await.is_some() {
                served.wire.send(word).await;
                wake.notified().await;
                while served.wire.some().await.is_some() {}
                let _ = left.send(()).await;
            }
        }
    });
    (upstream, when)
}

/// Sends chunks of a size until nobody takes them any more: how many bytes were.
async fn fill(stream: &mut TcpStream, size: usize) -> usize {
    let batch = format!("{size:x}\r\n{}\r\n", "z".repeat(size)).repeat((64 << 10) / size);
    let mut sent = 0;
    while sent < 200 << 20 {
        let taken = tokio::time::timeout(Duration::from_millis(700), stream.write_all(batch.as_bytes()));
        if taken.await.is_err() {
            break;
        }
        sent += batch.len();
    }
    sent
}

/// Small pieces once were taken without end. What the kernel's buffers hold (a few MB on each of the two connections) is
/// all that a device gets rid of, and what it sends does not put the answer's limit off.
#[tokio::test]
async fn a_service_that_does_not_read_holds_the_device_up_and_is_slow() {
    for size in [64 << 10, 4 << 10, 1 << 10] {
        let (upstream, _left) = deaf("", Arc::default());
        let world = World::new()
            .member("red-phone")
            .service("wiki", upstream)
            .allow("red-phone", "wiki")
            .limits(|limits| limits.answer = Duration::from_secs(1))
            .start()
            .await;
        let mut stream = world.from("red-phone").connect(world.http_port()).await;
        stream.write_all(CHUNKED.as_bytes()).await.unwrap();
        let sent = fill(&mut stream, size).await;
        assert!(sent < 48 << 20, "{size}: {sent}");
        let mut wire = crate::world::Wire::new(stream);
        let answer = wire.head().await.unwrap();
        assert_eq!((answer.status(), answer.get("ztgate-refusal")), (504, Some("upstream-slow")), "{size}");
    }
}

/// Before the answer and after it began, where nobody reads what the device sends.
#[tokio::test]
async fn a_device_that_leaves_an_upload_which_nobody_reads_is_noticed() {
    for word in ["", "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf"] {
        let wake = Arc::new(Notify::new());
        let (upstream, mut left) = deaf(word, wake.clone());
        let world = World::new()
            .member("red-phone")
            .service("wiki", upstream)
            .allow("red-phone", "wiki")
            .limits(|limits| limits.answer = Duration::from_secs(60))
            .start()
            .await;
        let mut stream = world.from("red-phone").connect(world.http_port()).await;
        stream.write_all(CHUNKED.as_bytes()).await.unwrap();
        fill(&mut stream, 16 << 10).await;
        let leaves = Instant::now();
        socket::reset_on_close(&stream).unwrap();
        drop(stream);
        let record = world.audit().record(|_| true).await;
        assert!(leaves.elapsed() < Duration::from_secs(3), "{word:?}: {:?}", leaves.elapsed());
        assert_eq!(record.ended, Some(Ending::DeviceGone), "{word:?}");
        wake.notify_one();
        tokio::time::timeout(SOON, left.recv()).await.expect("its connection is open still").unwrap();
    }
}

/// The body waits for a `100 Continue` and will never be asked for, so nobody reads that the device ended its sending.
#[tokio::test]
async fn a_device_that_leaves_a_body_which_nobody_wants_is_noticed() {
    let wake = Arc::new(Notify::new());
    wake.notify_one();
    let (upstream, mut left) = deaf("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf", wake);
    let world = home(upstream).await;
    let mut wire = world.from("red-phone").open().await;
    wire.send(CHUNKED.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n")).await;
    assert_eq!(wire.head().await.unwrap().status(), 200);
    assert_eq!(wire.exactly(4).await.unwrap(), b"half");
    let leaves = Instant::now();
    drop(wire);
    tokio::time::timeout(SOON, left.recv()).await.expect("its connection is open still").unwrap();
    assert!(leaves.elapsed() < Duration::from_secs(3), "{:?}", leaves.elapsed());
    assert_eq!(world.audit().record(|_| true).await.ended, Some(Ending::DeviceGone));
}

/// It ended its sending in the middle of an upload that moves on: what it sent still arrives.
#[tokio::test]
async fn an_upload_that_moves_on_is_not_taken_for_one_that_was_left() {
    let (came, mut bytes) = mpsc::channel(64);
    let sips = script(move |mut served| {
        let came = came.clone();
        async move {
            served.request().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            while let Some(part) = served.wire.some().await {
                if came.send(part.len()).await.is_err() {
                    return;
                }
            }
        }
    });
    let world = home(sips).await;
    let mut wire = world.from("red-phone").open().await;
    let body = "x".repeat(100_000);
    wire.send(format!("PUT /x HTTP/1.1\r\nHost: wiki.home.arpa\r\nContent-Length: 100001\r\n\r\n{body}"))
        .await;
    wire.finish().await;
    let mut all = 0;
    let read = async {
        while all < body.len() {
            all += bytes.recv().await.unwrap_or_else(|| panic!("{all} came"));
        }
    };
    tokio::time::timeout(SOON, read).await.expect("it stops");
}
