//! Where an upstream is: names are looked up ahead of requests, never by them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::config::{Upstream, UpstreamHost};
use crate::linux::wsl;

/// How often names are looked up anew.
const REFRESH: Duration = Duration::from_secs(30);

/// One upstream's addresses, as last looked up.
#[derive(Debug)]
pub struct Place {
    host: UpstreamHost,
    port: u16,
    found: ArcSwap<Found>,
    /// A look-up is on its way, so that a thousand failed requests ask for one.
    asked: AtomicBool,
}

/// The outcome of a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub addresses: Vec<SocketAddr>,
    /// Why there are none.
    pub error: Option<String>,
}

impl Place {
    pub fn new(upstream: &Upstream) -> Self {
        let found = match upstream.host {
            UpstreamHost::Address(ip) => {
                Found { addresses: vec![SocketAddr::new(ip, upstream.port)], error: None }
            }
            _ => Found { addresses: Vec::new(), error: Some("not looked up yet".to_owned()) },
        };
        Self {
            host: upstream.host.clone(),
            port: upstream.port,
            found: ArcSwap::from_pointee(found),
            asked: AtomicBool::new(false),
        }
    }

    /// The addresses to try, in order.
    pub fn now(&self) -> arc_swap::Guard<Arc<Found>> {
        self.found.load()
    }

    /// The upstream's name for TLS, where it has one.
    pub fn host(&self) -> &UpstreamHost {
        &self.host
    }

    fn is_fixed(&self) -> bool {
        matches!(self.host, UpstreamHost::Address(_))
    }

    async fn look_up(&self) {
        let outcome: Result<Vec<IpAddr>, String> = match &self.host {
            UpstreamHost::Address(_) => return,
            UpstreamHost::WindowsHost => {
                wsl::windows_host().map(|ip| vec![ip]).map_err(|error| error.to_string())
            }
            UpstreamHost::Name(name) => tokio::net::lookup_host((name.as_str(), self.port))
                .await
                .map(|found| found.map(|at| at.ip()).collect())
                .map_err(|error| format!("cannot look up {name}: {error}")),
        };
        match outcome {
            Ok(ips) => {
                let addresses = ips.into_iter().map(|ip| SocketAddr::new(ip, self.port)).collect();
                self.found.store(Arc::new(Found { addresses, error: None }));
            }
            // A name server that is out for a minute must not take a working upstream with it.
            Err(_) if !self.found.load().addresses.is_empty() => {}
            Err(error) => {
                self.found.store(Arc::new(Found { addresses: Vec::new(), error: Some(error) }));
            }
        }
    }
}

/// Keeps places up to date in the background.
#[derive(Clone, Debug)]
pub struct Resolver {
    ask: mpsc::Sender<Weak<Place>>,
}

impl Resolver {
    /// Starts the look-ups on the runtime it is called from.
    pub fn start() -> Self {
        let (ask, mut asked) = mpsc::channel::<Weak<Place>>(256);
        tokio::spawn(async move {
            let mut known: Vec<Weak<Place>> = Vec::new();
            let mut tick = tokio::time::interval(REFRESH);
            loop {
                tokio::select! {
                    place = asked.recv() => {
                        let Some(place) = place else { return };
                        if let Some(found) = place.upgrade() {
                            found.asked.store(false, Ordering::Relaxed);
                            found.look_up().await;
                        }
                        if !known.iter().any(|other| other.ptr_eq(&place)) {
                            known.push(place);
                        }
                    }
                    _ = tick.tick() => {
                        known.retain(|place| place.strong_count() > 0);
                        for place in known.clone() {
                            if let Some(place) = place.upgrade() {
                                place.look_up().await;
                            }
                        }
                    }
                }
            }
        });
        Self { ask }
    }

    /// Looks a place up now, and regularly from here on. Returns at once.
    pub fn refresh(&self, place: &Arc<Place>) {
        if !place.is_fixed() && !place.asked.swap(true, Ordering::Relaxed) {
            // Without room, the next failure or the next round looks it up.
            if self.ask.try_send(Arc::downgrade(place)).is_err() {
                place.asked.store(false, Ordering::Relaxed);
            }
        }
    }
}
