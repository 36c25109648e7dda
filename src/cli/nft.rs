//! `ztgate nft`: prints the ruleset that leaves only the gateway reachable on the overlay. It loads nothing.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::ask;

#[derive(Debug, clap::Args)]
pub struct NftArgs {
    /// Leave SSH on this port open past the gateway, for the members named with --member
    #[arg(long, value_name = "PORT", requires = "members")]
    ssh: Option<u16>,
    /// A device name or member ID that may use it; can be given several times
    #[arg(long = "member", value_name = "DEVICE")]
    members: Vec<String>,
}

pub fn run(args: &NftArgs, config: &Path, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (ssh, members) = (args.ssh.map(|port| port.to_string()), args.members.join(","));
    let mut query = vec![("members", members.as_str())];
    query.extend(ssh.as_deref().map(|port| ("ssh", port)));
    let ruleset: String = match ask::refused(ask::gateway(config, &ask::target("/nft", &query)))? {
        Ok(ruleset) => ruleset,
        Err(code) => return Ok(code),
    };
    out.write_all(ruleset.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
