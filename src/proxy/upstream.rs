//! Connections to services: dialled for an admitted request, kept per thread, reused only after a clean end.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::linux::socket;
use crate::portal::Trouble;
use crate::services::Route;

use super::admit::Admitted;
use super::body::RequestBody;
use super::context::Limits;

/// At most this many idle connections are kept to one service by one thread.
const KEPT: usize = 256;

/// How long a connection may take to be done with its last answer before it is given up.
const SETTLE: Duration = Duration::from_millis(500);

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
    #[error("{0}")]
    Http(#[from] hyper::Error),
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
            Self::Http(_) => Trouble::Broken,
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
    sender: SendRequest<RequestBody>,
    /// Keeps the route's address from being another route's while the connection lives.
    route: Arc<Route>,
    since: Instant,
}

impl Pool {
    pub fn new(keep: Duration) -> Self {
        Self { idle: Rc::default(), keep }
    }

    /// An idle connection to the service that a request was admitted to, the most recently used first.
    pub async fn take(&self, admitted: &Admitted) -> Option<Lease> {
        let route = admitted.route()?;
        loop {
            let mut idle = self.idle.borrow_mut().get_mut(&key(route))?.pop()?;
            // It is ready at once unless the end of its last answer is still being read.
            let ready = idle.sender.is_ready()
                || matches!(tokio::time::timeout(SETTLE, idle.sender.ready()).await, Ok(Ok(())));
            if ready && !idle.sender.is_closed() {
                return Some(self.lease(idle.sender, idle.route));
            }
        }
    }

    /// A new connection to the service that a request was admitted to. There is no other way to one.
    pub async fn dial(&self, admitted: &Admitted, limits: &Limits) -> Result<Lease, DialError> {
        let route = admitted.route().ok_or_else(|| DialError::NoAddress("it is no service".to_owned()))?;
        let found = route.place.now().clone();
        let mut last =
            DialError::NoAddress(found.error.clone().unwrap_or_else(|| "its name has no address".to_owned()));
        for &address in &found.addresses {
            match connect(route, address, limits).await {
                Ok(sender) => return Ok(self.lease(sender, route.clone())),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn lease(&self, sender: SendRequest<RequestBody>, route: Arc<Route>) -> Lease {
        Lease { sender, route, idle: self.idle.clone() }
    }

    /// Closes what has idled too long, and what belongs to routes that are gone.
    pub fn tidy(&self) {
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < self.keep);
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
    pub sender: SendRequest<RequestBody>,
    route: Arc<Route>,
    idle: Rc<RefCell<HashMap<usize, Vec<Idle>>>>,
}

impl Lease {
    pub fn give_back(self) {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(key(&self.route)).or_default();
        if connections.len() < KEPT {
            connections.push(Idle { sender: self.sender, route: self.route, since: Instant::now() });
        }
    }
}

async fn connect(
    route: &Route,
    address: SocketAddr,
    limits: &Limits,
) -> Result<SendRequest<RequestBody>, DialError> {
    let silent = |_| DialError::Silent(address, limits.connect);
    let stream = tokio::time::timeout(limits.connect, TcpStream::connect(address))
        .await
        .map_err(silent)?
        .map_err(|error| DialError::Connect(address, error))?;
    stream
        .set_nodelay(true)
        .and_then(|()| socket::keep_alive(&stream))
        .map_err(|error| DialError::Connect(address, error))?;
    match &route.tls {
        None => hand_over(stream).await,
        Some(tls) => {
            let connector = tokio_rustls::TlsConnector::from(tls.config.clone());
            let stream = tokio::time::timeout(limits.handshake, connector.connect(tls.name.clone(), stream))
                .await
                .map_err(silent)?
                .map_err(|error| DialError::Tls(address, error))?;
            hand_over(stream).await
        }
    }
}

async fn hand_over<S>(stream: S) -> Result<SendRequest<RequestBody>, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(async move {
        // How it ends is the business of the exchange that runs on it.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}
