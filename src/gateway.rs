//! The gateway as a whole: the only wiring. What differs between a real network, the demo and a test comes in as a
//! [`World`]; everything else is the same.

mod keep;
mod report;
mod tell;

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::admin;
use crate::audit::{AuditGauge, Auditor, Retention};
use crate::ca::{self, Alpn, Ca, CaError, Certificates, CurrentCertificates, StrangerCertificates};
use crate::config::names::{self, Bearer};
use crate::config::{Config, Problem, Problems, Tls};
use crate::identity::{IdentityProof, Member, Origin, Roster};
use crate::linux;
use crate::model::Clock;
use crate::notify::{Notifier, NotifyStatus};
use crate::overlay::{Overlay, Pinning};
use crate::policy::Rules;
use crate::proxy::{BindFault, Limits, Means, Shared, ThreadStats, Worker, WorkerSetup};
use crate::services::{Resolver, Site, SiteError};
use crate::store::{self, StoreError};
use crate::sync::RosterFeed;

/// What a gateway stands in: the parts that are not the same everywhere.
pub struct World {
    pub clock: Arc<dyn Clock>,
    /// How a connection's link-layer origin is read.
    pub origin: Arc<dyn Origin>,
    /// The ZeroTier device and its addresses.
    pub overlay: watch::Receiver<Overlay>,
    /// How identity is proved here, in words for people.
    pub proof: &'static str,
    /// Who the members are.
    pub members: RosterFeed,
    /// Whether neighbour entries of active members are pinned, so that no answer reaches anybody else.
    pub pinning: watch::Receiver<Pinning>,
    /// Plain HTTP ports beside the configured one.
    pub more_http_ports: Vec<u16>,
    /// Within these, as many connections as the process may have files.
    pub limits: Limits,
    /// How much of the past the audit log keeps, and of whom.
    pub audit: Retention,
    /// Threads of the data path; one a core is best.
    pub threads: usize,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}: {1}")]
    Lock(String, std::io::Error),
    #[error("another ztgate is running on the state folder {0}; stop that first: systemctl stop ztgate")]
    Running(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error("the admin socket {0}: {1}")]
    Admin(String, std::io::Error),
    #[error("no thread to serve with: {0}")]
    Thread(std::io::Error),
}

/// A gateway at work.
pub struct Gateway {
    inner: Arc<Inner>,
    tasks: JoinSet<()>,
    workers: Vec<Worker>,
    stop: watch::Sender<bool>,
    auditor: Auditor,
    /// Kept open for as long as the gateway runs.
    _lock: File,
}

/// What the gateway's tasks share. Nothing in it is touched by a request.
struct Inner {
    clock: Arc<dyn Clock>,
    started: Timestamp,
    config: watch::Sender<Arc<Config>>,
    config_error: ArcSwapOption<String>,
    site: ArcSwap<Site>,
    rules: ArcSwap<Rules>,
    shared: ArcSwapOption<Shared>,
    /// The roster that requests are judged by now.
    judged_by: ArcSwapOption<Roster>,
    changed: watch::Sender<u64>,
    certificates: Arc<CurrentCertificates>,
    resolver: Resolver,
    overlay: watch::Receiver<Overlay>,
    members: RosterFeed,
    pinning: watch::Receiver<Pinning>,
    faults: ArcSwap<Vec<BindFault>>,
    stats: Vec<Arc<ThreadStats>>,
    /// Of all threads together.
    most_connections: u64,
    audit: AuditGauge,
    more_http_ports: Vec<u16>,
    notified: watch::Receiver<NotifyStatus>,
}

