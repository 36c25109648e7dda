//! A chat between devices: one page, one WebSocket address, one room.

mod room;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use maud::html;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, interval_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use self::room::{Room, Seat};
use super::page::Page;
use super::serve::{self, Answer, Tasks, empty, refuse_method, words};
use super::told::Told;

/// The longest message in bytes; a longer one ends its sender's connection.
const LONGEST: usize = 4 * 1024;
/// Keeps idle connections alive through gateways that count a silent minute as gone.
const PING: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

pub(super) async fn start(tasks: &Tasks) -> io::Result<SocketAddr> {
    let room = Arc::new(Room::new());
    let talks = tasks.clone();
    serve::serve(tasks, move |request| answer(request, &room, &talks)).await
}

fn answer(request: Request<Incoming>, room: &Arc<Room>, tasks: &Tasks) -> Answer {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/talk") => talk(request, room, tasks),
        (&Method::GET | &Method::HEAD, "/") => page(&Told::read(request.headers())),
        (&Method::GET | &Method::HEAD, _) => {
            words(StatusCode::NOT_FOUND, "Nothing is here; the chat is at /.\n")
        }
        _ => refuse_method(),
    }
}

fn talk(mut request: Request<Incoming>, room: &Arc<Room>, tasks: &Tasks) -> Answer {
    let Ok(answer) = create_response_with_body(&request, empty) else {
        return words(StatusCode::BAD_REQUEST, "This address speaks WebSocket; open / in a browser.\n");
    };
    let device = Told::read(request.headers()).device.unwrap_or_else(|| "someone".to_owned());
    let Some(seat) = room.enter(device) else {
        return words(StatusCode::SERVICE_UNAVAILABLE, "The room is full; try again later.\n");
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tasks.spawn(async move {
        // It fails only if the client left before our answer.
        if let Ok(upgraded) = upgrade.await {
            let config =
                WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
            let io = TokioIo::new(upgraded);
            converse(seat, WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await).await;
        }
    });
    answer
}

/// Passes news out and messages in, until either side is gone.
async fn converse(mut seat: Seat, mut socket: Socket) {
    for message in seat.welcome() {
        if socket.send(Message::Text(message)).await.is_err() {
            return;
        }
    }
    let mut pings = interval_at(Instant::now() + PING, PING);
    loop {
        let out = tokio::select! {
            news = seat.news() => match news {
                Ok(news) => Message::Text(news),
                // A slow reader misses messages; nobody waits for it.
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
            heard = socket.next() => match heard {
                Some(Ok(Message::Text(text))) => {
                    seat.say(&text);
                    continue;
                }
                // Pings are answered and closes confirmed below us; the rest means nothing here.
                Some(Ok(_)) => continue,
                Some(Err(Error::Capacity(_))) => Message::Close(Some(CloseFrame {
                    code: CloseCode::Size,
                    reason: "a message has 4 KiB at most".into(),
                })),
                Some(Err(_)) | None => return,
            },
            _ = pings.tick() => Message::Ping(Bytes::new()),
        };
        let last = out.is_close();
        if socket.send(out).await.is_err() || last {
            return;
        }
    }
}

fn page(told: &Told) -> Answer {
    let content = html! {
        main {
            header {
                h1 { "Chat" }
                (told.card())
                p id="here" aria-live="polite" { "Connecting …" }
            }
            ol id="said" aria-live="polite" aria-label="Messages" {
                li class="none" { "Nothing said yet. Open this page on a second device, or in a second window, and say hello." }
            }
            form id="say" autocomplete="off" {
                input id="text" maxlength="1000" placeholder="Message" aria-label="Message" enterkeyhint="send" disabled;
                button aria-label="Send" disabled {
                    svg viewBox="0 0 24 24" aria-hidden="true" { path d="M5 12h13M12.5 6l6 6-6 6"; }
                }
            }
        }
    };
    Page {
        title: "Chat",
        emblem: "M4 5h16v11H11l-5 4v-4H4z",
        style: include_str!("chat.css"),
        script: include_str!("chat.js"),
        content,
    }
    .answer()
}
