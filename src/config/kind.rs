//! `kind`, and the keys and roles that only services of one kind have. Which there are, `services` says.

use std::path::{Path, PathBuf};

use super::read::{Item, Report, Section, nearest, quote};
use super::words::label;
use super::{Grant, Setting, service};
use crate::services::{self, KINDS, Kind, Shape};

/// The kind of a service; none if it is wrong.
pub(super) fn read(section: &Section<'_>, report: &mut Report) -> Option<&'static Kind> {
    let Some(item) = section.get("kind") else { return Some(KINDS[0]) };
    let text = item.text(report)?;
    let found = services::kind(text);
    if found.is_none() {
        let known: Vec<String> = KINDS.iter().map(|kind| quote(kind.word)).collect();
        let hint = match nearest(text, KINDS.iter().map(|kind| kind.word)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "leave the line out for anything that speaks HTTP".to_owned(),
        };
        report.error(&item.spot, format!("expected {}, found {}", either(&known), quote(text)), hint);
    }
    found
}

fn either(words: &[String]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// Every key that services of some other kind have, each with what to say where it does not belong.
pub(super) fn keys_of_others(kind: Option<&'static Kind>) -> Vec<(&'static str, String)> {
    let mut keys = Vec::new();
    for other in KINDS.iter().filter(|other| kind.is_none_or(|kind| kind.word != other.word)) {
        for key in other.keys.iter().filter(|key| kind.is_none_or(|kind| !kind.keys.contains(key))) {
            keys.push((key.name, format!("only a service of kind = \"{}\" has it", other.word)));
        }
    }
    keys
}

/// What a service says by the keys of its kind.
pub(super) fn read_settings(
    section: &Section<'_>,
    kind: &Kind,
    folder: &Path,
    report: &mut Report,
) -> Vec<(&'static str, Setting)> {
    let read = kind.keys.iter().filter_map(|key| {
        let item = section.get(key.name)?;
        let path = |report: &mut Report| item.text(report).map(|text| folder.join(text));
        let setting = match key.shape {
            Shape::Flag => Setting::Flag(item.flag(report)?),
            Shape::Size => Setting::Size(read_size(&item, report)?),
            Shape::Secret => Setting::Secret(path(report)?),
            Shape::Folder => Setting::Folder(path(report)?),
            Shape::Places => Setting::Places(read_places(&item, report)?),
        };
        Some((key.name, setting))
    });
    read.collect()
}

/// `2097152` or `"2M"`.
fn read_size(item: &Item<'_>, report: &mut Report) -> Option<u64> {
    let parsed = match item.as_text() {
        None => u64::try_from(item.whole_number(report)?).ok(),
        Some(text) => {
            let (digits, unit) = match text.as_bytes().last() {
                Some(b'K' | b'k') => (&text[..text.len() - 1], 1 << 10),
                Some(b'M' | b'm') => (&text[..text.len() - 1], 1 << 20),
                _ => (text, 1),
            };
            digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit))
        }
    };
    let size = parsed.filter(|size| *size > 0);
    if size.is_none() {
        report.error(&item.spot, "expected a number of bytes", "write it like 2097152 or \"2M\"");
    }
    size
}

/// `{ films = "/srv/films" }`: paths on the service's machine, so nothing here is relative to our folder.
fn read_places(item: &Item<'_>, report: &mut Report) -> Option<Vec<(String, PathBuf)>> {
    let section = item.section(report)?;
    let mut places = Vec::new();
    for (name, item) in section.entries() {
        let Some(name) = label(name, &item.spot, report) else { continue };
        let Some(path) = item.text(report) else { continue };
        // A path of Windows is absolute in its own way.
        let drive =
            matches!(path.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
        if !(path.starts_with('/') || drive) || path.split(['/', '\\']).any(|part| part == "..") {
            let message = format!("expected a whole path on the service's machine, found {}", quote(path));
            report.error(&item.spot, message, "write it like \"/srv/films\", without ..");
            continue;
        }
        places.push((name.to_string(), PathBuf::from(path)));
    }
    Some(places)
}

/// `allow = [WHO, ...]`, or `allow = { ROLE = [WHO, ...] }` where the kind has roles.
pub(super) fn read_allow(item: &Item<'_>, kind: &Kind, report: &mut Report) -> Vec<Grant> {
    if !item.is_section() {
        return service::read_words(item, None, report);
    }
    if kind.roles.is_empty() {
        let with: Vec<&str> =
            KINDS.iter().filter(|kind| !kind.roles.is_empty()).map(|kind| kind.word).collect();
        let hint = format!("write allow = [\"family\"]; only {} has roles", with.join(", "));
        report.error(&item.spot, "this kind of service has no roles; expected a list of names", hint);
        return Vec::new();
    }
    let Some(section) = item.section(report) else { return Vec::new() };
    let mut grants = Vec::new();
    for (word, list) in section.entries() {
        match kind.roles.iter().find(|role| **role == word) {
            Some(role) => grants.extend(service::read_words(&list, Some(*role), report)),
            None => {
                let hint = match nearest(word, kind.roles.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("roles, weakest first: {}", kind.roles.join(", ")),
                };
                report.error(&list.spot, "no role is called that", hint);
            }
        }
    }
    grants
}
