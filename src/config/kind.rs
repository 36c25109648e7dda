//! `kind`, and the keys and roles that only services of one kind have. Which there are, `services` says.

use std::path::{Path, PathBuf};

use super::read::{Item, Report, Section, quote};
use super::words::{self, label};
use super::{Grant, Setting};
use crate::model::nearest;
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
    if !item.is_section() {
        let hint = "write it like { films = \"/srv/films\" }; apps then say films, or the path";
        report.error(&item.spot, "expected names with their paths", hint);
        return None;
    }
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
        return words::grants(item, None, report);
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
            Some(role) => grants.extend(words::grants(&list, Some(*role), report)),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Config, Problems, Setting, from_text};

    /// A configuration of one aria2, with this line as its sixth.
    fn load(line: &str) -> Result<Config, String> {
        let head = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[service.dl]\nkind = \"aria2\"\n";
        let text = format!("{head}upstream = \"http://127.0.0.1:6800\"\n{line}\nallow = [\"*\"]\n");
        from_text(&text, &[]).map_err(|problems| Problems(&problems).to_string())
    }

    fn setting(line: &str) -> Setting {
        match &load(line).unwrap().services[0].settings[..] {
            [(_, setting)] => setting.clone(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn each_shape_of_a_key_is_read() {
        let sizes = [("512", 512), ("\"512\"", 512), ("\"4K\"", 4 << 10), ("\"2m\"", 2 << 20)];
        for (written, bytes) in sizes {
            assert_eq!(setting(&format!("max_request_size = {written}")), Setting::Size(bytes), "{written}");
        }
        assert_eq!(setting("private_targets = true"), Setting::Flag(true));
        let path = |text: &str| Path::new(text).to_owned();
        assert_eq!(setting("secret_file = \"s\""), Setting::Secret(path("/etc/ztgate/s")), "beside the file");
        assert_eq!(setting("files = \"/srv/ariang\""), Setting::Folder(path("/srv/ariang")));
        let dirs = "dirs = { films = \"/srv/films\", music = 'D:\\music', books = \"E:/books\" }";
        let places = [("books", "E:/books"), ("films", "/srv/films"), ("music", "D:\\music")];
        let places = places.map(|(name, at)| (name.to_owned(), path(at)));
        assert_eq!(setting(dirs), Setting::Places(places.into()), "paths on the service's machine");
    }

    #[test]
    fn what_a_key_expects_is_said_with_an_example() {
        let said = |line: &str| format!("{line}\n{}", load(line).unwrap_err());
        let lines = [
            "private_targets = \"yes\"",
            "secret_file = true",
            "files = [\"/srv/ariang\"]",
            "max_request_size = 0",
            "max_request_size = -1",
            "max_request_size = \"2G\"",
            "max_request_size = \"M\"",
            "max_request_size = \"99999999999999999999M\"",
            "max_request_size = true",
            "dirs = [\"/srv/films\"]",
            "dirs = { films = \"films\" }",
            "dirs = { films = \"/srv/../etc\" }",
            "dirs = { films = 'D:films' }",
            "dirs = { \"My films\" = \"/srv/films\" }",
            "dirs = { films = 5 }",
        ];
        insta::assert_snapshot!(lines.map(said).join("\n"), @r#"
        private_targets = "yes"
        ztgate.toml:6: service.dl.private_targets: expected true or false, found a text
        secret_file = true
        ztgate.toml:6: service.dl.secret_file: expected a text in quotes, found true or false
        files = ["/srv/ariang"]
        ztgate.toml:6: service.dl.files: expected a text in quotes, found a list
        max_request_size = 0
        ztgate.toml:6: service.dl.max_request_size: expected a number of bytes
          hint: write it like 2097152 or "2M"
        max_request_size = -1
        ztgate.toml:6: service.dl.max_request_size: expected a number of bytes
          hint: write it like 2097152 or "2M"
        max_request_size = "2G"
        ztgate.toml:6: service.dl.max_request_size: expected a number of bytes
          hint: write it like 2097152 or "2M"
        max_request_size = "M"
        ztgate.toml:6: service.dl.max_request_size: expected a number of bytes
          hint: write it like 2097152 or "2M"
        max_request_size = "99999999999999999999M"
        ztgate.toml:6: service.dl.max_request_size: expected a number of bytes
          hint: write it like 2097152 or "2M"
        max_request_size = true
        ztgate.toml:6: service.dl.max_request_size: expected a whole number, found true or false
        dirs = ["/srv/films"]
        ztgate.toml:6: service.dl.dirs: expected names with their paths
          hint: write it like { films = "/srv/films" }; apps then say films, or the path
        dirs = { films = "films" }
        ztgate.toml:6: service.dl.dirs.films: expected a whole path on the service's machine, found "films"
          hint: write it like "/srv/films", without ..
        dirs = { films = "/srv/../etc" }
        ztgate.toml:6: service.dl.dirs.films: expected a whole path on the service's machine, found "/srv/../etc"
          hint: write it like "/srv/films", without ..
        dirs = { films = 'D:films' }
        ztgate.toml:6: service.dl.dirs.films: expected a whole path on the service's machine, found "D:films"
          hint: write it like "/srv/films", without ..
        dirs = { "My films" = "/srv/films" }
        ztgate.toml:6: service.dl.dirs."My films": "My films" is no name: a name is 1 to 63 of a-z, 0-9 and '-', and starts and ends with a letter or digit
          hint: write "my-films"
        dirs = { films = 5 }
        ztgate.toml:6: service.dl.dirs.films: expected a text in quotes, found a whole number
        "#);
    }

    #[test]
    fn a_key_of_another_kind_says_whose_it_is_whatever_else_is_near() {
        let said = |kind: &str, line: &str| {
            let text = format!(
                "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[service.x]\n{kind}\n\
                 upstream = \"http://127.0.0.1:1\"\nallow = [\"*\"]\n{line}\n"
            );
            from_text(&text, &[]).map_err(|problems| Problems(&problems).to_string()).err()
        };
        let only = "only a service of kind = \"aria2\" has it";
        for key in ["secret_file", "dirs", "private_targets", "max_request_size", "files"] {
            for kind in ["", "kind = \"jellyfin\""] {
                let expected = format!("ztgate.toml:7: service.x.{key}: {only}");
                assert_eq!(said(kind, &format!("{key} = 1")), Some(expected), "{kind} {key}");
            }
            let unknown_kind = said("kind = \"ariaa\"", &format!("{key} = 1")).unwrap();
            assert!(!unknown_kind.contains(key), "one fault, one line: {unknown_kind}");
        }
    }
}
