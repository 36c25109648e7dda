//! One POST on one connection of its own, with a deadline. No redirects: a delivery goes where the configuration says.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::NotifyUrl;

/// What a receiver says beyond its status is read this far, so that it can end in order, and not looked at.
const LONGEST_ANSWER: usize = 64 * 1024;
const AFTER_ANSWER: Duration = Duration::from_secs(1);

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("no root certificates to check it by; type: sudo apt install ca-certificates")]
    NoRoots,
    #[error("{0} is no name that a certificate could be for")]
    Name(String),
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("it took the delivery and broke off: {0}")]
    Broken(hyper::Error),
    #[error("the request cannot be written: {0}")]
    Request(#[from] http::Error),
}

/// Sends a body with these headers and tells the status of the answer.
///
/// # Errors
/// There was none within the deadline. The receiver may have got the body nevertheless.
pub(super) async fn post(
    url: &NotifyUrl,
    headers: &[(&'static str, HeaderValue)],
    body: Bytes,
    deadline: Duration,
) -> Result<StatusCode, PostError> {
    let mut request = Request::post(&url.path_and_query)
        .header(HOST, url.authority())
        .header(CONNECTION, "close")
        .header(USER_AGENT, concat!("ztgate/", env!("CARGO_PKG_VERSION")));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(body))?;
    let call = async {
        let stream = TcpStream::connect((url.host.as_str(), url.port)).await.map_err(PostError::Connect)?;
        if url.tls {
            exchange(secured(stream, &url.host, client_config()?).await?, request).await
        } else {
            exchange(stream, request).await
        }
    };
    tokio::time::timeout(deadline, call).await.map_err(|_| PostError::Timeout(deadline))?
}

async fn secured(
    stream: TcpStream,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, PostError> {
    let name = match host.parse::<IpAddr>() {
        Ok(address) => ServerName::from(address),
        Err(_) => ServerName::try_from(host.to_owned()).map_err(|_| PostError::Name(host.to_owned()))?,
    };
    TlsConnector::from(config).connect(name, stream).await.map_err(PostError::Tls)
}

/// Read once: hundreds of files, and they change with the system's packages only.
fn client_config() -> Result<Arc<ClientConfig>, PostError> {
    static CONFIG: OnceLock<Option<Arc<ClientConfig>>> = OnceLock::new();
    let made = CONFIG.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        trusting(roots)
    });
    made.clone().ok_or(PostError::NoRoots)
}

/// `None` without a root.
fn trusting(roots: RootCertStore) -> Option<Arc<ClientConfig>> {
    if roots.is_empty() {
        return None;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(Arc::new(config))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<StatusCode, PostError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(PostError::Broken)?;
    let ask = async move {
        let (head, body) = sender.send_request(request).await.map_err(PostError::Broken)?.into_parts();
        // Its status is the answer, whatever becomes of the rest.
        let _ = tokio::time::timeout(AFTER_ANSWER, Limited::new(body, LONGEST_ANSWER).collect()).await;
        Ok(head.status)
    };
    // The connection only moves bytes; what goes wrong on it reaches `ask` too, which is the one that ends.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! {
        status = ask => status,
        never = drive => match never {},
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;

    use super::*;

    /// Greets whoever takes its certificate, which is for `localhost`.
    async fn tls_server() -> (u16, CertificateDer<'static>) {
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
        let port = listener.local_addr().unwrap().port();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = acceptor.accept(stream).await;
            }
        });
        (port, certificate)
    }

    #[tokio::test]
    async fn only_a_receiver_that_a_root_vouches_for_gets_anything() {
        let (port, certificate) = tls_server().await;
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let trusting = trusting(roots).unwrap();
        let dial = || async { TcpStream::connect(("127.0.0.1", port)).await.unwrap() };
        assert!(secured(dial().await, "localhost", trusting.clone()).await.is_ok());
        let other_name = secured(dial().await, "home.example", trusting.clone()).await;
        assert!(matches!(other_name, Err(PostError::Tls(_))));
        let no_name = secured(dial().await, "not a name", trusting).await;
        assert!(matches!(no_name, Err(PostError::Name(_))));

        let path_and_query = "/".to_owned();
        let url = NotifyUrl { tls: true, host: "localhost".to_owned(), port, path_and_query };
        let unknown = post(&url, &[], Bytes::new(), Duration::from_secs(20)).await;
        assert!(matches!(unknown, Err(PostError::Tls(_) | PostError::NoRoots)), "{unknown:?}");
    }

    #[test]
    fn without_a_root_there_is_no_tls() {
        assert!(trusting(RootCertStore::empty()).is_none());
    }
}
