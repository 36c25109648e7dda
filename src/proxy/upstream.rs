//! Connections to services: dialled for an admitted request, kept per thread, reused only after a clean end.
//!
//! HTTP/1.1 is spoken by [`call`] itself rather than by a library's client: a request is written as one piece and its answer
//! read on the task that asked, where a client with a task of its own would copy both and wake twice for each.

mod answer;
mod call;
mod outgoing;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::linux::socket;
use crate::portal::Trouble;
use crate::services::Route;

use super::admit::Admitted;
use super::context::Limits;

use call::Link;
pub use call::{Call, CallError, Io};
pub use outgoing::Outgoing;

/// At most this many idle connections are kept to one service by one thread.
const KEPT: usize = 256;

/// Why a service could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("{0}")]
    NoAddress(String),
    #[error("{0}: {1}")]
    Connect(SocketAddr, std::io::Error),
    #[error("{0}: no answer to a connection attempt in {1:?}")]
    Silent(SocketAddr, Duration),
    #[error("{0}: TLS: {1}")]
    Tls(SocketAddr, std::io::Error),
}

impl DialError {
    /// What a person can check first.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::NoAddress(_) => Trouble::Unresolved,
            Self::Connect(_, error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Trouble::Refused
            }
            Self::Connect(..) | Self::Silent(..) => Trouble::Unreachable,
            Self::Tls(..) => Trouble::Untrusted,
        }
    }
}

/// One thread's idle connections, by route.
#[derive(Debug)]
pub struct Pool {
    idle: Rc<RefCell<HashMap<usize, Vec<Idle>>>>,
    keep: Duration,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    /// Keeps the route's address from being another route's while the connection lives.
    route: Arc<Route>,
    since: Instant,
}

impl Pool {
    pub fn new(keep: Duration) -> Self {
        Self { idle: Rc::default(), keep }
    }

    /// An idle connection to the service that a request was admitted to, the most recently used first.
    pub fn take(&self, admitted: &Admitted) -> Option<Lease> {
        let route = admitted.route()?;
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&key(route))?;
        while let Some(mut idle) = connections.pop() {
            if idle.link.is_quiet() {
                return Some(self.lease(idle.link, idle.route));
            }
        }
        None
    }

    /// A new connection to the service that a request was admitted to. There is no other way to one.
    pub async fn dial(&self, admitted: &Admitted, limits: &Limits) -> Result<Lease, DialError> {
        let route = admitted.route().ok_or_else(|| DialError::NoAddress("it is no service".to_owned()))?;
        let found = route.place.now().clone();
        let mut last =
            DialError::NoAddress(found.error.clone().unwrap_or_else(|| "its name has no address".to_owned()));
        for &address in &found.addresses {
            match connect(route, address, limits).await {
                Ok(link) => return Ok(self.lease(link, route.clone())),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn lease(&self, link: Link, route: Arc<Route>) -> Lease {
        Lease { link, route, idle: self.idle.clone() }
    }

    /// Closes what has idled too long, and what belongs to routes that are gone.
    pub fn tidy(&self) {
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain_mut(|idle| idle.since.elapsed() < self.keep && idle.link.is_quiet());
            !connections.is_empty()
        });
    }
}

/// Routes are told apart by where they lie; a changed one is a new one.
fn key(route: &Arc<Route>) -> usize {
    Arc::as_ptr(route) as usize
}

/// One connection in use. Dropping it closes the connection; only an exchange that ended cleanly gives it back.
#[derive(Debug)]
pub struct Lease {
    link: Link,
    route: Arc<Route>,
    idle: Rc<RefCell<HashMap<usize, Vec<Idle>>>>,
}

impl Lease {
    fn give_back(mut self) {
        self.link.rest();
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(key(&self.route)).or_default();
        if connections.len() < KEPT {
            connections.push(Idle { link: self.link, route: self.route, since: Instant::now() });
        }
    }
}

async fn connect(route: &Route, address: SocketAddr, limits: &Limits) -> Result<Link, DialError> {
    let silent = |_| DialError::Silent(address, limits.connect);
    let stream = tokio::time::timeout(limits.connect, TcpStream::connect(address))
        .await
        .map_err(silent)?
        .map_err(|error| DialError::Connect(address, error))?;
    stream
        .set_nodelay(true)
        .and_then(|()| socket::keep_alive(&stream))
        .map_err(|error| DialError::Connect(address, error))?;
    let Some(tls) = &route.tls else { return Ok(Link::new(Io::Plain(stream))) };
    let connector = tokio_rustls::TlsConnector::from(tls.config.clone());
    let stream = tokio::time::timeout(limits.handshake, connector.connect(tls.name.clone(), stream))
        .await
        .map_err(silent)?
        .map_err(|error| DialError::Tls(address, error))?;
    Ok(Link::new(Io::Tls(Box::new(stream))))
}
