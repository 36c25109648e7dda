//! A device: connections from its own address, requests on them, and what the answers must be.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::plan::ZONE;
use super::wire::{Head, Wire};
use super::{Live, SOON};

/// Where [`Device::door`] is: beside the gateway, so that the port can be the same.
pub const DOOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// One device of a world.
#[derive(Clone, Copy)]
pub struct Device<'a> {
    pub world: &'a Live,
    pub source: IpAddr,
}

impl<'a> Device<'a> {
    /// GET over plain HTTP, on a connection of its own.
    pub async fn get(&self, service: &str, path: &str) -> Reply<'a> {
        self.ask(service, "GET", path, "").await
    }

    /// A request without a body, with header lines that each end with CRLF, on a connection of its own.
    pub async fn ask(&self, service: &str, method: &str, path: &str, headers: &str) -> Reply<'a> {
        let host = host(service);
        self.raw(&format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n")).await
    }

    /// Sends these bytes and reads one answer.
    pub async fn raw(&self, request: &str) -> Reply<'a> {
        let mut wire = self.open().await;
        wire.send(request).await;
        self.reply(&mut wire, request).await
    }

    /// The next answer on a connection, to a request that began like this one.
    pub async fn reply(&self, wire: &mut Wire, request: &str) -> Reply<'a> {
        let head = wire.head().await.unwrap_or_else(|| panic!("no answer to {request:?}"));
        let to_head = request.starts_with("HEAD ");
        let body = if to_head { Vec::new() } else { wire.body(&head).await.expect("a whole body") };
        Reply { world: self.world, head, body }
    }

    /// A plain connection to the gateway.
    pub async fn open(&self) -> Wire {
        Wire::new(self.connect(self.world.ports.http).await)
    }

    /// A connection on which the service "radio" plays ([`super::upstream::radio`]).
    pub async fn listen(&self) -> Wire {
        let mut wire = self.open().await;
        wire.send("GET / HTTP/1.1\r\nHost: radio.home.arpa\r\n\r\n").await;
        assert_eq!(wire.head().await.unwrap().status(), 200);
        assert_eq!(wire.chunk().await.unwrap(), b"on");
        wire
    }

    /// A TLS connection for a name in the zone, with the given protocols on offer, by the gateway's own CA.
    pub async fn open_tls(&self, name: &str, protocols: &[&[u8]]) -> Wire {
        Wire::new(self.tls(name, protocols).await.expect("TLS"))
    }

    /// A TLS stream, or why there is none.
    pub async fn tls(
        &self,
        name: &str,
        protocols: &[&[u8]],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let root = ztgate::ca::root_pem(&self.world.state_dir()).unwrap();
        self.tls_by(CertificateDer::from_pem_slice(root.as_bytes()).unwrap(), name, protocols).await
    }

    /// The same for a device that trusts another root.
    pub async fn tls_by(
        &self,
        root: CertificateDer<'_>,
        name: &str,
        protocols: &[&[u8]],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut config = trusting(root, rustls::ALL_VERSIONS);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        self.tls_with(config, name).await
    }

    /// The same by settings of the test's own.
    pub async fn tls_with(
        &self,
        config: rustls::ClientConfig,
        name: &str,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let name = ServerName::try_from(host(name)).unwrap();
        let stream = self.connect(self.world.ports.https).await;
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// A TLS stream to a port of the gateway's.
    pub async fn tls_on(&self, port: u16, name: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
        let root = ztgate::ca::root_pem(&self.world.state_dir()).unwrap();
        let config = trusting(CertificateDer::from_pem_slice(root.as_bytes()).unwrap(), rustls::ALL_VERSIONS);
        let name = ServerName::try_from(host(name)).unwrap();
        let stream = self.connect(port).await;
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS")
    }

    /// The start of a TLS connection: what is sent on it is the handshake.
    pub async fn open_https(&self) -> Wire {
        Wire::new(self.connect(self.world.ports.https).await)
    }

    /// A door for programs that cannot choose their source address: who connects to this port at [`DOOR`] comes to the
    /// gateway as this device.
    pub async fn door(&self, port: u16) {
        let (listener, source) = (TcpListener::bind((DOOR, port)).await.unwrap(), self.source);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let socket = TcpSocket::new_v4().unwrap();
                    socket.bind(SocketAddr::new(source, 0)).unwrap();
                    if let Ok(mut gateway) = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await {
                        let _ = tokio::io::copy_bidirectional(&mut stream, &mut gateway).await;
                    }
                });
            }
        });
    }

    /// Waits until it is refused with this code. What is under way in the moment of a cut is reset, and tells nothing.
    pub async fn is_soon_refused(&self, service: &str, code: &str) {
        let refused = async {
            let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", host(service));
            loop {
                if let Ok(stream) = self.try_connect(self.world.ports.http).await {
                    let mut wire = Wire::new(stream);
                    wire.send(&request).await;
                    if wire.head().await.is_some_and(|head| head.get("ztgate-refusal") == Some(code)) {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, refused).await.unwrap_or_else(|_| panic!("never refused with {code}"));
    }

    /// The stream itself, to a port of the gateway's.
    pub async fn connect(&self, port: u16) -> TcpStream {
        self.try_connect(port).await.unwrap()
    }

    async fn try_connect(&self, port: u16) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(self.source, 0)).unwrap();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = tokio::time::timeout(SOON, socket.connect(to)).await.expect("no connection")?;
        stream.set_nodelay(true).unwrap();
        Ok(stream)
    }
}

