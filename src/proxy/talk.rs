//! A request whose body is judged before the service hears any of it, and whose answer is read before the device does.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::model::RefusalCode;
use crate::routes::Route;
use crate::services::{PATIENCE, Reply, Silence, Talk, Unheard};

use super::admit::Admitted;
use super::body::Payload;
use super::entry::Entry;
use super::exchange::{self, Answer};
use super::headers::REFUSAL;
use super::holding::Held;
use super::refuse::{Client, Refusal, own_file, refuse};
use super::upstream::{Call, CallError, Outgoing};

/// The longest answer that is read, in bytes: a list of thousands of downloads, each with its files.
const LONGEST_ANSWER: usize = 16 << 20;

/// How much of a message that is too long is read and thrown away, so that the device, which reads an answer only once it
/// has sent all, gets to see why.
const DRAINED: u64 = 64 << 20;

/// Judges one request, has the service hear what was allowed of it, and tells the device what came of it.
pub async fn run(
    mut entry: Entry,
    admitted: Admitted,
    route: Arc<Route>,
    talk: Box<dyn Talk>,
    request: Request<Incoming>,
) -> Response<Payload> {
    let client = Client::of(&request);
    let connection = entry.connection().clone();
    let context = connection.context.clone();
    let (mut parts, body) = request.into_parts();
    let talk = Rc::new(RefCell::new(talk));
    entry.watches(&talk);
    let mut held = Held::none(&context.holding, admitted.who().member.id);
    let waits = parts.headers.contains_key(header::EXPECT);
    let longest = talk.borrow().longest();
    let meter = entry.meter();
    let reading = read(body, longest, &mut held, &meter, waits);
    let message = match tokio::time::timeout(context.limits.answer, reading).await {
        Ok(message) => message,
        Err(_) => Err(Unread::BrokeOff),
    };
    let leaves_rest = matches!(message, Err(Unread::Endless | Unread::NoRoom));
    let ruling = match message {
        // What it may do is judged by today's rules, and not by those when its first byte came.
        Ok(_) if !admitted.still_holds(&connection) => {
            return refuse(entry, client, &Refusal::of(RefusalCode::NoRule).for_service(admitted.target()));
        }
        Ok(message) => talk.borrow_mut().ask(&message, admitted.roles(), context.clock.instant()),
        Err(Unread::TooLong | Unread::Endless) => talk.borrow_mut().unheard(Unheard::TooLong),
        Err(Unread::NoRoom) => talk.borrow_mut().unheard(Unheard::NoRoom),
        Err(Unread::BrokeOff) => return exchange::broke_off(entry, client),
    };
    let refused = ruling.deeds.first().and_then(|deed| deed.refused);
    entry.did(ruling.deeds);
    let Some(forward) = ruling.forward else {
        let mut response = tell(entry, &client, refused, ruling.reply.unwrap_or_default());
        if leaves_rest {
            client.hang_up(response.headers_mut());
        }
        return response;
    };
    // Nothing else that the device said is the service's to hear.
    parts.headers = only(&parts.headers, [header::HOST, header::USER_AGENT]);
    parts.uri = exchange::without_query(&parts.uri);
    let (host, mut head) = match exchange::head(&entry, &admitted, &route, &mut parts) {
        Ok(written) => written,
        Err(why) => return refuse(entry, client, &Refusal::because(RefusalCode::BadRequest, why)),
    };
    head.extend_from_slice(b"content-type: application/json\r\n");
    // All of it together: who asked waits for all of it.
    let limit = context.limits.answer.min(PATIENCE);
    let deadline = Instant::now() + limit;
    // On a connection of its own: one that the service is just closing would leave in doubt what it heard.
    let lease = match Box::pin(context.pool.dial(&admitted, &context.limits)).await {
        Ok(lease) => lease,
        Err(error) => {
            let (code, silence) = match error.trouble() {
                Some(trouble) => (trouble.code(), Silence::Unreached),
                None => (RefusalCode::GatewayBusy, Silence::Busy { heard: false }),
            };
            return failed(entry, &client, &talk, &route, code, silence, &error);
        }
    };
    let mut call = Call::new(lease, Outgoing::message(head, &forward));
    let answer = timeout_at(deadline, exchange::answer(&mut call, &entry, &admitted, limit)).await;
    let (down, slow) = (RefusalCode::UpstreamDown, RefusalCode::UpstreamSlow);
    let late = |talk: &RefCell<Box<dyn Talk>>| talk.borrow().due().map_or(Silence::Broke, Silence::Late);
    let mut parts = match answer.unwrap_or(Answer::Slow) {
        Answer::Began(parts) => parts,
        Answer::NoLonger => return exchange::no_longer(entry, client, &admitted),
        Answer::Slow => {
            let silence = late(&talk);
            return failed(entry, &client, &talk, &route, slow, silence, &"no answer in time");
        }
        Answer::Failed(error) => {
            return failed(entry, &client, &talk, &route, down, Silence::Broke, &error);
        }
    };
    route.health.answered();
    let answer = match timeout_at(deadline, read_answer(&mut call, &mut held)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            let (code, silence) = match error {
                Unreadable::NoRoom => (RefusalCode::GatewayBusy, Silence::Busy { heard: true }),
                Unreadable::TooLong => (down, Silence::TooLong),
                Unreadable::Call(_) => (down, Silence::Broke),
            };
            return failed(entry, &client, &talk, &route, code, silence, &error);
        }
        Err(_) => {
            let silence = late(&talk);
            return failed(entry, &client, &talk, &route, slow, silence, &"it stopped in mid-answer");
        }
    };
    if !admitted.still_holds(&connection) {
        return exchange::no_longer(entry, client, &admitted);
    }
    let answered = talk.borrow_mut().answer(answer, context.clock.instant());
    entry.did(answered.deeds);
    let Some(message) = answered.message else {
        // A page of some other server's, say: an app is told in its own form.
        return failed(entry, &client, &talk, &route, down, Silence::Broke, &"what it said is no answer");
    };
    exchange::to_device(&entry, &admitted, &route, &host, &mut parts);
    whole(entry, parts, message, held)
}

