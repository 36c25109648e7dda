//! The ACME server's HTTPS: one call on one connection, with a deadline and the roots that the configuration names.

use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::AcmeError;

/// Over everything: looking up, connecting, TLS, the answer's last byte. Signing takes seconds under load.
const DEADLINE: Duration = Duration::from_secs(45);

/// A directory, an order, a chain: all are a few KiB.
const LONGEST_ANSWER: usize = 1 << 20;

/// A client that remembers how long the server wants to hear nothing, which problem documents do not say.
#[derive(Clone)]
pub(super) struct Http {
    tls: TlsConnector,
    wait: Arc<Mutex<Option<Duration>>>,
}

impl Http {
    /// A client for servers that the roots in this file vouch for, or the system's.
    pub fn new(ca: Option<&Path>) -> Result<Self, AcmeError> {
        let mut roots = RootCertStore::empty();
        match ca {
            None => {
                roots = crate::ca::system_roots();
                if roots.is_empty() {
                    return Err(AcmeError::NoRoots);
                }
            }
            Some(file) => {
                let wrong = |why: String| AcmeError::Roots { file: file.to_owned(), why };
                for root in CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))? {
                    let root = root.map_err(|error| wrong(error.to_string()))?;
                    roots.add(root).map_err(|error| wrong(error.to_string()))?;
                }
                if roots.is_empty() {
                    return Err(wrong("no certificate in it".to_owned()));
                }
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| AcmeError::Key(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), wait: Arc::default() })
    }

    /// How long the last refusal said to stay away; asking forgets it.
    pub fn take_wait(&self) -> Option<Duration> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn call(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Fault> {
        let (mut head, body) = request.into_parts();
        let host = head.uri.host().map(|host| host.trim_matches(['[', ']']).to_owned());
        let (Some("https"), Some(host), Some(authority)) =
            (head.uri.scheme_str(), host, head.uri.authority())
        else {
            return Err(Fault::NotHttps(head.uri.to_string()));
        };
        let port = head.uri.port_u16().unwrap_or(443);
        let name = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => {
                ServerName::try_from(host.clone()).map_err(|_| Fault::NotHttps(head.uri.to_string()))?
            }
        };
        let authority =
            HeaderValue::from_str(authority.as_str()).map_err(|_| Fault::NotHttps(head.uri.to_string()))?;
        head.headers.insert(HOST, authority);
        head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = path.parse().map_err(|_| Fault::NotHttps(path.to_owned()))?;

        let stream = TcpStream::connect((host.as_str(), port))
            .await
            .map_err(|why| Fault::Connect { at: format!("{host}:{port}"), why })?;
        let stream = self.tls.connect(name, stream).await.map_err(Fault::Tls)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(Fault::Broken)?;
        let ask = async move {
            let (head, body) = sender
                .send_request(Request::from_parts(head, body))
                .await
                .map_err(Fault::Broken)?
                .into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(Fault::Body)?;
            Ok((head, body.to_bytes()))
        };
        // The connection only moves bytes; what goes wrong on it reaches `ask` too, which is the one that ends.
        let drive = async {
            let _ = connection.await;
            std::future::pending::<std::convert::Infallible>().await
        };
        let (head, body) = tokio::select! {
            answer = ask => answer?,
            never = drive => match never {},
        };
        if !head.status.is_success() {
            *self.wait.lock().unwrap_or_else(PoisonError::into_inner) = retry_after(&head.headers);
            // A proxy in front, or a server that is overloaded: no problem document, and no JSON.
            let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            if !kind.contains("json") {
                return Err(Fault::Status(head.status));
            }
        }
        Ok(BytesResponse::from(Response::from_parts(head, Full::new(body))))
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let call = self.clone().call(request);
        Box::pin(async move {
            let answer = tokio::time::timeout(DEADLINE, call).await.unwrap_or(Err(Fault::Timeout));
            answer.map_err(|fault| instant_acme::Error::Other(Box::new(fault)))
        })
    }
}

/// Why there was no answer that says anything.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0} is no https URL")]
    NotHttps(String),
    #[error("{at} cannot be reached ({why})")]
    Connect { at: String, why: std::io::Error },
    #[error("TLS: {0}; if its root is one of your own, name it with ca in [tls]")]
    Tls(std::io::Error),
    #[error("it broke off: {0}")]
    Broken(hyper::Error),
    #[error("its answer broke off: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("it answered HTTP {0}")]
    Status(http::StatusCode),
    #[error("it gave no whole answer within {} s", DEADLINE.as_secs())]
    Timeout,
}

/// `Retry-After` in seconds. As a date it counts from the answer's own `Date`, so that neither clock need be right.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let date = |text| Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp());
    let said = text(RETRY_AFTER)?.trim();
    match said.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let wait = date(said)?.duration_since(date(text(http::header::DATE)?)?);
            Some(wait.try_into().unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_back_is_read_as_seconds_or_as_a_date() {
        for (said, expected) in [
            ("3600", Some(3600)),
            ("Mon, 23 Nov 2026 13:00:00 GMT", Some(3600)),
            ("Mon, 23 Nov 2026 11:00:00 GMT", Some(0)),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::DATE, HeaderValue::from_static("Mon, 23 Nov 2026 12:00:00 GMT"));
            headers.insert(RETRY_AFTER, HeaderValue::from_static(said));
            assert_eq!(retry_after(&headers).map(|wait| wait.as_secs()), expected, "{said}");
        }
    }

    #[tokio::test]
    async fn only_https_is_spoken() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root.pem");
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&root, made.cert.pem()).unwrap();
        let http = Http::new(Some(&root)).unwrap();
        for url in ["http://127.0.0.1:1/dir", "/dir"] {
            let request = Request::get(url).body(BodyWrapper::default()).unwrap();
            let error = http.request(request).await.err().unwrap().to_string();
            assert!(error.contains("is no https URL"), "{error}");
        }
        std::fs::write(&root, "nothing").unwrap();
        assert!(matches!(Http::new(Some(&root)), Err(AcmeError::Roots { .. })));
    }
}
