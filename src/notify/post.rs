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
            let (connector, name) = tls(&url.host)?;
            exchange(connector.connect(name, stream).await.map_err(PostError::Tls)?, request).await
        } else {
            exchange(stream, request).await
        }
    };
    tokio::time::timeout(deadline, call).await.map_err(|_| PostError::Timeout(deadline))?
}

fn tls(host: &str) -> Result<(TlsConnector, ServerName<'static>), PostError> {
    let name = match host.parse::<IpAddr>() {
        Ok(address) => ServerName::from(address),
        Err(_) => ServerName::try_from(host.to_owned()).map_err(|_| PostError::Name(host.to_owned()))?,
    };
    Ok((TlsConnector::from(client_config()?), name))
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
    use super::*;

    #[test]
    fn tls_needs_a_root_and_a_name() {
        assert!(trusting(RootCertStore::empty()).is_none());
        assert!(matches!(tls("not a name"), Err(PostError::Name(_))));
    }
}
