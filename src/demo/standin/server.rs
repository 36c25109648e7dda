//! The HTTP around the answers: the token, the headers as recorded, and the faults.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::writes::{self, Outcome};
use super::{Fault, StandinHandle, answers};

/// Whose API is stood in for.
#[derive(Clone, Copy)]
pub(super) enum Api {
    Node,
    Central,
}

/// What a second call on one connection costs at the real node (Nagle against delayed acknowledgements).
const NAGLE: Duration = Duration::from_millis(42);

/// After so many calls the node closes a connection.
const CALLS: u32 = 5;

/// No write is longer.
const LONGEST_WRITE: usize = 1024 * 1024;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Serves until the task is aborted, which ends its connections too.
pub(super) async fn serve(
    network: StandinHandle,
    api: Api,
    token: String,
) -> io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if network.change(|net| net.fault) != Some(Fault::Down) {
                        connections.spawn(connection(stream, network.clone(), api, token.clone()));
                    }
                }
                // Out of descriptors, most likely: let others end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
            while connections.try_join_next().is_some() {}
        }
    });
    Ok((address, serving))
}

async fn connection(stream: TcpStream, network: StandinHandle, api: Api, token: String) {
    let served = AtomicU32::new(0);
    let answer = hyper::service::service_fn(|request: Request<Incoming>| {
        let (network, token) = (&network, &token);
        let calls = 1 + served.fetch_add(1, Ordering::Relaxed);
        let slow = network.change(|net| net.slow_keep_alive);
        async move {
            if slow && calls > 1 {
                tokio::time::sleep(NAGLE).await;
            }
            let mut response = respond(network, api, token, request).await?;
            if slow && calls >= CALLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, io::Error>(response)
        }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.title_case_headers(true).auto_date_header(false);
    // A client that goes away in the middle is its own affair.
    let _ = server.serve_connection(TokioIo::new(stream), answer).await;
}

async fn respond(
    network: &StandinHandle,
    api: Api,
    token: &str,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    let fault = network.change(|net| net.fault);
    match fault {
        Some(Fault::Hang) => std::future::pending::<()>().await,
        Some(Fault::Error500) => return Ok(error_500()),
        Some(Fault::Html) => return Ok(web_page()),
        Some(Fault::Empty) => return Ok(reply(StatusCode::OK, "application/json", Bytes::new())),
        Some(Fault::Busy(seconds)) => {
            let mut busy = reply(StatusCode::TOO_MANY_REQUESTS, "application/json", "{}".into());
            busy.headers_mut().insert(RETRY_AFTER, seconds.into());
            return Ok(busy);
        }
        _ => {}
    }
    if fault == Some(Fault::Unauthorized) || !allowed(api, request.headers(), token) {
        return Ok(reply(StatusCode::UNAUTHORIZED, "application/json", "{}".into()));
    }
    let path = request.uri().path().to_owned();
    let answer = match *request.method() {
        Method::GET => network.change(|net| answers::get(net, api, &path)),
        Method::POST | Method::PUT | Method::DELETE => {
            let method = request.method().clone();
            let body = Limited::new(request.into_body(), LONGEST_WRITE).collect().await;
            let body = body.map_err(io::Error::other)?.to_bytes();
            match network.change(|net| writes::take(net, api, &method, &path, &body)) {
                Outcome::Answered(answer) => answer,
                Outcome::Late(answer, late) => {
                    tokio::time::sleep(late).await;
                    answer
                }
                Outcome::Cut((status, body)) => return Ok(cut(status, &indented(&body.unwrap_or_default()))),
                Outcome::WebPage => return Ok(web_page()),
                Outcome::Failed => return Ok(error_500()),
                Outcome::Closed => return Err(io::ErrorKind::ConnectionReset.into()),
            }
        }
        _ => answers::NOT_FOUND,
    };
    let (status, Some(body)) = answer else { return Ok(reply(answer.0, "", Bytes::new())) };
    let json = indented(&body);
    Ok(match fault {
        Some(Fault::BrokenOff) => broken_off(&json),
        Some(Fault::CutJson) => cut(status, &json),
        _ => reply(status, "application/json", json.into()),
    })
}

fn error_500() -> Response<Body> {
    let body = &b"{\"error\":500,\"description\":\"\xff last read: \"{\"\"}"[..];
    reply(StatusCode::INTERNAL_SERVER_ERROR, "application/json", body.into())
}

fn web_page() -> Response<Body> {
    reply(StatusCode::OK, "text/html", "<!doctype html><p>Please log in".into())
}

fn cut(status: StatusCode, json: &str) -> Response<Body> {
    reply(status, "application/json", json[..json.len() / 2].to_owned().into())
}

fn allowed(api: Api, headers: &HeaderMap, token: &str) -> bool {
    match api {
        Api::Node => headers.get("x-zt1-auth").is_some_and(|said| said == token),
        Api::Central => headers.get(AUTHORIZATION).is_some_and(|said| said == &format!("token {token}")),
    }
}

/// As the node writes it: keys in order, one space a level.
fn indented(value: &Value) -> String {
    let mut out = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut to = serde_json::Serializer::with_formatter(&mut out, indent);
    match value.serialize(&mut to).map(|()| String::from_utf8(out)) {
        Ok(Ok(text)) => text,
        // JSON values are always UTF-8 and always serialise.
        _ => String::new(),
    }
}

fn reply(status: StatusCode, content_type: &str, body: Bytes) -> Response<Body> {
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let (false, Ok(kind)) = (content_type.is_empty(), content_type.parse()) {
        headers.insert(CONTENT_TYPE, kind);
    }
    headers.insert(HeaderName::from_static("keep-alive"), HeaderValue::from_static("timeout=5, max=5"));
    response
}

/// Promises the whole and sends half.
fn broken_off(json: &str) -> Response<Body> {
    let half = Bytes::copy_from_slice(&json.as_bytes()[..json.len() / 2]);
    let frames = [Ok(Frame::data(half)), Err(io::Error::from(io::ErrorKind::BrokenPipe))];
    let mut response = reply(StatusCode::OK, "application/json", Bytes::new());
    response.headers_mut().insert(CONTENT_LENGTH, json.len().into());
    *response.body_mut() = StreamBody::new(stream::iter(frames)).boxed_unsync();
    response
}
