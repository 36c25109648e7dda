//! One connection, from its origin to its last byte: TLS, HTTP/1 or HTTP/2, and who is at the other end.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Task, Poll, Waker};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;

use crate::audit::Ending;
use crate::config::Service;
use crate::identity::{IdentityRefusal, Member, identify};
use crate::linux::socket::PeerEnd;
use crate::model::{Label, Lane, Lanes, Mac, MemberId, RefusalCode, RequestId, TlsVersion};
use crate::policy::Subject;

use super::accept::Accepted;
use super::body::Payload;
use super::context::Context;
use super::handshake;
use super::headers::IdentityHeaders;
use super::io::{HeadClock, Watched};
use super::request;
use super::snapshot::Snapshot;

/// Who is at the other end, by one snapshot's roster.
#[derive(Debug)]
pub struct Identified {
    pub member: Arc<Member>,
    /// Its names as records share them.
    pub device: Option<Arc<str>>,
    pub owner: Option<Arc<str>>,
    pub headers: IdentityHeaders,
}

/// One open connection.
#[derive(Debug)]
pub struct Connection {
    pub context: Rc<Context>,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// Of a port that takes both, HTTP's until the first byte came.
    lane: Cell<Lane>,
    pub origin: Mac,
    /// Whom the origin names, if it is an address of this network at all.
    pub member: Option<MemberId>,
    /// The TLS server name, in lower case.
    pub sni: RefCell<Option<Box<str>>>,
    /// The version of TLS that was agreed on; none before that, and on the plain lane.
    pub tls: Cell<Option<TlsVersion>>,
    pub clock: Arc<HeadClock>,
    identity: RefCell<Option<Cached>>,
    /// It was let in once; from then on, being let in no more ends it.
    was_let_in: Cell<bool>,
    cut: Cell<Option<Ending>>,
    /// It takes no more requests, and ends once those under way have.
    is_retired: Cell<bool>,
    /// The task that serves the connection.
    task: RefCell<Option<Waker>>,
    tunnels: Notify,
    is_h2: Cell<bool>,
    /// Requests that wait for their service.
    silent: RefCell<Vec<Silent>>,
    /// Its place in the thread's list.
    number: Cell<Option<u64>>,
}

/// A request that waits for its service: for the answer, until a deadline, or for more of it.
#[derive(Debug)]
struct Silent {
    request: RequestId,
    waker: Waker,
    deadline: Option<u64>,
    /// How far its upload is, if that has not ended.
    upload: Option<u64>,
    /// The same when the device was last seen to have ended its sending.
    upload_at_end: Option<u64>,
}

impl Silent {
    /// Whether an upload has not moved since the last look.
    fn stands_still(&mut self) -> bool {
        let before = std::mem::replace(&mut self.upload_at_end, self.upload);
        self.upload.is_some() && before == self.upload
    }
}

#[derive(Debug)]
struct Cached {
    generation: u64,
    outcome: Result<Rc<Identified>, Rc<IdentityRefusal>>,
}

impl Connection {
    fn new(context: Rc<Context>, accepted: &Accepted) -> Rc<Self> {
        let snapshot = context.snapshot();
        Rc::new(Self {
            peer: accepted.peer,
            local: accepted.local,
            lane: Cell::new(match accepted.lanes {
                Lanes::Only(lane) => lane,
                Lanes::Both => Lane::Http,
            }),
            origin: accepted.origin,
            member: accepted.origin.member(snapshot.roster.network),
            sni: RefCell::default(),
            tls: Cell::default(),
            clock: HeadClock::new(),
            identity: RefCell::default(),
            was_let_in: Cell::default(),
            cut: Cell::default(),
            is_retired: Cell::default(),
            task: RefCell::default(),
            tunnels: Notify::new(),
            is_h2: Cell::default(),
            silent: RefCell::default(),
            number: Cell::default(),
            context,
        })
    }

    /// The door that it came through.
    pub fn lane(&self) -> Lane {
        self.lane.get()
    }

    /// Who this is today. Judged once per snapshot; only the roster's age and the member's end are looked at
    /// each time.
    pub fn identify(&self, snapshot: &Snapshot) -> Result<Rc<Identified>, Rc<IdentityRefusal>> {
        let now = self.context.clock.instant();
        let mut cached = self.identity.borrow_mut();
        if let Some(cached) = &*cached
            && cached.generation == snapshot.generation
            && !snapshot.roster.is_stale(now)
            && !cached.outcome.as_ref().is_ok_and(|known| known.member.has_ended(now))
        {
            return cached.outcome.clone();
        }
        let outcome = identify(&snapshot.roster, self.origin, self.peer.ip(), now)
            .map(|member| {
                let groups = snapshot.rules.groups_of(&Subject::from(&*member));
                let headers = IdentityHeaders::new(&member, &groups, self.peer.ip());
                let word = |name: &Label| self.context.word(name.as_str());
                let (device, owner) = (member.device.as_ref().map(word), member.owner.as_ref().map(word));
                Rc::new(Identified { member, device, owner, headers })
            })
            .map_err(Rc::new);
        match &outcome {
            Ok(_) => self.was_let_in.set(true),
            // Whoever notices first: everything that still runs here was let in by what no longer holds.
            Err(_) if self.was_let_in.get() => self.cut(Ending::Cut),
            Err(_) => {}
        }
        *cached = Some(Cached { generation: snapshot.generation, outcome: outcome.clone() });
        outcome
    }

