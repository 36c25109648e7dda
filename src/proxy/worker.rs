//! One thread of the data path: its own runtime, its own listeners (SO_REUSEPORT), its own upstream connections.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle as Task, LocalSet};

use crate::audit::Ending;
use crate::identity::Origin;
use crate::linux::socket;
use crate::model::Lanes;

use super::accept::accept;
use super::connection;
use super::context::{Context, Means, NoRoom};
use super::handshake::{Distrust, Failure, FailureCounts, Failures};
use super::snapshot::Shared;

/// How often listeners that could not be had are tried again, limits looked at, and idle upstreams closed.
const TICK: Duration = Duration::from_secs(1);
/// How often records are handed to the writer.
const FLUSH: Duration = Duration::from_millis(100);

/// One listener that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bind {
    pub at: SocketAddr,
    pub lanes: Lanes,
    /// The device it is bound to. `None` only where the whole origin is simulated, on loopback.
    pub device: Option<Arc<str>>,
    /// A device that came back is another device, though it has the same name.
    pub ifindex: u32,
}

/// A listener that could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindFault {
    pub bind: Bind,
    /// `None` when it could be had after all.
    pub error: Option<(std::io::ErrorKind, String)>,
}

/// Counts of one thread, for `status`.
#[derive(Debug, Default)]
pub struct ThreadStats {
    open: AtomicI64,
    requests: AtomicU64,
    no_proof: AtomicU64,
    failed_handshakes: Failures,
    distrust: Arc<Distrust>,
    over_share: AtomicU64,
    over_all: AtomicU64,
}

impl ThreadStats {
    /// Counts for so many threads, with one list of who does not trust our certificates.
    pub fn for_threads(threads: usize) -> Vec<Arc<Self>> {
        let distrust = Arc::<Distrust>::default();
        let one = || Arc::new(Self { distrust: distrust.clone(), ..Self::default() });
        std::iter::repeat_with(one).take(threads).collect()
    }

