//! One request to a service and its answer, streamed both ways.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Uri, request, response};
use hyper::body::Incoming;

use crate::audit::Ending;
use crate::model::RefusalCode;
use crate::portal::Trouble;
use crate::routes::Route;

use super::admit::Admitted;
use super::authority;
use super::body::{Payload, UpstreamBody};
use super::context::Context;
use super::entry::Entry;
use super::headers::{self, Around};
use super::refuse::{Client, Refusal, refuse, unanswered};
use super::rewrite::{self, Outside};
use super::upstream::{Call, CallError, DialError, Lease, Outgoing};

/// Forwards an admitted request and gives its answer as it comes.
pub async fn run(
    mut entry: Entry,
    admitted: Admitted,
    route: Arc<Route>,
    request: Request<Incoming>,
) -> Response<Payload> {
    let client = Client::of(&request);
    let (mut parts, body) = request.into_parts();
    let (host, head) = match head(&entry, &admitted, &route, &mut parts) {
        Ok(written) => written,
        Err(why) => return refuse(entry, client, &Refusal::because(RefusalCode::BadRequest, why)),
    };
    let context = entry.connection().context.clone();
    let wait = headers::crosses(&parts.headers, &header::EXPECT).then_some(context.limits.go_on);
    let mut outgoing = Outgoing::new(&parts.method, head, body, || entry.meter(), wait);
    drop(parts);
    let (call, mut parts) = loop {
        let (lease, reused) = match lease(&context, &admitted).await {
            Ok(lease) => lease,
            Err(error) => return unreached(entry, client, &admitted, &route, &error),
        };
        let mut call = Call::new(lease, outgoing);
        match answer(&mut call, &entry, &admitted, context.limits.answer).await {
            Answer::Began(parts) => break (call, parts),
            Answer::NoLonger => return no_longer(entry, client, &admitted),
            Answer::Slow => {
                let limit = context.limits.answer;
                return unanswered(entry, client, &admitted, &route, Trouble::Slow { limit });
            }
            Answer::Failed(CallError::Upload(_)) => return broke_off(entry, client),
            Answer::Failed(error) => {
                outgoing = call.into_request();
                // A connection that the service was just closing: nothing was heard, and nothing happens twice.
                if !(reused && matches!(error, CallError::Unheard) && outgoing.again()) {
                    return down(entry, client, &admitted, &route, Trouble::Broken, &error);
                }
            }
        }
    };
    route.health.answered();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        let why = "it switched protocols without being asked";
        return down(entry, client, &admitted, &route, Trouble::Broken, &why);
    }
    to_device(&entry, &admitted, &route, &host, &mut parts);
    if call.is_uploading() {
        client.hang_up(&mut parts.headers);
    }
    entry.status(parts.status);
    let body = UpstreamBody::new(call, admitted, entry);
    Response::from_parts(parts, Payload::Upstream(Box::new(body)))
}

/// The head of the request as the upstream gets it: regenerated, not forwarded. Gives the authority that the device used,
/// too. The line that ends it is left to what follows.
pub fn head(
    entry: &Entry,
    admitted: &Admitted,
    route: &Route,
    parts: &mut request::Parts,
) -> Result<(HeaderValue, Vec<u8>), String> {
    let connection = entry.connection();
    let host = match parts.headers.get(header::HOST) {
        Some(host) => authority::tidy(host),
        None => parts
            .uri
            .authority()
            .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
            .map(|host| authority::tidy(&host))
            .ok_or("the request names no host")?,
    };
    let outside = Outside { lane: connection.lane(), authority: host.to_str().unwrap_or_default() };
    if route.scheme() != connection.lane().scheme() || parts.headers.contains_key("destination") {
        rewrite::to_upstream(&mut parts.headers, outside, route.scheme())
            .map_err(|error| error.to_string())?;
    }
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    // `http://wiki.home.arpa?a=1` is a URL, whose path is the root's (RFC 9110, section 4.2.3).
    let root = if target.starts_with('?') { "/" } else { "" };
    let mut head = Vec::with_capacity(1 << 10);
    for part in [parts.method.as_str(), " ", root, target, " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    let around = Around {
        identity: &admitted.who().headers,
        host: &host,
        lane: connection.lane(),
        request: entry.request_id(),
    };
    headers::write_to_upstream(&mut head, &parts.headers, around);
    Ok((host, head))
}

