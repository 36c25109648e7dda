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
        ("next", Tone::Odd, next(whois)),
    ];
    rows.retain(|(_, _, text)| !text.is_empty());
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(name, tone, text)| vec![(Tone::Quiet, name.to_owned()), (tone, text)])
        .collect();
    style.columns(&rows)
}

/// What lets it in, if it is not.
fn next(whois: &Whois) -> String {
    match whois.state {
        MemberState::Active => String::new(),
        MemberState::Pending => format!("ztgate admit {} --name NAME", whois.member),
        MemberState::Expired | MemberState::Suspended | MemberState::Revoked => {
            let member = whois.member.to_string();
            format!("ztgate restore {}", whois.device.as_ref().unwrap_or(&member))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whois(state: MemberState, device: Option<&str>) -> Whois {
        Whois {
            member: "c4c8812898".parse().unwrap(),
            state,
            device: device.map(str::to_owned),
            owner: None,
            groups: Vec::new(),
            label: Some("New TV".to_owned()),
            mac: "32:c5:83:2c:d6:59".to_owned(),
            assigned: vec!["10.147.17.5".parse().unwrap()],
            derived: Vec::new(),
            how: "by its member ID".to_owned(),
            identity: "not proved yet".to_owned(),
        }
    }

    #[test]
    fn who_waits_comes_with_what_to_type() {
        insta::assert_snapshot!(render(&whois(MemberState::Pending, None), Style::PLAIN), @r"
        member    c4c8812898
        state     pending
        label     New TV
        mac       32:c5:83:2c:d6:59
        assigned  10.147.17.5
        identity  not proved yet
        found     by its member ID
        next      ztgate admit c4c8812898 --name NAME
        ");
        for (state, device, line) in [
            (MemberState::Active, Some("tv"), ""),
            (MemberState::Revoked, Some("tv"), "ztgate restore tv"),
            (MemberState::Expired, None, "ztgate restore c4c8812898"),
        ] {
            assert_eq!(next(&whois(state, device)), line);
        }
    }
}
