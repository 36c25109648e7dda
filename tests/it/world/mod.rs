//! A small world to test in: devices, services, a controller, and the gateway between them.
//!
//! Each device has a loopback address of its own (127.0.1.N), from which it connects, so that the check of addresses
//! means something here; [`origin`] simulates the link layer below it.

mod audit;
pub mod command;
pub mod device;
pub mod h2;
pub mod orders;
mod origin;
pub mod pem;
mod plan;
pub mod upstream;
pub mod wire;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use ztgate::audit::Retention;
use ztgate::config::{self, Config, Problems};
use ztgate::demo::standin::{Fault, NodeStandin, REAL_MEMBERS, StandinHandle, StandinMember};
use ztgate::dns;
use ztgate::gateway::{self, Gateway};
use ztgate::identity::Roster;
use ztgate::linux::clock::SystemClock;
use ztgate::model::{Clock, MemberId};
use ztgate::overlay::{Overlay, OverlayState, Pinning};
use ztgate::proxy::Limits;
use ztgate::sync::{self, RosterFeed, RosterThread};

pub use device::{Device, trusting};
pub use plan::{Plan, reserve, secret_file};
pub use upstream::{Upstream, echo};
pub use wire::Wire;

use audit::AuditView;
use origin::SourceOrigin;
use plan::{NETWORK, Ports, TOKEN};
use upstream::RunningUpstream;

/// How long anything may take that must happen at all.
pub const SOON: Duration = Duration::from_secs(5);

/// A world that is being drawn.
pub struct World {
    plan: Plan,
    limits: Limits,
    dns: dns::Limits,
    clock: Arc<dyn Clock>,
    folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let limits = Limits {
            handshake: Duration::from_secs(2),
            head: Duration::from_millis(500),
            connect: Duration::from_millis(500),
            answer: Duration::from_secs(2),
            go_on: Duration::from_millis(300),
            drain: Duration::from_millis(300),
            ..Limits::default()
        };
        let folder = tempfile::tempdir().unwrap();
        Self {
            plan: Plan::default(),
            limits,
            dns: dns::Limits::default(),
            clock: Arc::new(SystemClock),
            folder,
        }
    }

    /// An enrolled device, by this name in the device list.
    pub fn member(mut self, name: &str) -> Self {
        self.plan.device(name, true);
        self
    }

    /// A device that knocks.
    pub fn pending(mut self, name: &str) -> Self {
        self.plan.device(name, false);
        self
    }

    /// A device that the controller has never heard of.
    pub fn stranger(mut self, name: &str) -> Self {
        self.plan.stranger(name);
        self
    }

    /// A device that asks to join later, in a world of at most three others: [`Live::joins`].
    pub fn absent(mut self, name: &str) -> Self {
        self.plan.absent(name);
        self
    }

    pub fn service(self, name: &str, upstream: Upstream) -> Self {
        self.service_with(name, upstream, "")
    }

    /// A service with more lines in its paragraph.
    pub fn service_with(mut self, name: &str, upstream: Upstream, lines: &str) -> Self {
        self.plan.service(name, &upstream, lines);
        self
    }

    pub fn allow(mut self, device: &str, service: &str) -> Self {
        self.plan.allow(device, service);
        self
    }

    /// Lets a device in with a role, at a service whose kind has roles.
    pub fn allow_as(mut self, device: &str, role: &str, service: &str) -> Self {
        self.plan.allow_as(device, role, service);
        self
    }

    /// More lines of the gateway's own in the configuration.
    pub fn gateway_lines(mut self, lines: &str) -> Self {
        self.plan.gateway_lines(lines);
        self
    }

    /// Another zone than `home.arpa`. [`Device`]'s own requests know that one only.
    pub fn zone(mut self, zone: &str) -> Self {
        self.plan.zone = Some(zone.to_owned());
        self
    }

    /// The folder of the configuration, before and while the world runs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// With DNS, and more lines in its paragraph.
    pub fn dns(mut self, lines: &str) -> Self {
        self.plan.dns = Some(lines.to_owned());
        self
    }

    pub fn dns_limits(mut self, change: impl FnOnce(&mut dns::Limits)) -> Self {
        change(&mut self.dns);
        self
    }

    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Starts everything, and waits until it serves.
    pub async fn start(self) -> Live {
        let Self { mut plan, limits, dns, clock, folder } = self;
        let ports = Ports::reserve();
        let network = StandinHandle::new(plan.network());
        let node = NodeStandin::start(&network, TOKEN).await.unwrap();
        let upstreams = plan.start_upstreams();
        plan.write(folder.path(), &node.url(), &ports);
        let origin = Arc::new(SourceOrigin::new(NETWORK.parse().unwrap(), plan.sources()));
        let parts = Parts { limits, dns, clock, origin, folder };
        let started = parts.start();
        let live = Live { plan, parts, ports, network, upstreams, started: Some(started), node };
        live.serves().await;
        live
    }
}