/// The same target without its query; over HTTP/2 it names the host, too.
pub fn without_query(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = uri.path().parse().ok();
    Uri::from_parts(parts).unwrap_or_default()
}

/// Makes the head of an answer the device's.
pub fn to_device(
    entry: &Entry,
    admitted: &Admitted,
    route: &Route,
    host: &HeaderValue,
    parts: &mut response::Parts,
) {
    headers::to_device(&mut parts.headers, admitted.path(), request_id(entry), route.service.hsts);
    if let Ok(authority) = host.to_str() {
        let lane = entry.connection().lane();
        rewrite::to_device(&mut parts.headers, route, Outside { lane, authority });
    }
}

pub fn request_id(entry: &Entry) -> HeaderValue {
    HeaderValue::from_bytes(&entry.request_id().digits()).unwrap_or(HeaderValue::from_static("0"))
}

async fn lease(context: &Context, admitted: &Admitted) -> Result<(Lease, bool), DialError> {
    if let Some(lease) = context.pool.take(admitted) {
        return Ok((lease, true));
    }
    // Rare beside the requests that find a connection, and its future is large.
    Ok((Box::pin(context.pool.dial(admitted, &context.limits)).await?, false))
}

/// How waiting for an answer ended.
pub enum Answer {
    Began(response::Parts),
    Failed(CallError),
    Slow,
    /// The right to it went while the service thought.
    NoLonger,
}

/// Waits for the head of an answer, for as long as the right to it holds.
pub async fn answer(call: &mut Call, entry: &Entry, admitted: &Admitted, limit: Duration) -> Answer {
    let connection = entry.connection();
    let context = &connection.context;
    let (mut seen, mut deadline) = (call.progress(), context.deadline(limit));
    poll_fn(|cx| {
        if !admitted.still_holds(connection) {
            return Poll::Ready(Answer::NoLonger);
        }
        if let Poll::Ready(answer) = call.poll_answer(cx) {
            return Poll::Ready(answer.map_or_else(Answer::Failed, Answer::Began));
        }
        if context.has_passed(deadline) {
            if call.progress() == seen {
                return Poll::Ready(Answer::Slow);
            }
            // A slow upload is no slow upstream, as long as the upstream takes what comes.
            (seen, deadline) = (call.progress(), context.deadline(limit));
        }
        connection.falls_silent(entry.request_id(), cx.waker(), Some(deadline), call.upload());
        Poll::Pending
    })
    .await
}

/// Answers for a right that went while the service thought.
pub fn no_longer(mut entry: Entry, client: Client, admitted: &Admitted) -> Response<Payload> {
    entry.ended(Ending::Cut);
    refuse(entry, client, &Refusal::of(RefusalCode::NoRule).for_service(admitted.target()))
}

/// Ends a request whose body never ended. That says nothing about the service, and rarely is anybody left to read this.
pub fn broke_off(mut entry: Entry, client: Client) -> Response<Payload> {
    entry.ended(entry.connection().ending());
    let mut response = Response::new(Payload::empty());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    client.hang_up(response.headers_mut());
    response
}

/// Answers for a connection that could not be had, be it by the service's fault or for want of room.
pub fn unreached(
    entry: Entry,
    client: Client,
    admitted: &Admitted,
    route: &Arc<Route>,
    error: &DialError,
) -> Response<Payload> {
    match error.trouble() {
        Some(trouble) => down(entry, client, admitted, route, trouble, error),
        None => {
            let refusal = Refusal::of(RefusalCode::GatewayBusy).for_service(admitted.target());
            refuse(entry, client, &refusal)
        }
    }
}

/// Answers for an upstream that cannot be reached or broke off, and has its address looked up again.
pub fn down(
    entry: Entry,
    client: Client,
    admitted: &Admitted,
    route: &Arc<Route>,
    trouble: Trouble,
    why: &dyn std::fmt::Display,
) -> Response<Payload> {
    note_down(&entry, route, why);
    unanswered(entry, client, admitted, route, trouble)
}

/// Notes that an upstream failed.
pub fn note_down(entry: &Entry, route: &Route, why: &dyn std::fmt::Display) {
    let context = &entry.connection().context;
    route.health.failed(context.clock.now());
    context.resolver.refresh(&route.place);
    tracing::debug!(service = %route.name(), "upstream: {why}");
}
