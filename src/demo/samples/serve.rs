//! A small HTTP/1.1 server on loopback whose every task ends when its [`Stop`] is dropped.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;
pub(super) type Answer = Response<Body>;

/// How long to wait when no connection can be had, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Held by the owner of the tasks; they end when it is dropped.
pub(super) type Stop = watch::Sender<()>;

/// Starts tasks that do not outlive their [`Stop`].
#[derive(Clone)]
pub(super) struct Tasks(watch::Receiver<()>);

impl Tasks {
    pub(super) fn new() -> (Stop, Self) {
        let (stop, stopped) = watch::channel(());
        (stop, Self(stopped))
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut stopped = self.0.clone();
        tokio::spawn(async move {
            tokio::select! {
                // Nothing is ever sent: it returns when the sender is gone.
                _ = stopped.changed() => {}
                () = task => {}
            }
        });
    }
}

/// Answers every request on a new loopback port, WebSocket upgrades included.
pub(super) async fn serve<H>(tasks: &Tasks, handler: H) -> io::Result<SocketAddr>
where
    H: Fn(Request<Incoming>) -> Answer + Send + Sync + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tasks.spawn(accept(listener, tasks.clone(), Arc::new(handler)));
    Ok(address)
}

async fn accept<H>(listener: TcpListener, tasks: Tasks, handler: Arc<H>)
where
    H: Fn(Request<Incoming>) -> Answer + Send + Sync + 'static,
{
    loop {
        match listener.accept().await {
            Ok((socket, _)) => tasks.spawn(converse(socket, Arc::clone(&handler))),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn converse<H>(socket: TcpStream, handler: Arc<H>)
where
    H: Fn(Request<Incoming>) -> Answer + Send + Sync + 'static,
{
    // Events and chat messages are small and wanted at once; without it they are only later.
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let head = request.method() == Method::HEAD;
        let answer = handler(request);
        std::future::ready(Ok::<_, Infallible>(if head { without_body(answer) } else { answer }))
    });
    // An error is the client's going away.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).with_upgrades().await;
}

/// The answer to HEAD: all that GET would have said, and no body.
fn without_body(answer: Answer) -> Answer {
    let (mut head, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Response::from_parts(head, empty())
}

pub(super) fn empty() -> Body {
    Empty::new().boxed_unsync()
}

pub(super) fn content(content_type: &'static str, content: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(content.into()).boxed_unsync());
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Kept nowhere: each look at a page is then seen whole in the audit.
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A short answer in words, for what has no page.
pub(super) fn words(status: StatusCode, words: &'static str) -> Answer {
    let mut answer = content("text/plain; charset=utf-8", words);
    *answer.status_mut() = status;
    answer
}

/// What to say to a method other than GET and HEAD.
pub(super) fn refuse_method() -> Answer {
    let mut answer = words(StatusCode::METHOD_NOT_ALLOWED, "This can be read, and nothing else.\n");
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}
