//! Whatever a device says, aria2 runs nothing that the device may not have run. `PROPTEST_CASES` says how many messages.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use ztgate::services::Room;

use super::model::{self, Run, Value};
use super::{NOW, ROLES, SECRET, room, spoken, strict, talk};

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
    let lists = run.params.iter().enumerate().filter_map(|(at, param)| match param {
        Value::List(items) => Some((at, items)),
        _ => None,
    });
    // What is dropped from a download may be any link.
    let links =
        lists.filter(|(at, _)| run.method != "aria2.changeUri" || *at == 3).flat_map(|(_, items)| items);
    if least >= 2
        && let Some(link) = links.filter_map(Value::text).find(|link| leads_into_the_house(link))
    {
        return Some(format!("{} of {link}", run.method));
    }
    let dicts = run.params.iter().filter_map(|param| match param {
        Value::Dict(members) => Some(members),
        _ => None,
    });
    let mut options =
        dicts.flatten().filter_map(|(name, value)| Some((String::from_utf8_lossy(name), value.text()?)));
    let reaches_out = |name: &str, value: &str| match name {
        "dir" => Path::new(value) != films,
        "out" => value.contains(['/', '\\', '\n']) || value.contains("${") || value == "..",
        "header" => value.contains(['\r', '\n']),
        "pause" | "max-download-limit" | "split" => false,
        "allow-overwrite" => roles < 3,
        _ => true,
    };
    let found = options.find(|(name, value)| least >= 2 && roles < 4 && reaches_out(name, value));
    found.map(|(name, value)| format!("{} with {name} = {value}", run.method))
}

/// By another way than the gateway's: which host would a resolver be asked for?
fn leads_into_the_house(link: &str) -> bool {
    let Some((_, rest)) = link.split_once("://") else { return !link.starts_with("magnet:?") };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // aria2 looks for the first `@` behind a password, libraries for the last one.
    let hosts = authority.split('@').skip(usize::from(authority.contains('@')));
    let bad = |host: &str| {
        let host =
            host.trim_start_matches('[').split([']', ':']).next().unwrap_or_default().trim_end_matches('.');
        !host.contains('.') || host == "localhost" || host.ends_with(|c: char| c.is_ascii_digit())
    };
    authority.contains('\\') || hosts.into_iter().any(bad)
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

#[test]
fn the_property_is_not_empty() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let (mut forwarded, mut mixed, mut refused) = (0, 0, 0);
    let mut runner = TestRunner::deterministic();
    for _ in 0..500 {
        let message = spoken::message().new_tree(&mut runner).unwrap().current();
        let ruling = talk(&**ROOM).ask(&message, &ROLES[..3], NOW);
        match (ruling.forward.is_some(), ruling.deeds.is_empty()) {
            (true, true) => forwarded += 1,
            (true, false) => mixed += 1,
            (false, _) => refused += 1,
        }
    }
    assert!(forwarded > 30 && mixed > 15 && refused > 100, "{forwarded} {mixed} {refused}");
}
