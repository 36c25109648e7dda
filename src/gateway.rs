//! The gateway as a whole: the only wiring. What differs between a real network, the demo and a test comes in as a
//! [`World`]; everything else is the same.

mod adopt;
mod keep;
mod names;
mod push;
mod report;
mod served;
mod tell;
mod world;
mod zone;

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::acme::{self, AcmeStatus};
use crate::admin;
use crate::audit::{AuditGauge, Auditor};
use crate::ca::{CurrentCertificates, ServerConfigs};
use crate::config::{Config, Problem};
use crate::dns;
use crate::identity::{IdentityProof, Member, Roster};
use crate::linux;
use crate::model::Clock;
use crate::notify::{Notifier, NotifyStatus};
use crate::overlay::{Overlay, Pinning};
use crate::policy::Rules;
use crate::proxy::{BindFault, Means, Shared, ThreadStats, Worker, WorkerSetup};
use crate::publish::PublishStatus;
use crate::push::{PushStatus, Pusher};
use crate::routes::{Resolver, Site};
use crate::store;
use crate::sync::RosterFeed;

use self::names::{Names, Publishing};
use self::zone::DnsShared;
pub use world::{StartError, World};

/// A gateway at work.
pub struct Gateway {
    inner: Arc<Inner>,
    tasks: JoinSet<()>,
    workers: Vec<Worker>,
    names: Names,
    dns: dns::Server,
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
    /// Why the certificates that lie on disk now are not served.
    certificate_fault: ArcSwapOption<String>,
    resolver: Resolver,
    overlay: watch::Receiver<Overlay>,
    members: RosterFeed,
    pinning: watch::Receiver<Pinning>,
    faults: watch::Sender<Arc<Vec<BindFault>>>,
    dns: DnsShared,
    stats: Vec<Arc<ThreadStats>>,
    /// Of all threads together.
    most_connections: u64,
    audit: AuditGauge,
    more_http_ports: Vec<u16>,
    notified: watch::Receiver<NotifyStatus>,
    /// Of certificates from an ACME server, where the configuration names one.
    acme: watch::Receiver<AcmeStatus>,
    publish: watch::Receiver<Option<PublishStatus>>,
    /// The network's DNS setting at the controller.
    push: watch::Receiver<PushStatus>,
    pusher: Pusher,
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
        let (certificates, fault) = served::first(&first_config, &site, &world.clock)?;
        let certificates = CurrentCertificates::new(certificates);
        if let Some(why) = &fault {
            tracing::error!("devices will not believe what is served: {why}");
        }
        let tls = ServerConfigs::new(&certificates)?;
        let trust = Arc::new(served::trust(&first_config, &certificates)?);
        let limits = world.limits.within(open_files(), world.threads);
        let (acme, acme_status) =
            acme::Keeper::new(config.subscribe(), certificates.clone(), world.clock.clone());
        let (tell_published, published) = watch::channel(None);
        let (tell_pushed, pushed) = watch::channel(PushStatus::default());
        let (pusher, push_requests) = Pusher::channel();
        let (notifier, notifying) = Notifier::start(config.subscribe(), &state_dir, world.clock.clone());
        let news = world.members.news.subscribe();
        let stats = ThreadStats::for_threads(world.threads);
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
            certificate_fault: ArcSwapOption::new(fault.map(|why| Arc::new(why.to_string()))),
            resolver: resolver.clone(),
            overlay: world.overlay,
            members: world.members,
            pinning: world.pinning,
            faults: watch::Sender::default(),
            dns: DnsShared::default(),
            stats: stats.clone(),
            most_connections: u64::from(limits.connections_of_all) * world.threads as u64,
            audit: auditor.gauge(),
            more_http_ports: world.more_http_ports,
            notified: notifier.status(),
            acme: acme_status,
            publish: published,
            push: pushed,
            pusher,
        });
        let push = inner.push_keeper(tell_pushed, push_requests)?;

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
        tasks.spawn(served::retry(inner.clone()));
        let dns = inner.start_dns(world.dns, world.origin.clone(), &auditor, stopping.clone(), &mut tasks)?;
        tasks.spawn(tell::news(inner.clone(), news, notifier));
        tasks.spawn(notifying);
        tasks.spawn(push.run());
        let (addresses, own_addresses) = watch::channel(Arc::from([]));
        tasks.spawn(keep::addresses(inner.clone(), addresses));
        let publishing = Publishing {
            config: inner.config.subscribe(),
            addresses: own_addresses,
            clock: world.clock.clone(),
            status: tell_published,
        };
        let names = Names::start(acme, publishing).map_err(StartError::Thread)?;

        let start = world.clock.now().as_millisecond() as u64;
        let mut workers = Vec::new();
        for (index, stats) in stats.into_iter().enumerate() {
            let setup = WorkerSetup {
                means: Means {
                    shared: first.clone(),
                    tls: tls.clone(),
                    clock: world.clock.clone(),
                    proof: world.proof,
                    trust: trust.clone(),
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
        Ok(Self { inner, tasks, workers, names, dns, stop, auditor, _lock: lock })
    }

    /// Puts a new configuration in force without dropping a connection, and returns its warnings. A changed port is one of
    /// them: it takes a restart, and the rest of the file does not wait for that.
    ///
    /// # Errors
    /// It cannot be put in force, or is about another network, zone, state folder, controller or source of certificates,
    /// which takes a restart; the old one stays.
    pub fn reload(&self, config: Config) -> Result<Vec<Problem>, String> {
        let outcome = self.inner.adopt(config).inspect_err(|_| self.inner.renew());
        self.inner.config_error.store(outcome.as_ref().err().map(|why| Arc::new(why.clone())));
        outcome
    }

    /// Notes that the newest configuration could not even be read. Certificates are renewed by the one in force: whoever
    /// renews them, or rotates, does not look whether `ztgate.toml` is right.
    pub fn keep_old_config(&self, why: String) {
        self.inner.renew();
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
        let (workers, names, dns) = (std::mem::take(&mut self.workers), self.names, self.dns);
        let join = move || {
            workers.into_iter().for_each(Worker::join);
            names.join();
            dns.join();
        };
        let joined = tokio::task::spawn_blocking(join).await;
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

impl Inner {
    fn is_up_to_date(&self) -> bool {
        let newest = self.members.roster.borrow();
        match (newest.as_ref(), self.judged_by.load().as_ref()) {
            (Some(newest), Some(judged_by)) => Arc::ptr_eq(newest, judged_by),
            (newest, _) => newest.is_none(),
        }
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
            push: self.pusher.clone(),
            in_force: {
                let inner = self.clone();
                Arc::new(move || inner.is_up_to_date())
            },
        }
    }
}