impl Gateway {
    /// Starts everything. Ports open once a roster is there; until then the admin socket tells what is waited for.
    ///
    /// # Errors
    /// Whatever would keep it from ever working: the state folder, the CA, the admin socket.
    pub fn start(config: watch::Sender<Arc<Config>>, world: World) -> Result<Self, StartError> {
        let first_config = config.borrow().clone();
        let state_dir = first_config.state_dir.clone();
        store::make_state_dir(&state_dir)?;
        let name = || state_dir.display().to_string();
        let lock = lock(&state_dir).map_err(|error| match error {
            TryLockError::WouldBlock => StartError::Running(name()),
            TryLockError::Error(error) => StartError::Lock(name(), error),
        })?;
        let auditor = Auditor::start_keeping(&state_dir.join("audit.db"), world.clock.clone(), world.audit)?;
        let resolver = Resolver::start();
        let site = Site::new(&first_config, None)?;
        for route in site.routes() {
            resolver.refresh(&route.place);
        }
        let certificates = CurrentCertificates::new(certificates(&first_config, &site, &world.clock)?);
        let tls = ca::server_config(certificates.clone(), Alpn::Http2)?;
        let http1 = ca::server_config(certificates.clone(), Alpn::Http1)?;
        let strangers = Arc::new(StrangerCertificates(certificates.clone()));
        let strangers = ca::server_config(strangers, Alpn::Http2)?;
        let limits = world.limits.within(open_files(), world.threads);
        let (notifier, notifying) = Notifier::start(config.subscribe(), &state_dir, world.clock.clone());
        let news = world.members.news.subscribe();
        let stats: Vec<Arc<ThreadStats>> = (0..world.threads).map(|_| Arc::default()).collect();
        let inner = Arc::new(Inner {
            started: world.clock.now(),
            clock: world.clock.clone(),
            rules: ArcSwap::from_pointee(Rules::compile(&first_config)),
            config,
            config_error: ArcSwapOption::empty(),
            site: ArcSwap::from_pointee(site),
            shared: ArcSwapOption::empty(),
            judged_by: ArcSwapOption::empty(),
            changed: watch::Sender::new(0),
            certificates,
            resolver: resolver.clone(),
            overlay: world.overlay,
            members: world.members,
            pinning: world.pinning,
            faults: ArcSwap::default(),
            stats: stats.clone(),
            most_connections: u64::from(limits.connections_of_all) * world.threads as u64,
            audit: auditor.gauge(),
            more_http_ports: world.more_http_ports,
            notified: notifier.status(),
        });

        let socket = admin::socket(&state_dir);
        let serving = admin::serve(&socket, inner.admin_state())
            .map_err(|error| StartError::Admin(socket.display().to_string(), error))?;
        let (stop, stopping) = watch::channel(false);
        let (binds, wanted) = watch::channel(Arc::from([]));
        let (faults, reported) = mpsc::channel(256);
        let (ready, first) = watch::channel(None);

        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!("admin socket: {error}");
            }
        });
        tasks.spawn(keep::snapshot(inner.clone(), ready));
        tasks.spawn(keep::binds(inner.clone(), binds));
        tasks.spawn(keep::faults(inner.clone(), reported));
        tasks.spawn(tell::news(inner.clone(), news, notifier));
        tasks.spawn(notifying);

        let start = world.clock.now().as_millisecond() as u64;
        let mut workers = Vec::new();
        for (index, stats) in stats.into_iter().enumerate() {
            let setup = WorkerSetup {
                means: Means {
                    shared: first.clone(),
                    tls: tls.clone(),
                    http1: http1.clone(),
                    strangers: strangers.clone(),
                    clock: world.clock.clone(),
                    proof: world.proof,
                    limits: limits.clone(),
                    recorder: auditor.recorder(),
                    resolver: resolver.clone(),
                    stats,
                    request_prefix: (start << 8) | index as u64,
                },
                origin: world.origin.clone(),
                binds: wanted.clone(),
                changed: inner.changed.subscribe(),
                stop: stopping.clone(),
                faults: faults.clone(),
            };
            workers.push(Worker::start(index, setup).map_err(StartError::Thread)?);
        }
        Ok(Self { inner, tasks, workers, stop, auditor, _lock: lock })
    }

    /// Puts a new configuration in force without dropping a connection, and returns its warnings. A changed port is one of
    /// them: it takes a restart, and the rest of the file does not wait for that.
    ///
    /// # Errors
    /// It cannot be put in force, or is about another network, zone, state folder, controller or source of certificates,
    /// which takes a restart; the old one stays.
    pub fn reload(&self, config: Config) -> Result<Vec<Problem>, String> {
        let outcome = self.inner.adopt(config);
        self.inner.config_error.store(outcome.as_ref().err().map(|why| Arc::new(why.clone())));
        outcome
    }

    /// Notes that the newest configuration could not even be read.
    pub fn keep_old_config(&self, why: String) {
        self.inner.config_error.store(Some(Arc::new(why)));
    }

    pub fn status(&self) -> admin::Status {
        self.inner.status()
    }

    /// Whether requests are judged by the newest roster, which is put in force within a moment.
    pub fn is_up_to_date(&self) -> bool {
        self.inner.is_up_to_date()
    }

    /// How many members are proved to be who they say.
    pub fn proved(&self) -> usize {
        let roster = self.inner.members.roster.borrow();
        let proved = |member: &&Arc<Member>| member.proof == IdentityProof::Proven;
        roster.as_ref().map_or(0, |roster| roster.sorted().into_iter().filter(proved).count())
    }

    /// Whether ports are open.
    pub fn is_listening(&self) -> bool {
        self.inner.status().listeners.iter().any(|listener| listener.error.is_none())
    }

    /// Stops listening, lets requests under way end for a moment, and writes every record.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        let workers = std::mem::take(&mut self.workers);
        let joined = tokio::task::spawn_blocking(move || workers.into_iter().for_each(Worker::join)).await;
        if joined.is_err() {
            tracing::error!("a thread did not end in order");
        }
        self.tasks.shutdown().await;
        let auditor = self.auditor;
        if tokio::task::spawn_blocking(move || auditor.shutdown()).await.is_err() {
            tracing::error!("the audit log was not closed in order");
        }
    }
}

