//! Keeps DNS in step with the gateway: what it knows, where it listens, whom it asks about others' names.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::audit::Auditor;
use crate::config::{Config, Tls};
use crate::dns::forward::ForwardStatus;
use crate::dns::{self, Bind, DnsDoor, DnsStatus, Elsewhere, Facts, Fault, View};
use crate::identity::Origin;
use crate::linux::holder::{self, Protocol};
use crate::overlay::Overlay;

use super::keep::{self, in_use, update};
use super::{Inner, StartError};

/// DNS as the gateway's tasks share it.
#[derive(Debug, Default)]
pub(super) struct DnsShared {
    pub faults: arc_swap::ArcSwap<Vec<Fault>>,
    /// Told when they changed.
    pub sockets: Arc<tokio::sync::Notify>,
    pub stats: Arc<dns::Stats>,
}

/// Composes what DNS knows whenever the data path's snapshot, or a listener of its own, changes.
async fn compose(inner: Arc<Inner>, views: watch::Sender<Option<Arc<View>>>) {
    let (mut changed, mut faults) = (inner.changed.subscribe(), inner.faults.subscribe());
    loop {
        changed.borrow_and_update();
        faults.borrow_and_update();
        // In a line of its own: the borrow must have ended before the channel is written to.
        let next = view(&inner, views.borrow().as_deref());
        if let Some(next) = next {
            views.send_replace(Some(Arc::new(next)));
        }
        tokio::select! {
            Ok(()) = changed.changed() => {}
            Ok(()) = faults.changed() => {}
            else => return,
        }
    }
}

fn view(inner: &Inner, previous: Option<&View>) -> Option<View> {
    let snapshot = inner.shared.load_full()?.load();
    let config = inner.config.borrow().clone();
    let (overlay, pinning) = (inner.overlay.borrow().clone(), inner.pinning.borrow().clone());
    let facts = Facts {
        site: &snapshot.site,
        roster: &snapshot.roster,
        overlay: &overlay,
        pinning: &pinning,
        listening: &listening(inner, &overlay, &config, None),
        listening_https: &listening(inner, &overlay, &config, Some(config.https_port)),
        publicly_trusted: matches!(&config.tls, Tls::Acme(acme) if acme.is_public())
            && inner.certificates.load().ends().is_some_and(|end| end > inner.clock.now()),
        now: inner.clock.now(),
    };
    Some(View::compose(&facts, previous))
}

/// The addresses where this web port is open, or at least one. One of them held by another program is no reason to call the other
/// one away.
fn listening(inner: &Inner, overlay: &Overlay, config: &Config, port: Option<u16>) -> Vec<IpAddr> {
    let faults = inner.faults.borrow().clone();
    let wanted = keep::wanted(overlay, config, &[]);
    let open = wanted.iter().filter(|bind| !faults.iter().any(|fault| fault.bind == **bind));
    open.filter(|bind| port.is_none_or(|port| bind.at.port() == port)).map(|bind| bind.at.ip()).collect()
}

/// Wants one socket of each protocol at each overlay address, once there is something to answer by.
async fn doors(
    inner: Arc<Inner>,
    mut views: watch::Receiver<Option<Arc<View>>>,
    binds: watch::Sender<Arc<[Bind]>>,
) {
    let (mut overlay, mut config) = (inner.overlay.clone(), inner.config.subscribe());
    loop {
        let now = overlay.borrow_and_update().clone();
        let config_now = config.borrow_and_update().clone();
        let known = views.borrow_and_update().is_some();
        let wanted = if known { wanted(&now, &config_now) } else { Vec::new() };
        update(&binds, wanted.into());
        tokio::select! {
            Ok(()) = overlay.changed() => {}
            Ok(()) = config.changed() => {}
            Ok(()) = views.changed(), if !known => {}
            else => return,
        }
    }
}

fn wanted(overlay: &Overlay, config: &Config) -> Vec<Bind> {
    if !config.dns.enabled {
        return Vec::new();
    }
    let device: Option<Arc<str>> = overlay.device.as_deref().map(Arc::from);
    let bind = |(&address, protocol): (&IpAddr, Protocol)| Bind {
        at: SocketAddr::new(address, config.dns.port),
        protocol,
        device: device.clone(),
        ifindex: overlay.ifindex,
    };
    let both = |address| [(address, Protocol::Udp), (address, Protocol::Tcp)];
    overlay.addresses.iter().flat_map(both).map(bind).collect()
}

