//! The options that a download may be given through the gateway: each with the role and the shape of value that it takes.
//!
//! What is not in the table names a file, a command, a proxy or a certificate, or concerns the whole daemon: only the
//! role `admin` may set it. Names are those of aria2 1.36 (OptionHandlerFactory.cc, `setInitialOption`); values are texts,
//! for aria2 silently passes over any other kind.

use super::House;
use super::json::Json;
use super::methods::Role;
use super::refusal::Refusal;
use super::targets::{self, Use};

/// The shape of a value.
#[derive(Clone, Copy, Debug)]
enum Value {
    /// `true` or `false`.
    Flag,
    /// Digits.
    Whole,
    /// Digits, perhaps with `K` or `M`.
    Size,
    /// Digits, perhaps with a point.
    Decimal,
    OneOf(&'static [&'static str]),
    /// One line of text.
    Line,
    /// One line, or a list of them.
    Lines,
    /// One of the configured folders, by its name or path.
    Folder,
    /// A file's name without a folder.
    Name,
    /// `sha-256=0123…`.
    Digest,
    /// 16 hexadecimal digits.
    Gid,
    /// `1-5,8`.
    Files,
    /// Trackers with commas between them.
    Trackers,
}

use Value::{Decimal, Digest, Files, Flag, Folder, Gid, Line, Lines, Name, OneOf, Size, Trackers, Whole};

const OFFERED: &[(&str, Role, Value)] = &[
    ("allow-overwrite", Role::Manage, Flag),
    ("allow-piece-length-change", Role::Manage, Flag),
    ("always-resume", Role::Add, Flag),
    ("async-dns", Role::Add, Flag),
    ("auto-file-renaming", Role::Add, Flag),
    ("bt-enable-lpd", Role::Add, Flag),
    ("bt-exclude-tracker", Role::Add, Line),
    ("bt-force-encryption", Role::Add, Flag),
    ("bt-hash-check-seed", Role::Add, Flag),
    ("bt-load-saved-metadata", Role::Add, Flag),
    ("bt-max-peers", Role::Add, Whole),
    ("bt-metadata-only", Role::Add, Flag),
    ("bt-min-crypto-level", Role::Add, OneOf(&["plain", "arc4"])),
    ("bt-prioritize-piece", Role::Add, Line),
    // Deletes what lies where the torrent's other files would.
    ("bt-remove-unselected-file", Role::Manage, Flag),
    ("bt-request-peer-speed-limit", Role::Add, Size),
    ("bt-require-crypto", Role::Add, Flag),
    ("bt-save-metadata", Role::Add, Flag),
    ("bt-seed-unverified", Role::Add, Flag),
    ("bt-stop-timeout", Role::Add, Whole),
    ("bt-tracker", Role::Add, Trackers),
    ("bt-tracker-connect-timeout", Role::Add, Whole),
    ("bt-tracker-interval", Role::Add, Whole),
    ("bt-tracker-timeout", Role::Add, Whole),
    // Rewrites a file that is there.
    ("check-integrity", Role::Manage, Flag),
    ("checksum", Role::Add, Digest),
    ("conditional-get", Role::Manage, Flag),
    ("connect-timeout", Role::Add, Whole),
    ("content-disposition-default-utf8", Role::Add, Flag),
    // Rewrites a file that is there.
    ("continue", Role::Manage, Flag),
    ("dir", Role::Add, Folder),
    ("dry-run", Role::Add, Flag),
    ("enable-http-keep-alive", Role::Add, Flag),
    ("enable-http-pipelining", Role::Add, Flag),
    ("enable-peer-exchange", Role::Add, Flag),
    ("file-allocation", Role::Add, OneOf(&["none", "prealloc", "trunc", "falloc"])),
    ("follow-metalink", Role::Add, OneOf(&["true", "false", "mem"])),
    ("follow-torrent", Role::Add, OneOf(&["true", "false", "mem"])),
    ("force-save", Role::Add, Flag),
    ("ftp-passwd", Role::Add, Line),
    ("ftp-pasv", Role::Add, Flag),
    ("ftp-reuse-connection", Role::Add, Flag),
    ("ftp-type", Role::Add, OneOf(&["binary", "ascii"])),
    ("ftp-user", Role::Add, Line),
    ("gid", Role::Add, Gid),
    ("hash-check-only", Role::Manage, Flag),
    ("header", Role::Add, Lines),
    ("http-accept-gzip", Role::Add, Flag),
    ("http-auth-challenge", Role::Add, Flag),
    ("http-no-cache", Role::Add, Flag),
    ("http-passwd", Role::Add, Line),
    ("http-user", Role::Add, Line),
    ("lowest-speed-limit", Role::Add, Size),
    ("max-connection-per-server", Role::Add, Whole),
    ("max-download-limit", Role::Add, Size),
    ("max-file-not-found", Role::Add, Whole),
    ("max-resume-failure-tries", Role::Add, Whole),
    ("max-tries", Role::Add, Whole),
    ("max-upload-limit", Role::Add, Size),
    ("metalink-enable-unique-protocol", Role::Add, Flag),
    ("metalink-language", Role::Add, Line),
    ("metalink-location", Role::Add, Line),
    ("metalink-os", Role::Add, Line),
    ("metalink-preferred-protocol", Role::Add, OneOf(&["http", "https", "ftp", "none"])),
    ("metalink-version", Role::Add, Line),
    ("min-split-size", Role::Add, Size),
    ("no-file-allocation-limit", Role::Add, Size),
    ("out", Role::Add, Name),
    ("pause", Role::Add, Flag),
    ("pause-metadata", Role::Add, Flag),
    ("piece-length", Role::Add, Size),
    ("realtime-chunk-checksum", Role::Add, Flag),
    ("referer", Role::Add, Line),
    ("remote-time", Role::Add, Flag),
    ("remove-control-file", Role::Manage, Flag),
    ("retry-wait", Role::Add, Whole),
    ("reuse-uri", Role::Add, Flag),
    ("save-not-found", Role::Add, Flag),
    ("seed-ratio", Role::Add, Decimal),
    ("seed-time", Role::Add, Decimal),
    ("select-file", Role::Add, Files),
    ("split", Role::Add, Whole),
    ("ssh-host-key-md", Role::Add, Digest),
    ("stream-piece-selector", Role::Add, OneOf(&["default", "inorder", "random", "geom"])),
    ("timeout", Role::Add, Whole),
    ("uri-selector", Role::Add, OneOf(&["inorder", "feedback", "adaptive"])),
    ("use-head", Role::Add, Flag),
    ("user-agent", Role::Add, Line),
];

