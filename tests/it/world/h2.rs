//! HTTP/2 from a device: a client that behaves, and frames by hand for those that do not.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::SOON;
use super::device::{Device, host};

/// A connection that speaks HTTP/2.
pub struct H2 {
    sender: SendRequest<Full<Bytes>>,
}

impl Device<'_> {
    /// An HTTP/2 connection, opened for a name.
    pub async fn h2(&self, service: &str) -> H2 {
        let stream = self.tls(service, &[b"h2"]).await.expect("TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        H2::over(stream).await
    }
}

impl H2 {
    /// Over a stream that agreed on it.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    /// Whether the gateway has ended it.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// A request, as it is.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.sender.ready().await.unwrap();
        tokio::time::timeout(SOON, self.sender.send_request(request)).await.expect("no answer").unwrap()
    }

    /// The same, where the connection may be gone.
    pub async fn try_send(&mut self, request: Request<Full<Bytes>>) -> Option<Response<Incoming>> {
        self.sender.ready().await.ok()?;
        self.sender.send_request(request).await.ok()
    }

    /// A request without a body to a service: its answer, and that one's body.
    pub async fn ask(
        &mut self,
        service: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (Response<()>, String) {
        let mut request = Request::builder().uri(format!("https://{}{path}", host(service)));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.send(request.body(Full::default()).unwrap()).await;
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(SOON, body.collect()).await.expect("no end").unwrap().to_bytes();
        (Response::from_parts(parts, ()), String::from_utf8_lossy(&body).into_owned())
    }
}

/// The preface and empty settings that open a connection by hand.
pub fn opening() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes
}

/// One frame (RFC 9113, section 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A field in HPACK, literal and not indexed (RFC 7541, section 6.2.2). Both parts below 127 bytes.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0, u8::try_from(name.len()).unwrap()];
    bytes.extend(name.bytes());
    bytes.push(u8::try_from(value.len()).unwrap());
    bytes.extend(value.bytes());
    bytes
}
