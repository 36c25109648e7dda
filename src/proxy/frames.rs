//! A WebSocket whose messages are judged one by one, in both directions.
//!
//! Fragments, pings and closing are tungstenite's, on either side by itself: the service is never pinged, and hears whole
//! messages only.

use std::cell::Cell;
use std::future::pending;
use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::audit::Ending;
use crate::services::{Answered, PATIENCE, Silence, Talk, Unheard};

use super::admit::Admitted;
use super::connection::Connection;
use super::entry::Entry;
use super::holding::{Counted, FREE, Held};
use super::upstream::Io;

/// The longest message of a service's that is read.
const LONGEST_ANSWER: usize = 16 << 20;

/// How long a device may take for one message.
const DELIVERY: Duration = Duration::from_secs(120);

/// How long a side may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// Both ends of a conversation.
pub struct Ends {
    device: WebSocketStream<Counted<TokioIo<Upgraded>>>,
    service: WebSocketStream<Counted<Io>>,
}

impl Ends {
    /// Of the device `longest` bytes a message are taken, and of either no more than may be held.
    pub async fn new(device: Upgraded, service: Io, early: Bytes, longest: usize, held: &Held) -> Self {
        let most_written = LONGEST_ANSWER.max(longest) + FREE;
        let config = |longest| {
            let config = WebSocketConfig::default().read_buffer_size(8 << 10).write_buffer_size(0);
            let config = config.max_write_buffer_size(most_written);
            Some(config.max_message_size(Some(longest)).max_frame_size(Some(longest)))
        };
        let device = Counted::new(TokioIo::new(device), FREE, held.another());
        let device = WebSocketStream::from_raw_socket(device, Role::Server, config(longest));
        let service = Counted::new(service, FREE, held.another());
        let service =
            WebSocketStream::from_partially_read(service, early.into(), Role::Client, config(LONGEST_ANSWER));
        Self { device: device.await, service: service.await }
    }
}

/// What a conversation is carried on with.
pub struct Means<'a> {
    pub connection: &'a Connection,
    pub admitted: &'a Admitted,
    pub entry: &'a mut Entry,
    pub received: &'a Cell<u64>,
    pub sent: &'a Cell<u64>,
}