    pub fn open(&self) -> i64 {
        self.open.load(Ordering::Relaxed)
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn no_proof(&self) -> u64 {
        self.no_proof.load(Ordering::Relaxed)
    }

    /// Failed handshakes, by reason.
    pub fn failed_handshakes(&self) -> FailureCounts {
        self.failed_handshakes.counts()
    }

    /// Who does not trust our certificates; the same for all threads.
    pub fn distrust(&self) -> &Distrust {
        &self.distrust
    }

    /// Connections closed because their member had its share.
    pub fn over_share(&self) -> u64 {
        self.over_share.load(Ordering::Relaxed)
    }

    /// Connections closed because there were as many as there can be.
    pub fn over_all(&self) -> u64 {
        self.over_all.load(Ordering::Relaxed)
    }

    pub(super) fn no_room(&self, why: NoRoom) {
        let count = match why {
            NoRoom::OfMember => &self.over_share,
            NoRoom::AtAll => &self.over_all,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed_unheard(&self) {
        self.no_proof.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn handshake_failed(&self, why: Failure) {
        self.failed_handshakes.count(why);
    }
}

/// What a thread is started with.
pub struct WorkerSetup {
    pub means: Means,
    pub origin: Arc<dyn Origin>,
    pub binds: watch::Receiver<Arc<[Bind]>>,
    /// Fires when a new snapshot was swapped in.
    pub changed: watch::Receiver<u64>,
    /// Turns true when the gateway stops.
    pub stop: watch::Receiver<bool>,
    pub faults: mpsc::Sender<BindFault>,
}

/// A running thread.
#[derive(Debug)]
pub struct Worker {
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a thread.
    ///
    /// # Errors
    /// The system would not give one.
    pub fn start(index: usize, setup: WorkerSetup) -> std::io::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().event_interval(31).build()?;
        let thread = std::thread::Builder::new().name(format!("ztgate-{index}")).spawn(move || {
            let local = LocalSet::new();
            local.block_on(&runtime, run(setup));
        })?;
        Ok(Self { thread })
    }

    /// Waits for the thread to end, which it does once it was told to stop.
    pub fn join(self) {
        // A panic was reported on its own thread already.
        let _ = self.thread.join();
    }
}

async fn run(setup: WorkerSetup) {
    let WorkerSetup { mut means, origin, mut binds, mut changed, mut stop, faults } = setup;
    let shared = tokio::select! {
        shared = first(&mut means.shared) => shared,
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let Some(shared) = shared else { return };
    let context = Context::new(means, shared);
    let mut listeners = Listeners { context: context.clone(), origin, faults, open: HashMap::new() };
    let mut tick = tokio::time::interval(TICK);
    let mut flush = tokio::time::interval(FLUSH);
    loop {
        tokio::select! {
            _ = flush.tick() => context.recorder.flush(),
            _ = tick.tick() => {
                let wanted = binds.borrow().clone();
                listeners.reconcile(&wanted);
                context.tick();
                let snapshot = context.snapshot();
                context.pool.tidy(&snapshot.site);
                let stale = snapshot.roster.is_stale(context.clock.instant());
                for connection in context.connections() {
                    if connection.is_overdue() || connection.has_left() {
                        connection.cut(Ending::DeviceGone);
                    }
                    connection.wake_overdue();
                    // A roster grows stale without anything changing.
                    if stale {
                        connection.review(&snapshot);
                    }
                }
            }
            Ok(()) = binds.changed() => {
                let wanted = binds.borrow_and_update().clone();
                listeners.reconcile(&wanted);
            }
            Ok(()) = changed.changed() => {
                changed.borrow_and_update();
                let snapshot = context.snapshot();
                for connection in context.connections() {
                    connection.review(&snapshot);
                }
                context.changed.notify_waiters();
            }
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    listeners.open.clear();
    drain(&context).await;
    context.recorder.flush();
}

/// Waits until there is something to judge by.
async fn first(shared: &mut watch::Receiver<Option<Arc<Shared>>>) -> Option<Arc<Shared>> {
    shared.wait_for(Option::is_some).await.ok()?.clone()
}

/// Lets requests under way end, for a while.
async fn drain(context: &Rc<Context>) {
    context.stopped.set(true);
    context.stopping.notify_waiters();
    for connection in context.connections() {
        connection.wake();
    }
    let deadline = tokio::time::Instant::now() + context.limits.drain;
    while !context.connections().is_empty() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for connection in context.connections() {
        connection.cut(Ending::Shutdown);
    }
    // Their tasks run once more, to write their records.
    for _ in 0..100 {
        if context.connections().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The thread's open listeners.
struct Listeners {
    context: Rc<Context>,
    origin: Arc<dyn Origin>,
    faults: mpsc::Sender<BindFault>,
    open: HashMap<Bind, Task<()>>,
}

impl Listeners {
    /// Opens what is wanted and missing, closes what is open and no longer wanted, and leaves the rest alone. Each
    /// stands for itself: one that cannot be had is reported and tried again, and hurts no other.
    fn reconcile(&mut self, wanted: &[Bind]) {
        let gone: Vec<Bind> = self.open.keys().filter(|bind| !wanted.contains(bind)).cloned().collect();
        for bind in gone {
            if let Some(task) = self.open.remove(&bind) {
                task.abort();
            }
            self.cut_connections_of(&bind);
        }
        for bind in wanted {
            if self.open.get(bind).is_some_and(|task| !task.is_finished()) {
                continue;
            }
            let error = self.listen(bind).err().map(|error| (error.kind(), error.to_string()));
            // One that finds no room is told again at the next try.
            let _ = self.faults.try_send(BindFault { bind: bind.clone(), error });
        }
    }

    fn listen(&mut self, bind: &Bind) -> std::io::Result<()> {
        let listener = socket::listener(bind.at, bind.device.as_deref())?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (context, origin, lanes) = (self.context.clone(), self.origin.clone(), bind.lanes);
        let local = bind.at;
        let task = tokio::task::spawn_local(accept_all(listener, context, origin, local, lanes));
        self.open.insert(bind.clone(), task);
        Ok(())
    }

    /// The address, or the device, that these connections live on is gone.
    fn cut_connections_of(&self, bind: &Bind) {
        for connection in self.context.connections() {
            if connection.local == bind.at {
                connection.cut(Ending::Cut);
            }
        }
    }
}

async fn accept_all(
    listener: tokio::net::TcpListener,
    context: Rc<Context>,
    origin: Arc<dyn Origin>,
    local: SocketAddr,
    lanes: Lanes,
) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_about_one_connection(&error) => continue,
            Err(_) => {
                // Out of file descriptors or memory: wait for some to come back instead of spinning.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        match accept(stream, peer, local, lanes, &*origin) {
            Ok(accepted) => {
                tokio::task::spawn_local(connection::serve(context.clone(), accepted));
            }
            Err(refused) => {
                tracing::debug!(peer = %refused.peer, "closed: {}", refused.why);
                let claimed = context.snapshot().roster.owner_of(peer.ip()).map(|member| member.id);
                context.closed_unheard(peer, None, claimed);
            }
        }
    }
}

fn is_about_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
