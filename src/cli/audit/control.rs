//! `ztgate audit --control`: who was let in and put out, by whom, why and from where.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use jiff::Zoned;

use crate::cli::style::Style;
use crate::cli::{WRONG, ask, devices, history};
use crate::model::MemberId;
use crate::sync::{DeviceView, Event};

use super::AuditArgs;

/// Asks the running gateway, which keeps these records.
pub fn run(args: &AuditArgs, config: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    super::check_times(args)?;
    let devices: Vec<DeviceView> = ask::gateway(config, "/devices")?;
    let member = match args.device.as_deref().map(|who| devices::find(&devices, who)) {
        Some(Ok(device)) => Some(device.member),
        Some(Err(words)) => {
            eprintln!("ztgate: {words}");
            return Ok(ExitCode::from(WRONG));
        }
        None => args.member,
    };
    let events = chosen(history::ask(config, member)?, args);
    if events.is_empty() {
        eprintln!("nothing happened to such devices at that time");
    } else if args.json {
        for event in &events {
            let mut line = serde_json::to_string(event)?;
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
    } else {
        out.write_all(render(&events, &devices, &Zoned::now(), style).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the times and the limit leave, oldest first.
fn chosen(mut events: Vec<Event>, args: &AuditArgs) -> Vec<Event> {
    events.retain(|event| {
        args.since.is_none_or(|since| event.time >= since)
            && args.until.is_none_or(|until| event.time < until)
    });
    let newest = args.limit.unwrap_or(usize::MAX);
    events.split_off(events.len().saturating_sub(newest))
}

fn render(events: &[Event], devices: &[DeviceView], now: &Zoned, style: Style) -> String {
    let name = |device: &DeviceView| match &device.name {
        Some(name) => Some(name.to_string()),
        // In its history stands what concerns the network as a whole.
        None => device.own.then(|| "(this gateway)".to_owned()),
    };
    let names: HashMap<MemberId, String> =
        devices.iter().filter_map(|device| Some((device.member, name(device)?))).collect();
    let called = |member: MemberId| names.get(&member).cloned().unwrap_or_else(|| member.to_string());
    history::render(events, Some(&called), now, style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::devices::tests::{devices, event, now};
    use crate::model::MemberState::{Active, Pending, Revoked};
    use crate::sync::ChangeOrigin;

    fn events() -> Vec<Event> {
        vec![
            event("2026-07-20T13:00:07Z", "c4c8812898", None, Pending, "knocked", "ztgate"),
            event(
                "2026-11-20T13:05:00Z",
                "c4c8812898",
                Some(Pending),
                Active,
                "admitted as red-phone",
                "root",
            ),
            Event {
                origin: Some(ChangeOrigin::Controller { controller: "local".to_owned(), url: None }),
                ..event(
                    "2026-11-22T20:00:00Z",
                    "a000000009",
                    Some(Active),
                    Revoked,
                    "deauthorised",
                    "controller",
                )
            },
        ]
    }

    #[test]
    fn records_are_a_line_each_with_the_name_of_today() {
        insta::assert_snapshot!(render(&events(), &devices(), &now(), Style::PLAIN), @r"
        2026-07-20 15:00:07 CEST  red-phone   pending            ztgate                        knocked
        2026-11-20 14:05:00 CET   red-phone   pending -> active  root                          admitted as red-phone
        2026-11-22 21:00:00 CET   a000000009  active -> revoked  controller  local controller  deauthorised
        ");
    }

    #[test]
    fn times_and_limit_leave_the_newest() {
        let times = |args: &AuditArgs| {
            chosen(events(), args).iter().map(|event| event.time.to_string()).collect::<Vec<_>>()
        };
        let at = |text: &str| text.parse().ok();
        let from = AuditArgs { since: at("2026-11-20T13:05:00Z"), ..AuditArgs::default() };
        assert_eq!(times(&from), ["2026-11-20T13:05:00Z", "2026-11-22T20:00:00Z"]);
        let before = AuditArgs { until: at("2026-11-22T20:00:00Z"), limit: Some(1), ..AuditArgs::default() };
        assert_eq!(times(&before), ["2026-11-20T13:05:00Z"]);
        assert_eq!(times(&AuditArgs::default()).len(), 3);
    }
}
