//! `ztgate demo`: the whole gateway on one machine, without ZeroTier and without root.
//!
//! Node and controller are stand-ins that answer over HTTP like a recorded real one, so the real clients, roster, rules,
//! proxy, CA and audit log run. Only the link-layer origin is simulated ([`origin`]).

#![allow(clippy::disallowed_methods)]

pub mod origin;
pub mod samples;
pub mod standin;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use tokio::sync::watch;

use crate::audit::Retention;
use crate::config::{self, Config, Problems};
use crate::gateway::{Gateway, StartError, World};
use crate::linux::clock::SystemClock;
use crate::model::{Clock, MemberId, NetworkId};
use crate::overlay::{Overlay, OverlayState, Pinning};
use crate::portal::PROVED_BY_DEMO;
use crate::proxy::Limits;
use crate::sync::{self, RosterThread, SyncError};

use origin::SimulatedOrigin;
use samples::Samples;
use standin::{NodeStandin, REAL_MEMBERS, StandinHandle, StandinMember, StandinNetwork};

/// A recorded network's.
const NETWORK: &str = "5e02d9cb41c0ffee";
const TOKEN: &str = "demo-token";

/// Who the ports pretend to be.
pub const LAPTOP: &str = "laptop";
pub const TABLET: &str = "kids-tablet";

/// The demo's ports.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// An enrolled laptop.
    pub laptop: u16,
    /// A child's tablet.
    pub tablet: u16,
    /// A television that waits to be admitted.
    pub television: u16,
    /// The laptop again, over TLS.
    pub tls: u16,
}

impl Ports {
    /// Four in a row, but for TLS, which keeps the distance that people know.
    pub fn from(first: u16) -> Self {
        Self {
            laptop: first,
            tablet: first.saturating_add(1),
            television: first.saturating_add(2),
            tls: first.saturating_add(363),
        }
    }
}

/// Why the demo does not start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("{}: {source}", folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("a sample service: {0}")]
    Sample(io::Error),
    #[error("the demo's own configuration is not right; please report this\n{0}")]
    Config(String),
    #[error(transparent)]
    Sync(#[from] SyncError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("no port to stand in on: {0}")]
    Standin(io::Error),
    #[error("a demo constant does not parse; please report this")]
    Constant,
}

/// A running demo.
pub struct Demo {
    pub gateway: Gateway,
    pub config_file: PathBuf,
    pub samples: Samples,
    /// The stand-in network, to change while it runs.
    pub network: StandinHandle,
    roster: RosterThread,
    _node: NodeStandin,
}

impl Demo {
    /// Starts everything in a folder of its own.
    pub async fn start(folder: &Path, ports: Ports) -> Result<Self, DemoError> {
        let [gateway, laptop, tablet, television] = four_members()?;
        let network: NetworkId = NETWORK.parse().map_err(|_| DemoError::Constant)?;
        let standin = StandinHandle::new(home(network, [&laptop, &tablet, &television])?);
        let node = NodeStandin::start(&standin, TOKEN).await.map_err(DemoError::Standin)?;
        let samples = Samples::start().await.map_err(DemoError::Sample)?;
        let config_file = write_config(folder, &node.url(), ports, &samples, [&laptop, &tablet])
            .map_err(|source| DemoError::Folder { folder: folder.to_owned(), source })?;
        let config: Config = config::load(&config_file)
            .map_err(|problems| DemoError::Config(Problems(&problems).to_string()))?;

        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let config = watch::Sender::new(Arc::new(config));
        let (task, members) = sync::start(config.subscribe(), clock.clone())?;
        let roster = task.start().map_err(SyncError::Thread)?;
        let origin = SimulatedOrigin::new(
            network,
            [
                (ports.laptop, laptop.id),
                (ports.tls, laptop.id),
                (ports.tablet, tablet.id),
                (ports.television, television.id),
            ],
        );
        let world = World {
            clock,
            origin: Arc::new(origin),
            proof: PROVED_BY_DEMO,
            overlay: watch::Sender::new(loopback(gateway.id)).subscribe(),
            members,
            pinning: watch::Sender::new(Pinning::On { ifindex: 0, pins: Arc::default() }).subscribe(),
            more_http_ports: vec![ports.tablet, ports.television],
            limits: Limits::default(),
            dns: crate::dns::Limits::default(),
            audit: Retention::default(),
            threads: std::thread::available_parallelism().map_or(1, usize::from).min(2),
        };
        let gateway = Gateway::start(config, world)?;
        Ok(Self { gateway, config_file, samples, network: standin, roster, _node: node })
    }