    /// Ends the connection with all that runs on it.
    pub fn cut(&self, why: Ending) {
        if self.cut.get().is_none() {
            self.cut.set(Some(why));
            if why == Ending::Cut {
                self.clock.sever();
            }
            self.wake();
            self.tunnels.notify_waiters();
        }
    }

    /// Whether a service takes what comes over this connection. What the handshake asked for may be less than the service
    /// asks for by now, or than it asks of whoever was let in since.
    pub fn suits(&self, service: &Service) -> bool {
        match self.lane() {
            Lane::Http => service.plain_http,
            Lane::Https => self.tls.get().is_some_and(|agreed| agreed >= service.min_tls),
        }
    }

    /// Ends the connection in order, once what is under way on it has ended.
    pub fn retire(&self) {
        self.is_retired.set(true);
        self.wake();
    }

    pub fn is_retired(&self) -> bool {
        self.is_retired.get() || self.context.stopped.get()
    }

    /// Has the connection's task look at what it should do: end, or end in order.
    pub fn wake(&self) {
        if let Some(task) = self.task.borrow().as_ref() {
            task.wake_by_ref();
        }
    }

    /// Remembers whom to wake. Costs a comparison when nothing changed.
    fn watch(&self, cx: &Task<'_>) {
        let mut task = self.task.borrow_mut();
        if task.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }

    /// Completes once the connection has been cut; for tunnels, which outlive their connection's task.
    pub async fn is_cut(&self) {
        let mut woken = pin!(self.tunnels.notified());
        woken.as_mut().enable();
        if self.cut.get().is_none() {
            woken.await;
        }
    }

    /// How a stream that ends now, unfinished, ended.
    pub fn ending(&self) -> Ending {
        self.cut.get().unwrap_or(Ending::DeviceGone)
    }

    /// Whether a limit has passed: a head that does not end, or nothing under way for long.
    pub fn is_overdue(&self) -> bool {
        let limits = &self.context.limits;
        let longer = |since: Option<Instant>, limit| since.is_some_and(|since| since.elapsed() > limit);
        // Over HTTP/2, bytes between requests are as good as none: pings and window updates.
        let head = if self.is_h2.get() { None } else { self.clock.waiting_since() };
        longer(head, limits.head) || longer(self.clock.idle_since(), limits.idle)
    }

    /// Whether the device has left a request that waits for its service. Mostly hyper sees that, as it reads; but it does
    /// not read while a piece of an upload waits for the service to take it. Costs a system call if anything waits.
    ///
    /// A device that only ended its sending may have sent all of its upload before, and what is left of it be on its way
    /// through here: it has a second to move.
    pub fn has_left(&self) -> bool {
        let mut silent = self.silent.borrow_mut();
        if silent.is_empty() {
            return false;
        }
        match self.clock.peer_end() {
            PeerEnd::Open => false,
            PeerEnd::Finished => silent.iter_mut().any(Silent::stands_still),
            PeerEnd::Gone => true,
        }
    }

    /// Judges anew who this is, which cuts the connection of a member who is no longer let in, and has whatever waits
    /// look whether it may go on.
    pub fn review(&self, snapshot: &Snapshot) {
        // The outcome is kept for the next request; the cut is in it.
        let _ = self.identify(snapshot);
        for silent in &*self.silent.borrow() {
            silent.waker.wake_by_ref();
        }
    }

    /// Has those look up whose service has taken longer than its limit.
    pub fn wake_overdue(&self) {
        for silent in &*self.silent.borrow() {
            if silent.deadline.is_some_and(|deadline| self.context.has_passed(deadline)) {
                silent.waker.wake_by_ref();
            }
        }
    }

    /// Has a request that waits for its service woken by the next [`Connection::review`], and once its deadline passed; with
    /// how far its upload is, if that has not ended.
    pub fn falls_silent(
        &self,
        request: RequestId,
        waker: &Waker,
        deadline: Option<u64>,
        upload: Option<u64>,
    ) {
        let mut silent = self.silent.borrow_mut();
        match silent.iter_mut().find(|known| known.request == request) {
            Some(known) => {
                known.waker.clone_from(waker);
                (known.deadline, known.upload) = (deadline, upload);
            }
            None => {
                let waker = waker.clone();
                silent.push(Silent { request, waker, deadline, upload, upload_at_end: None });
            }
        }
    }

