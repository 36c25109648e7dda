//! A device's HTTP/1.1 client: one connection, plain or TLS, with a limit on each wait.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::harness::Namespace;

/// The name of the service that tells what it was sent.
pub const HOST: &str = "echo.home.arpa";

/// Longer than any honest answer takes here, and short enough to wait for one that must not come.
const LIMIT: Duration = Duration::from_millis(1500);

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// One connection.
pub struct Client {
    stream: Box<dyn Stream>,
    local: SocketAddr,
}

fn connect(at: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&at, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An answer's parts that tests look at.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// `Ztgate-Refusal`.
    pub refusal: Option<String>,
    pub body: String,
}

impl Client {
    /// Connects from a machine.
    pub fn new(machine: &Namespace, at: SocketAddr) -> io::Result<Self> {
        machine.run(|| Self::here(at))
    }

    /// Connects from where the calling thread is.
    pub fn here(at: SocketAddr) -> io::Result<Self> {
        let stream = connect(at)?;
        Ok(Self { local: stream.local_addr()?, stream: Box::new(stream) })
    }

    /// Connects from a machine that trusts this root (PEM), by TLS; the handshake comes with the first request.
    pub fn tls(machine: &Namespace, at: SocketAddr, root: &[u8]) -> io::Result<Self> {
        let stream = machine.run(|| connect(at))?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let session = rustls::ClientConnection::new(Arc::new(config), HOST.try_into().unwrap()).unwrap();
        let local = stream.local_addr()?;
        Ok(Self { local, stream: Box::new(rustls::StreamOwned::new(session, stream)) })
    }

    /// Our own address, as the machine chose it.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sends a request for a path and reads its answer; the connection stays open.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.ask(path)?;
        self.answer()
    }

    pub fn ask(&mut self, path: &str) -> io::Result<()> {
        write!(self.stream, "GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
    }

    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).map_err(|_| ErrorKind::InvalidData)?;
        let header = |name: &str| {
            head.lines().filter_map(|line| line.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        let length = header("content-length").and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer {
            status: head.get(9..12).and_then(|status| status.parse().ok()).ok_or(ErrorKind::InvalidData)?,
            refusal: header("ztgate-refusal").map(|(_, code)| code.to_owned()),
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    /// Whether the gateway has ended the connection, by FIN or RST, within the limit.
    pub fn is_ended(&mut self) -> bool {
        match self.stream.read(&mut [0; 1]) {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

impl Answer {
    /// What the service was told of who asks: the value of a header of its request.
    pub fn upstream_saw(&self, header: &str) -> Option<&str> {
        let mut lines = self.body.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(name, _)| name.eq_ignore_ascii_case(header)).map(|(_, value)| value)
    }
}

/// One request on a connection of its own.
pub fn get(machine: &Namespace, at: SocketAddr) -> io::Result<Answer> {
    Client::new(machine, at)?.get("/")
}

/// What a refused device sees: status and code.
#[track_caller]
pub fn refusal(machine: &Namespace, at: SocketAddr) -> (u16, String) {
    let answer = get(machine, at).unwrap();
    (answer.status, answer.refusal.unwrap_or_default())
}
