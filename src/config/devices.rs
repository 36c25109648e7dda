//! The device list as a file: what `ztgate devices import` reads and `export` writes.
//!
//! Devices have their home in the store and are edited by command; this is their format outside of it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::model::{Label, MemberId};

use super::names::Kind;
use super::read::{Item, Keys, Report, Section, Spot, quote};
use super::source::Source;
use super::{Device, Problem, words};

/// The list in the policy folder, relative to the configuration's. The first start of an empty store takes it over.
pub(super) const FILE: &str = "policy/devices.toml";

/// What to say of a device in any other file of the configuration.
pub(super) const NOT_HERE: &str =
    "devices live in the gateway: \"ztgate devices import FILE\" takes them from a file of their own";

const LATER: &str = "not supported by this version; to ignore it could let in whom you mean to keep out";

/// The most characters of a device's notes.
pub const LONGEST_NOTES: usize = 500;

const KEYS: Keys<'_> = Keys {
    known: &["device"],
    not_here: &[
        (
            "groups",
            "this file lists devices; [groups] belongs in ztgate.toml or another file of the policy folder",
        ),
        ("rule", LATER),
        ("deny", LATER),
    ],
    meant: &[("devices", "device")],
};

const DEVICE_KEYS: Keys<'_> = Keys {
    known: &["id", "owner", "groups", "until", "notes"],
    not_here: &[("name", "the name stands in the heading: [device.NAME]")],
    meant: &[
        ("member", "id"),
        ("group", "groups"),
        ("person", "owner"),
        ("expires", "until"),
        ("expiry", "until"),
        ("note", "notes"),
        ("comment", "notes"),
    ],
};

/// Reads a device list. Ordered by name; each name means one thing within the file. What the names mean elsewhere is
/// [`Names`](super::names::Names)' to say. Times without an offset are `zone`'s.
///
/// # Errors
/// Every problem found, ordered by line. `file` is named as it was given.
pub fn read(file: &Path, zone: &TimeZone) -> Result<Vec<Device>, Vec<Problem>> {
    let source = Source::read(file, &file.to_string_lossy(), "\"ztgate devices export\" writes one");
    read_source(&source.map_err(|problem| vec![problem])?, zone)
}

/// The same for a text that is at hand. `name` is what problems call it.
///
/// # Errors
/// As with [`read`].
pub fn parse(name: &str, text: &str, zone: &TimeZone) -> Result<Vec<Device>, Vec<Problem>> {
    read_source(&Source::new(name, text.to_owned()), zone)
}

/// The list as text, which reads back to the same devices; ordered by name.
pub fn write(devices: &[Device]) -> String {
    let mut sorted: Vec<&Device> = devices.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text = String::new();
    for device in sorted {
        // Writing to a String cannot fail.
        _ = write_one(&mut text, device);
    }
    text
}

/// The moment of an end: `2026-12-24T18:00:00Z` with any offset, or `2026-12-24 18:00` on the clocks of `zone`.
///
/// Where these clocks are put back, the earlier of the two moments; where they skip the hour, as much after it.
///
/// # Errors
/// The text is no such time, or only a day: nobody could tell whether that is still in.
pub fn until(text: &str, zone: &TimeZone) -> Result<Timestamp, UntilError> {
    let text = text.trim();
    let no_time = || UntilError::NoTime(quote(text));
    // jiff passes over the zone's name in brackets, which would be another moment than the one that is meant.
    if text.contains('[') {
        return Err(no_time());
    }
    if text.len() <= 10 && text.parse::<jiff::civil::Date>().is_ok() {
        return Err(UntilError::Day(text.to_owned()));
    }
    let civil = || zone.to_timestamp(text.contains(':').then(|| text.parse::<DateTime>())?.ok()?).ok();
    let moment = text.parse::<Timestamp>().ok().or_else(civil).ok_or_else(no_time)?;
    if moment < Timestamp::UNIX_EPOCH { Err(no_time()) } else { Ok(moment) }
}

/// Why a text is no end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UntilError {
    #[error("expected a time like \"2026-12-24 18:00\" or 2026-12-24T18:00:00Z, found {0}")]
    NoTime(String),
    #[error("{0} is a day: add the hour, like \"{0} 18:00\"")]
    Day(String),
}

