//! Whatever a device says, aria2 runs nothing that the device may not have run. `PROPTEST_CASES` says how many messages.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;
use ztgate::services::Room;

use super::contents::Unread;
use super::model::{self, Run, Value};
use super::{NOW, ROLES, SECRET, contents, files, room, spoken, strict, talk};

/// What aria2 runs (RpcMethodFactory.cc), by the least role that may have it run; a multicall is what is within.
pub const METHODS: [&[&str]; 4] = [
    &[
        "aria2.getFiles",
        "aria2.getGlobalOption",
        "aria2.getGlobalStat",
        "aria2.getOption",
        "aria2.getPeers",
        "aria2.getServers",
        "aria2.getSessionInfo",
        "aria2.getUris",
        "aria2.getVersion",
        "aria2.tellActive",
        "aria2.tellStatus",
        "aria2.tellStopped",
        "aria2.tellWaiting",
        "system.listMethods",
        "system.listNotifications",
    ],
    &["aria2.addMetalink", "aria2.addTorrent", "aria2.addUri"],
    &[
        "aria2.changeOption",
        "aria2.changePosition",
        "aria2.changeUri",
        "aria2.forcePause",
        "aria2.forcePauseAll",
        "aria2.forceRemove",
        "aria2.pause",
        "aria2.pauseAll",
        "aria2.purgeDownloadResult",
        "aria2.remove",
        "aria2.removeDownloadResult",
        "aria2.saveSession",
        "aria2.unpause",
        "aria2.unpauseAll",
    ],
    &["aria2.changeGlobalOption", "aria2.forceShutdown", "aria2.shutdown"],
];

/// The least role for a method, counted from `watch`; none if aria2 has no such method.
fn least(method: &str) -> Option<usize> {
    METHODS.iter().position(|methods| methods.contains(&method)).map(|at| at + 1)
}

/// Why aria2 must not run this for somebody with so many roles.
pub fn wrong(run: &Run, roles: usize, films: &Path) -> Option<String> {
    let Some(least) = least(&run.method) else { return Some(format!("no method: {}", run.method)) };
    if roles < least {
        return Some(format!("{} with {roles} roles", run.method));
    }
    if run.token.as_deref() != Some(SECRET) && !run.method.starts_with("system.") {
        return Some(format!("the secret of {} is {:?}", run.method, run.token));
    }
    let first = run.params.first().and_then(Value::text);
    if first.is_some_and(|first| first.starts_with("token:")) {
        return Some(format!("a second secret for {}", run.method));
    }
    if least < 2 {
        return None;
    }
    let links = links(run);
    let wrong = match run.method.as_str() {
        "aria2.addTorrent" | "aria2.addMetalink" => wrong_file(run, &links),
        _ => None,
    };
    let into = || {
        links.iter().find(|link| leads_into_the_house(link)).map(|link| format!("{} of {link}", run.method))
    };
    wrong.or_else(into).or_else(|| (roles < 4).then(|| wrong_option(run, roles, films)).flatten())
}

/// All that may be links among the parameters; what is dropped from a download may be any.
fn links(run: &Run) -> Vec<String> {
    let lists = run.params.iter().enumerate().filter_map(|(at, param)| match param {
        Value::List(items) if run.method != "aria2.changeUri" || at == 3 => Some(items),
        _ => None,
    });
    lists.flatten().filter_map(Value::text).collect()
}

/// What is wrong with the file that comes with a call.
fn wrong_file(run: &Run, seeds: &[String]) -> Option<String> {
    let file = contents::from_base64(&run.params.first()?.text()?);
    if file.is_empty() {
        return Some(format!("{} of a file that aria2 looks for by itself", run.method));
    }
    let contents = match run.method.as_str() {
        "aria2.addTorrent" => match contents::torrent(&file, seeds) {
            Ok(contents) => contents,
            Err(Unread::NoTorrent) => return None,
            Err(Unread::EndsAria2) => return Some("a torrent that ends aria2".to_owned()),
        },
        _ => contents::metalink(&file),
    };
    let link = contents.links.iter().find(|link| is_fetched(link) && leads_into_the_house(link));
    link.or_else(|| contents.names.iter().find(|name| is_hidden(name)))
        .map(|what| format!("{} that says {what}", run.method))
}

/// Whether it is, or is within, what programs keep to themselves.
fn is_hidden(name: &str) -> bool {
    name.split(['/', '\\']).any(|part| part.trim_start().starts_with('.'))
}

/// Whether aria2 has a way to ask it; in a file other links are passed over.
pub fn is_fetched(link: &str) -> bool {
    let schemes = ["http", "https", "ftp", "sftp", "udp"];
    let scheme = link.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    link.starts_with("magnet:?") || scheme.is_some_and(|scheme| schemes.contains(&scheme.as_str()))
}

/// An option that may not be given by somebody who does not govern aria2 itself.
fn wrong_option(run: &Run, roles: usize, films: &Path) -> Option<String> {
    let dicts = run.params.iter().filter_map(|param| match param {
        Value::Dict(members) => Some(members),
        _ => None,
    });
    let reaches_out = |name: &str, value: &str| match name {
        "dir" => Path::new(value) != films,
        "out" => value.contains(['/', '\\', '\n']) || value.contains("${") || value.starts_with('.'),
        "header" => value.contains(['\r', '\n']),
        "bt-tracker" => value.split(',').any(|link| !link.is_empty() && leads_into_the_house(link)),
        "pause" | "max-download-limit" | "split" | "gid" => false,
        "allow-overwrite" | "continue" | "bt-remove-unselected-file" => roles < 3,
        _ => true,
    };
    for (name, value) in dicts.flatten() {
        let name = String::from_utf8_lossy(name);
        let values = match value {
            Value::List(items) => items.iter().filter_map(Value::text).collect(),
            value => Vec::from_iter(value.text()),
        };
        if let Some(value) = values.iter().find(|value| reaches_out(&name, value)) {
            return Some(format!("{} with {name} = {value}", run.method));
        }
    }
    None
}