/// Sees to it that one state folder has one gateway. A second one of the same user would get its share of the connections
/// (SO_REUSEPORT), the admin socket, and a hand in the audit chain and the neighbour table.
///
/// The kernel lets go of the lock however the process ends.
fn lock(state_dir: &Path) -> Result<File, TryLockError> {
    let file = File::options().create(true).truncate(false).write(true).open(state_dir.join("lock"));
    let file = file.map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

/// How many files the process may have open: as many as the system lets it.
fn open_files() -> u64 {
    linux::limits::raise_open_files().unwrap_or_else(|error| {
        tracing::warn!("the limit of open files cannot be told, let alone raised: {error}");
        // What every system allows.
        1024
    })
}

fn certificates(config: &Config, site: &Site, clock: &Arc<dyn Clock>) -> Result<Certificates, CaError> {
    match &config.tls {
        Tls::PrivateCa => {
            let ca = Ca::open_or_create(&config.state_dir, &config.zone, clock.now())?;
            Certificates::issued(Arc::new(ca), site.names(), clock.clone())
        }
        Tls::Files { certificate, key } => Certificates::from_pem(certificate, key, clock.now()),
    }
}

/// Leaves the ports as they are: whoever is connected, and each address that the gateway has told, relies on them.
fn keep_ports(old: &Config, new: &mut Config) {
    let Config { http_port, https_port, warnings, file, .. } = new;
    for (key, was, port) in
        [("http_port", old.http_port, http_port), ("https_port", old.https_port, https_port)]
    {
        let wanted = std::mem::replace(port, was);
        if wanted != was {
            warnings.push(Problem {
                file: file.file_name().unwrap_or_default().into(),
                line: None,
                key: Some(key.to_owned()),
                message: format!(
                    "{wanted} takes a restart, and the port stays {was} until then; the rest is in force"
                ),
                hint: Some("systemctl restart ztgate".to_owned()),
            });
        }
    }
}

/// A member with the names that it brings into use.
fn bearer(member: &Member) -> Bearer<'_> {
    let Member { id, device, owner, groups, .. } = member;
    Bearer { id: *id, name: device.as_ref(), owner: owner.as_ref(), groups }
}

