//! Everything about one device, and what happened to it.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use jiff::{Timestamp, Zoned};

use crate::cli::order::tone_of;
use crate::cli::style::{Style, Tone, foreign, harmless};
use crate::cli::time::{distance, shown};
use crate::cli::{WRONG, ask, history};
use crate::model::MemberState;
use crate::sync::{DeviceView, Event};

use super::{called, find};

pub(super) fn run(
    who: &str,
    json: bool,
    config: &Path,
    out: &mut dyn Write,
    style: Style,
) -> anyhow::Result<ExitCode> {
    let devices: Vec<DeviceView> = ask::gateway(config, "/devices")?;
    let device = match find(&devices, who) {
        Ok(device) => device,
        Err(words) => {
            eprintln!("ztgate: {words}");
            return Ok(ExitCode::from(WRONG));
        }
    };
    let events = history::ask(config, Some(device.member))?;
    if json {
        let all = serde_json::json!({ "device": device, "history": events });
        out.write_all(format!("{all}\n").as_bytes())?;
    } else {
        out.write_all(render(device, &events, &Zoned::now(), style).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn render(device: &DeviceView, events: &[Event], now: &Zoned, style: Style) -> String {
    let time = |at: Timestamp| format!("{} ({})", shown(at, now), distance(at, now.timestamp()));
    let text = |text: &Option<String>| text.as_deref().map(foreign).unwrap_or_default();
    let label =
        |label: &Option<crate::model::Label>| label.as_ref().map(ToString::to_string).unwrap_or_default();
    let groups: Vec<&str> = device.groups.iter().map(|group| group.as_str()).collect();
    let addresses: Vec<String> = device.addresses.iter().map(ToString::to_string).collect();
    let authorized = match device.authorized {
        Some(true) => "authorised",
        Some(false) => "not authorised",
        None => "not listed",
    };
    let mut rows = vec![
        ("name", Tone::Name, label(&device.name)),
        ("member", Tone::Plain, device.member.to_string()),
        ("state", tone_of(device.state), device.state.to_string()),
        ("owner", Tone::Plain, label(&device.owner)),
        ("groups", Tone::Plain, groups.join(", ")),
        ("note", Tone::Plain, device.notes.as_deref().map(harmless).unwrap_or_default()),
        ("expires", Tone::Plain, device.until.map(time).unwrap_or_default()),
        ("label", Tone::Quiet, text(&device.label)),
        ("controller", Tone::Plain, authorized.to_owned()),
        ("to tell it", Tone::Odd, device.queued.as_deref().map(harmless).unwrap_or_default()),
        ("first seen", Tone::Plain, time(device.first_seen)),
        ("last seen", Tone::Plain, device.last_seen.map(time).unwrap_or_default()),
        ("speaks from", Tone::Plain, text(&device.physical)),
        ("version", Tone::Plain, text(&device.version)),
        ("addresses", Tone::Plain, addresses.join("  ")),
        ("identity", Tone::Plain, harmless(&device.identity)),
        ("public key", Tone::Quiet, device.public_identity.as_deref().map(harmless).unwrap_or_default()),
        ("next", Tone::Odd, next(device)),
    ];
    rows.retain(|(_, _, text)| !text.is_empty());
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(name, tone, text)| vec![(Tone::Quiet, name.to_owned()), (tone, text)])
        .collect();
    let mut screen = style.columns(&rows);
    if !events.is_empty() {
        screen.push('\n');
        screen.push_str(&history::render(events, None, now, style));
    }
    screen
}

/// What lets it in, if it is not.
fn next(device: &DeviceView) -> String {
    match device.state {
        MemberState::Active => String::new(),
        MemberState::Pending => format!("ztgate admit {} --name NAME", device.member),
        MemberState::Expired | MemberState::Suspended | MemberState::Revoked => {
            format!("ztgate restore {}", called(device))
        }
    }
}
