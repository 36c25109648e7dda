//! The services as a client meets them, over real sockets.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

type Talk = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn in_time<T>(wanted: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wanted).await.expect("within ten seconds")
}

async fn ask(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "films.localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    in_time(sender.send_request(request.body(Empty::<Bytes>::new()).unwrap())).await.unwrap()
}

async fn join(chat: SocketAddr, device: &str) -> Result<Talk, Error> {
    let mut request = format!("ws://{chat}/talk").into_client_request().unwrap();
    request.headers_mut().insert("x-ztgate-device", device.parse().unwrap());
    Ok(in_time(connect_async(request)).await?.0)
}

async fn bytes(answer: Response<Incoming>) -> Bytes {
    in_time(answer.into_body().collect()).await.unwrap().to_bytes()
}

/// The next news of that kind.
async fn hear(talk: &mut Talk, kind: &str) -> Value {
    in_time(async {
        loop {
            if let Message::Text(text) = talk.next().await.unwrap().unwrap() {
                let news: Value = serde_json::from_str(&text).unwrap();
                if news["kind"] == kind {
                    return news;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_range_over_the_wire_is_that_part_of_the_film() {
    let samples = Samples::start().await.unwrap();
    let path = "/film/low-tide.mkv";
    let part = async |range| bytes(ask(samples.films(), "GET", path, &[("range", range)]).await).await;
    let (whole, inner) = (part("bytes=1048000-1249999").await, part("bytes=1048500-1148499").await);
    assert_eq!((whole.len(), inner.len()), (202_000, 100_000));
    assert_eq!(whole[500..100_500], inner);
}

#[tokio::test]
async fn head_says_the_length_and_sends_nothing() {
    let samples = Samples::start().await.unwrap();
    let answer = ask(samples.films(), "HEAD", "/film/low-tide.mkv", &[]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-length"], "2000000000");
    assert_eq!(answer.headers()["accept-ranges"], "bytes");
    assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());

    let (head, whole) =
        (ask(samples.films(), "HEAD", "/", &[]).await, ask(samples.films(), "GET", "/", &[]).await);
    assert_eq!(head.headers()["content-length"], whole.headers()["content-length"]);
    let beyond = ask(samples.films(), "GET", "/film/low-tide.mkv", &[("range", "bytes=2000000000-")]).await;
    assert_eq!((beyond.status().as_u16(), &beyond.headers()["content-length"]), (416, &"0".parse().unwrap()));
}

#[tokio::test]
async fn the_feed_begins_at_once() {
    let samples = Samples::start().await.unwrap();
    let mut feed = ask(samples.films(), "GET", "/slow", &[]).await;
    assert_eq!(feed.headers()["content-type"], "text/event-stream");
    let event = in_time(feed.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert!(event.starts_with(b"data: {"), "{event:?}");
}

#[tokio::test]
async fn a_message_reaches_the_other_device_under_the_name_that_the_gateway_gave() {
    let samples = Samples::start().await.unwrap();
    let mut phone = join(samples.chat(), "red-phone").await.unwrap();
    let mut tablet = join(samples.chat(), "kids-tablet").await.unwrap();
    assert_eq!(hear(&mut tablet, "welcome").await["you"], "kids-tablet");
    phone.send("<b>dinner</b> & a film?".into()).await.unwrap();
    for talk in [&mut tablet, &mut phone] {
        let said = hear(talk, "said").await;
        assert_eq!(
            (&said["device"], &said["text"]),
            (&"red-phone".into(), &"<b>dinner</b> & a film?".into())
        );
    }
}

#[tokio::test]
async fn a_message_over_4_kib_ends_only_its_sender() {
    let samples = Samples::start().await.unwrap();
    let mut loud = join(samples.chat(), "loud").await.unwrap();
    let mut calm = join(samples.chat(), "calm").await.unwrap();
    loud.send("a".repeat(4096).into()).await.unwrap();
    assert_eq!(hear(&mut calm, "said").await["text"].as_str().unwrap().len(), 4096);
    loud.send("a".repeat(4097).into()).await.unwrap();
    let closed = in_time(async {
        loop {
            if let Message::Close(frame) = loud.next().await.unwrap().unwrap() {
                return frame.unwrap().code;
            }
        }
    });
    assert_eq!(closed.await, CloseCode::Size);
    calm.send("still here".into()).await.unwrap();
    assert_eq!(hear(&mut calm, "said").await["text"], "still here");
}

#[tokio::test]
async fn a_full_room_says_so() {
    let samples = Samples::start().await.unwrap();
    let mut talks = Vec::new();
    for _ in 0..100 {
        talks.push(join(samples.chat(), "tv").await.unwrap());
    }
    let refused = join(samples.chat(), "late").await.unwrap_err();
    assert!(matches!(refused, Error::Http(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE));
}

#[tokio::test]
async fn the_chat_page_is_plain_http_and_its_socket_is_not() {
    let samples = Samples::start().await.unwrap();
    let page = bytes(ask(samples.chat(), "GET", "/", &[("x-ztgate-device", "<i>tv</i>")]).await).await;
    assert!(String::from_utf8_lossy(&page).contains("You are <b>&lt;i&gt;tv&lt;/i&gt;</b>"));
    assert_eq!(ask(samples.chat(), "GET", "/talk", &[]).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(ask(samples.chat(), "POST", "/", &[]).await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn everything_ends_when_dropped() {
    let samples = Samples::start().await.unwrap();
    let addresses = [samples.films(), samples.chat()];
    let mut idle = TcpStream::connect(addresses[0]).await.unwrap();
    let mut feed = ask(addresses[0], "GET", "/slow", &[]).await;
    let mut talk = join(addresses[1], "red-phone").await.unwrap();
    drop(samples);
    in_time(async {
        assert_eq!(idle.read(&mut [0; 16]).await.unwrap_or(0), 0);
        while let Some(Ok(_)) = feed.frame().await {}
        while let Some(Ok(_)) = talk.next().await {}
        for address in addresses {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
}
