//! A plain or TLS 1.3 connection to the contender, blocking and without a library's own costs.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

use bench_tools::{http, sys};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use crate::options::Options;

const HOST: &str = "bench.test";

/// Where to connect, and how.
#[derive(Clone)]
pub struct Target {
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

impl Target {
    pub fn new(options: &Options) -> io::Result<Self> {
        let tls = if options.tls { Some(Arc::new(tls_config()?)) } else { None };
        Ok(Self { port: options.port, tls })
    }

    /// Connects from 127.0.1.`lane`, where many connections share the load.
    pub fn connect_from(&self, lane: usize) -> io::Result<Client> {
        self.open(Some(Ipv4Addr::new(127, 0, 1, 1 + (lane % 250) as u8)))
    }

    pub fn connect(&self) -> io::Result<Client> {
        self.open(None)
    }

    fn open(&self, source: Option<Ipv4Addr>) -> io::Result<Client> {
        let mut stream = sys::connect(self.port, source)?;
        let tls = self.tls.as_ref().map(|config| handshake(config, &mut stream)).transpose()?;
        Ok(Client { stream, tls })
    }
}

pub struct Client {
    pub stream: TcpStream,
    pub tls: Option<ClientConnection>,
}

impl Client {
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return self.stream.write_all(bytes);
        };
        tls.writer().write_all(bytes)?;
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)?;
        }
        Ok(())
    }

    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.stream.read(buffer);
        };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            if tls.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// Sends a request and reads its whole answer, which must be a 2xx with a length and fit the buffer.
    pub fn exchange(&mut self, request: &[u8], buffer: &mut [u8]) -> io::Result<()> {
        self.send(request)?;
        let mut filled = 0;
        loop {
            let count = self.receive(&mut buffer[filled..])?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            filled += count;
            let Some(length) = http::head_length(&buffer[..filled]) else {
                continue;
            };
            let head = std::str::from_utf8(&buffer[..length]).map_err(io::Error::other)?;
            if !head.starts_with("HTTP/1.1 2") {
                return Err(io::Error::other(format!(
                    "the answer is {}",
                    head.lines().next().unwrap_or_default()
                )));
            }
            if filled as u64 >= length as u64 + http::content_length(head) {
                return Ok(());
            }
        }
    }
}

/// What happens to the connection after the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Keep,
    Close,
}

pub fn get(path: &str, then: Then) -> Vec<u8> {
    let close = if then == Then::Close { "Connection: close\r\n" } else { "" };
    format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: load/1\r\nAccept: */*\r\n{close}\r\n")
        .into_bytes()
}

pub fn put(length: u64) -> Vec<u8> {
    format!(
        "PUT /up HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/octet-stream\r\n\
        Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

pub fn websocket() -> Vec<u8> {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://{HOST}\r\n\r\n"
    )
    .into_bytes()
}

fn handshake(config: &Arc<ClientConfig>, stream: &mut TcpStream) -> io::Result<ClientConnection> {
    let name = ServerName::try_from(HOST).map_err(io::Error::other)?;
    let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(stream)?;
    }
    while tls.wants_write() {
        tls.write_tls(stream)?;
    }
    tls.set_buffer_limit(None);
    Ok(tls)
}

/// One suite and one group for all contenders, and full handshakes only.
fn tls_config() -> io::Result<ClientConfig> {
    let mut provider = default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The rig makes the certificate itself; checking it would only cost the load generator time.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256]
    }
}
