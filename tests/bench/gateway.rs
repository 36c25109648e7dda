//! The gateway as the bench runs it: every real part, on loopback, with the demo's simulated origin, because `ztgate run`
//! needs ZeroTier. Not a benchmark by itself: `tests/bench/run` starts it beside other proxies.

#![allow(clippy::print_stdout, reason = "its one line of output is for the rig")]

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use ztgate::audit::{Retention, Share};
use ztgate::config;
use ztgate::demo::origin::SimulatedOrigin;
use ztgate::demo::standin::{NodeStandin, REAL_MEMBERS, StandinHandle, StandinMember, StandinNetwork};
use ztgate::gateway::{Gateway, World};
use ztgate::linux::clock::SystemClock;
use ztgate::model::{Clock, MemberId, NetworkId};
use ztgate::overlay::{Overlay, OverlayState, Pinning};
use ztgate::proxy::Limits;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What tests/bench/bench.py and tests/bench/dns.py say.
#[derive(Parser)]
struct Args {
    #[arg(long)]
    http: u16,
    #[arg(long)]
    https: u16,
    #[arg(long)]
    upstream: SocketAddr,
    #[arg(long)]
    cert: PathBuf,
    #[arg(long)]
    key: PathBuf,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Where DNS is asked; it is off otherwise.
    #[arg(long)]
    dns: Option<u16>,
    /// Whom it asks about names that are not in the zone; nobody unless said.
    #[arg(long, requires = "dns")]
    resolver: Option<SocketAddr>,
    /// A folder of its own; made if need be.
    #[arg(long)]
    state: PathBuf,
    /// `cargo bench` adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

const NETWORK: &str = "5e02d9cb41c0ffee";
const TOKEN: &str = "bench";

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(args))
}

async fn serve(args: Args) -> Result<(), Box<dyn Error>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let network: NetworkId = NETWORK.parse()?;
    let device: MemberId = "c4c8812898".parse()?;
    let mut standin =
        StandinNetwork::new(network, "bench", REAL_MEMBERS[0], "zt-bench").ok_or("no network")?;
    // The load comes from 127.0.0.1 and 127.0.1.0/24.
    let near = (0..=255).map(|last| Ipv4Addr::new(127, 0, 1, last));
    let member = StandinMember::new(REAL_MEMBERS[1]).authorized().at(IpAddr::from(Ipv4Addr::LOCALHOST));
    standin.members.push(near.fold(member, |member, address| member.at(address.into())));
    // Another one, who floods DNS from 127.0.3.1.
    let flooder = StandinMember::new(REAL_MEMBERS[2]).authorized();
    standin.members.push(flooder.at(Ipv4Addr::new(127, 0, 3, 1).into()));
    let node = NodeStandin::start(&StandinHandle::new(standin), TOKEN).await?;

    std::fs::create_dir_all(&args.state)?;
    let file = args.state.join("ztgate.toml");
    let token = args.state.join("node.token");
    std::fs::write(&token, TOKEN)?;
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    std::fs::write(&file, settings(&args, &node.url()))?;
    let config = config::load(&file).map_err(|problems| config::Problems(&problems).to_string())?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = watch::Sender::new(Arc::new(config));
    let (task, members) = ztgate::sync::start(config.subscribe(), clock.clone())?;
    let roster = task.start().expect("a thread");
    let overlay = Overlay {
        state: OverlayState::Up,
        device: None,
        ifindex: 0,
        addresses: vec![Ipv4Addr::LOCALHOST.into()],
        own: Some(REAL_MEMBERS[0][..10].parse()?),
    };
    let world = World {
        clock,
        origin: Arc::new(SimulatedOrigin::new(network, [(args.http, device), (args.https, device)])),
        proof: "the bench",
        overlay: watch::Sender::new(overlay).subscribe(),
        members,
        pinning: watch::Sender::new(Pinning::On { ifindex: 0, pins: Arc::default() }).subscribe(),
        more_http_ports: Vec::new(),
        limits: Limits::default(),
        dns: ztgate::dns::Limits::default(),
        // One device sends all of the load, and each record of it is to be paid for.
        audit: Retention { share: Share::UNLIMITED, ..Retention::default() },
        threads: args.threads,
    };
    let gateway = Gateway::start(config, world)?;
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    gateway.stop().await;
    drop(roster);
    Ok(())
}

fn settings(args: &Args, node: &str) -> String {
    let dns = match (args.dns, args.resolver) {
        (None, _) => "enabled = false".to_owned(),
        (Some(port), None) => format!("port = {port}\nforward = []"),
        (Some(port), Some(resolver)) => format!("port = {port}\nforward = [\"{resolver}\"]"),
    };
    format!(
        r#"
network    = "{NETWORK}"
zone       = "test"
state_dir  = "state"
http_port  = {}
https_port = {}

[node]
url        = "{node}"
token_file = "node.token"

[tls]
certificate = "{}"
key         = "{}"

[dns]
{dns}

[service.bench]
upstream = "http://{}"
allow    = ["*"]
"#,
        args.http,
        args.https,
        args.cert.display(),
        args.key.display(),
        args.upstream
    )
}
