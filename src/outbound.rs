//! HTTP calls that the gateway makes for itself: to node and controller, to receivers of notifications. One HTTP/1.1
//! exchange on one new connection.
//!
//! No pool: on the node's server a kept connection costs 42 ms a call (Nagle against delayed acknowledgements) and holds
//! one of its 8 threads, a new one 0.5 ms. No redirects: what is sent goes nowhere but where it was meant to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An answer of which only the status counts is read this far, so that it can end in order.
const UNREAD: usize = 64 * 1024;
const UNREAD_FOR: Duration = Duration::from_secs(1);

/// Who is called: a host and a port, and over TLS the name that its certificate must be for.
#[derive(Clone)]
pub struct Server {
    host: String,
    port: u16,
    authority: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Why there is nobody to call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    #[error("{0} is no host's name or address")]
    Host(String),
    #[error("no TLS: this system's root certificates cannot be read; type: sudo apt install ca-certificates")]
    NoRoots,
}

/// What came back, whole.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why no whole answer came.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("no whole answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("the answer broke off or is not HTTP: {0}")]
    Broken(hyper::Error),
    #[error("the answer is over {} MiB", .0 / 1024 / 1024)]
    TooLong(usize),
    #[error("the request cannot be written: {0}")]
    Request(#[from] http::Error),
}

impl CallError {
    /// Whether the request may have reached the other side, so that it may have been carried out.
    pub fn may_have_been_sent(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Broken(_) | Self::TooLong(_))
    }
}

impl Server {
    /// A server that is spoken to in the clear. Whether what is to be sent may be seen on the way is the caller's to know.
    /// `host` is a name or an address, IPv6 without its brackets.
    ///
    /// # Errors
    /// [`ServerError::Host`].
    pub fn plain(host: &str, port: u16) -> Result<Self, ServerError> {
        Self::new(host, port, None)
    }

    /// A server that is spoken to over TLS, if one of this system's root certificates vouches for its name or address.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn tls(host: &str, port: u16) -> Result<Self, ServerError> {
        Self::new(host, port, Some(system_roots()?))
    }

    /// A server that proves itself in a way of its own, if it is spoken to over TLS at all: by another root, or one key.
    ///
    /// # Errors
    /// [`ServerError::Host`].
    pub fn proved(
        host: &str,
        port: u16,
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    ) -> Result<Self, ServerError> {
        let server = Self::new(host, port, None)?;
        Ok(Self { tls: tls.map(|(config, name)| (TlsConnector::from(config), name)), ..server })
    }

    fn new(host: &str, port: u16, config: Option<Arc<ClientConfig>>) -> Result<Self, ServerError> {
        let no_host = || ServerError::Host(host.to_owned());
        let own_port = if config.is_some() { 443 } else { 80 };
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let authority = if port == own_port { bracketed } else { format!("{bracketed}:{port}") };
        let tls = match config {
            Some(config) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|_| no_host())?;
                Some((TlsConnector::from(config), name))
            }
            None => None,
        };
        let authority = HeaderValue::from_str(&authority).map_err(|_| no_host())?;
        Ok(Self { host: host.to_owned(), port, authority, tls })
    }

    /// Whether it is on this machine by its very name, whatever a resolver may say.
    pub fn is_loopback(&self) -> bool {
        literal(&self.host).is_some_and(|addresses| addresses.iter().all(IpAddr::is_loopback))
    }

    /// Sends a request and reads the whole answer, within `deadline` from looking up the name to the last byte. The
    /// request's URI is a path; `Host`, `Connection` and `User-Agent` are set here.
    ///
    /// # Errors
    /// There is none, or its body is over `longest` bytes.
    pub async fn ask(
        &self,
        request: Request<Bytes>,
        longest: usize,
        deadline: Duration,
    ) -> Result<Reply, CallError> {
        let read = async |status, headers, body| {
            let body = Limited::new(body, longest).collect().await.map_err(|error| {
                match error.downcast::<hyper::Error>() {
                    Ok(error) => CallError::Broken(*error),
                    Err(_) => CallError::TooLong(longest),
                }
            })?;
            Ok(Reply { status, headers, body: body.to_bytes() })
        };
        within(deadline, self.call(request, read)).await
    }

    /// Sends a request as [`Server::ask`] does, where the status alone is the answer, whatever becomes of the rest.
    ///
    /// # Errors
    /// There is none within `deadline`. The request may have been carried out nevertheless; see
    /// [`CallError::may_have_been_sent`].
    pub async fn tell(&self, request: Request<Bytes>, deadline: Duration) -> Result<StatusCode, CallError> {
        let read = async |status, _, body| {
            let _ = tokio::time::timeout(UNREAD_FOR, Limited::new(body, UNREAD).collect()).await;
            Ok(status)
        };
        within(deadline, self.call(request, read)).await
    }

    async fn call<T>(
        &self,
        request: Request<Bytes>,
        read: impl AsyncFnOnce(StatusCode, HeaderMap, Incoming) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let mut request = request.map(Full::new);
        let headers = request.headers_mut();
        headers.insert(HOST, self.authority.clone());
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("ztgate/", env!("CARGO_PKG_VERSION"))));
        let stream = self.connect().await.map_err(CallError::Connect)?;
        match &self.tls {
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await.map_err(CallError::Tls)?;
                exchange(stream, request, read).await
            }
            None => exchange(stream, request, read).await,
        }
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        match literal(&self.host) {
            Some(addresses) => {
                let addresses: Vec<_> =
                    addresses.iter().map(|&address| (address, self.port).into()).collect();
                TcpStream::connect(&addresses[..]).await
            }
            None => TcpStream::connect((self.host.as_str(), self.port)).await,
        }
    }
}

/// The addresses of a host that names them itself: no resolver is asked about these.
fn literal(host: &str) -> Option<Vec<IpAddr>> {
    match host.parse() {
        Ok(address) => Some(vec![address]),
        Err(_) if host == "localhost" => Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        Err(_) => None,
    }
}

/// Read once: hundreds of files, and they change with the system's packages only.
fn system_roots() -> Result<Arc<ClientConfig>, ServerError> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = trusting(roots)?;
    Ok(CONFIG.get_or_init(|| config).clone())
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, ServerError> {
    if roots.is_empty() {
        return Err(ServerError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    tokio::time::timeout(deadline, call).await.map_err(|_| CallError::Timeout(deadline))?
}

async fn exchange<T>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
    read: impl AsyncFnOnce(StatusCode, HeaderMap, Incoming) -> Result<T, CallError>,
) -> Result<T, CallError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(CallError::Broken)?;
    let ask = async move {
        let (head, body) = sender.send_request(request).await.map_err(CallError::Broken)?.into_parts();
        read(head.status, head.headers, body).await
    };
    // The connection only moves bytes; what goes wrong on it reaches `ask` too, which is the one that ends.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! {
        answer = ask => answer,
        never = drive => match never {},
    }
}

#[cfg(test)]
mod tests;
