//! Who waits to be admitted, each with the line that admits it.

use std::collections::HashSet;
use std::fmt::Write as _;

use jiff::Timestamp;

use crate::cli::style::{Style, Tone, foreign};
use crate::cli::time::distance;
use crate::model::Label;
use crate::sync::DeviceView;

/// Two lines a device. `all` are those whose names are taken; labels are cut where a `width` is given and too narrow.
pub(super) fn render(
    waiting: &[&DeviceView],
    all: &[DeviceView],
    now: Timestamp,
    width: Option<usize>,
    style: Style,
) -> String {
    if waiting.is_empty() {
        return String::new();
    }
    let titles = ["member", "label", "first seen", "version", "from", "controller"];
    let mut rows = vec![titles.map(|title| (Tone::Head, title.to_owned())).to_vec()];
    rows.extend(waiting.iter().map(|device| row(device, now)));
    if let Some(width) = width {
        cut_labels(&mut rows, width);
    }
    let table = style.columns(&rows);
    let mut lines = table.lines();
    let mut text = lines.next().map(|head| format!("{head}\n")).unwrap_or_default();
    let mut taken: HashSet<&str> =
        all.iter().flat_map(|device| [&device.name, &device.owner]).flatten().map(Label::as_str).collect();
    taken.extend(all.iter().flat_map(|device| &device.groups).map(Label::as_str));
    for (line, device) in lines.zip(waiting) {
        let name = Label::suggested(device.label.as_deref().unwrap_or_default());
        let name = name.filter(|name| !taken.contains(name.as_str()));
        let name = name.map_or("NAME".to_owned(), |name| name.to_string());
        let command = format!("ztgate admit {} --name {name}", device.member);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{line}\n  {}", style.paint(Tone::Name, &command));
    }
    text
}

fn row(device: &DeviceView, now: Timestamp) -> Vec<(Tone, String)> {
    let (tone, controller) = match device.authorized {
        Some(true) => (Tone::Odd, "authorised"),
        Some(false) => (Tone::Plain, "not authorised"),
        None => (Tone::Odd, "not listed"),
    };
    let text = |text: &Option<String>| text.as_deref().map(foreign).unwrap_or_default();
    vec![
        (Tone::Plain, device.member.to_string()),
        (Tone::Plain, text(&device.label)),
        (Tone::Plain, distance(device.first_seen, now)),
        (Tone::Plain, text(&device.version)),
        (Tone::Plain, text(&device.physical)),
        (tone, controller.to_owned()),
    ]
}

/// Cuts the labels so that the lines fit, but leaves enough of each to know it by.
fn cut_labels(rows: &mut [Vec<(Tone, String)>], width: usize) {
    const LABEL: usize = 1;
    const ENOUGH: usize = 8;
    let broad = Style::PLAIN.columns(rows).lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let longest = rows.iter().map(|row| row[LABEL].1.chars().count()).max().unwrap_or(0);
    let room = longest.saturating_sub(broad.saturating_sub(width)).max(ENOUGH);
    for (_, label) in rows.iter_mut().map(|row| &mut row[LABEL]) {
        if label.chars().count() > room {
            *label = label.chars().take(room - 1).chain(['…']).collect();
        }
    }
}