/// The IANA IPv4 Special-Purpose Address Registry.
fn is_of_a_house(address: Ipv4Addr) -> bool {
    matches!(
        address.octets(),
        [0 | 10 | 127 | 224.., ..]
            | [100, 64..128, ..]
            | [169, 254, ..]
            | [172, 16..32, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

/// By another way than the gateway's: which host would a resolver be asked for?
pub fn leads_into_the_house(link: &str) -> bool {
    if let Some(query) = link.strip_prefix("magnet:?") {
        let trackers = query.split('&').filter_map(|field| field.strip_prefix("tr="));
        return trackers.map(percent_decoded).any(|tracker| leads_into_the_house(&tracker));
    }
    let Some((_, rest)) = link.split_once("://") else { return true };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // aria2 looks for the first `@` behind a password, libraries for the last one.
    let hosts = authority.split('@').skip(usize::from(authority.contains('@')));
    let bad = |host: &str| {
        let host =
            host.trim_start_matches('[').split([']', ':']).next().unwrap_or_default().trim_end_matches('.');
        match host.parse::<Ipv4Addr>() {
            Ok(address) => is_of_a_house(address),
            // What else ends in a digit may be an address in other words.
            Err(_) => !host.contains('.') || host.ends_with(|c: char| c.is_ascii_digit()),
        }
    };
    authority.contains('\\') || hosts.into_iter().any(bad)
}

pub fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
        match code {
            Some(code) => out.extend([char::from(code).to_string().as_str(), &part[2..]]),
            None => out.extend(["%", part]),
        }
    }
    out
}

/// One for all cases: its secret is read from a file.
static ROOM: LazyLock<Arc<dyn Room>> = LazyLock::new(|| room(Path::new("/srv/films")));

proptest! {
    #[test]
    fn aria2_runs_only_what_was_allowed(message in spoken::message(), roles in 0..=4usize) {
        let films = Path::new("/srv/films");
        let ruling = talk(&**ROOM).ask(&message, &ROLES[..roles], NOW);
        prop_assert!(ruling.forward.is_some() || ruling.reply.is_some());
        if let Some(forward) = &ruling.forward {
            let runs = model::runs(forward).expect("aria2 must be able to read what it is sent");
            prop_assert!(!runs.is_empty());
            for run in &runs {
                prop_assert_eq!(wrong(run, roles, films), None, "{}", String::from_utf8_lossy(forward));
            }
            // A reader that is strict about everything sees the same calls.
            prop_assert_eq!(strict::runs(forward), Ok(runs), "{}", String::from_utf8_lossy(forward));
        }
    }
}

/// So many of a generator's.
fn some<T>(of: &impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| of.new_tree(&mut runner).unwrap().current()).collect()
}

#[test]
fn the_property_is_not_empty() {
    let (mut forwarded, mut mixed, mut refused) = (0, 0, 0);
    for message in some(&spoken::message(), 500) {
        let ruling = talk(&**ROOM).ask(&message, &ROLES[..3], NOW);
        match (ruling.forward.is_some(), ruling.deeds.is_empty()) {
            (true, true) => forwarded += 1,
            (true, false) => mixed += 1,
            (false, _) => refused += 1,
        }
    }
    assert!(forwarded > 30 && mixed > 15 && refused > 100, "{forwarded} {mixed} {refused}");
}

#[test]
fn each_method_is_among_what_is_forwarded() {
    let mut left = METHODS.concat();
    for message in some(&spoken::message(), 6000) {
        let ruling = talk(&**ROOM).ask(&message, &ROLES, NOW);
        let runs = ruling.forward.and_then(|forward| model::runs(&forward)).unwrap_or_default();
        left.retain(|method| runs.iter().all(|run| run.method != *method));
    }
    assert_eq!(left, Vec::<&str>::new());
}

#[test]
fn some_files_are_forwarded_and_some_refused() {
    for (method, files) in [
        ("aria2.addTorrent", some(&files::torrent(), 400)),
        ("aria2.addMetalink", some(&files::metalink(), 400)),
    ] {
        let (mut forwarded, mut with_links, mut refused) = (0, 0, 0);
        for file in files {
            let call = json!({ "id": 1, "method": method, "params": [STANDARD.encode(&file)] }).to_string();
            let contents = match method {
                "aria2.addTorrent" => contents::torrent(&file, &[]).unwrap_or_default(),
                _ => contents::metalink(&file),
            };
            match talk(&**ROOM).ask(call.as_bytes(), &ROLES[..2], NOW).forward {
                Some(_) if contents.links.iter().any(|link| is_fetched(link)) => with_links += 1,
                Some(_) => forwarded += 1,
                None => refused += 1,
            }
        }
        let counts = format!("{method}: {forwarded} {with_links} {refused}");
        assert!(forwarded > 40 && with_links > 40 && refused > 80, "{counts}");
    }
}
