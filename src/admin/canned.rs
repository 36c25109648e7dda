//! A gateway of canned answers behind a real socket, for tests on both sides of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use super::{State, serve};
use crate::linux::clock::SystemClock;
use crate::push::Pusher;
use crate::sync::{Actor, DeviceView, Done, Event, Order, OrderError, Orders, Request};

/// What it says to an order.
pub type Answer = fn(&Order) -> Result<Done, OrderError>;

/// A gateway at work until it is dropped.
pub struct Canned {
    pub socket: PathBuf,
    /// What was ordered, and by whom.
    pub ordered: Arc<Mutex<Vec<(Order, Actor)>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Canned {
    pub fn start(state_dir: &Path, devices: Vec<DeviceView>, history: Vec<Event>, answer: Answer) -> Self {
        let socket = super::socket(state_dir);
        let ordered: Arc<Mutex<Vec<_>>> = Arc::default();
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (at, noted) = (socket.clone(), ordered.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let (orders, mut requests) = Orders::channel();
                let state = State {
                    clock: Arc::new(SystemClock),
                    status: Arc::new(|| unreachable!("nobody asks for it here")),
                    shared: Arc::new(|| None),
                    nft: Arc::new(|_, _| None),
                    devices: watch::Sender::new(devices.into_iter().map(Arc::new).collect()).subscribe(),
                    orders,
                    push: Pusher::channel().0,
                    in_force: Arc::new(|| true),
                };
                let serving = serve(&at, state).unwrap();
                ready.send(()).unwrap();
                let task = async {
                    while let Some(request) = requests.recv().await {
                        match request {
                            Request::CarryOut { order, by, reply } => {
                                let _ = reply.send(answer(&order));
                                noted.lock().unwrap().push((order, by));
                            }
                            Request::History { member, reply } => {
                                let mut events = history.clone();
                                events.retain(|event| member.is_none_or(|member| event.member == member));
                                let _ = reply.send(Ok(events));
                            }
                        }
                    }
                };
                tokio::select! { _ = serving => {}, () = task => {}, _ = stopped => {} }
            });
        });
        is_ready.recv().unwrap();
        Self { socket, ordered, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A test that failed there has said so.
            let _ = thread.join();
        }
    }
}