/// A text as notes about a device; `None` if it is blank.
///
/// # Errors
/// It is too long, or would not stay on one line.
pub fn notes(text: &str) -> Result<Option<String>, NotesError> {
    let text = text.trim();
    match text.chars().count() {
        0 => Ok(None),
        length if length > LONGEST_NOTES => Err(NotesError::Long(length)),
        _ if text.chars().any(char::is_control) => Err(NotesError::Control),
        _ => Ok(Some(text.to_owned())),
    }
}

/// Why a text will not do as notes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotesError {
    #[error("notes have at most {LONGEST_NOTES} characters; these have {0}: shorten them")]
    Long(usize),
    #[error("notes stand on one line, without tabs or other control characters: put spaces there")]
    Control,
}

fn read_source(source: &Source, zone: &TimeZone) -> Result<Vec<Device>, Vec<Problem>> {
    let table = source.parse()?;
    let mut report = Report::default();
    let devices = read_list(&Section::root(source, &table), zone, &mut report);
    report.problems.sort_by_key(|problem| problem.line);
    if report.problems.is_empty() { Ok(devices) } else { Err(report.problems) }
}

/// The devices of a file; whichever is wrong is left out and reported.
pub(super) fn read_list(root: &Section<'_>, zone: &TimeZone, report: &mut Report) -> Vec<Device> {
    root.only(&KEYS, report);
    let Some(list) = root.section("device", report) else { return Vec::new() };
    let mut taken = Taken::default();
    let read = list.entries().map(|(text, item)| {
        let name = taken.name(text, Kind::Device, &item.spot, report);
        read_one(name, text, &item.section(report)?, zone, &mut taken, report)
    });
    read.collect::<Vec<_>>().into_iter().flatten().collect()
}

fn read_one<'a>(
    name: Option<Label>,
    text: &'a str,
    device: &Section<'a>,
    zone: &TimeZone,
    taken: &mut Taken<'a>,
    report: &mut Report,
) -> Option<Device> {
    device.only(&DEVICE_KEYS, report);
    let id = read_id(device, report);
    if let (Some(id), Some(at)) = (id, device.get("id")) {
        taken.id(id, text, at.spot, report);
    }
    let owner = device
        .get("owner")
        .and_then(|owner| taken.name(owner.text(report)?, Kind::Owner, &owner.spot, report));
    let mut groups = Vec::new();
    for item in device.get("groups").map(|list| list.list(report)).unwrap_or_default() {
        let group = item.text(report).and_then(|text| taken.name(text, Kind::Group, &item.spot, report));
        groups.extend(group.filter(|group| !groups.contains(group)));
    }
    let until = device.get("until").and_then(|item| told(&item, until(&item.time(report)?, zone), report));
    let notes = device.get("notes").and_then(|item| told(&item, notes(item.text(report)?), report)?);
    Some(Device { name: name?, id: id?, owner, groups, until, notes, line: device.spot.line })
}

fn read_id(device: &Section<'_>, report: &mut Report) -> Option<MemberId> {
    let Some(item) = device.get("id") else {
        let hint = "the app and \"zerotier-cli info\" on the device show it";
        report.error(&device.spot.missing("id"), "missing: the member ID, like \"c4c8812898\"", hint);
        return None;
    };
    let text = item.text(report)?;
    match text.parse() {
        Ok(id) => Some(id),
        Err(error) => {
            report.error(&item.spot, format!("{error}; found {}", quote(text)), None);
            None
        }
    }
}

fn told<T>(item: &Item<'_>, read: Result<T, impl std::fmt::Display>, report: &mut Report) -> Option<T> {
    read.map_err(|error| report.error(&item.spot, error.to_string(), None)).ok()
}

/// The names and IDs of one file, each with the place that took it.
#[derive(Default)]
struct Taken<'a> {
    names: BTreeMap<Label, (Kind, Spot)>,
    ids: HashMap<MemberId, (&'a str, Spot)>,
}

impl<'a> Taken<'a> {
    fn name(&mut self, text: &str, kind: Kind, spot: &Spot, report: &mut Report) -> Option<Label> {
        let name = words::name(text, kind, spot, report)?;
        let (first, at) = self.names.entry(name.clone()).or_insert_with(|| (kind, spot.clone()));
        if *first != kind {
            let message = format!("\"{name}\" is {kind} here and {first} at {at}");
            report.error(spot, message, "one name means one thing: rename one of them");
            return None;
        }
        Some(name)
    }

