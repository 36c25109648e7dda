//! Who is who: `policy/devices.toml` and the `[groups]` of every file.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::{Label, MemberId};

use super::names::{Names, Thing};
use super::read::{Item, Keys, Report, Section, Spot, nearest, quote};
use super::{Device, Group, Service, Who};

/// The device list's name, relative to the configuration's folder.
pub(super) const DEVICES: &str = "policy/devices.toml";

const LATER: &str = "not supported by this version; to ignore it could let in whom you mean to keep out";

/// The keys of a file in the policy folder.
const POLICY_KEYS: Keys<'_> = Keys {
    known: &["groups"],
    not_here: &[
        ("rule", LATER),
        ("test", "not supported by this version: tests come with rules, in a later one"),
        ("deny", LATER),
        ("device", "devices belong in policy/devices.toml"),
        ("service", "services belong in ztgate.toml"),
    ],
    meant: &[("group", "groups")],
};

const DEVICES_KEYS: Keys<'_> = Keys {
    known: &["device"],
    not_here: &[
        ("groups", "this file lists devices; [groups] belongs in another file of the policy folder"),
        ("rule", LATER),
        ("deny", LATER),
    ],
    meant: &[("devices", "device")],
};

const DEVICE_KEYS: Keys<'_> = Keys {
    known: &["id", "owner", "groups"],
    not_here: &[
        ("until", "not supported by this version: end dates come with \"ztgate admit\""),
        ("expires", "not supported by this version: end dates come with \"ztgate admit\""),
    ],
    meant: &[("member", "id"), ("group", "groups"), ("person", "owner")],
};

/// Reads `policy/devices.toml`, and takes the names in it. Ordered by name.
pub(super) fn read_devices(root: &Section<'_>, names: &mut Names, report: &mut Report) -> Vec<Device> {
    root.only(&DEVICES_KEYS, report);
    let Some(list) = root.section("device", report) else { return Vec::new() };
    let mut ids: HashMap<MemberId, (&str, Spot)> = HashMap::new();
    let mut devices = Vec::new();
    for (text, item) in list.entries() {
        let name = names.declare(text, Thing::Device, &item.spot, report);
        let Some(section) = item.section(report) else { continue };
        section.only(&DEVICE_KEYS, report);
        let id = read_id(&section, report);
        if let (Some(id), Some(at)) = (id, section.get("id")) {
            match ids.get(&id) {
                Some((other, first)) => {
                    let message = format!("{id} is the device {} already, at {first}", quote(other));
                    report.error(&at.spot, message, "a member is one device: remove one of the two");
                }
                None => {
                    ids.insert(id, (text, at.spot));
                }
            }
        }
        let owner = section
            .get("owner")
            .and_then(|owner| names.declare(owner.text(report)?, Thing::Owner, &owner.spot, report));
        let groups = section.get("groups").map(|list| list.list(report)).unwrap_or_default();
        let groups = groups
            .iter()
            .filter_map(|group| names.declare(group.text(report)?, Thing::Group, &group.spot, report))
            .collect();
        if let (Some(name), Some(id)) = (name, id) {
            devices.push(Device { name, id, owner, groups, line: item.spot.line });
        }
    }
    devices
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

/// Complains about keys of a policy file that mean nothing there.
pub(super) fn check_policy_keys(root: &Section<'_>, report: &mut Report) {
    root.only(&POLICY_KEYS, report);
}

/// Reads the `[groups]` of all files. All names are taken before any word is looked up, so order does not matter.
pub(super) fn read_groups(roots: &[Section<'_>], names: &mut Names, report: &mut Report) -> Vec<Group> {
    let mut lists = BTreeMap::new();
    for root in roots {
        let Some(section) = root.section("groups", report) else { continue };
        for (text, item) in section.entries() {
            let Some(name) = names.declare(text, Thing::Group, &item.spot, report) else { continue };
            if let Some(first) = lists.get(&name).map(|first: &Item<'_>| &first.spot) {
                let message = format!("the group \"{name}\" is listed at {first} already");
                report.error(&item.spot, message, "put all its members into one list");
                continue;
            }
            lists.insert(name, item);
        }
    }
    lists
        .into_iter()
        .map(|(name, item)| {
            let words = item.list(report);
            let members = words.iter().filter_map(|word| group_member(word, names, report)).collect();
            Group { name, members, file: item.spot.file.clone(), line: item.spot.line }
        })
        .collect()
}

fn group_member(word: &Item<'_>, names: &Names, report: &mut Report) -> Option<Who> {
    match names.resolve(word, report)? {
        Who::Anyone => {
            let hint = "write \"*\" in the allow of a service instead";
            report.error(&word.spot, "a group has named members; \"*\" is everybody", hint);
            None
        }
        Who::Group(inner) => {
            let message = format!("\"{inner}\" is a group, and a group does not contain groups");
            let hint = format!("list the members of \"{inner}\" here, or name both where both are meant");
            report.error(&word.spot, message, hint);
            None
        }
        who => Some(who),
    }
}

/// Warns of groups that let nobody in: no device is in them, or no service names them.
pub(super) fn warn_of_idle_groups(
    groups: &[Group],
    devices: &[Device],
    services: &[Arc<Service>],
    names: &Names,
    report: &mut Report,
) {
    let listed = |name: &Label| groups.iter().any(|g| g.name == *name && !g.members.is_empty());
    let joined = |name: &Label| devices.iter().any(|d| d.groups.contains(name));
    let allowed = |name: &Label| {
        services.iter().flat_map(|s| &s.allow).any(|g| matches!(&g.who, Who::Group(group) if group == name))
    };
    for (name, spot) in names.groups() {
        if !listed(name) && !joined(name) {
            report.warn(spot, format!("no device is in the group \"{name}\" yet"), None);
        } else if !allowed(name) {
            let others = names.groups().map(|(other, _)| other).filter(|other| *other != name);
            let near = nearest(name.as_str(), others.map(Label::as_str));
            let hint = near.map(|near| format!("did you mean \"{near}\"?"));
            report.warn(spot, format!("no service allows the group \"{name}\""), hint);
        }
    }
}
