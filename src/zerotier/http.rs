//! One HTTP/1.1 call on one new connection, with a deadline over all of it.
//!
//! No pool: on the node's server a kept connection costs 42 ms a call (Nagle against delayed acknowledgements) and
//! holds one of its 8 threads, a new one 0.5 ms. No redirects: the token goes nowhere but where it was meant to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Over everything: looking up, connecting, TLS, the answer's last byte.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// 120 times what the controller of 1,000 members sends.
pub(super) const LONGEST_BODY: usize = 64 * 1024 * 1024;

/// What came back, whole.
pub(super) struct Reply {
    pub status: StatusCode,
    pub content_type: Option<String>,
    /// How long to stay away, where the answer says so (RFC 9110, 10.2.3).
    pub retry_after: Option<Duration>,
    pub body: Bytes,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Get,
    /// Writes this JSON.
    Post(Bytes),
}

/// Why no whole answer came.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("no whole answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("the answer broke off or is not HTTP: {0}")]
    Broken(hyper::Error),
    #[error("the answer is over {} MiB", LONGEST_BODY / 1024 / 1024)]
    TooLong,
    #[error("the request cannot be written: {0}")]
    Request(http::Error),
}

impl HttpError {
    /// Whether the request may have reached the other side, so that it may have been carried out.
    pub(super) fn may_have_been_sent(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::Broken(_) | Self::TooLong)
    }
}

/// Why a URL is not one that a token may be sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("{0}: write it like http://127.0.0.1:9993 or https://api.zerotier.com/api/v1")]
    Malformed(String),
    #[error(
        "{0}: plain http would show the token to the network; use https, or an address of this machine (127.0.0.1)"
    )]
    PlainToElsewhere(String),
    #[error(
        "{0}: the node's token drives the whole controller and must not leave this machine; use http://127.0.0.1:9993"
    )]
    NotLoopback(String),
    #[error("no TLS: this system's root certificates cannot be read; type: sudo apt install ca-certificates")]
    NoRoots,
}

/// Where calls go.
#[derive(Clone)]
pub(super) struct Endpoint {
    url: String,
    host: String,
    port: u16,
    authority: HeaderValue,
    prefix: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    deadline: Duration,
}

impl Endpoint {
    /// An `http://` endpoint on this machine, or an `https://` one that the system's roots vouch for.
    pub(super) fn parse(url: &str) -> Result<Self, UrlError> {
        let mut endpoint = Self::plain(url)?;
        if url.starts_with("https://") {
            let roots = rustls_native_certs::load_native_certs().certs;
            endpoint.tls = Some(endpoint.connector(roots)?);
        } else if endpoint.loopback().is_none() {
            return Err(UrlError::PlainToElsewhere(url.to_owned()));
        }
        Ok(endpoint)
    }

    /// The same for the local node, whose token must not leave this machine.
    pub(super) fn parse_loopback(url: &str) -> Result<Self, UrlError> {
        let endpoint = Self::plain(url)?;
        if endpoint.loopback().is_none() || !url.starts_with("http://") {
            return Err(UrlError::NotLoopback(url.to_owned()));
        }
        Ok(endpoint)
    }

    #[cfg(test)]
    pub(super) fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    fn plain(url: &str) -> Result<Self, UrlError> {
        let malformed = || UrlError::Malformed(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        let port = match uri.scheme_str() {
            Some("http") => uri.port_u16().unwrap_or(80),
            Some("https") => uri.port_u16().unwrap_or(443),
            _ => return Err(malformed()),
        };
        let authority = uri.authority().ok_or_else(malformed)?.as_str();
        if authority.contains('@') || uri.query().is_some() {
            return Err(malformed());
        }
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            host: uri.host().ok_or_else(malformed)?.trim_matches(['[', ']']).to_owned(),
            port,
            authority: HeaderValue::from_str(authority).map_err(|_| malformed())?,
            prefix: uri.path().trim_end_matches('/').to_owned(),
            tls: None,
            deadline: DEADLINE,
        })
    }

    fn connector(
        &self,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<(TlsConnector, ServerName<'static>), UrlError> {
        let mut store = rustls::RootCertStore::empty();
        store.add_parsable_certificates(roots);
        if store.is_empty() {
            return Err(UrlError::NoRoots);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| UrlError::NoRoots)?
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name =
            ServerName::try_from(self.host.clone()).map_err(|_| UrlError::Malformed(self.url.clone()))?;
        Ok((TlsConnector::from(Arc::new(config)), name))
    }

    /// The addresses, if they are this machine's own by their very text, whatever a resolver may say.
    fn loopback(&self) -> Option<Vec<SocketAddr>> {
        let addresses: &[IpAddr] = match self.host.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() => &[address],
            Err(_) if self.host == "localhost" => {
                &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
            }
            _ => return None,
        };
        Some(addresses.iter().map(|&address| SocketAddr::new(address, self.port)).collect())
    }

    /// Asks at a path, with a secret in the one header named.
    pub(super) async fn call(
        &self,
        ask: &Ask,
        path: &str,
        secret: (HeaderName, HeaderValue),
    ) -> Result<Reply, HttpError> {
        let request = Request::builder()
            .uri(format!("{}{path}", self.prefix))
            .header(HOST, &self.authority)
            .header(ACCEPT, "application/json")
            .header(CONNECTION, "close")
            .header(secret.0, secret.1);
        let request = match ask {
            Ask::Get => request.method(Method::GET).body(Full::default()),
            Ask::Post(json) => request
                .method(Method::POST)
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(json.clone())),
        }
        .map_err(HttpError::Request)?;
        let call = async {
            let stream = match self.loopback() {
                Some(addresses) => TcpStream::connect(&addresses[..]).await,
                None => TcpStream::connect((self.host.as_str(), self.port)).await,
            }
            .map_err(HttpError::Connect)?;
            match &self.tls {
                Some((connector, name)) => {
                    let stream = connector.connect(name.clone(), stream).await.map_err(HttpError::Tls)?;
                    exchange(stream, request).await
                }
                None => exchange(stream, request).await,
            }
        };
        tokio::time::timeout(self.deadline, call).await.map_err(|_| HttpError::Timeout(self.deadline))?
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<Reply, HttpError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(HttpError::Broken)?;
    let ask = async move {
        let (head, body) = sender.send_request(request).await.map_err(HttpError::Broken)?.into_parts();
        let body = Limited::new(body, LONGEST_BODY).collect().await.map_err(|error| {
            match error.downcast::<hyper::Error>() {
                Ok(error) => HttpError::Broken(*error),
                Err(error) => {
                    debug_assert!(error.is::<LengthLimitError>());
                    HttpError::TooLong
                }
            }
        })?;
        let content_type =
            head.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(|v| v.to_ascii_lowercase());
        let retry_after = retry_after(&head.headers);
        Ok(Reply { status: head.status, content_type, retry_after, body: body.to_bytes() })
    };
    // The connection only moves bytes; what goes wrong on it reaches `ask` too, which is the one that ends.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! {
        reply = ask => reply,
        never = drive => match never {},
    }
}