    pub fn has_ended(&self, request: RequestId) {
        self.silent.borrow_mut().retain(|known| known.request != request);
    }
}

impl Drop for Connection {
    /// A tunnel lives on after its connection's task, so it is the last user that takes it off the list.
    fn drop(&mut self) {
        if let Some(number) = self.number.get() {
            self.context.leave(number, self.member);
        }
    }
}

/// Serves an accepted connection to its end.
pub async fn serve(context: Rc<Context>, accepted: Accepted) {
    let connection = Connection::new(context.clone(), &accepted);
    let identified = connection.identify(&context.snapshot());
    if let Err(refusal) = &identified
        && refusal.code == RefusalCode::NoProof
    {
        // A MAC that proves nothing is no proof: closed, like a connection without one.
        context.closed_unheard(connection.peer, refusal.member, refusal.claimed);
        return;
    }
    if let Err(why) = context.has_room(connection.member, identified.is_ok()) {
        context.stats.no_room(why);
        return;
    }
    connection.number.set(Some(context.enter(&connection)));
    let mut served = pin!(async {
        if accepted.lanes == Lanes::Both {
            let Some(lane) = lane_of(&accepted.stream, context.limits.head).await else { return };
            connection.lane.set(lane);
        }
        match connection.lane() {
            Lane::Http => h1(&connection, accepted.stream).await,
            Lane::Https => tls(&connection, accepted.stream).await,
        }
    });
    poll_fn(|cx| {
        if connection.cut.get().is_some() {
            return Poll::Ready(());
        }
        connection.watch(cx);
        served.as_mut().poll(cx)
    })
    .await;
}

/// The first byte of a TLS record that shakes hands (RFC 8446, section 5.1). No HTTP method begins with it.
const HANDSHAKE: u8 = 22;

/// Looks at a connection's first byte, and leaves it there.
async fn lane_of(stream: &TcpStream, limit: Duration) -> Option<Lane> {
    let mut byte = [0];
    match tokio::time::timeout(limit, stream.peek(&mut byte)).await {
        Ok(Ok(1)) if byte[0] == HANDSHAKE => Some(Lane::Https),
        Ok(Ok(1)) => Some(Lane::Http),
        _ => None,
    }
}

async fn tls(connection: &Rc<Connection>, stream: TcpStream) {
    let Some(stream) = handshake::shake_hands(connection, stream).await else { return };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        connection.is_h2.set(true);
        h2(connection, stream).await;
    } else {
        h1(connection, stream).await;
    }
}

async fn h1<S>(connection: &Rc<Connection>, stream: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + std::os::fd::AsRawFd + Unpin + Send + 'static,
{
    let io = TokioIo::new(Watched::new(stream, connection.clock.clone()));
    let mut builder = hyper::server::conn::http1::Builder::new();
    // No timer of hyper's: heads and idling are watched for all connections at once (`is_overdue`).
    builder.max_header_size(64 << 10);
    let answer = answer(connection);
    let served = builder.serve_connection(io, service_fn(answer)).with_upgrades();
    to_its_end(connection, served, |served| served.graceful_shutdown()).await;
}

async fn h2(connection: &Rc<Connection>, stream: TlsStream<TcpStream>) {
    let io = TokioIo::new(Watched::new(stream, connection.clock.clone()));
    let mut builder = hyper::server::conn::http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(64 << 10)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(256)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_frame_size(32 << 10)
        .max_send_buf_size(64 << 10)
        .enable_connect_protocol();
    let answer = answer(connection);
    let served = builder.serve_connection(io, service_fn(answer));
    to_its_end(connection, served, |served| served.graceful_shutdown()).await;
}

/// Serves until there is nothing more to serve; once the gateway stops, no longer than what is under way. How a connection
/// ends is in the records of its requests.
async fn to_its_end<C: Future>(connection: &Connection, served: C, end_soon: impl Fn(Pin<&mut C>)) {
    let mut served = pin!(served);
    let mut stopping = false;
    poll_fn(|cx| {
        if connection.is_retired() && !std::mem::replace(&mut stopping, true) {
            end_soon(served.as_mut());
        }
        served.as_mut().poll(cx).map(|_| ())
    })
    .await;
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Payload>, Infallible>>>>;

/// Boxed, so that an idle connection holds no room for a request.
fn answer(connection: &Rc<Connection>) -> impl Fn(Request<Incoming>) -> Answer + use<> {
    let connection = connection.clone();
    move |request| {
        let connection = connection.clone();
        Box::pin(request::answer(connection, request))
    }
}

/// Runs what hyper spawns on the connection's own thread.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move {
            task.await;
        });
    }
}