/// Tells DNS whom to ask about others' names, as the configuration has it.
async fn elsewhere(inner: Arc<Inner>, to: watch::Sender<Elsewhere>) {
    let mut config = inner.config.subscribe();
    while config.changed().await.is_ok() {
        update(&to, elsewhere_by(&config.borrow_and_update()));
    }
}

fn elsewhere_by(config: &Config) -> Elsewhere {
    let dns = &config.dns;
    Elsewhere { servers: dns.forward.clone(), private: dns.private.clone(), port: dns.port }
}

/// Keeps the list of sockets that could not be had, and says each once, with the program that is in the way.
async fn faults(inner: Arc<Inner>, mut reported: mpsc::Receiver<Fault>) {
    while let Some(mut report) = reported.recv().await {
        let mut faults = Vec::clone(&inner.dns.faults.load());
        let known_before = faults.len();
        let before = faults.iter().position(|known| known.bind == report.bind);
        let known = before.map(|at| faults.remove(at));
        let (at, protocol) = (report.bind.at, report.bind.protocol);
        if let Some((kind, why)) = &mut report.error {
            if *kind == std::io::ErrorKind::AddrInUse {
                *why = in_use(why, holder::holder(protocol, at));
            }
            if known.is_none_or(|known| known.error != report.error) {
                let why = report.error.as_ref().map_or("", |(_, why)| why.as_str());
                tracing::warn!("no DNS on {at} ({protocol}): {why}; trying again each second");
            }
            faults.push(report);
        } else if known.is_some() {
            tracing::info!("DNS on {at} ({protocol}) after all");
        }
        let wanted = wanted(&inner.overlay.borrow(), &inner.config.borrow());
        faults.retain(|fault| wanted.contains(&fault.bind));
        let differs = faults.len() != known_before;
        inner.dns.faults.store(Arc::new(faults));
        if differs {
            inner.dns.sockets.notify_one();
        }
    }
}

impl Inner {
    /// Starts DNS with the tasks that keep it in step.
    pub(super) fn start_dns(
        self: &Arc<Self>,
        limits: dns::Limits,
        origin: Arc<dyn Origin>,
        auditor: &Auditor,
        stop: watch::Receiver<bool>,
        tasks: &mut JoinSet<()>,
    ) -> Result<dns::Server, StartError> {
        let (to_views, views) = watch::channel(None);
        let (to_binds, binds) = watch::channel(Arc::from([]));
        let (to_elsewhere, elsewhere_now) = watch::channel(elsewhere_by(&self.config.borrow()));
        let (to_faults, reported) = mpsc::channel(256);
        tasks.spawn(compose(self.clone(), to_views));
        tasks.spawn(doors(self.clone(), views.clone(), to_binds));
        tasks.spawn(elsewhere(self.clone(), to_elsewhere));
        tasks.spawn(faults(self.clone(), reported));
        let setup = dns::Setup {
            limits,
            clock: self.clock.clone(),
            origin,
            views,
            elsewhere: elsewhere_now,
            binds,
            faults: to_faults,
            recorder: auditor.recorder(),
            stats: self.dns.stats.clone(),
            stop,
        };
        dns::Server::start(setup).map_err(StartError::Thread)
    }

    pub(super) fn dns_status(&self, overlay: &Overlay, config: &Config, ready: bool) -> DnsStatus {
        let faults = self.dns.faults.load();
        let fault = |bind: &Bind| {
            let fault = faults.iter().find(|fault| fault.bind == *bind)?;
            fault.error.as_ref().map(|(_, why)| why.clone())
        };
        let wanted = if ready { wanted(overlay, config) } else { Vec::new() };
        let door =
            |bind: Bind| DnsDoor { error: fault(&bind), at: bind.at, protocol: bind.protocol.to_string() };
        let stats = &self.dns.stats;
        DnsStatus {
            enabled: config.dns.enabled,
            doors: wanted.into_iter().map(door).collect(),
            forward: ForwardStatus::clone(&stats.forward()),
            counts: stats.counts(),
        }
    }
}
