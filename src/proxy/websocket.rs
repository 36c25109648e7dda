//! WebSockets: by HTTP/1.1 Upgrade (RFC 6455) and HTTP/2 extended CONNECT (RFC 8441), always HTTP/1.1 to the service.
//!
//! A tunnel opens only after the service's own 101 with the accept key that fits.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::audit::Ending;
use crate::model::RefusalCode;
use crate::portal::Trouble;
use crate::routes::Route;
use crate::services::{Silence, Talk};

use super::admit::Admitted;
use super::body::{Payload, UpstreamBody};
use super::entry::Entry;
use super::exchange::{self, down, request_id, unreached};
use super::frames;
use super::headers;
use super::holding::Held;
use super::refuse::{Client, Refusal, refuse, unanswered};
use super::upstream::{Call, Outgoing};

/// Appended to the key before hashing (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// How long one direction may go on once the other has ended.
const GRACE: Duration = Duration::from_secs(10);

/// Whether a request asks for a WebSocket, well or badly.
pub fn is_asked_for<B>(request: &Request<B>) -> bool {
    if request.version() == Version::HTTP_2 {
        return request.method() == Method::CONNECT
            && request
                .extensions()
                .get::<Protocol>()
                .is_some_and(|protocol| protocol.as_str() == "websocket");
    }
    names(request, header::UPGRADE, "websocket") && names(request, header::CONNECTION, "upgrade")
}

fn names<B>(request: &Request<B>, field: HeaderName, token: &str) -> bool {
    let mut values = request.headers().get_all(field).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
}

/// The request's key, where the request is a WebSocket handshake to the letter.
fn check(request: &Request<Incoming>) -> Result<HeaderValue, &'static str> {
    let only = |name: HeaderName, absent: &'static str| {
        let mut values = request.headers().get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value.clone()),
            _ => Err(absent),
        }
    };
    if only(header::SEC_WEBSOCKET_VERSION, "a WebSocket names its version once")? != "13" {
        return Err("the WebSocket version is 13");
    }
    if request.version() == Version::HTTP_2 {
        let mut nonce = [0; 16];
        rand::fill(&mut nonce).map_err(|_| "no random bytes for a key")?;
        return HeaderValue::try_from(STANDARD.encode(nonce)).map_err(|_| "no key");
    }
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return Err("a WebSocket is opened by GET over HTTP/1.1");
    }
    if !request.body().is_end_stream() {
        return Err("a WebSocket handshake has no body");
    }
    let key = only(header::SEC_WEBSOCKET_KEY, "a WebSocket has one key")?;
    match STANDARD.decode(key.as_bytes()) {
        Ok(nonce) if nonce.len() == 16 => Ok(key),
        _ => Err("a WebSocket key is 16 bytes in base64"),
    }
}

fn accept_key(key: &HeaderValue) -> String {
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID);
    STANDARD.encode(hash.finish())
}

