//! One request to a service and its answer, streamed both ways.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use http::header::{self, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use crate::audit::Ending;
use crate::model::RefusalCode;
use crate::portal::Trouble;
use crate::services::Route;

use super::admit::Admitted;
use super::authority;
use super::body::{GoOn, Payload, RequestBody, UpstreamBody};
use super::entry::Entry;
use super::headers;
use super::refuse::{Client, Refusal, refuse, unanswered};
use super::rewrite::{self, Outside};
use super::upstream::{DialError, Lease};

/// Forwards an admitted request and gives its answer as it comes.
pub async fn run(
    mut entry: Entry,
    admitted: Admitted,
    route: Arc<Route>,
    request: Request<Incoming>,
) -> Response<Payload> {
    let client = Client::of(&request);
    let lane = entry.connection().lane;
    let (host, mut request) = match to_upstream(&entry, &admitted, &route, request) {
        Ok(made) => made,
        Err(why) => return refuse(entry, client, &Refusal::because(RefusalCode::BadRequest, why)),
    };
    let upload = request.body().upload();
    let (response, lease) = loop {
        let (mut lease, reused) = match lease(&entry, &admitted).await {
            Ok(lease) => lease,
            Err(error) => return down(entry, client, &admitted, &route, error.trouble(), &error),
        };
        match send(&mut lease, request, &entry, &admitted).await {
            Sent::Answer(response) => break (response, lease),
            // An idle connection that the upstream had just closed: the request never left.
            Sent::Unsent(unsent) if reused => request = *unsent,
            Sent::Unsent(_) => {
                let why = "it closed the connection at once";
                return down(entry, client, &admitted, &route, Trouble::Broken, &why);
            }
            Sent::NoLonger => {
                entry.ended(Ending::Cut);
                return refuse(
                    entry,
                    client,
                    &Refusal::of(RefusalCode::NoRule).for_service(admitted.target()),
                );
            }
            Sent::Broken(_) if upload.is_broken() => return broke_off(entry, client),
            Sent::Broken(error) => {
                return down(entry, client, &admitted, &route, Trouble::Broken, &error);
            }
            Sent::Slow => {
                let limit = entry.connection().context.limits.answer;
                return unanswered(entry, client, &admitted, &route, Trouble::Slow { limit });
            }
        }
    };
    route.health.answered();
    upload.answer_began();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let why = "it switched protocols without being asked";
        return down(entry, client, &admitted, &route, Trouble::Broken, &why);
    }
    let (mut parts, incoming) = response.into_parts();
    let id = request_id(&entry);
    headers::to_device(&mut parts.headers, id, route.service.hsts);
    if !upload.is_done() {
        client.hang_up(&mut parts.headers);
    }
    if let Ok(authority) = host.to_str() {
        rewrite::to_device(&mut parts.headers, &route, Outside { lane, authority });
    }
    // hyper writes the version that the device speaks.
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    entry.status(parts.status);
    let body = UpstreamBody::new(incoming, Some(lease), upload, admitted, entry);
    Response::from_parts(parts, Payload::Upstream(Box::new(body)))
}

/// The request as the upstream gets it: regenerated, not forwarded. Gives the authority that the device used, too.
pub fn to_upstream(
    entry: &Entry,
    admitted: &Admitted,
    route: &Route,
    request: Request<Incoming>,
) -> Result<(HeaderValue, Request<RequestBody>), String> {
    let connection = entry.connection();
    let (mut parts, incoming) = request.into_parts();
    let host = match parts.headers.get(header::HOST) {
        Some(host) => authority::tidy(host),
        None => parts
            .uri
            .authority()
            .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
            .map(|host| authority::tidy(&host))
            .ok_or("the request names no host")?,
    };
    let outside = Outside { lane: connection.lane, authority: host.to_str().unwrap_or_default() };
    if route.scheme() != connection.lane.scheme() || parts.headers.contains_key("destination") {
        rewrite::to_upstream(&mut parts.headers, outside, route.scheme())
            .map_err(|error| error.to_string())?;
    }
    let who = admitted.who();
    headers::to_upstream(&mut parts.headers, &who.headers, host.clone(), connection.lane, request_id(entry));
    if parts.version == Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    let path = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    parts.uri = Uri::from(path);
    parts.version = Version::HTTP_11;
    parts.extensions.clear();

    let wait = parts.headers.contains_key(header::EXPECT).then(|| GoOn::new(connection.context.limits.go_on));
    let (wait, signal) = wait.unzip();
    let mut request = Request::from_parts(parts, RequestBody::new(incoming, entry.received(), wait));
    if let Some(signal) = signal {
        hyper::ext::on_informational(&mut request, move |response| {
            if response.status() == StatusCode::CONTINUE {
                signal.say();
            }
        });
    }
    Ok((host, request))
}

/// HTTP/2 may split a cookie header; HTTP/1.1 has one (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut http::HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

pub fn request_id(entry: &Entry) -> HeaderValue {
    HeaderValue::from_bytes(&entry.request_id().digits()).unwrap_or(HeaderValue::from_static("0"))
}

async fn lease(entry: &Entry, admitted: &Admitted) -> Result<(Lease, bool), DialError> {
    let context = &entry.connection().context;
    if let Some(lease) = context.pool.take(admitted).await {
        return Ok((lease, true));
    }
    // Rare beside the requests that find a connection, and its future is large.
    Ok((Box::pin(context.pool.dial(admitted, &context.limits)).await?, false))
}

enum Sent {
    Answer(Response<Incoming>),
    /// Nothing of it reached the wire.
    Unsent(Box<Request<RequestBody>>),
    Broken(hyper::Error),
    Slow,
    /// The right to it went while the service thought.
    NoLonger,
}

async fn send(lease: &mut Lease, request: Request<RequestBody>, entry: &Entry, admitted: &Admitted) -> Sent {
    let connection = entry.connection();
    let context = &connection.context;
    let received = entry.received();
    let limit = context.limits.answer;
    let mut answer = std::pin::pin!(lease.sender.try_send_request(request));
    let (mut seen, mut deadline) = (received.get(), context.deadline(limit));
    poll_fn(|cx| {
        if !admitted.still_holds(connection) {
            return Poll::Ready(Sent::NoLonger);
        }
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(match answer {
                Ok(response) => Sent::Answer(response),
                Err(mut error) => match error.take_message() {
                    Some(request) => Sent::Unsent(Box::new(request)),
                    None => Sent::Broken(error.into_error()),
                },
            });
        }
        if context.has_passed(deadline) {
            if received.get() == seen {
                return Poll::Ready(Sent::Slow);
            }
            // A slow upload is no slow upstream.
            (seen, deadline) = (received.get(), context.deadline(limit));
        }
        connection.falls_silent(entry.request_id(), cx.waker(), Some(deadline));
        Poll::Pending
    })
    .await
}

/// Ends a request whose body never ended. That says nothing about the service, and rarely is anybody left to read this.
fn broke_off(mut entry: Entry, client: Client) -> Response<Payload> {
    entry.ended(entry.connection().ending());
    let mut response = Response::new(Payload::empty());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    client.hang_up(response.headers_mut());
    response
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
    let context = &entry.connection().context;
    route.health.failed(context.clock.now());
    context.resolver.refresh(&route.place);
    tracing::debug!(service = %route.name(), "upstream: {why}");
    unanswered(entry, client, admitted, route, trouble)
}
