//! The site: every name that the gateway answers to. Immutable; a changed configuration makes a new one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ca::{Alpn, Handshake};
use crate::config::{Config, Service};
use crate::model::{Label, Zone};

use super::open::{self, OpenError};
use super::upstream_tls::{ClientTls, UpstreamTlsError};
use super::{Health, Origins, Place};
use crate::services::Room;

/// The gateway's own name in the zone.
pub const GATE: &str = "gate";

/// The name that the trust page asks over https. Nobody opens it, so nobody clicks a warning for it away, which browsers
/// would remember for that name and take for trust.
pub const TRUST_PROBE: &str = "trust-probe";

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Target {
    /// The gateway's own pages.
    Gate,
    /// What the trust page asks.
    TrustProbe,
    Service(Arc<Route>),
}

/// One service as the data path needs it.
#[derive(Clone, Debug)]
pub struct Route {
    pub service: Arc<Service>,
    /// The service's name, for records.
    pub word: Arc<str>,
    /// Where the upstream is right now.
    pub place: Arc<Place>,
    pub health: Arc<Health>,
    /// What its kind makes of what is said to it.
    pub room: Arc<dyn Room>,
    /// How to speak TLS to it, if it wants TLS.
    pub tls: Option<ClientTls>,
    /// Whose pages may use it.
    pub origins: Origins,
    /// The upstream's own authority as it may name itself in `Location`: `host` and `host:port`.
    pub own_authorities: Vec<String>,
}

impl Route {
    pub fn name(&self) -> &Label {
        &self.service.name
    }

    /// The scheme that the upstream is spoken to by.
    pub fn scheme(&self) -> &'static str {
        if self.service.upstream.tls.is_some() { "https" } else { "http" }
    }
}

/// How the handshakes for a service's names go.
fn handshake(service: &Service) -> Handshake {
    let alpn = if service.http1_only { Alpn::Http1 } else { Alpn::Http2 };
    Handshake { alpn, oldest: service.min_tls }
}

/// A service whose route cannot be laid.
#[derive(Debug, thiserror::Error)]
#[error("service.{service}: {source}")]
pub struct SiteError {
    pub service: Label,
    pub source: RouteError,
}

