//! Services to stand behind the gateway: each is a script for one connection, and what they were sent is kept.

use std::net::{Ipv4Addr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::pem::Pair;
use super::plan::reserve;
use super::wire::{Head, Wire};

type Script = Arc<dyn Fn(Served) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// How a service behaves.
#[derive(Clone)]
pub enum Upstream {
    Runs(Script),
    /// Over TLS.
    Secure(Script, TlsAcceptor),
    /// Nobody listens.
    Down,
    /// A server that a test runs by itself, on this port.
    Elsewhere(u16),
}

impl Upstream {
    /// The same service, over TLS with this certificate.
    pub fn over_tls(self, pair: &Pair) -> Self {
        match self {
            Self::Runs(script) | Self::Secure(script, _) => Self::Secure(script, pair.acceptor()),
            other @ (Self::Down | Self::Elsewhere(_)) => other,
        }
    }

    pub fn scheme(&self) -> &'static str {
        if matches!(self, Self::Secure(..)) { "https" } else { "http" }
    }
}

/// One connection, at the service's end.
pub struct Served {
    pub wire: Wire,
    seen: Arc<Mutex<Vec<Head>>>,
}

impl Served {
    /// The next request's head, which is noted down.
    pub async fn request(&mut self) -> Option<Head> {
        let head = self.wire.head().await?;
        self.seen.lock().unwrap().push(head.clone());
        Some(head)
    }
}

/// Runs a script for each connection.
pub fn script<F, W>(script: F) -> Upstream
where
    F: Fn(Served) -> W + Send + Sync + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    Upstream::Runs(Arc::new(move |served| Box::pin(script(served))))
}

/// Answers every request with its method, target and body.
pub fn echo() -> Upstream {
    script(|mut served| async move {
        while let Some(head) = served.request().await {
            let Some(body) = served.wire.body(&head).await else { return };
            let said = format!("{} {}\n{}", head.method(), head.target(), String::from_utf8_lossy(&body));
            let body = if head.method() == "HEAD" { "" } else { said.as_str() };
            let length = said.len();
            served.wire.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")).await;
        }
    })
}

/// Answers every request with these bytes, as they are.
pub fn says(answer: &str) -> Upstream {
    let answer: Arc<str> = answer.into();
    script(move |mut served| {
        let answer = answer.clone();
        async move {
            while let Some(head) = served.request().await {
                if served.wire.body(&head).await.is_none() {
                    return;
                }
                served.wire.send(&*answer).await;
            }
        }
    })
}

/// Answers with one event and stays silent from then on.
pub fn radio() -> Upstream {
    script(|mut served| async move {
        served.request().await;
        served.wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\non\r\n").await;
        while served.wire.some().await.is_some() {}
    })
}

/// Nobody listens there.
pub fn down() -> Upstream {
    Upstream::Down
}

/// A service that runs. Gone when dropped.
pub struct RunningUpstream {
    port: u16,
    seen: Arc<Mutex<Vec<Head>>>,
    connections: Arc<AtomicUsize>,
    serving: Option<JoinHandle<()>>,
    script_failed: Arc<AtomicBool>,
    /// Keeps the port of one that is down from everybody else.
    _held: Option<TcpListener>,
}

impl RunningUpstream {
    pub fn start(upstream: &Upstream) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (script, tls) = match upstream.clone() {
            Upstream::Runs(script) => (script, None),
            Upstream::Secure(script, tls) => (script, Some(tls)),
            Upstream::Down | Upstream::Elsewhere(_) => {
                let (port, held) = match upstream {
                    Upstream::Elsewhere(port) => (*port, None),
                    _ => {
                        let (port, held) = reserve();
                        (port, Some(held))
                    }
                };
                return Self {
                    port,
                    seen,
                    connections,
                    serving: None,
                    script_failed: Arc::default(),
                    _held: held,
                };
            }
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let script_failed = Arc::new(AtomicBool::new(false));
        let (noted, counted, failed) = (seen.clone(), connections.clone(), script_failed.clone());
        let serving = tokio::spawn(async move {
            let mut running = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.unwrap();
                        counted.fetch_add(1, Ordering::Relaxed);
                        stream.set_nodelay(true).unwrap();
                        let (script, tls, seen) = (script.clone(), tls.clone(), noted.clone());
                        running.spawn(async move {
                            let wire = match tls {
                                None => Wire::new(stream),
                                // Whoever does not trust the certificate hangs up.
                                Some(tls) => match tls.accept(stream).await {
                                    Ok(stream) => Wire::new(stream),
                                    Err(_) => return,
                                },
                            };
                            script(Served { wire, seen }).await;
                        });
                    }
                    Some(ended) = running.join_next() => {
                        if ended.is_err_and(|error| error.is_panic()) {
                            failed.store(true, Ordering::Relaxed);
                        }
                    }
                }
            }
        });
        Self { port, seen, connections, serving: Some(serving), script_failed, _held: None }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The heads of all requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Head> {
        self.seen.lock().unwrap().clone()
    }

    /// How many connections were ever opened to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for RunningUpstream {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
        // What a script asserts counts like what the test does.
        let failed = self.script_failed.load(Ordering::Relaxed);
        assert!(!failed || std::thread::panicking(), "the script of a service failed");
    }
}
