//! `ztgate run`: the gateway. This is the one place where the real origin, overlay and roster are put together.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::audit::Retention;
use crate::config::Config;
use crate::gateway::{Gateway, World};
use crate::identity::SavedSyn;
use crate::linux::clock::SystemClock;
use crate::model::{Clock, NetworkId};
use crate::overlay::{Joined, NodeAnswer, OverlayTask, Pinning, keep_pinned};
use crate::portal::PROVED_BY_SYN;
use crate::proxy::Limits;
use crate::sync;
use crate::zerotier::NodeClient;

use super::reload::{Changes, reload};

pub fn run(file: &Path) -> anyhow::Result<ExitCode> {
    log_to_stderr("ztgate=info");
    let config = super::load(file)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().thread_name("ztgate-aside").build()?;
    runtime.block_on(serve(file, config))
}

async fn serve(file: &Path, config: Config) -> anyhow::Result<ExitCode> {
    let mut ends = ends()?;
    let mut reloads = signal(SignalKind::hangup())?;
    let mut changes = Changes::watch(&config);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let network = config.network;
    let node = NodeClient::new(&config.node.url, &config.node.token_file)?;
    let config = watch::Sender::new(Arc::new(config));

    let (overlay_task, overlay) = OverlayTask::new(network, move |network| ask(node.clone(), network))
        .context("cannot watch the network devices")?;
    let (roster_task, members) = sync::start(config.subscribe(), clock.clone())?;
    let (tell, pinning) = watch::channel(Pinning::Off { why: "not tried yet".to_owned() });
    let pinner = keep_pinned(members.roster.clone(), overlay.clone(), tell);

    let world = World {
        clock,
        origin: Arc::new(SavedSyn),
        proof: PROVED_BY_SYN,
        overlay: overlay.clone(),
        members,
        pinning,
        more_http_ports: Vec::new(),
        limits: Limits::default(),
        dns: crate::dns::Limits::default(),
        audit: Retention::default(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let gateway = Gateway::start(config, world)?;
    // The folder of the private CA may not have been there before.
    changes.rearm();
    let overlay_task = tokio::spawn(overlay_task.run());
    let roster_thread = roster_task.start().context("no thread to keep the members on")?;
    let (stop_pinning, pinning_stops) = tokio::sync::oneshot::channel::<()>();
    let pinner = tokio::spawn(async move {
        tokio::select! {
            // Its entries go with it.
            _ = pinning_stops => {}
            outcome = pinner => if let Err(error) = outcome {
                tracing::warn!("neighbours cannot be pinned: {error}");
            }
        }
    });
    tell_overlay(overlay);
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
    loop {
        tokio::select! {
            () = ends.recv() => break,
            _ = reloads.recv() => reload(&gateway, file, &mut changes),
            () = changes.next() => reload(&gateway, file, &mut changes),
        }
    }
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping");
    gateway.stop().await;
    let _ = stop_pinning.send(());
    let _ = pinner.await;
    overlay_task.abort();
    drop(roster_thread);
    Ok(ExitCode::SUCCESS)
}

async fn ask(node: NodeClient, network: NetworkId) -> NodeAnswer {
    let answer = node.network(network).await.map_err(|error| error.to_string())?;
    let Some(found) = answer else { return Ok(None) };
    let mac = found.mac.ok_or("the node tells no MAC for its device")?;
    let addresses = found.addresses.iter().map(|net| net.addr()).collect();
    Ok(Some(Joined { status: found.status, device: found.device, mac, addresses }))
}

/// Says in the log where the overlay stands, each time that it changes.
fn tell_overlay(mut overlay: watch::Receiver<crate::overlay::Overlay>) {
    tokio::spawn(async move {
        loop {
            let now = overlay.borrow_and_update().clone();
            let addresses: Vec<String> = now.addresses.iter().map(ToString::to_string).collect();
            tracing::info!("overlay: {} {}", now.state, addresses.join(" "));
            if overlay.changed().await.is_err() {
                return;
            }
        }
    });
}

/// SIGINT and SIGTERM.
pub struct Ends(Signal, Signal);

pub fn ends() -> std::io::Result<Ends> {
    Ok(Ends(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
}

impl Ends {
    pub async fn recv(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// Logs to stderr; `ZTGATE_LOG` says what, as `RUST_LOG` would.
pub fn log_to_stderr(default: &str) {
    let filter = EnvFilter::try_from_env("ZTGATE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(std::io::stderr);
    let log = log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    // A second start in one process, as in tests, keeps the first one's.
    let _ = if journal { log.without_time().try_init() } else { log.try_init() };
}
