//! `ztgate status`: one screen.

mod names;

use std::fmt::Write as _;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;

use crate::admin::Status;
use crate::ca;
use crate::dns::{Counts, DnsStatus};
use crate::notify::TargetStatus;

use super::ask;
use super::doctor::certificates::trust_page;
use super::style::{Style, Tone, foreign, reason};
use super::time::span;

#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &StatusArgs, config: &Path, out: &mut dyn Write, style: Style) -> anyhow::Result<ExitCode> {
    let status: Status = ask::gateway(config, "/status")?;
    if args.json {
        serde_json::to_writer(&mut *out, &status)?;
        writeln!(out)?;
    } else {
        out.write_all(render(&status, style).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The screen: what is, then what is wrong.
pub fn render(status: &Status, style: Style) -> String {
    let mut rows: Vec<Vec<(Tone, String)>> = Vec::new();
    let mut line =
        |name: &str, tone: Tone, text: String| rows.push(vec![(Tone::Head, name.to_owned()), (tone, text)]);

    let up = if status.overlay_up { Tone::Good } else { Tone::Bad };
    line("network", Tone::Plain, format!("{}  zone {}", status.network, status.zone));
    line("overlay", up, overlay(status));
    line("controller", controller_tone(status), controller(status));
    line("roster", roster_tone(status), roster(status));
    for queued in &status.queued {
        let until = if queued.starts_with("de") {
            "; until then, and up to 30 min after, other members may still reach it (longer after a restart of their ZeroTier)"
        } else {
            "; until then it is not let in"
        };
        let text = format!("the controller is still to {queued}{until}");
        line("in step", Tone::Bad, text);
    }
    if status.differences > 0 {
        let text = format!("{} to decide about: ztgate sync --dry-run", status.differences);
        line("in step", Tone::Odd, text);
    }
    for person in &status.changed {
        let who = person.device.clone().unwrap_or_else(|| person.member.to_string());
        let text = format!("the identity of {who} ({}) changed: it is refused", person.member);
        line("alarm", Tone::Bad, text);
    }
    for (tone, text) in listening(status) {
        line("listening", tone, text);
    }
    if let Some((tone, text)) = dns(&status.dns) {
        line("dns", tone, text);
    }
    for door in &status.dns.doors {
        if let Some(error) = &door.error {
            line("dns", Tone::Bad, format!("{} ({})  {error}", door.at, door.protocol));
        }
    }
    line(
        "traffic",
        Tone::Plain,
        format!(
            "{} connections, {} requests in the last {}",
            status.connections,
            status.requests,
            ago(status.started, status.now)
        ),
    );
    if status.closed_without_proof > 0 {
        let count = status.closed_without_proof;
        line("no proof", Tone::Odd, format!("{count} connections closed: their origin could not be told"));
    }
    if status.closed_over_share > 0 {
        let count = status.closed_over_share;
        line("too many", Tone::Odd, format!("{count} connections closed: their device had its share open"));
    }
    if status.closed_for_want_of_room > 0 {
        let (count, most) = (status.closed_for_want_of_room, status.most_connections);
        let text = format!(
            "{count} connections closed: {most} were open; raise LimitNOFILE in the unit if they are wanted"
        );
        line("full", Tone::Bad, text);
    }
    for (tone, text) in tls(status) {
        line("tls", tone, text);
    }
    let (tone, text) = names::certificates(status);
    line("certificates", tone, text);
    for (tone, text) in names::pushed(status) {
        line("dns setting", tone, text);
    }
    for (tone, text) in names::published(status) {
        line("published", tone, text);
    }
    line("audit", audit_tone(status), audit(status));
    for (name, target) in [("webhook", &status.notify.webhook), ("ntfy", &status.notify.ntfy)] {
        if let Some(target) = target {
            line(name, notify_tone(target), notify(target, status.now));
        }
    }

    let mut screen = style.columns(&rows);
    screen.push('\n');
    screen.push_str(&services(status, style));
    if !status.pending.is_empty() {
        let title = style.paint(Tone::Head, "waiting to be admitted");
        let _ = writeln!(screen, "\n{title}: ztgate devices --pending");
        for person in &status.pending {
            let label = person.label.as_deref().map(foreign).unwrap_or_default();
            let _ = writeln!(screen, "  {}  {}", person.member, style.paint(Tone::Quiet, &label));
        }
        let _ = writeln!(screen, "  to let one in: ztgate admit ID --name NAME");
    }
    for (title, tone, lines) in [
        ("nobody is let in until this is mended", Tone::Bad, &status.hazards),
        ("worth knowing", Tone::Odd, &status.costs),
    ] {
        if !lines.is_empty() {
            let _ = writeln!(screen, "\n{}", style.paint(tone, title));
            for line in lines {
                let _ = writeln!(screen, "  {line}");
            }
        }
    }
    if let Some(error) = &status.config_error {
        let title = style.paint(Tone::Bad, "the newest configuration is not in force");
        let _ = writeln!(screen, "\n{title}\n  {}", error.replace('\n', "\n  "));
    }
    let is_answering = status.dns.doors.iter().any(|door| door.error.is_none());
    if !status.hosts.is_empty() && !is_answering {
        let title = "names are not answered here; a device's hosts file instead:";
        let _ = writeln!(screen, "\n{}", style.paint(Tone::Quiet, title));
        for line in status.hosts.iter().flat_map(|line| narrow(line)) {
            let _ = writeln!(screen, "  {line}");
        }
    }
    screen
}

fn notify_tone(target: &TargetStatus) -> Tone {
    if target.last_error.is_some() { Tone::Odd } else { Tone::Plain }
}

fn notify(target: &TargetStatus, now: Timestamp) -> String {
    let mut text = match target.last_delivered {
        Some(at) => format!("{}  last delivered {} ago", target.url, ago(at, now)),
        None => format!("{}  nothing delivered yet", target.url),
    };
    if target.queued > 0 {
        let _ = write!(text, ", {} waiting", target.queued);
    }
    if let Some(failure) = &target.last_error {
        let _ = write!(text, "; {}", reason(&failure.why));
    }
    text
}

/// What is wrong with certificates or will be, handshakes that failed, and devices that a person can help.
fn tls(status: &Status) -> Vec<(Tone, String)> {
    let mut lines = Vec::new();
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    let served = &status.ca;
    if let Some(why) = &served.error {
        let lasting = served.ends.filter(|ends| *ends > status.now);
        let until = lasting.map(|ends| format!("; what is served meanwhile lasts until {}", day(ends)));
        lines.push((Tone::Bad, format!("{why}{}", until.unwrap_or_default())));
    }
    lines.extend(ending(status));
    if status.failed_handshakes > 0 {
        let reasons = status.handshake_failures.in_words().into_iter().filter(|(count, _)| *count > 0);
        let reasons: Vec<String> = reasons.map(|(count, why)| format!("{count} {why}")).collect();
        let count = status.failed_handshakes;
        let handshakes = if count == 1 { "handshake" } else { "handshakes" };
        let text = format!("{count} {handshakes} failed: {}", reasons.join(", "));
        lines.push((Tone::Plain, text));
    }
    for one in &status.distrusting {
        let name = one.device.clone().unwrap_or_else(|| one.member.to_string());
        let text = format!(
            "{name} does not trust the root ({} ago); open on it: {}",
            ago(one.at, status.now),
            trust_page(status)
        );
        lines.push((Tone::Odd, text));
    }
    lines
}

/// What ends soon enough for somebody to do something, or has.
fn ending(status: &Status) -> Option<(Tone, String)> {
    let served = &status.ca;
    let (what, ends, renew) = if served.intermediate.is_none() {
        ("the certificate", served.ends.filter(|ends| ca::is_overdue(*ends, status.now))?, "renew it")
    } else {
        let near = |ends: &Timestamp| ca::is_near_end(*ends, status.now);
        match (served.root_ends.filter(near), served.ends.filter(near)) {
            (Some(ends), _) => ("the root", ends, "ztgate certs verify"),
            (None, Some(ends)) => ("the intermediate", ends, "ztgate certs rotate"),
            (None, None) => return None,
        }
    };
    let day = ends.strftime("%Y-%m-%d");
    Some(if ends < status.now {
        (Tone::Bad, format!("{what} ended on {day}, so every device warns: {renew}"))
    } else {
        (Tone::Odd, format!("{what} ends on {day}: {renew}"))
    })
}

/// One line an address, with its ports; what cannot be had has a line of its own.
fn listening(status: &Status) -> Vec<(Tone, String)> {
    let mut had: Vec<(IpAddr, String)> = Vec::new();
    let mut faults = Vec::new();
    for listener in &status.listeners {
        let (address, scheme) = (listener.at.ip(), &listener.scheme);
        match (&listener.error, had.iter_mut().find(|(known, _)| *known == address)) {
            (Some(error), _) => faults.push((Tone::Bad, format!("{}  {scheme}  {error}", listener.at))),
            (None, Some((_, ports))) => {
                // Writing to a String cannot fail.
                let _ = write!(ports, ", {scheme} {}", listener.at.port());
            }
            (None, None) => had.push((address, format!("{scheme} {}", listener.at.port()))),
        }
    }
    let had = had.into_iter().map(|(address, ports)| (Tone::Plain, format!("{address}  {ports}")));
    had.chain(faults).collect()
}

/// What DNS has done, and who does not answer it; `None` where it is off.
fn dns(dns: &DnsStatus) -> Option<(Tone, String)> {
    if !dns.enabled {
        return None;
    }
    let Counts { answered, forwarded, refused, rejected, over_limit, .. } = dns.counts;
    let mut text = format!("{answered} names answered, {forwarded} asked elsewhere");
    for (count, what) in
        [(refused, "refused"), (rejected, "malformed"), (over_limit, "over a device's share")]
    {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    let silent: Vec<String> = dns
        .forward
        .servers
        .iter()
        .filter(|server| server.answered_s.is_none() && server.failures > 0)
        .map(|server| server.address.to_string())
        .collect();
    if !silent.is_empty() {
        let _ = write!(text, "; no answer ever from {}", silent.join(", "));
    }
    let tone = if silent.is_empty() && over_limit == 0 { Tone::Plain } else { Tone::Odd };
    Some((tone, text))
}

/// A line of a hosts file as several, each with the address and as many names as a terminal of 80 columns shows.
fn narrow(line: &str) -> Vec<String> {
    const WIDEST: usize = 76;
    let mut words = line.split_whitespace();
    let address = words.next().unwrap_or_default();
    let mut lines: Vec<String> = Vec::new();
    for name in words {
        match lines.last_mut().filter(|last| last.len() + 1 + name.len() <= WIDEST) {
            Some(last) => {
                let _ = write!(last, " {name}");
            }
            None => lines.push(format!("{address}  {name}")),
        }
    }
    lines
}

fn overlay(status: &Status) -> String {
    let device = status.device.as_deref().unwrap_or_default();
    let addresses: Vec<String> = status.addresses.iter().map(ToString::to_string).collect();
    match (status.overlay_up, device) {
        (true, "") => format!("up  {}", addresses.join("  ")),
        (true, device) => format!("up on {device}  {}", addresses.join("  ")),
        (false, _) => status.overlay.clone(),
    }
}

fn controller(status: &Status) -> String {
    let name = &status.controller;
    let when = status.last_answer.map(|at| ago(at, status.now));
    match (&status.controller_error, when) {
        (None, Some(when)) => format!("{name}  answered {when} ago"),
        (None, None) => format!("{name}  not asked yet"),
        (Some(error), Some(when)) => format!("{name}  {error}  (last good answer {when} ago)"),
        (Some(error), None) => format!("{name}  {error}"),
    }
}

fn controller_tone(status: &Status) -> Tone {
    if status.controller_error.is_some() { Tone::Bad } else { Tone::Plain }
}

fn roster(status: &Status) -> String {
    match (status.roster_age_s, status.roster_limit_s) {
        (Some(age), Some(limit)) if age > limit => {
            format!("{} old, limit {}: everybody is refused", span(age), span(limit))
        }
        (Some(age), _) => format!(
            "{} members, {} active, {} pending; {} old",
            status.members,
            status.active,
            status.pending.len(),
            span(age)
        ),
        _ => "none yet: no port is open until the controller has answered once".to_owned(),
    }
}

fn roster_tone(status: &Status) -> Tone {
    match (status.roster_age_s, status.roster_limit_s) {
        (Some(age), Some(limit)) if age <= limit => Tone::Plain,
        _ => Tone::Bad,
    }
}

fn audit(status: &Status) -> String {
    let mut text = format!("{} records written", status.records_written);
    if status.records_lost > 0 {
        let _ = write!(text, ", {} lost", status.records_lost);
    }
    if let Some(error) = &status.audit_error {
        let _ = write!(text, "; {error}");
    }
    text
}

fn audit_tone(status: &Status) -> Tone {
    if status.audit_error.is_some() || status.records_lost > 0 { Tone::Bad } else { Tone::Plain }
}

fn services(status: &Status, style: Style) -> String {
    let mut rows =
        vec![["service", "opens at", "upstream", ""].map(|title| (Tone::Head, title.to_owned())).to_vec()];
    for service in &status.services {
        let trouble = match (&service.error, service.down_since) {
            (Some(error), _) => error.clone(),
            (None, Some(since)) => format!("down for {}", ago(since, status.now)),
            (None, None) => String::new(),
        };
        rows.push(vec![
            (Tone::Name, service.name.clone()),
            (Tone::Plain, service.url.clone()),
            (Tone::Quiet, service.upstream.clone()),
            (Tone::Bad, trouble),
        ]);
    }
    style.columns(&rows)
}

fn ago(then: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(then).as_secs().max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::Failure;

    #[test]
    fn why_nothing_is_delivered_is_told_whole_and_cannot_drive_the_terminal() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let why = "TLS: invalid peer certificate: certificate expired: verification time 1763985600 (UNIX), \
                   but certificate is not valid after 1763900000\x1b[2J\n";
        let failure = Failure { time: now, why: why.to_owned(), times: 3 };
        let target = TargetStatus {
            url: "https://hooks.example".into(),
            queued: 2,
            last_error: Some(failure),
            ..TargetStatus::default()
        };
        assert_eq!(notify_tone(&target), Tone::Odd);
        assert_eq!(
            notify(&target, now),
            "https://hooks.example  nothing delivered yet, 2 waiting; TLS: invalid peer certificate: certificate \
             expired: verification time 1763985600 (UNIX), but certificate is not valid after 1763900000?[2J?"
        );
    }
}
