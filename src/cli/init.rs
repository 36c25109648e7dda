//! `ztgate init`: writes a configuration from what is found on this machine. It never overwrites one.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use crate::config::{Found, GuessedService, starter};
use crate::linux::wsl;
use crate::model::{Label, NetworkId, Zone};
use crate::services::KINDS;
use crate::zerotier::NodeClient;

/// Where zerotier-one keeps its token on Linux, and where its API is.
const NODE: (&str, &str) = ("http://127.0.0.1:9993", "/var/lib/zerotier-one/authtoken.secret");

#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// The DNS zone that services get their names in
    #[arg(long, default_value = "home.arpa", value_parser = zone)]
    zone: Zone,
    /// The network to serve, where this machine has joined several
    #[arg(long)]
    network: Option<NetworkId>,
    /// Print it instead of writing the file
    #[arg(long)]
    print: bool,
}

fn zone(text: &str) -> Result<Zone, String> {
    text.parse().map_err(|error: crate::model::NameError| error.to_string())
}

pub fn run(args: &InitArgs, file: &Path, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let found = look_around(args)?;
    let text = starter(&found);
    if args.print {
        out.write_all(text.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = file.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o644).open(file);
    let mut config = match opened {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            anyhow::bail!(
                "{} is there already; `ztgate init --print` shows what would be written",
                file.display()
            );
        }
        other => other.with_context(|| format!("{}", file.display()))?,
    };
    config.write_all(text.as_bytes())?;
    eprintln!("wrote {}; read it, then:", file.display());
    eprintln!("  ztgate --config {0} check\n  ztgate --config {0} run", file.display());
    Ok(ExitCode::SUCCESS)
}

fn look_around(args: &InitArgs) -> anyhow::Result<Found> {
    let networks = match joined() {
        Ok(networks) => networks,
        Err(error) => {
            eprintln!(
                "ztgate: the ZeroTier node does not tell its networks, so the file leaves that to you: {error:#}"
            );
            Vec::new()
        }
    };
    let only = match networks.as_slice() {
        [(network, _)] => Some(*network),
        _ => None,
    };
    let token = PathBuf::from(NODE.1);
    Ok(Found {
        network: args.network.or(only),
        networks,
        zone: args.zone.clone(),
        services: services(),
        token_file: token.exists().then_some(token),
    })
}

fn joined() -> anyhow::Result<Vec<(NetworkId, String)>> {
    let node = NodeClient::new(NODE.0, NODE.1)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(node.networks())?)
}

/// Services that are often found at home, where something listens on their usual port.
fn services() -> Vec<GuessedService> {
    let windows = wsl::detect().and_then(|_| wsl::windows_host().ok());
    let here = IpAddr::from(Ipv4Addr::LOCALHOST);
    let known = KINDS.iter().filter_map(|kind| Some((kind.word, *kind, kind.usual_port?)));
    let usual = known.chain([("cockpit", KINDS[0], 9090), ("files", KINDS[0], 3923)]);
    let mut found = Vec::new();
    for (name, kind, port) in usual {
        let place = if listens(here, port) {
            "127.0.0.1"
        } else if windows.is_some_and(|host| listens(host, port)) {
            "windows-host"
        } else {
            continue;
        };
        // The names above are labels.
        let Ok(name) = name.parse::<Label>() else { continue };
        let because = format!("something listens on port {port} of {place}");
        found.push(GuessedService { name, kind, upstream: format!("http://{place}:{port}"), because });
    }
    found
}

fn listens(host: IpAddr, port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::new(host, port), Duration::from_millis(300)).is_ok()
}
