//! What happened to devices: the records of who was let in and put out, by whom, why and from where.

use std::path::Path;

use jiff::{Timestamp, Zoned};

use crate::model::MemberId;
use crate::sync::Event;

use super::ask;
use super::style::{Style, Tone, foreign, harmless};

/// The history of one device, or of all, oldest first.
pub fn ask(config: &Path, member: Option<MemberId>) -> anyhow::Result<Vec<Event>> {
    let member = member.map(|member| member.to_string());
    let query: Vec<_> = member.iter().map(|member| ("member", member.as_str())).collect();
    ask::gateway(config, &ask::target("/devices/history", &query))
}

/// A line each, at this machine's time, with a column for each thing; `called` names the devices where they are not all the same.
pub fn render(
    events: &[Event],
    called: Option<&dyn Fn(MemberId) -> String>,
    now: &Zoned,
    style: Style,
) -> String {
    let says_from_where = events.iter().any(|event| event.origin.is_some());
    let rows: Vec<_> = events.iter().map(|event| row(event, called, says_from_where, now)).collect();
    style.columns(&rows)
}

fn row(
    event: &Event,
    called: Option<&dyn Fn(MemberId) -> String>,
    says_from_where: bool,
    now: &Zoned,
) -> Vec<(Tone, String)> {
    let change = match event.from {
        Some(from) if from != event.to => format!("{from} -> {}", event.to),
        // Something else changed, or it is the first that was heard of it.
        _ => event.to.to_string(),
    };
    let mut row = vec![(Tone::Quiet, time(event.time, now))];
    row.extend(called.map(|called| (Tone::Name, called(event.member))));
    row.extend([(super::order::tone_of(event.to), change), (Tone::Plain, foreign(&event.who))]);
    if says_from_where {
        let origin = event.origin.as_ref().map(|origin| harmless(&origin.to_string()));
        row.push((Tone::Quiet, origin.unwrap_or_default()));
    }
    // After all else, for it is anybody's text and could look like the rest.
    row.push((Tone::Plain, harmless(&event.why)));
    row
}

fn time(at: Timestamp, now: &Zoned) -> String {
    at.to_zoned(now.time_zone().clone()).strftime("%F %T %Z").to_string()
}