/// A client that trusts this root and speaks these versions.
pub fn trusting(
    root: CertificateDer<'_>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A service's full name, unless it is one already.
pub fn host(service: &str) -> String {
    if service.contains('.') { service.to_owned() } else { format!("{service}.{ZONE}") }
}

/// An answer, and what it must be.
pub struct Reply<'a> {
    world: &'a Live,
    pub head: Head,
    pub body: Vec<u8>,
}

impl Reply<'_> {
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.head.status(), status, "{:#?}\n{}", self.head, self.text());
        self
    }

    /// A refusal with this code, in the status that belongs to it.
    #[track_caller]
    pub fn refused(self, code: &str) -> Self {
        assert_eq!(self.head.get("ztgate-refusal"), Some(code), "{:#?}\n{}", self.head, self.text());
        let status = code.parse::<ztgate::model::RefusalCode>().unwrap().status().as_u16();
        self.is(status)
    }

    #[track_caller]
    pub fn has(self, name: &str, value: &str) -> Self {
        assert_eq!(self.head.get(name), Some(value), "{name}: {:#?}", self.head);
        self
    }

    #[track_caller]
    pub fn lacks(self, name: &str) -> Self {
        assert!(!self.head.has(name), "{name}: {:#?}", self.head);
        self
    }

    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(self.text().contains(words), "{words:?} is not in {}", self.text());
        self
    }

    /// The request as the upstream saw it, found by the ID that both ends know.
    #[track_caller]
    pub fn upstream_saw(&self) -> Head {
        let id = self.head.get("x-request-id").expect("a request ID");
        let seen = self.world.upstreams.values().flat_map(|upstream| upstream.requests());
        let mut same = seen.filter(|head| head.get("x-request-id") == Some(id));
        let first = same.next().unwrap_or_else(|| panic!("no upstream saw request {id}"));
        assert!(same.next().is_none(), "upstreams saw request {id} twice");
        first
    }

    /// The upstream was told that this device asked, and only that.
    #[track_caller]
    pub fn upstream_saw_member(self, device: &str) -> Self {
        let seen = self.upstream_saw();
        assert_eq!(seen.get("x-ztgate-member"), Some(self.world.id(device).to_string().as_str()));
        assert_eq!(seen.get("x-ztgate-device"), Some(device));
        let address = self.world.plan.address(device).to_string();
        assert_eq!(seen.get("x-forwarded-for"), Some(address.as_str()));
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