impl Inner {
    fn is_up_to_date(&self) -> bool {
        let newest = self.members.roster.borrow();
        match (newest.as_ref(), self.judged_by.load().as_ref()) {
            (Some(newest), Some(judged_by)) => Arc::ptr_eq(newest, judged_by),
            (newest, _) => newest.is_none(),
        }
    }

    fn adopt(&self, mut config: Config) -> Result<Vec<Problem>, String> {
        let old = self.config.borrow().clone();
        for (what, differs) in [
            ("network", old.network != config.network),
            ("zone", old.zone != config.zone),
            ("state_dir", old.state_dir != config.state_dir),
            ("controller", old.controller != config.controller || old.node != config.node),
            ("tls", old.tls != config.tls),
        ] {
            if differs {
                return Err(format!("a changed {what} takes a restart: systemctl restart ztgate"));
            }
        }
        keep_ports(&old, &mut config);
        let site = Site::new(&config, Some(&self.site.load())).map_err(|error| error.to_string())?;
        let renewed = match &config.tls {
            Tls::PrivateCa => self.certificates.load().renamed(site.names()),
            // Whoever renews them leaves the paths as they are.
            Tls::Files { certificate, key } => Certificates::from_pem(certificate, key, self.clock.now()),
        };
        let renewed = renewed.map_err(|error| error.to_string())?;
        for route in site.routes() {
            self.resolver.refresh(&route.place);
        }
        let (rules, warnings) = (Rules::compile(&config), config.warnings.clone());
        let mut clashes = Vec::new();
        // Orders hold their names against the configuration under the same lock, so whichever comes second sees the other.
        self.config.send_if_modified(|current| {
            clashes = self.clashes(&config);
            let is_sound = clashes.is_empty();
            if is_sound {
                self.certificates.replace(renewed);
                self.rules.store(Arc::new(rules));
                self.site.store(Arc::new(site));
                *current = Arc::new(config);
            }
            is_sound
        });
        if clashes.is_empty() { Ok(warnings) } else { Err(Problems(&clashes).to_string()) }
    }

    /// The groups of a configuration that have the name of somebody, or will in a moment.
    fn clashes(&self, config: &Config) -> Vec<Problem> {
        // Before the roster: what is no longer here is in it.
        let naming = self.members.naming.borrow().clone();
        let roster = self.members.roster.borrow().clone();
        let members: Vec<_> = roster.iter().flat_map(|roster| roster.sorted()).cloned().collect();
        let named = naming.iter().map(|(id, profile)| Bearer {
            id: *id,
            name: profile.name.as_ref(),
            owner: profile.owner.as_ref(),
            groups: &profile.groups,
        });
        names::clashes(config, named.chain(members.iter().map(|member| bearer(member))))
    }

    /// The roster as the data path takes it.
    fn effective(&self, roster: &Arc<Roster>) -> Arc<Roster> {
        Arc::new(self.pinning.borrow().bind(roster, &self.overlay.borrow()))
    }

    fn admin_state(self: &Arc<Self>) -> admin::State {
        let (for_status, for_shared, for_nft) = (self.clone(), self.clone(), self.clone());
        admin::State {
            clock: self.clock.clone(),
            status: Arc::new(move || for_status.status()),
            shared: Arc::new(move || for_shared.shared.load_full()),
            nft: Arc::new(move |port, members| for_nft.ruleset(port, members)),
            devices: self.members.devices.clone(),
            orders: self.members.orders.clone(),
            in_force: {
                let inner = self.clone();
                Arc::new(move || inner.is_up_to_date())
            },
        }
    }
}