/// Judges the options of a call, and gives back those that aria2 is to hear: a folder's name becomes its path.
///
/// # Errors
/// One of them is not offered to that role, or its value has another shape.
pub fn judge(options: Json, role: Role, house: &House) -> Result<Json, Refusal> {
    let Json::Object(options) = options else {
        return Err(Refusal::malformed("options must be an object, such as {\"dir\": \"films\"}"));
    };
    if role == Role::Admin {
        return Ok(Json::Object(options));
    }
    let judged = options.into_iter().map(|(name, value)| {
        let Some((known, needed, shape)) = OFFERED.iter().find(|(known, ..)| *known == name) else {
            let name = super::words::clean(&name, 64);
            return Err(Refusal::not_offered(format!("the option {name} is for the role admin alone")));
        };
        if role < *needed {
            return Err(Refusal::needs(&format!("the option {known}"), *needed, Some(role)));
        }
        Ok((name, shape.judge(known, value, house)?))
    });
    Ok(Json::Object(judged.collect::<Result<_, _>>()?))
}

impl Value {
    fn judge(self, name: &str, value: Json, house: &House) -> Result<Json, Refusal> {
        if let (Lines, Json::List(lines)) = (self, &value) {
            let fits = lines.iter().all(|line| line.as_text().is_some_and(is_line));
            return if fits { Ok(value) } else { Err(self.wrong(name)) };
        }
        let Some(text) = value.as_text() else { return Err(self.wrong(name)) };
        let fits = match self {
            Flag => matches!(text, "true" | "false"),
            Whole => is_whole(text),
            Size => is_whole(text.strip_suffix(['K', 'k', 'M', 'm']).unwrap_or(text)),
            Decimal => {
                text.split_once('.').map_or_else(|| is_whole(text), |(a, b)| is_whole(a) && is_whole(b))
            }
            OneOf(words) => words.contains(&text),
            Line | Lines => is_line(text),
            Name => is_name(text),
            Digest => text.split_once('=').is_some_and(|(kind, hex)| {
                kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                    && !hex.is_empty()
                    && hex.bytes().all(|b| b.is_ascii_hexdigit())
            }),
            Gid => text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit()),
            Files => text.split(',').all(|part| {
                part.split_once('-')
                    .map_or_else(|| is_whole(part), |(from, to)| is_whole(from) && is_whole(to))
            }),
            Folder => return folder(text, house),
            Trackers => {
                let mut links = text.split(',').filter(|link| !link.is_empty());
                links.try_for_each(|link| targets::judge(link, Use::Tracker, house.private_targets))?;
                true
            }
        };
        if fits { Ok(value) } else { Err(self.wrong(name)) }
    }

    fn wrong(self, name: &str) -> Refusal {
        let wanted = match self {
            Flag => "\"true\" or \"false\"".to_owned(),
            Whole => "digits as a text, such as \"5\"".to_owned(),
            Size => "a number as a text, such as \"500K\" or \"2M\"".to_owned(),
            Decimal => "a number as a text, such as \"1.5\"".to_owned(),
            OneOf(words) => format!("one of {}", words.join(", ")),
            Line => "one line of text".to_owned(),
            Lines => "one line of text, or a list of lines".to_owned(),
            Folder => "the name of a folder".to_owned(),
            Name => "a file's name without a folder".to_owned(),
            Digest => "a kind and hexadecimal digits, such as \"sha-256=…\"".to_owned(),
            Gid => "16 hexadecimal digits".to_owned(),
            Files => "numbers, such as \"1-5,8\"".to_owned(),
            Trackers => "links with commas between them".to_owned(),
        };
        Refusal::not_offered(format!("the option {name} takes {wanted}"))
    }
}