/// Why there is no message.
enum Unread {
    TooLong,
    /// The same, and there is more that nobody read.
    Endless,
    /// The gateway holds as many as it may.
    NoRoom,
    /// The device left, or stopped in the middle.
    BrokeOff,
}

async fn read(
    mut body: Incoming,
    longest: usize,
    held: &mut Held,
    received: &Rc<Cell<u64>>,
    waits: bool,
) -> Result<Vec<u8>, Unread> {
    let said = body.size_hint().lower();
    // Who waits for a word before sending (RFC 9110, section 10.1.1) is told at once.
    if said > longest as u64 && waits {
        return Err(Unread::Endless);
    }
    let mut message = Vec::new();
    let mut is_too_long = false;
    loop {
        let frame = match tokio::time::timeout(PATIENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) if is_too_long => return Err(Unread::TooLong),
            Ok(None) => return Ok(message),
            Ok(Some(Err(_))) | Err(_) => return Err(Unread::BrokeOff),
        };
        let Ok(piece) = frame.into_data() else { continue };
        received.set(received.get() + piece.len() as u64);
        is_too_long |= message.len() + piece.len() > longest;
        if is_too_long {
            message = Vec::new();
            held.let_go();
            if received.get() > DRAINED {
                return Err(Unread::Endless);
            }
        } else if held.grow(piece.len()) {
            message.extend_from_slice(&piece);
        } else {
            return Err(Unread::NoRoom);
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("its answer has more than {} MiB", LONGEST_ANSWER >> 20)]
    TooLong,
    #[error("the gateway holds as many messages as it may")]
    NoRoom,
}

async fn read_answer(call: &mut Call, held: &mut Held) -> Result<Bytes, Unreadable> {
    let mut answer = Vec::new();
    poll_fn(|cx| {
        while let Some(piece) = ready!(call.poll_data(cx)) {
            let piece = piece?;
            if answer.len() + piece.len() > LONGEST_ANSWER {
                return Poll::Ready(Err(Unreadable::TooLong));
            }
            if !held.grow(piece.len()) {
                return Poll::Ready(Err(Unreadable::NoRoom));
            }
            answer.extend_from_slice(&piece);
        }
        Poll::Ready(Ok(()))
    })
    .await
    .map(|()| answer.into())
}

/// The service's answer, as its room has read it.
fn whole(mut entry: Entry, mut parts: response::Parts, message: Bytes, held: Held) -> Response<Payload> {
    parts.headers.remove(header::CONTENT_ENCODING);
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(message.len() as u64));
    entry.status(parts.status);
    entry.sent(message.len() as u64);
    Response::from_parts(parts, Payload::Whole { body: Full::new(message), _held: held })
}

/// What the room says in the service's place.
fn tell(mut entry: Entry, client: &Client, refused: Option<RefusalCode>, reply: Reply) -> Response<Payload> {
    let mut response = own_file(&mut entry, client, "application/json", reply.status, reply.message.into());
    if let Some(code) = refused {
        response.headers_mut().insert(REFUSAL, HeaderValue::from_static(code.as_str()));
    }
    response
}

/// Says in the service's own form that there is no answer.
fn failed(
    mut entry: Entry,
    client: &Client,
    talk: &RefCell<Box<dyn Talk>>,
    route: &Arc<Route>,
    code: RefusalCode,
    silence: Silence,
    why: &dyn std::fmt::Display,
) -> Response<Payload> {
    if matches!(silence, Silence::Late(_) | Silence::Broke | Silence::Unreached) {
        exchange::note_down(&entry, route, why);
    }
    let answered = talk.borrow_mut().give_up(silence);
    entry.did(answered.deeds);
    entry.refused(code);
    let message = answered.message.unwrap_or_default().to_vec();
    tell(entry, client, Some(code), Reply { status: code.status(), message })
}

fn only<const N: usize>(headers: &HeaderMap, names: [header::HeaderName; N]) -> HeaderMap {
    let kept = names.into_iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
    kept.collect()
}