    fn id(&mut self, id: MemberId, device: &'a str, spot: Spot, report: &mut Report) {
        match self.ids.get(&id) {
            Some((other, first)) => {
                let message = format!("{id} is the device {} already, at {first}", quote(other));
                report.error(&spot, message, "a member is one device: remove one of the two");
            }
            None => _ = self.ids.insert(id, (device, spot)),
        }
    }
}

fn write_one(to: &mut String, device: &Device) -> std::fmt::Result {
    let Device { name, id, owner, groups, until, notes, line: _ } = device;
    if !to.is_empty() {
        writeln!(to)?;
    }
    writeln!(to, "[device.{name}]\nid = \"{id}\"")?;
    if let Some(owner) = owner {
        writeln!(to, "owner = \"{owner}\"")?;
    }
    if !groups.is_empty() {
        let groups: Vec<String> = groups.iter().map(|group| format!("\"{group}\"")).collect();
        writeln!(to, "groups = [{}]", groups.join(", "))?;
    }
    if let Some(until) = until {
        writeln!(to, "until = {until}")?;
    }
    if let Some(notes) = notes {
        writeln!(to, "notes = {}", toml::Value::String(notes.clone()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Problems;
    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn said(text: &str) -> String {
        Problems(&parse("family.toml", text, &berlin()).unwrap_err()).to_string()
    }

    #[test]
    fn what_is_written_is_what_people_would_write() {
        let text = r#"[device.grandmas-tablet]
id = "7f03b1e6aa"
owner = "grandma"
groups = ["guests", "kids"]
until = 2026-12-24T17:00:00Z
notes = "by the window"

[device.tv]
id = "4a5e19d0c2"
"#;
        let devices = parse("a.toml", text, &berlin()).unwrap();
        assert_eq!(write(&devices), text);
        let swapped = [devices[1].clone(), devices[0].clone()];
        assert_eq!(write(&swapped), text, "the order is by name, whatever it was");
        let local = text.replace("2026-12-24T17:00:00Z", "\"2026-12-24 18:00\"");
        assert_eq!(parse("b.toml", &local, &berlin()), Ok(devices));

        assert_eq!(write(&[]), "");
        assert_eq!(parse("empty.toml", "", &berlin()), Ok(Vec::new()));
    }

    #[test]
    fn mistakes_are_told_at_their_lines() {
        let text = r#"[device.mum]
id = "c4c8812898"
owner = "mum"
name = "Mum"
until = "tomorrow"

[device.tv]
id = "c4c8812898"
groups = ["mum", "everyone", "kids", "kids"]
until = 2026-12-24
expires = 2026-12-24T18:00:00Z

[device.no-id]
until = 7
note = "lost"
notes = """two
lines"""

[groups]
x = []
"#;
        insta::assert_snapshot!(said(text), @r#"
        family.toml:3: device.mum.owner: "mum" is an owner here and a device at family.toml:1
          hint: one name means one thing: rename one of them
        family.toml:4: device.mum.name: the name stands in the heading: [device.NAME]
        family.toml:5: device.mum.until: expected a time like "2026-12-24 18:00" or 2026-12-24T18:00:00Z, found "tomorrow"
        family.toml:8: device.tv.id: c4c8812898 is the device "mum" already, at family.toml:2
          hint: a member is one device: remove one of the two
        family.toml:9: device.tv.groups: "mum" is a group here and a device at family.toml:1
          hint: one name means one thing: rename one of them
        family.toml:9: device.tv.groups: "everyone" is reserved; it would read as more than a group
          hint: choose another name; any active member is "*" in allow
        family.toml:10: device.tv.until: 2026-12-24 is a day: add the hour, like "2026-12-24 18:00"
        family.toml:11: device.tv.expires: unknown key
          hint: did you mean "until"?
        family.toml:13: device.no-id.id: missing: the member ID, like "c4c8812898"
          hint: the app and "zerotier-cli info" on the device show it
        family.toml:14: device.no-id.until: expected a time like "2026-12-24 18:00", found a whole number
        family.toml:15: device.no-id.note: unknown key
          hint: did you mean "notes"?
        family.toml:16: device.no-id.notes: notes stand on one line, without tabs or other control characters: put spaces there
        family.toml:19: groups: this file lists devices; [groups] belongs in ztgate.toml or another file of the policy folder
        "#);
        let unclosed = "family.toml:1: not valid TOML: unclosed table, expected `]`";
        assert_eq!(said("[device.tv\nid = \"61c20fd87b\""), unclosed);
    }

    #[test]
    fn a_file_that_is_not_there() {
        let problems = read(Path::new("/nonexistent/family.toml"), &berlin()).unwrap_err();
        insta::assert_snapshot!(Problems(&problems), @r#"
        /nonexistent/family.toml: there is no file /nonexistent/family.toml
          hint: "ztgate devices export" writes one
        "#);
    }

    #[test]
    fn ends_mean_what_a_person_means() {
        for (text, means) in [
            ("2026-12-24T18:00:00Z", "2026-12-24T18:00:00Z"),
            ("2026-12-24T18:00:00+05:00", "2026-12-24T13:00:00Z"),
            ("2026-12-24 18:00", "2026-12-24T17:00:00Z"),
            ("2026-07-24T18:00:30", "2026-07-24T16:00:30Z"),
            // Clocks are put back at 03:00, and forward at 02:00.
            ("2026-10-25 02:30", "2026-10-25T00:30:00Z"),
            ("2026-03-29 02:30", "2026-03-29T01:30:00Z"),
        ] {
            assert_eq!(
                until(text, &berlin()).map(|moment| moment.to_string()).as_deref(),
                Ok(means),
                "{text}"
            );
        }
        assert_eq!(until("2026-12-24", &berlin()), Err(UntilError::Day("2026-12-24".to_owned())));
        for text in
            ["", "18:00", "2w", "2026-13-01 18:00", "1969-12-24 18:00", "2026-12-24T18:00[Asia/Tokyo]"]
        {
            assert_eq!(until(text, &berlin()), Err(UntilError::NoTime(quote(text))), "{text}");
        }
    }

    #[test]
    fn notes_are_one_short_line() {
        assert_eq!(notes("  \t "), Ok(None));
        assert_eq!(notes(" by the window "), Ok(Some("by the window".to_owned())));
        assert_eq!(notes(&"é".repeat(500)).map(|notes| notes.is_some()), Ok(true));
        assert_eq!(notes(&"é".repeat(501)), Err(NotesError::Long(501)));
        assert_eq!(notes("a\nb"), Err(NotesError::Control));
        assert_eq!(notes("a\x1b[31mb"), Err(NotesError::Control));
    }

    /// Names that can be told apart: one letter a kind.
    fn names(kind: char, count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Label>> {
        let name = proptest::string::string_regex("(-?[a-z0-9]){1,8}").unwrap();
        proptest::collection::btree_set(name, count).prop_map(move |names| {
            names.iter().map(|name| format!("{kind}-x{name}").parse().unwrap()).collect()
        })
    }

    fn devices() -> impl Strategy<Value = Vec<Device>> {
        let rest = (
            names('o', 0..2),
            names('g', 0..4),
            proptest::option::of((0..253_402_207_200i64, 0..1_000_000_000i32)),
            proptest::option::of("[ -~é🎄\u{2028}\"'\\\\#]{1,500}"),
        );
        (names('d', 0..6), proptest::collection::vec(rest, 6)).prop_map(|(names, rest)| {
            let device =
                |(at, (name, (owner, groups, until, text))): (usize, (Label, (Vec<Label>, _, _, _)))| {
                    let text: Option<String> = text;
                    let until: Option<(i64, i32)> = until;
                    Device {
                        name,
                        id: format!("a00000000{at}").parse().unwrap(),
                        owner: owner.into_iter().next(),
                        groups,
                        until: until.map(|(second, nano)| Timestamp::new(second, nano).unwrap()),
                        notes: text.and_then(|text| notes(&text).unwrap()),
                        line: 0,
                    }
                };
            names.into_iter().zip(rest).enumerate().map(device).collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(devices in devices()) {
            let text = write(&devices);
            let read = parse("export.toml", &text, &berlin()).map_err(|problems| Problems(&problems).to_string());
            let read = read.map(|read| read.into_iter().map(|device| Device { line: 0, ..device }).collect());
            prop_assert_eq!(read, Ok(devices), "{}", text);
        }
    }
}