/// Why a route cannot be laid.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    #[error(transparent)]
    Tls(#[from] UpstreamTlsError),
    #[error(transparent)]
    Room(#[from] OpenError),
}

/// Every name that the gateway answers to.
#[derive(Debug)]
pub struct Site {
    pub zone: Zone,
    pub http_port: u16,
    pub https_port: u16,
    names: HashMap<Box<str>, Target>,
    /// The names whose handshakes are not the usual ones.
    handshakes: HashMap<Box<str>, Handshake>,
    /// For whoever asks for no name, and may ask for any later.
    nameless: Handshake,
    gate_origins: Origins,
    /// The ports that only some services have.
    extra_ports: Vec<u16>,
    routes: Vec<Arc<Route>>,
}

impl Site {
    /// Lays out a configuration's names. A service whose upstream did not change keeps what `previous` learned about
    /// it: its addresses and since when it has been down.
    pub fn new(config: &Config, previous: Option<&Site>) -> Result<Self, SiteError> {
        let mut names = HashMap::new();
        let mut handshakes = HashMap::new();
        let mut nameless = Handshake::default();
        let gate = config.zone.name(GATE);
        names.insert(gate.into_boxed_str(), Target::Gate);
        names.insert(config.zone.name(TRUST_PROBE).into_boxed_str(), Target::TrustProbe);
        let mut routes = Vec::with_capacity(config.services.len());
        for service in &config.services {
            let error = |source| SiteError { service: service.name.clone(), source };
            let known = previous
                .and_then(|site| site.route(service.name.as_str()))
                .filter(|route| route.service.upstream == service.upstream);
            let route = Arc::new(Route {
                place: known
                    .map_or_else(|| Arc::new(Place::new(&service.upstream)), |route| route.place.clone()),
                health: known.map_or_else(Arc::default, |route| route.health.clone()),
                own_authorities: own_authorities(service),
                origins: Origins::of_service(config, service),
                tls: ClientTls::new(&service.upstream).map_err(|why| error(why.into()))?,
                room: open::room(service).map_err(|why| error(why.into()))?,
                word: service.name.shared(),
                service: service.clone(),
            });
            let handshake = handshake(service);
            nameless.oldest = nameless.oldest.max(handshake.oldest);
            for label in std::iter::once(&service.name).chain(&service.aliases) {
                let name = config.zone.name(label.as_str()).into_boxed_str();
                if handshake != Handshake::default() {
                    handshakes.insert(name.clone(), handshake);
                }
                names.insert(name, Target::Service(route.clone()));
            }
            routes.push(route);
        }
        Ok(Self {
            zone: config.zone.clone(),
            http_port: config.http_port,
            https_port: config.https_port,
            names,
            handshakes,
            nameless,
            gate_origins: Origins::of_gate(config),
            extra_ports: config.extra_ports(),
            routes,
        })
    }

    /// How a handshake for this name goes. Without a name it takes what the strictest service takes: the request that
    /// follows may be for that one.
    pub fn handshake(&self, name: Option<&str>) -> Handshake {
        name.map_or(self.nameless, |name| self.handshakes.get(name).copied().unwrap_or_default())
    }

    /// The same site with routes of its own, so that a thread that hands them out shares no count with another thread.
    pub fn for_thread(&self) -> Self {
        let own =
            |route: &Arc<Route>| Arc::new(Route { word: Arc::from(&*route.word), ..Route::clone(route) });
        let own: Vec<Arc<Route>> = self.routes.iter().map(own).collect();
        let mine = |target: &Target| match target {
            Target::Gate => Target::Gate,
            Target::TrustProbe => Target::TrustProbe,
            Target::Service(route) => {
                let at = self.routes.iter().position(|known| Arc::ptr_eq(known, route));
                Target::Service(at.and_then(|at| own.get(at)).unwrap_or(route).clone())
            }
        };
        Self {
            zone: self.zone.clone(),
            http_port: self.http_port,
            https_port: self.https_port,
            names: self.names.iter().map(|(name, target)| (name.clone(), mine(target))).collect(),
            handshakes: self.handshakes.clone(),
            nameless: self.nameless,
            gate_origins: self.gate_origins.clone(),
            extra_ports: self.extra_ports.clone(),
            routes: own,
        }
    }

    /// What a full, lower-case host name stands for.
    pub fn find(&self, host: &str) -> Option<&Target> {
        self.names.get(host)
    }

    /// The same for whoever came in on this port.
    pub fn find_on(&self, host: &str, port: u16) -> Option<&Target> {
        let is_extra = self.is_extra(port);
        self.find(host).filter(|target| match target {
            Target::Service(route) => !is_extra || route.service.extra_ports.contains(&port),
            Target::Gate | Target::TrustProbe => !is_extra,
        })
    }

    /// Whether only some services are found on a port.
    pub fn is_extra(&self, port: u16) -> bool {
        self.extra_ports.contains(&port)
    }

    /// Whose pages may use what a name stands for.
    pub fn origins<'a>(&'a self, target: &'a Target) -> &'a Origins {
        match target {
            // Nobody's pages but the gate's ask it.
            Target::Gate | Target::TrustProbe => &self.gate_origins,
            Target::Service(route) => &route.origins,
        }
    }

    pub fn route(&self, service: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.name().as_str() == service)
    }

    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Every name, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(AsRef::as_ref)
    }

    /// The gateway's own full name.
    pub fn gate(&self) -> String {
        self.zone.name(GATE)
    }
}

fn own_authorities(service: &Service) -> Vec<String> {
    use crate::config::UpstreamHost;
    let upstream = &service.upstream;
    let host = match &upstream.host {
        UpstreamHost::Address(std::net::IpAddr::V6(v6)) => format!("[{v6}]"),
        UpstreamHost::Address(v4) => v4.to_string(),
        UpstreamHost::Name(name) => name.to_ascii_lowercase(),
        UpstreamHost::WindowsHost => return Vec::new(),
    };
    let default = if upstream.tls.is_some() { 443 } else { 80 };
    let with_port = format!("{host}:{}", upstream.port);
    if upstream.port == default { vec![host, with_port] } else { vec![with_port] }
}