    pub async fn stop(self) {
        self.gateway.stop().await;
        drop(self.roster);
    }
}

/// Loopback in place of ZeroTier's device.
fn loopback(own: MemberId) -> Overlay {
    Overlay {
        state: OverlayState::Up,
        device: None,
        ifindex: 0,
        addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        own: Some(own),
    }
}

struct DemoMember {
    id: MemberId,
    identity: &'static str,
}

fn four_members() -> Result<[DemoMember; 4], DemoError> {
    let member = |at: usize| -> Result<DemoMember, DemoError> {
        let identity = REAL_MEMBERS.get(at).copied().ok_or(DemoError::Constant)?;
        let id = identity.split(':').next().unwrap_or_default();
        Ok(DemoMember { id: id.parse().map_err(|_| DemoError::Constant)?, identity })
    };
    Ok([member(0)?, member(1)?, member(2)?, member(3)?])
}

/// A home: two admitted devices, one that knocks. All of them are this machine, so they share its loopback addresses.
fn home(network: NetworkId, members: [&DemoMember; 3]) -> Result<StandinNetwork, DemoError> {
    let [laptop, tablet, television] = members;
    let at_home = |member: &DemoMember, name: &str| {
        let v4 = IpAddr::from(Ipv4Addr::LOCALHOST);
        StandinMember::new(member.identity).named(name).at(v4).at(Ipv6Addr::LOCALHOST.into())
    };
    let mut standin =
        StandinNetwork::new(network, "home", REAL_MEMBERS[0], "zt-demo").ok_or(DemoError::Constant)?;
    standin.addresses = vec![
        IpNet::new_assert(Ipv4Addr::LOCALHOST.into(), 8),
        IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128),
    ];
    standin.live_clock = true;
    standin.members.push(at_home(laptop, "Laptop").authorized());
    standin.members.push(at_home(tablet, "Tablet of the kids").authorized());
    standin.members.push(at_home(television, "New TV"));
    Ok(standin)
}

/// Writes the configuration that an operator could have written, so that every command finds it.
fn write_config(
    folder: &Path,
    node: &str,
    ports: Ports,
    samples: &Samples,
    devices: [&DemoMember; 2],
) -> io::Result<PathBuf> {
    use std::fmt::Write as _;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

    let mut private = std::fs::DirBuilder::new();
    private.recursive(true).mode(0o700);
    private.create(folder.join("policy"))?;
    let mut config = format!(
        r#"# Written by `ztgate demo`, anew at each start.
network    = "{NETWORK}"
zone       = "localhost"
state_dir  = "state"
http_port  = {http}
https_port = {https}

[node]
url        = "{node}"          # a stand-in that answers like a recorded ZeroTier node
token_file = "node.token"

[dns]
enabled    = false   # all devices of the demo share one address, and that is all that a query shows of its sender

[service.films]
upstream = "http://{films}"
allow    = ["family"]

[service.chat]
upstream = "http://{chat}"
allow    = ["family", "kids"]
"#,
        http = ports.laptop,
        https = ports.tls,
        films = samples.films(),
        chat = samples.chat(),
    );
    if let Some(aria2) = samples.aria2() {
        // Writing to a String cannot fail.
        let _ = write!(
            config,
            "\n[service.aria2]\nkind     = \"aria2\"\nupstream = \"http://{aria2}\"\n\
             allow    = {{ watch = [\"kids\"], add = [\"family\"] }}\n"
        );
    }
    let [laptop, tablet] = devices;
    let people = format!(
        r#"[device.{LAPTOP}]
id     = "{}"
owner  = "mum"
groups = ["family"]

[device.{TABLET}]
id     = "{}"
owner  = "lea"
groups = ["kids"]
"#,
        laptop.id, tablet.id
    );
    let file = folder.join("ztgate.toml");
    std::fs::write(&file, config)?;
    std::fs::write(folder.join("policy/devices.toml"), people)?;
    let token = folder.join("node.token");
    let _ = std::fs::remove_file(&token);
    let mut token = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(token)?;
    io::Write::write_all(&mut token, TOKEN.as_bytes())?;
    Ok(file)
}