/// What outlives a restart of the gateway.
struct Parts {
    limits: Limits,
    dns: dns::Limits,
    clock: Arc<dyn Clock>,
    origin: Arc<SourceOrigin>,
    folder: tempfile::TempDir,
}

struct Started {
    gateway: Gateway,
    feed: RosterFeed,
    roster: RosterThread,
    overlay: watch::Sender<Overlay>,
}

impl Parts {
    fn config(&self) -> Result<Config, String> {
        config::load(&self.folder.path().join("ztgate.toml"))
            .map_err(|problems| Problems(&problems).to_string())
    }

    fn start(&self) -> Started {
        let config = self.config().unwrap_or_else(|problems| panic!("{problems}"));
        let config = watch::Sender::new(Arc::new(config));
        let (task, feed) = sync::start(config.subscribe(), self.clock.clone()).unwrap();
        let roster = task.start().unwrap();
        let overlay = watch::Sender::new(Overlay {
            state: OverlayState::Up,
            device: None,
            ifindex: 0,
            addresses: vec![Ipv4Addr::LOCALHOST.into()],
            own: None,
        });
        let world = gateway::World {
            clock: self.clock.clone(),
            origin: self.origin.clone(),
            proof: "by a test",
            overlay: overlay.subscribe(),
            members: feed.clone(),
            pinning: watch::Sender::new(Pinning::On { ifindex: 0, pins: Arc::default() }).subscribe(),
            more_http_ports: Vec::new(),
            limits: self.limits.clone(),
            dns: self.dns.clone(),
            audit: Retention::default(),
            threads: 1,
        };
        let gateway = Gateway::start(config, world).unwrap();
        Started { gateway, feed, roster, overlay }
    }
}

/// A world that runs. Its gateway ends when it is dropped.
pub struct Live {
    plan: Plan,
    parts: Parts,
    ports: Ports,
    network: StandinHandle,
    upstreams: HashMap<String, RunningUpstream>,
    started: Option<Started>,
    node: NodeStandin,
}

