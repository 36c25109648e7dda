//! The thread that DNS has to itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use super::desk::{Desk, Means};
use super::limits::Limits;
use super::sockets::{Bind, Fault, Sockets};
use super::status::Stats;
use super::view::View;
use crate::audit::Recorder;
use crate::identity::Origin;
use crate::linux::priority;
use crate::model::Clock;

/// How often sockets that could not be had are tried again, and counts are written.
const TICK: Duration = Duration::from_secs(1);
/// How often records are handed to the writer.
const FLUSH: Duration = Duration::from_millis(100);
/// Ticks between two looks at the system's resolvers.
const RESOLVERS: u32 = 5;
/// Below the threads that carry requests: a tenth of their weight where both want the same core (sched(7)).
const NICE: i32 = 10;

/// Whom to ask about names that are not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The system's own resolvers if `None`.
    pub servers: Option<Vec<SocketAddr>>,
    /// Domains whose private answers are believed.
    pub private: Vec<String>,
    /// Our own port, so that we never ask ourselves.
    pub port: u16,
}

/// What the thread is started with.
pub struct Setup {
    pub limits: Limits,
    pub clock: Arc<dyn Clock>,
    /// How a TCP connection's link-layer origin is read.
    pub origin: Arc<dyn Origin>,
    /// `None` until there is a roster; no socket may be wanted before.
    pub views: watch::Receiver<Option<Arc<View>>>,
    pub elsewhere: watch::Receiver<Elsewhere>,
    pub binds: watch::Receiver<Arc<[Bind]>>,
    pub faults: mpsc::Sender<Fault>,
    pub recorder: Recorder,
    pub stats: Arc<Stats>,
    /// Turns true when the gateway stops.
    pub stop: watch::Receiver<bool>,
}

/// The running thread.
#[derive(Debug)]
pub struct Server {
    thread: JoinHandle<()>,
}

impl Server {
    /// Starts the thread. It opens whatever sockets are wanted, none at first.
    ///
    /// # Errors
    /// The system would not give one.
    pub fn start(setup: Setup) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("ztgate-dns".to_owned()).spawn(move || {
            if let Err(error) = priority::lower_own_by(NICE) {
                tracing::warn!("DNS runs beside requests with the same priority: {error}");
            }
            LocalSet::new().block_on(&runtime, run(setup));
        })?;
        Ok(Self { thread })
    }

    /// Waits for the thread to end, which it does once it was told to stop.
    pub fn join(self) {
        // A panic was reported on its own thread already.
        let _ = self.thread.join();
    }
}

async fn run(setup: Setup) {
    let Setup { limits, clock, origin, views, mut elsewhere, mut binds, faults, recorder, stats, mut stop } =
        setup;
    let desk = Desk::new(Means { limits, clock, origin, views, recorder, stats });
    let mut sockets = Sockets::new(desk.clone(), faults);
    let (mut tick, mut flush) = (tokio::time::interval(TICK), tokio::time::interval(FLUSH));
    let mut ticks: u32 = 0;
    loop {
        tokio::select! {
            _ = flush.tick() => desk.recorder.flush(),
            _ = tick.tick() => {
                if ticks.is_multiple_of(RESOLVERS) {
                    desk.look_elsewhere(&elsewhere.borrow());
                }
                ticks = ticks.wrapping_add(1);
                let wanted = binds.borrow().clone();
                sockets.reconcile(&wanted);
                desk.tick();
            }
            Ok(()) = binds.changed() => {
                let wanted = binds.borrow_and_update().clone();
                sockets.reconcile(&wanted);
            }
            Ok(()) = elsewhere.changed() => desk.look_elsewhere(&elsewhere.borrow_and_update()),
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    sockets.close();
    desk.tick();
    desk.recorder.flush();
}
