//! Connections to services: dialled for an admitted request, kept per thread, reused only after a clean end.
//!
//! HTTP/1.1 is spoken by [`call`] itself rather than by a library's client: a request is written as one piece and its answer
//! read on the task that asked, where a client with a task of its own would copy both and wake twice for each.

mod answer;
mod call;
mod outgoing;
mod slots;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::linux::socket;
use crate::model::MemberId;
use crate::portal::Trouble;
use crate::routes::{Route, Site};

use super::admit::Admitted;
use super::context::Limits;

use call::Link;
pub use call::{Call, CallError, Io};
pub use outgoing::Outgoing;
use slots::{Full, Slot, Slots};

/// At most this many idle connections are kept to one service by one thread.
const KEPT: usize = 256;

/// Why a service could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Not the service's doing.
    #[error("there are as many connections to services as there may be")]
    Busy,
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
    /// What is wrong with the service, for a person to check; nothing, if it was never asked.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Busy => None,
            Self::NoAddress(_) => Some(Trouble::Unresolved),
            Self::Connect(_, error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Some(Trouble::Refused)
            }
            Self::Connect(..) | Self::Silent(..) => Some(Trouble::Unreachable),
            Self::Tls(..) => Some(Trouble::Untrusted),
        }
    }
}

/// One thread's connections: the idle ones, by route, and room for all.
#[derive(Debug)]
pub struct Pool {
    idle: Rc<RefCell<HashMap<usize, Vec<Idle>>>>,
    slots: Rc<Slots>,
    keep: Duration,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    /// Keeps the route's address from being another route's while the connection lives.
    route: Arc<Route>,
    slot: Slot,
    since: Instant,
}

impl Pool {
    pub fn new(limits: &Limits) -> Self {
        Self { idle: Rc::default(), slots: Slots::new(limits.upstreams), keep: limits.upstream_idle }
    }

    /// An idle connection to the service that a request was admitted to, the most recently used first.
    pub fn take(&self, admitted: &Admitted) -> Option<Lease> {
        let route = admitted.route()?;
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&key(route))?;
        let member = admitted.who().member.id;
        // Who has its share goes on with those that are its own.
        while let Some(at) = connections.iter_mut().rposition(|idle| idle.slot.pass_to(member).is_ok()) {
            let mut idle = connections.remove(at);
            if idle.link.is_quiet() {
                return Some(self.lease(idle.link, idle.route, idle.slot));
            }
        }
        None
    }

    /// A new connection to the service that a request was admitted to. There is no other way to one.
    pub async fn dial(&self, admitted: &Admitted, limits: &Limits) -> Result<Lease, DialError> {
        let route = admitted.route().ok_or_else(|| DialError::NoAddress("it is no service".to_owned()))?;
        let slot = self.slot(admitted.who().member.id).ok_or(DialError::Busy)?;
        let found = route.place.now().clone();
        let mut last =
            DialError::NoAddress(found.error.clone().unwrap_or_else(|| "its name has no address".to_owned()));
        for &address in &found.addresses {
            match connect(route, address, limits).await {
                Ok(link) => return Ok(self.lease(link, route.clone(), slot)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn lease(&self, link: Link, route: Arc<Route>, slot: Slot) -> Lease {
        Lease { link, route, slot, idle: self.idle.clone() }
    }

    /// A slot for a member, at the cost of idle connections if there is no other.
    fn slot(&self, member: MemberId) -> Option<Slot> {
        loop {
            match self.slots.take(member) {
                Ok(slot) => return Some(slot),
                Err(Full::OfMember) if self.close_oldest(|idle| idle.slot.member() == member) => {}
                Err(Full::AtAll) if self.close_oldest(|_| true) => {}
                Err(_) => return None,
            }
        }
    }

    /// Closes the connection that has idled longest among some, if there is one.
    fn close_oldest(&self, among: impl Fn(&Idle) -> bool) -> bool {
        let mut idle = self.idle.borrow_mut();
        // Each list is in the order of its ages.
        let oldest = |(_, list): &(&usize, &mut Vec<Idle>)| {
            list.iter().find(|idle| among(idle)).map(|idle| idle.since)
        };
        let lists = idle.iter_mut().filter_map(|entry| Some((oldest(&entry)?, entry.1)));
        let Some((_, list)) = lists.min_by_key(|(since, _)| *since) else { return false };
        list.iter().position(among).map(|at| list.remove(at)).is_some()
    }

    /// Closes what has idled too long, and what belongs to routes that are not today's.
    pub fn tidy(&self, site: &Site) {
        self.idle.borrow_mut().retain(|_, connections| {
            let is_todays = |idle: &Idle| site.routes().iter().any(|route| Arc::ptr_eq(route, &idle.route));
            if !connections.first().is_some_and(is_todays) {
                return false;
            }
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
    slot: Slot,
    idle: Rc<RefCell<HashMap<usize, Vec<Idle>>>>,
}

impl Lease {
    fn give_back(mut self) {
        self.link.rest();
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(key(&self.route)).or_default();
        if connections.len() < KEPT {
            let (link, route, slot) = (self.link, self.route, self.slot);
            connections.push(Idle { link, route, slot, since: Instant::now() });
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