/// The path of a configured folder.
fn folder(asked: &str, house: &House) -> Result<Json, Refusal> {
    let paths = house.dirs.iter().filter_map(|(name, path)| Some((name.as_str(), path.to_str()?)));
    let found = paths.clone().find(|(name, path)| *name == asked || *path == asked);
    if let Some((_, path)) = found {
        return Ok(Json::text(path));
    }
    let names: Vec<&str> = paths.map(|(name, _)| name).collect();
    Err(Refusal::not_offered(match names.is_empty() {
        true => {
            "no folder may be chosen; name those that may as dirs = { … } for this service in ztgate.toml"
                .to_owned()
        }
        false => format!("the option dir takes one of these folders: {}", names.join(", ")),
    }))
}

fn is_whole(text: &str) -> bool {
    (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_line(text: &str) -> bool {
    text.len() <= 8 * 1024 && !text.chars().any(char::is_control)
}

/// One path segment on any system, in which aria2 replaces nothing (OptionHandlerImpl.cc: `${HOME}`).
fn is_name(text: &str) -> bool {
    (1..=255).contains(&text.len())
        // Names that begin with a dot are where programs look for their settings.
        && !text.starts_with('.')
        && !text.contains("${")
        // Where another download keeps how far it is.
        && !text.ends_with(".aria2")
        && !text.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | ':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RefusalCode;
    use crate::services::aria2::json;

    fn told(options: &str, role: Role) -> Result<String, RefusalCode> {
        let house = House {
            dirs: vec![("films".into(), "/srv/films".into()), ("music".into(), "/srv/music".into())],
            ..House::default()
        };
        let judged = judge(json::read(options.as_bytes()).unwrap(), role, &house);
        judged.map(|json| String::from_utf8(json.to_bytes()).unwrap()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn what_a_download_needs_may_be_said() {
        for options in [
            r#"{}"#,
            r#"{"out":"a b.iso","split":"5","max-download-limit":"500K","pause":"true","seed-ratio":"1.5"}"#,
            r#"{"header":["Cookie: a=b","X: y"],"referer":"https://example.org/","user-agent":"x (y; z)"}"#,
            r#"{"header":"Cookie: a=b","http-user":"me","http-passwd":"p"}"#,
            r#"{"select-file":"1-5,8","checksum":"sha-1=00ff","gid":"2089b05ecca3d829"}"#,
            r#"{"bt-tracker":"udp://t.example.org:80,https://t.example.org/a","follow-torrent":"mem"}"#,
            r#"{"dir":"/srv/films"}"#,
        ] {
            assert_eq!(told(options, Role::Add).as_deref(), Ok(options));
        }
        assert_eq!(told(r#"{"dir":"music"}"#, Role::Add).as_deref(), Ok(r#"{"dir":"/srv/music"}"#));
    }

    #[test]
    fn nothing_that_reaches_beyond_the_download_may_be_said() {
        for options in [
            r#"{"dir":"/srv"}"#,
            r#"{"dir":"/srv/films/"}"#,
            r#"{"dir":"/srv/films/../.."}"#,
            r#"{"dir":["films"]}"#,
            r#"{"dir":""}"#,
            r#"{"out":"../x"}"#,
            r#"{"out":"a/b"}"#,
            r#"{"out":"a\\b"}"#,
            r#"{"out":"c:x"}"#,
            r#"{"out":".."}"#,
            r#"{"out":".profile"}"#,
            r#"{"out":""}"#,
            r#"{"out":"${HOME}"}"#,
            r#"{"out":"a\nb"}"#,
            r#"{"header":"a: b\r\nHost: x"}"#,
            r#"{"header":["a: b",5]}"#,
            r#"{"header":["a: b\n"]}"#,
            r#"{"user-agent":"a\u0007"}"#,
            "{\"user-agent\":\"a\u{85}\"}",
            r#"{"referer":["a"]}"#,
            r#"{"split":5}"#,
            r#"{"split":"5 "}"#,
            r#"{"pause":true}"#,
            r#"{"max-download-limit":"1G"}"#,
            r#"{"bt-tracker":"http://192.168.1.1/x"}"#,
            r#"{"bt-tracker":"https://t.example.org/,http://localhost/"}"#,
            r#"{"select-file":"1-"}"#,
            r#"{"checksum":"sha-1"}"#,
            r#"{"index-out":"1=../x"}"#,
            r#"{"parameterized-uri":"true"}"#,
            r#"{"rpc-save-upload-metadata":"true"}"#,
            r#"{"all-proxy":"http://example.org"}"#,
            r#"{"load-cookies":"/etc/passwd"}"#,
            r#"{"on-download-complete":"/bin/sh"}"#,
            r#"{"metalink-base-uri":"http://192.168.1.1/"}"#,
            r#"{"Out":"x"}"#,
            r#"{"out ":"x"}"#,
            r#"{"log":"/x"}"#,
        ] {
            for role in [Role::Add, Role::Manage] {
                assert_eq!(told(options, role), Err(RefusalCode::NotOffered), "{options}");
            }
            assert_eq!(told(options, Role::Admin).as_deref(), Ok(options));
        }
        assert_eq!(told("[]", Role::Admin), Err(RefusalCode::BadRequest));
    }

    #[test]
    fn what_may_cost_a_file_takes_the_role_of_those_who_may_remove_it() {
        for options in [
            r#"{"allow-overwrite":"true"}"#,
            r#"{"bt-remove-unselected-file":"true"}"#,
            r#"{"check-integrity":"true"}"#,
            r#"{"continue":"true"}"#,
            r#"{"hash-check-only":"true"}"#,
        ] {
            assert_eq!(told(options, Role::Add), Err(RefusalCode::NoRule));
            assert_eq!(told(options, Role::Manage).as_deref(), Ok(options));
        }
    }

    #[test]
    fn the_table_is_sorted_and_names_each_option_once() {
        assert!(OFFERED.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