impl Live {
    /// A device, to send requests from.
    pub fn from(&self, name: &str) -> Device<'_> {
        Device { world: self, source: self.plan.address(name) }
    }

    /// A service's upstream, to ask what it saw.
    pub fn upstream(&self, service: &str) -> &RunningUpstream {
        self.upstreams.get(service).unwrap_or_else(|| panic!("no service {service} in this world"))
    }

    /// Gives the gateway these addresses on the overlay, in place of those it has.
    pub fn overlay_has(&self, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.started.as_ref().unwrap().overlay.send_modify(|overlay| overlay.addresses = addresses);
    }

    /// The stand-in for node and controller, to change while the world runs.
    pub fn network(&self) -> &StandinHandle {
        &self.network
    }

    pub fn audit(&self) -> AuditView<'_> {
        AuditView { plan: &self.plan, file: self.state_dir().join("audit.db") }
    }

    pub fn gateway(&self) -> &Gateway {
        &self.started.as_ref().unwrap().gateway
    }

    pub fn id(&self, device: &str) -> MemberId {
        self.plan.id(device)
    }

    pub fn http_port(&self) -> u16 {
        self.ports.http
    }

    pub fn https_port(&self) -> u16 {
        self.ports.https
    }

    pub fn dns_port(&self) -> u16 {
        self.ports.dns
    }

    pub fn folder(&self) -> &Path {
        self.parts.folder.path()
    }

    pub fn state_dir(&self) -> PathBuf {
        self.folder().join("state")
    }

    /// From now on, frames from `victim`'s address bear `thief`'s MAC.
    pub fn steals_address(&self, thief: &str, victim: &str) {
        self.parts.origin.put(self.plan.address(victim), self.plan.id(thief));
    }

    /// Takes a device's authorisation back at the controller, and waits until the gateway has heard.
    pub async fn revoke(&self, device: &str) {
        let id = self.id(device);
        self.network.change(|net| net.authorize(id, false));
        self.poll().await;
    }

    /// An absent device asks to join, or comes to the record that was made for it.
    pub fn joins(&self, device: &str) {
        let (id, address) = (self.id(device), self.plan.address(device));
        let is_its = |identity: &&&str| identity.starts_with(&id.to_string());
        let identity = *REAL_MEMBERS.iter().find(is_its).expect("an identity of its own");
        self.network.change(|net| {
            if net.member(id).is_none() {
                net.members.push(StandinMember::new(identity));
            }
            let member = net.member(id).expect("it was just put there");
            member.identity = Some(identity.to_owned());
            member.assigned.push(address);
        });
    }

    /// Has the controller asked now, and waits for the new roster.
    pub async fn poll(&self) {
        let mut roster = self.started.as_ref().unwrap().feed.roster.clone();
        roster.mark_unchanged();
        self.started.as_ref().unwrap().feed.poll_now.notify_one();
        tokio::time::timeout(SOON, roster.changed()).await.expect("no new roster").unwrap();
        self.is_up_to_date().await;
    }

    /// The roster that was published last.
    pub fn roster(&self) -> Arc<Roster> {
        self.started.as_ref().unwrap().feed.roster.borrow().clone().expect("no roster yet")
    }

    /// Makes node and controller fail from now on.
    pub fn controller_fails(&self, fault: Fault) {
        self.network.fail(Some(fault));
    }

    /// Edits the configuration's files and reloads, as an operator would: the warnings, or why the old one stays.
    pub async fn reload(&mut self, edit: impl FnOnce(&mut Plan)) -> Result<Vec<String>, String> {
        edit(&mut self.plan);
        self.upstreams.extend(self.plan.start_upstreams());
        self.plan.write(self.parts.folder.path(), &self.node.url(), &self.ports);
        let outcome = match self.parts.config() {
            Ok(config) => {
                let warnings = self.gateway().reload(config);
                warnings.map(|warnings| warnings.iter().map(ToString::to_string).collect())
            }
            Err(problems) => Err(problems),
        };
        // The new snapshot is put together by a task.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        outcome
    }

    /// Stops the gateway in order. The world around it stays.
    pub async fn stop(&mut self) {
        if let Some(started) = self.started.take() {
            tokio::time::timeout(SOON, started.gateway.stop()).await.expect("the gateway does not stop");
            drop(started.roster);
        }
    }

    /// Stops the gateway and starts it anew on the same state.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.started = Some(self.parts.start());
        self.serves().await;
    }

    /// Waits until identities are proved and ports open.
    async fn serves(&self) {
        let begin = Instant::now();
        let proved = self.plan.known() + 1;
        // Proved is what the newest roster says; requests are judged by it a moment later.
        let ready = |gateway: &Gateway| gateway.proved() >= proved && gateway.is_up_to_date();
        while !ready(self.gateway()) || !is_open(self.ports.http) || !is_open(self.ports.https) {
            assert!(
                begin.elapsed() < SOON * 4,
                "the gateway does not come up: {:?}",
                self.gateway().status()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while self.plan.dns.is_some() && !self.answers_dns() {
            assert!(begin.elapsed() < SOON * 4, "no DNS: {:?}", self.gateway().status().dns);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether its DNS sockets are there, or somebody else's in their place.
    pub fn answers_dns(&self) -> bool {
        // 07 is what an unconnected UDP socket is in.
        let udp = format!("0100007F:{:04X} 00000000:0000 07", self.ports.dns);
        is_open(self.ports.dns) && std::fs::read_to_string("/proc/net/udp").unwrap().contains(&udp)
    }
}

/// Whether somebody listens on a port, without a connection that would leave a record.
fn is_open(port: u16) -> bool {
    // 0A is LISTEN; the address is 127.0.0.1 as the kernel prints it on a little-endian machine.
    let wanted = format!("0100007F:{port:04X} 00000000:0000 0A");
    std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&wanted)
}
