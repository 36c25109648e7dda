//! `ztgate whois`: who an address, member ID or device name is, and how we know.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::admin::Whois;
use crate::model::MemberState;

use super::ask;
use super::style::{Style, Tone, foreign};

#[derive(Debug, clap::Args)]
pub struct WhoisArgs {
    /// An overlay address, a member ID or a device name
    who: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &WhoisArgs, config: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    let target = ask::target("/whois", &[("who", &args.who)]);
    let whois: Whois = match ask::refused(ask::gateway(config, &target))? {
        Ok(whois) => whois,
        Err(code) => return Ok(code),
    };
    if args.json {
        serde_json::to_writer(&mut *out, &whois)?;
        writeln!(out)?;
    } else {
        out.write_all(render(&whois, style).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn render(whois: &Whois, style: Style) -> String {
    let state = if whois.state == MemberState::Active { Tone::Good } else { Tone::Bad };
    let list = |addresses: &[std::net::IpAddr]| {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join("  ")
    };
    let mut rows = vec![
        ("member", Tone::Name, whois.member.to_string()),
        ("state", state, whois.state.to_string()),
        ("device", Tone::Plain, whois.device.clone().unwrap_or_default()),
        ("owner", Tone::Plain, whois.owner.clone().unwrap_or_default()),
        ("groups", Tone::Plain, whois.groups.join(", ")),
        ("label", Tone::Quiet, whois.label.as_deref().map(foreign).unwrap_or_default()),
        ("mac", Tone::Plain, whois.mac.clone()),
        ("assigned", Tone::Plain, list(&whois.assigned)),
        ("derived", Tone::Quiet, list(&whois.derived)),
        ("identity", Tone::Plain, whois.identity.clone()),
        ("found", Tone::Plain, whois.how.clone()),
        ("to admit", Tone::Odd, to_admit(whois.state).to_owned()),
    ];
    rows.retain(|(_, _, text)| !text.is_empty());
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(name, tone, text)| vec![(Tone::Quiet, name.to_owned()), (tone, text)])
        .collect();
    style.columns(&rows)
}

/// What lets a member in that waits; nothing else can be mended from here.
fn to_admit(state: MemberState) -> &'static str {
    match state {
        MemberState::Pending => {
            "authorise it at the network's controller, then name it in policy/devices.toml"
        }
        _ => "",
    }
}