/// Carries messages, each judged, until either side ends.
pub async fn carry(mut ends: Ends, talk: &mut dyn Talk, means: &mut Means<'_>) -> Option<Ending> {
    let how = converse(&mut ends, talk, means).await;
    let (ending, code) = match &how {
        How::DeviceGone => (Some(Ending::DeviceGone), None),
        How::Closed => (None, Some(CloseCode::Normal)),
        How::TooLong | How::AnswerTooLong => (None, Some(CloseCode::Size)),
        How::Malformed => (None, Some(CloseCode::Protocol)),
        How::NoRoom => (None, Some(CloseCode::Again)),
        How::ServiceGone => (Some(Ending::UpstreamBroke), Some(CloseCode::Again)),
    };
    let silence = match &how {
        How::AnswerTooLong => Silence::TooLong,
        How::NoRoom => Silence::Busy { heard: true },
        _ => Silence::Broke,
    };
    // Whoever still waits for an answer is told that none comes.
    let mut last = Vec::new();
    while talk.due().is_some() {
        last.push(talk.give_up(silence));
    }
    for answered in &last {
        record(answered, means);
    }
    if let Some(code) = code {
        let goodbye = async {
            for answered in last {
                reply(&mut ends, means, answered.message).await?;
            }
            let frame = CloseFrame { code, reason: Utf8Bytes::default() };
            ends.device.close(Some(frame)).await.map_err(|_| How::DeviceGone)
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }
    let _ = tokio::time::timeout(GOODBYE, ends.service.close(None)).await;
    ending
}

/// How a conversation ended.
enum How {
    DeviceGone,
    /// One side said goodbye.
    Closed,
    /// The device's message was longer than the service takes.
    TooLong,
    /// The service's message was longer than is read.
    AnswerTooLong,
    /// The device does not speak the protocol.
    Malformed,
    /// The gateway holds as many messages as it may.
    NoRoom,
    ServiceGone,
}

async fn converse(ends: &mut Ends, talk: &mut dyn Talk, means: &mut Means<'_>) -> How {
    let clock = means.connection.context.clock.clone();
    loop {
        let due = talk.due().map(|due| due.saturating_duration_since(clock.instant()));
        let overdue = async {
            match due {
                Some(left) => tokio::time::sleep(left).await,
                None => pending().await,
            }
        };
        let done = tokio::select! {
            said = ends.device.next() => match said {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    let heard = hear(ends, talk, means, message.into_data()).await;
                    ends.device.get_mut().is_whole();
                    heard
                }
                Some(Ok(Message::Close(_))) | None => Err(How::Closed),
                // Pings are answered below us. The answer must be gone before the next one is read, or those of a device
                // that reads none would gather without end.
                Some(Ok(ping)) => {
                    ends.device.get_mut().is_beside(ping.len() + 6);
                    let answered = tokio::time::timeout(DELIVERY, ends.device.flush()).await;
                    answered.map_err(drop).and_then(|sent| sent.map_err(drop)).map_err(|()| How::DeviceGone)
                }
                Some(Err(error)) if has_no_room(&error) => Err(How::NoRoom),
                Some(Err(Error::Capacity(_))) => {
                    let ruling = talk.unheard(Unheard::TooLong);
                    for deed in &ruling.deeds {
                        means.entry.tell(deed);
                    }
                    let told = reply(ends, means, ruling.reply.map(|reply| reply.message.into())).await;
                    told.and(Err(How::TooLong))
                }
                Some(Err(Error::Protocol(_) | Error::Utf8(_))) => Err(How::Malformed),
                Some(Err(_)) => Err(How::DeviceGone),
            },
            said = ends.service.next() => match said {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    let told = tell(ends, talk.answer(message.into_data(), clock.instant()), means).await;
                    ends.service.get_mut().is_whole();
                    told
                }
                Some(Err(error)) if has_no_room(&error) => Err(How::NoRoom),
                Some(Err(Error::Capacity(_))) => Err(How::AnswerTooLong),
                Some(Ok(Message::Close(_)) | Err(_)) | None => Err(How::ServiceGone),
                Some(Ok(ping)) => {
                    ends.service.get_mut().is_beside(ping.len() + 2);
                    let answered = tokio::time::timeout(PATIENCE, ends.service.flush()).await;
                    answered.map_err(drop).and_then(|sent| sent.map_err(drop)).map_err(|()| How::ServiceGone)
                }
            },
            () = overdue => tell(ends, talk.give_up(Silence::Late(clock.instant())), means).await,
        };
        if let Err(how) = done {
            return how;
        }
    }
}

/// As [`Counted`] says it.
fn has_no_room(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::OutOfMemory)
}

async fn hear(
    ends: &mut Ends,
    talk: &mut dyn Talk,
    means: &mut Means<'_>,
    message: Bytes,
) -> Result<(), How> {
    means.received.set(means.received.get() + message.len() as u64);
    // The right to the whole conversation is watched elsewhere; this brings the roles up to date.
    if !means.admitted.still_holds(means.connection) {
        return Err(How::Closed);
    }
    let ruling = talk.ask(&message, means.admitted.roles(), means.connection.context.clock.instant());
    for deed in &ruling.deeds {
        means.entry.tell(deed);
    }
    if let Some(forward) = ruling.forward {
        // Made by our own serialiser, which writes UTF-8.
        let text = Utf8Bytes::try_from(forward).map_err(|_| How::Malformed)?;
        match tokio::time::timeout(PATIENCE, ends.service.send(Message::Text(text))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(How::ServiceGone),
        }
    }
    reply(ends, means, ruling.reply.map(|reply| reply.message.into())).await
}

async fn tell(ends: &mut Ends, answered: Answered, means: &mut Means<'_>) -> Result<(), How> {
    record(&answered, means);
    reply(ends, means, answered.message).await
}

fn record(answered: &Answered, means: &mut Means<'_>) {
    for deed in &answered.deeds {
        means.entry.tell(deed);
    }
}

async fn reply(ends: &mut Ends, means: &Means<'_>, message: Option<Bytes>) -> Result<(), How> {
    let Some(message) = message else { return Ok(()) };
    means.sent.set(means.sent.get() + message.len() as u64);
    let text = Utf8Bytes::try_from(message).map_err(|_| How::ServiceGone)?;
    // Nothing else is heard meanwhile, so a device that reads nothing for long has left.
    let sent = tokio::time::timeout(DELIVERY, ends.device.send(Message::Text(text))).await;
    sent.map_err(|_| How::DeviceGone)?.map_err(|_| How::DeviceGone)
}
