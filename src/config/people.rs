//! Who belongs together: the `[groups]` of every file.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Label, nearest};

use super::names::Kind;
use super::read::{Item, Keys, Report, Section, Spot};
use super::{Group, Service, Who, devices, words};

const LATER: &str = "not supported by this version; to ignore it could let in whom you mean to keep out";

/// The keys of a file in the policy folder.
const POLICY_KEYS: Keys<'_> = Keys {
    known: &["groups"],
    not_here: &[
        ("rule", LATER),
        ("test", "not supported by this version: tests come with rules, in a later one"),
        ("deny", LATER),
        ("device", devices::NOT_HERE),
        ("service", "services belong in ztgate.toml"),
    ],
    meant: &[("group", "groups")],
};

/// Complains about keys of a policy file that mean nothing there.
pub(super) fn check_policy_keys(root: &Section<'_>, report: &mut Report) {
    root.only(&POLICY_KEYS, report);
}

/// Reads the `[groups]` of all files. All names are taken before any word is looked at, so order does not matter.
pub(super) fn read_groups(roots: &[Section<'_>], report: &mut Report) -> Vec<Group> {
    let mut lists: BTreeMap<Label, Item<'_>> = BTreeMap::new();
    for root in roots {
        let Some(section) = root.section("groups", report) else { continue };
        for (text, item) in section.entries() {
            let Some(name) = words::name(text, Kind::Group, &item.spot, report) else { continue };
            if let Some(first) = lists.get(&name) {
                let message = format!("the group \"{name}\" is listed at {} already", first.spot);
                report.error(&item.spot, message, "put all its members into one list");
                continue;
            }
            lists.insert(name, item);
        }
    }
    let read = lists.iter().map(|(name, item)| {
        let words = item.list(report);
        let members = words.iter().filter_map(|word| group_member(word, &lists, report)).collect();
        Group { name: name.clone(), members, file: item.spot.file.clone(), line: item.spot.line }
    });
    read.collect()
}

fn group_member(word: &Item<'_>, groups: &BTreeMap<Label, Item<'_>>, report: &mut Report) -> Option<Who> {
    match words::who(word, report)? {
        Who::Anyone => {
            let hint = "write \"*\" in the allow of a service instead";
            report.error(&word.spot, "a group has named members; \"*\" is everybody", hint);
            None
        }
        Who::Name(inner) if groups.contains_key(&inner) => {
            let message = format!("\"{inner}\" is a group, and a group does not contain groups");
            let hint = format!("list the members of \"{inner}\" here, or name both where both are meant");
            report.error(&word.spot, message, hint);
            None
        }
        who => Some(who),
    }
}

/// Warns of groups that let nobody in, because no service names them.
pub(super) fn warn_of_idle_groups(groups: &[Group], services: &[Arc<Service>], report: &mut Report) {
    let grants = || services.iter().flat_map(|service| &service.allow);
    let allowed =
        || grants().filter_map(|grant| if let Who::Name(name) = &grant.who { Some(name) } else { None });
    for group in groups.iter().filter(|group| allowed().all(|name| *name != group.name)) {
        let listed = |name: &Label| groups.iter().any(|other| other.name == *name);
        // A word that is a group of its own was hardly meant for this one.
        let near = nearest(group.name.as_str(), allowed().filter(|name| !listed(name)).map(Label::as_str));
        let hint = near.map(|near| format!("did you mean \"{near}\"?"));
        let spot = Spot::of(&group.file, group.line, format!("groups.{}", group.name));
        report.warn(&spot, format!("no service allows the group \"{}\"", group.name), hint);
    }
}