/// Opens a tunnel to the service, if it agrees. With `talk`, each message in it is judged.
pub async fn open(
    mut entry: Entry,
    admitted: Admitted,
    route: Arc<Route>,
    talk: Option<Box<dyn Talk>>,
    mut request: Request<Incoming>,
) -> Response<Payload> {
    let client = Client::of(&request);
    let is_h2 = request.version() == Version::HTTP_2;
    let key = match check(&request) {
        Ok(key) => key,
        Err(why) => {
            let refusal = Refusal::because(RefusalCode::BadRequest, why.to_owned());
            return refuse(entry, client, &refusal);
        }
    };
    let device = hyper::upgrade::on(&mut request);
    let (mut asked, _) = request.into_parts();
    asked.method = Method::GET;
    asked.headers.remove(header::SEC_WEBSOCKET_KEY);
    let context = entry.connection().context.clone();
    let mut judged = None;
    if let Some(talk) = talk {
        // Messages could not be judged in another form, and who it is, is ours to say.
        asked.headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
        asked.headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
        asked.headers.remove(header::AUTHORIZATION);
        asked.headers.remove(header::COOKIE);
        asked.uri = exchange::without_query(&asked.uri);
        let Some(held) = Held::conversation(&context.holding, admitted.who().member.id) else {
            let refusal = Refusal::of(RefusalCode::GatewayBusy).for_service(admitted.target());
            return refuse(entry, client, &refusal);
        };
        judged = Some((talk, held));
    }
    let (host, mut head) = match exchange::head(&entry, &admitted, &route, &mut asked) {
        Ok(written) => written,
        Err(why) => return refuse(entry, client, &Refusal::because(RefusalCode::BadRequest, why)),
    };
    for part in [b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ", key.as_bytes(), b"\r\n"]
    {
        head.extend_from_slice(part);
    }
    let lease = match context.pool.dial(&admitted, &context.limits).await {
        Ok(lease) => lease,
        Err(error) => return unreached(entry, client, &admitted, &route, &error),
    };
    let mut call = Call::new(lease, Outgoing::upgrade(head));
    let limit = context.limits.answer;
    let mut parts = match tokio::time::timeout(limit, poll_fn(|cx| call.poll_answer(cx))).await {
        Ok(Ok(parts)) => parts,
        Ok(Err(error)) => return down(entry, client, &admitted, &route, Trouble::Broken, &error),
        Err(_) => return unanswered(entry, client, &admitted, &route, Trouble::Slow { limit }),
    };
    route.health.answered();
    if parts.status != StatusCode::SWITCHING_PROTOCOLS {
        if is_h2 && parts.status.is_success() {
            // Over HTTP/2 a success says that the tunnel is open (RFC 8441, section 4).
            let why = "it answered a WebSocket with a page";
            return down(entry, client, &admitted, &route, Trouble::Broken, &why);
        }
        // The service said no in its own words.
        exchange::to_device(&entry, &admitted, &route, &host, &mut parts);
        entry.status(parts.status);
        let body = UpstreamBody::new(call, admitted, entry);
        return Response::from_parts(parts, Payload::Upstream(Box::new(body)));
    }
    let accepted = accept_key(&key);
    if parts.headers.get(header::SEC_WEBSOCKET_ACCEPT).is_none_or(|given| given != accepted.as_str()) {
        let why = "it answered a WebSocket with the wrong accept key";
        return down(entry, client, &admitted, &route, Trouble::Broken, &why);
    }
    headers::to_device(&mut parts.headers, admitted.path(), request_id(&entry), route.service.hsts);
    if is_h2 {
        parts.status = StatusCode::OK;
        parts.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    } else {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    entry.status(parts.status);
    tokio::task::spawn_local(tunnel(entry, admitted, device, call, judged));
    Response::from_parts(parts, Payload::empty())
}

/// Carries bytes until either side ends, the connection is cut, or the right to it goes.
async fn tunnel(
    mut entry: Entry,
    admitted: Admitted,
    device: OnUpgrade,
    service: Call,
    mut talk: Option<(Box<dyn Talk>, Held)>,
) {
    let connection = entry.connection().clone();
    let Ok(device) = device.await else {
        return entry.ended(connection.ending());
    };
    let received = entry.meter();
    let sent = Rc::new(std::cell::Cell::new(0));
    let carried = async {
        match &mut talk {
            None => carry(device, service, &received, &sent).await,
            Some((talk, held)) => {
                let (service, early, _slot) = service.into_tunnel();
                let ends = frames::Ends::new(device, service, early, talk.longest(), held).await;
                let entry = &mut entry;
                let mut means = frames::Means {
                    connection: &connection,
                    admitted: &admitted,
                    entry,
                    received: &received,
                    sent: &sent,
                };
                frames::carry(ends, &mut **talk, &mut means).await
            }
        }
    };
    let ended = tokio::select! {
        ended = carried => ended,
        () = connection.is_cut() => Some(connection.ending()),
        () = no_longer_holds(&connection, &admitted) => Some(Ending::Cut),
        () = connection.context.stopping.notified() => Some(Ending::Shutdown),
    };
    // What the service was asked before a cut, it may yet do.
    while let Some((talk, _)) = &mut talk
        && talk.due().is_some()
    {
        talk.give_up(Silence::Broke).deeds.iter().for_each(|deed| entry.tell(deed));
    }
    entry.sent(sent.get());
    if let Some(how) = ended {
        entry.ended(how);
    }
}

async fn no_longer_holds(connection: &super::connection::Connection, admitted: &Admitted) {
    let context = &connection.context;
    loop {
        // Listening begins before the look, so that no change falls between.
        let mut changed = std::pin::pin!(context.changed.notified());
        changed.as_mut().enable();
        if !admitted.still_holds(connection) {
            return;
        }
        changed.await;
    }
}

async fn carry(
    device: Upgraded,
    service: Call,
    received: &std::cell::Cell<u64>,
    sent: &std::cell::Cell<u64>,
) -> Option<Ending> {
    let (mut from_device, mut to_device) = tokio::io::split(TokioIo::new(device));
    let (service, early, _slot) = service.into_tunnel();
    let (from_service, mut to_service) = tokio::io::split(service);
    let mut from_service = std::io::Cursor::new(early).chain(from_service);
    let mut up = std::pin::pin!(pump(&mut from_device, &mut to_service, received));
    let mut down = std::pin::pin!(pump(&mut from_service, &mut to_device, sent));
    // WebSockets say goodbye inside the tunnel. When one side's stream ends, the other gets a moment for its last words.
    tokio::select! {
        up = &mut up => match up {
            Err(Failed::Source) => Some(Ending::DeviceGone),
            Err(Failed::Sink) => Some(Ending::UpstreamBroke),
            // Nobody breaks off from a device that has left.
            Ok(()) => match last_words(down).await {
                Err(Failed::Sink) => Some(Ending::DeviceGone),
                Ok(()) | Err(Failed::Source) => None,
            },
        },
        down = &mut down => match down {
            Err(Failed::Source) => Some(Ending::UpstreamBroke),
            Err(Failed::Sink) => Some(Ending::DeviceGone),
            Ok(()) => {
                let _ = last_words(up).await;
                None
            }
        },
    }
}

async fn last_words(other: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    // Silence after the other side's end is a clean end, too.
    tokio::time::timeout(GRACE, other).await.unwrap_or(Ok(()))
}

/// Which end of a pump failed: the one that is read, or the one that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    Source,
    Sink,
}

/// Carries one direction until its source ends.
async fn pump<R, W>(from: &mut R, to: &mut W, count: &std::cell::Cell<u64>) -> Result<(), Failed>
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let mut buffer = vec![0; 8 << 10];
    loop {
        let read = from.read(&mut buffer).await;
        if let Ok(n @ 1..) = read {
            to.write_all(&buffer[..n]).await.map_err(|_| Failed::Sink)?;
            to.flush().await.map_err(|_| Failed::Sink)?;
            count.set(count.get() + n as u64);
            continue;
        }
        // Over HTTP/2 a device that reset its stream reads like one that ended it; here the difference shows.
        let told = to.shutdown().await;
        return read.map_err(|_| Failed::Source).and(told.map_err(|_| Failed::Sink));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_key_is_the_rfcs() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept_key(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_both_headers_together_ask_for_one() {
        let request = |upgrade: &str, connection: &str| {
            Request::builder().header("upgrade", upgrade).header("connection", connection).body(()).unwrap()
        };
        assert!(is_asked_for(&request("websocket", "keep-alive, Upgrade")));
        assert!(!is_asked_for(&request("websocket", "keep-alive")));
        assert!(!is_asked_for(&request("h2c", "Upgrade, HTTP2-Settings")));
    }
}
