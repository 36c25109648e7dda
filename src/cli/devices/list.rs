//! Devices as a table, as wide as the terminal lets it be.

use jiff::Timestamp;

use crate::cli::order::tone_of;
use crate::cli::style::{Style, Tone, foreign};
use crate::cli::time::distance;
use crate::sync::DeviceView;

use super::seen;

/// The columns, in their order. Those that say the least go first where there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Name,
    Owner,
    Groups,
    State,
    Expires,
    LastSeen,
    Member,
    Addresses,
    Queued,
}

const ALL: [Column; 9] = [
    Column::Name,
    Column::Owner,
    Column::Groups,
    Column::State,
    Column::Expires,
    Column::LastSeen,
    Column::Member,
    Column::Addresses,
    Column::Queued,
];

/// Left out in this order; `ztgate devices show` has them all.
const EXPENDABLE: [Column; 3] = [Column::Addresses, Column::LastSeen, Column::Groups];

/// The table. Columns that would be empty are left out, and where a `width` is given, so are the expendable ones until the
/// rest fits.
pub(super) fn render(devices: &[&DeviceView], now: Timestamp, width: Option<usize>, style: Style) -> String {
    if devices.is_empty() {
        return String::new();
    }
    let cell = |column, device: &DeviceView| column_cell(column, device, now);
    let said = |column: &Column| devices.iter().any(|device| !cell(*column, device).1.is_empty());
    let mut columns: Vec<Column> = ALL.into_iter().filter(said).collect();
    let broad = |columns: &[Column]| {
        let longest = |&column: &Column| {
            let cells = devices.iter().map(|device| cell(column, device).1.chars().count());
            cells.chain([title(column).len()]).max().unwrap_or(0)
        };
        columns.iter().map(longest).sum::<usize>() + 2 * columns.len().saturating_sub(1)
    };
    for expendable in EXPENDABLE {
        if width.is_none_or(|width| broad(&columns) <= width) {
            break;
        }
        columns.retain(|column| *column != expendable);
    }
    let mut rows =
        vec![columns.iter().map(|column| (Tone::Head, title(*column).to_owned())).collect::<Vec<_>>()];
    rows.extend(devices.iter().map(|device| columns.iter().map(|column| cell(*column, device)).collect()));
    style.columns(&rows)
}

fn title(column: Column) -> &'static str {
    match column {
        Column::Name => "name",
        Column::Owner => "owner",
        Column::Groups => "groups",
        Column::State => "state",
        Column::Expires => "expires",
        Column::LastSeen => "last seen",
        Column::Member => "member",
        Column::Addresses => "addresses",
        Column::Queued => "queued",
    }
}

fn column_cell(column: Column, device: &DeviceView, now: Timestamp) -> (Tone, String) {
    let text =
        |label: &Option<crate::model::Label>| label.as_ref().map(ToString::to_string).unwrap_or_default();
    match column {
        // Without a name of ours, the controller's, marked as such.
        Column::Name if device.own && device.name.is_none() => (Tone::Quiet, "(this gateway)".to_owned()),
        Column::Name => match (&device.name, device.label.as_deref()) {
            (None, Some(label)) if !label.is_empty() => (Tone::Quiet, format!("({})", foreign(label))),
            (name, _) => (Tone::Name, text(name)),
        },
        Column::Owner => (Tone::Plain, text(&device.owner)),
        Column::Groups => {
            let groups: Vec<&str> = device.groups.iter().map(|group| group.as_str()).collect();
            (Tone::Plain, groups.join(","))
        }
        Column::State => (tone_of(device.state), device.state.to_string()),
        Column::Expires => (Tone::Plain, device.until.map(|at| distance(at, now)).unwrap_or_default()),
        Column::LastSeen => (Tone::Plain, device.last_seen.map(|at| seen(at, now)).unwrap_or_default()),
        Column::Member => (Tone::Plain, device.member.to_string()),
        Column::Addresses => {
            let first = device.addresses.first().map(ToString::to_string).unwrap_or_default();
            let more = device.addresses.len().saturating_sub(1);
            (Tone::Quiet, if more > 0 { format!("{first} +{more}") } else { first })
        }
        Column::Queued => (Tone::Odd, device.queued.as_deref().map(foreign).unwrap_or_default()),
    }
}
