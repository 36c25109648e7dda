//! The sockets that queries come in by: opened and closed as the overlay's addresses come and go.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::desk::Desk;
use super::tcp;
use crate::linux::holder::Protocol;
use crate::linux::socket;

/// The longest query that is read over UDP; a real one has some dozens of bytes.
const LONGEST_QUERY: usize = 4096;
/// How long to wait where the kernel has no memory, or no device.
const PAUSE: Duration = Duration::from_millis(50);

/// One socket that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bind {
    pub at: SocketAddr,
    pub protocol: Protocol,
    /// The device it is bound to. `None` only where the whole overlay is simulated, on loopback.
    pub device: Option<Arc<str>>,
    /// A device that came back is another device, though it has the same name.
    pub ifindex: u32,
}

/// A socket that could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub bind: Bind,
    /// `None` when it could be had after all.
    pub error: Option<(io::ErrorKind, String)>,
}

/// The open sockets, each with the task that serves it.
pub(super) struct Sockets {
    desk: Rc<Desk>,
    faults: mpsc::Sender<Fault>,
    open: HashMap<Bind, JoinHandle<()>>,
}

impl Sockets {
    pub(super) fn new(desk: Rc<Desk>, faults: mpsc::Sender<Fault>) -> Self {
        Self { desk, faults, open: HashMap::new() }
    }

    /// Opens what is wanted and missing, closes what is open and no longer wanted, and leaves the rest alone. One that
    /// cannot be had is reported and tried again, and hurts no other.
    pub(super) fn reconcile(&mut self, wanted: &[Bind]) {
        self.open.retain(|bind, task| {
            let stays = wanted.contains(bind);
            if !stays {
                task.abort();
            }
            stays
        });
        for bind in wanted {
            if self.open.get(bind).is_some_and(|task| !task.is_finished()) {
                continue;
            }
            let error = match self.serve(bind) {
                Ok(task) => {
                    self.open.insert(bind.clone(), task);
                    None
                }
                Err(error) => Some((error.kind(), error.to_string())),
            };
            // One that finds no room is told again at the next try.
            let _ = self.faults.try_send(Fault { bind: bind.clone(), error });
        }
    }

    /// Closes them all, with the connections that came in by them.
    pub(super) fn close(&mut self) {
        self.reconcile(&[]);
    }

    fn serve(&self, bind: &Bind) -> io::Result<JoinHandle<()>> {
        let (desk, device) = (self.desk.clone(), bind.device.as_deref());
        Ok(match bind.protocol {
            Protocol::Udp => {
                let socket = UdpSocket::from_std(socket::udp(bind.at, device)?)?;
                tokio::task::spawn_local(hear(desk, Rc::new(socket)))
            }
            Protocol::Tcp => {
                let listener = TcpListener::from_std(socket::listener(bind.at, device)?)?;
                tokio::task::spawn_local(accept(desk, listener))
            }
        })
    }
}

/// Looks at datagrams, a batch at a time, so that connections and forwarded answers have their turn.
async fn hear(desk: Rc<Desk>, socket: Rc<UdpSocket>) {
    let mut bytes = [0; LONGEST_QUERY];
    loop {
        let mut heard = socket.readable().await;
        let Some(view) = desk.view() else {
            // No socket is wanted before there is a view.
            return;
        };
        let now = desk.clock.instant();
        for _ in 0..desk.limits.batch {
            match socket.try_recv_from(&mut bytes) {
                Ok((length, source)) => desk.datagram(&view, &bytes[..length], source, now, &socket),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    heard = Err(error);
                    break;
                }
            }
        }
        match heard {
            Ok(()) => tokio::task::yield_now().await,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Accepts connections; they end with this task.
async fn accept(desk: Rc<Desk>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Some(admitted) = desk.connection(&stream, peer) {
                    connections.spawn_local(tcp::serve(desk.clone(), stream, admitted));
                }
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