/// `Retry-After` in seconds. As a date it counts from the answer's own `Date`, so that neither clock need be right.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let date = |text| jiff::fmt::rfc2822::parse(text).ok();
    let said = text(RETRY_AFTER)?.trim();
    match said.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let wait = date(said)?.timestamp().duration_since(date(text(http::header::DATE)?)?.timestamp());
            Some(wait.try_into().unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_back_is_read_as_seconds_or_as_a_date() {
        let said = |retry: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(retry));
            headers.insert(http::header::DATE, HeaderValue::from_static("Sun, 01 Mar 2026 12:00:00 GMT"));
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(said("7"), Some(7));
        assert_eq!(said("Sun, 01 Mar 2026 12:01:30 GMT"), Some(90));
        assert_eq!(said("Sun, 01 Mar 2026 11:00:00 GMT"), Some(0));
        assert_eq!(said("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn a_token_goes_to_this_machine_or_over_tls_only() {
        for url in
            ["http://127.0.0.1:9993", "http://127.9.9.9:1/", "http://[::1]:9993", "http://localhost:9993"]
        {
            assert!(Endpoint::parse_loopback(url).is_ok(), "{url}");
            assert!(Endpoint::parse(url).is_ok(), "{url}");
        }
        for url in ["http://10.0.0.1:9993", "https://127.0.0.1:9993", "http://localhost.evil.example:9993"] {
            assert_eq!(Endpoint::parse_loopback(url).err(), Some(UrlError::NotLoopback(url.into())));
        }
        let plain = "http://api.zerotier.com/api/v1";
        assert_eq!(Endpoint::parse(plain).err(), Some(UrlError::PlainToElsewhere(plain.into())));
    }

    #[test]
    fn other_texts_are_no_urls() {
        for url in
            ["", "127.0.0.1:9993", "ftp://127.0.0.1", "http://me:pw@127.0.0.1:9993", "http://127.0.0.1/?a"]
        {
            assert_eq!(Endpoint::parse_loopback(url).err(), Some(UrlError::Malformed(url.into())), "{url}");
        }
    }

    fn secret() -> (HeaderName, HeaderValue) {
        (HeaderName::from_static("x-zt1-auth"), HeaderValue::from_static("s3cret"))
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_given_up() {
        // The backlog accepts, and nobody answers.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let endpoint = Endpoint::parse(&url).unwrap().with_deadline(Duration::from_millis(50));
        assert!(matches!(endpoint.call(&Ask::Get, "/status", secret()).await, Err(HttpError::Timeout(_))));
    }

    /// Serves one answer over TLS with a certificate for `localhost`, and hands out that certificate.
    async fn tls_server() -> (String, CertificateDer<'static>) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap();
                assert!(String::from_utf8_lossy(&head[..read]).contains("x-zt1-auth: s3cret"));
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
            }
        });
        (url, certificate)
    }

    #[tokio::test]
    async fn the_token_goes_only_to_a_server_that_the_roots_vouch_for() {
        let (url, certificate) = tls_server().await;
        let mut endpoint = Endpoint::plain(&url).unwrap();
        endpoint.tls = Some(endpoint.connector(vec![certificate]).unwrap());
        let reply = endpoint.call(&Ask::Get, "/status", secret()).await.unwrap();
        assert_eq!(&reply.body[..], b"{}");

        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        endpoint.tls = Some(endpoint.connector(vec![other.cert.der().clone()]).unwrap());
        assert!(matches!(endpoint.call(&Ask::Get, "/status", secret()).await, Err(HttpError::Tls(_))));
        assert_eq!(endpoint.connector(vec![]).err(), Some(UrlError::NoRoots));
    }

    #[tokio::test]
    async fn an_endless_answer_is_cut_at_the_limit() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b' '; 65536]).is_ok() {}
        });
        let endpoint = Endpoint::parse(&url).unwrap().with_deadline(Duration::from_secs(60));
        assert!(matches!(endpoint.call(&Ask::Get, "/", secret()).await, Err(HttpError::TooLong)));
    }

    #[test]
    fn the_path_of_the_url_stays_in_front() {
        let endpoint = Endpoint::parse("http://127.0.0.1:1/api/v1/").unwrap();
        assert_eq!((endpoint.prefix.as_str(), endpoint.url()), ("/api/v1", "http://127.0.0.1:1/api/v1"));
    }
}
