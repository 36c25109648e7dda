//! Whose name is whose. One name means one thing, a device, an owner or a group, wherever it is used. Pure.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::{Label, MemberId};

use super::read::nearest;
use super::{Config, Device, Problem, SyncMode, Who};

/// Words that would read as more than one device, owner or group.
pub(super) const RESERVED: [&str; 6] = ["all", "any", "anyone", "everyone", "nobody", "none"];

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Device,
    Owner,
    Group,
}

/// One device with the names that it brings into use.
#[derive(Clone, Copy, Debug)]
pub struct Bearer<'a> {
    pub id: MemberId,
    pub name: Option<&'a Label>,
    pub owner: Option<&'a Label>,
    /// The groups that the device itself was put into.
    pub groups: &'a [Label],
}

/// Why a name cannot be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("\"{name}\" is reserved; it would read as more than {kind}: choose another name")]
    Reserved { name: Label, kind: Kind },
    #[error("\"{name}\" cannot be {kind}: it is {holder}; one name means one thing, so choose another")]
    Taken { name: Label, kind: Kind, holder: Holder },
}

/// What a name stands for already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    Device(MemberId),
    /// The owner of this device, among others.
    Owner(Arc<str>),
    /// A group that this device was put into, among others.
    Group(Arc<str>),
    /// A group of `[groups]`.
    Listed {
        file: Arc<str>,
        line: u32,
    },
    /// The group of `sync = "follow"`.
    Default,
    /// Another of the names that the same device is to have.
    Itself(Kind),
}

/// Every name in use, each with what it stands for.
#[derive(Clone, Debug, Default)]
pub struct Names(HashMap<Label, Holder>);

impl Names {
    /// The names of a configuration and of these devices. Whoever checks what a device is to be called leaves that device
    /// out, for it may keep what it has.
    pub fn of<'a>(config: &Config, devices: impl IntoIterator<Item = Bearer<'a>>) -> Self {
        let mut names = Self::default();
        names.add_config(config);
        devices.into_iter().for_each(|device| names.add(&device));
        names
    }

    /// Takes the names of one more device, as after each line of an import. Those in use already stay what they are.
    pub fn add(&mut self, device: &Bearer<'_>) {
        let text = || device.name.map_or_else(|| device.id.to_string(), Label::to_string).into();
        for (name, kind) in device.words() {
            self.take(name, || match kind {
                Kind::Device => Holder::Device(device.id),
                Kind::Owner => Holder::Owner(text()),
                Kind::Group => Holder::Group(text()),
            });
        }
    }

    /// Whether something of this kind may have this name. Owners and groups may be named again; devices may not.
    ///
    /// # Errors
    /// The name is reserved, or stands for something else.
    pub fn check(&self, name: &Label, kind: Kind) -> Result<(), NameError> {
        if RESERVED.contains(&name.as_str()) {
            return Err(NameError::Reserved { name: name.clone(), kind });
        }
        match self.0.get(name) {
            Some(holder) if kind == Kind::Device || holder.kind() != kind => {
                Err(NameError::Taken { name: name.clone(), kind, holder: holder.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The same for all names that a device is to have, against each other, too.
    ///
    /// # Errors
    /// The first name that will not do.
    pub fn check_device(&self, device: &Bearer<'_>) -> Result<(), NameError> {
        let mut own = HashMap::new();
        for (name, kind) in device.words() {
            self.check(name, kind)?;
            let first = *own.entry(name).or_insert(kind);
            if first != kind {
                let holder = Holder::Itself(first);
                return Err(NameError::Taken { name: name.clone(), kind, holder });
            }
        }
        Ok(())
    }

    /// The name in use that was probably meant.
    pub fn nearest(&self, word: &str) -> Option<&str> {
        nearest(word, self.0.keys().map(Label::as_str))
    }

    fn add_config(&mut self, config: &Config) {
        for group in &config.groups {
            self.take(&group.name, || Holder::Listed { file: group.file.clone(), line: group.line });
        }
        if let SyncMode::Follow { group } = &config.sync {
            self.take(group, || Holder::Default);
        }
    }

    fn take(&mut self, name: &Label, holder: impl FnOnce() -> Holder) {
        if let Entry::Vacant(free) = self.0.entry(name.clone()) {
            free.insert(holder());
        }
    }
}

/// The groups of a configuration whose name a device or an owner has. None of these devices could be told from the
/// group in `allow`, so such a configuration is not to be taken.
pub fn clashes<'a>(config: &Config, devices: impl IntoIterator<Item = Bearer<'a>>) -> Vec<Problem> {
    let mut borne = Names::default();
    devices.into_iter().for_each(|device| borne.add(&device));
    let listed = config.groups.iter().map(|group| {
        let file = PathBuf::from(&*group.file);
        (&group.name, file, Some(group.line), format!("groups.{}", group.name))
    });
    let default = match &config.sync {
        SyncMode::Follow { group } => {
            Some((group, main_file(config), None, "controller.default_group".to_owned()))
        }
        _ => None,
    };
    listed
        .chain(default)
        .filter_map(|(name, file, line, key)| {
            let (holder, command) = match borne.0.get(name)? {
                holder @ Holder::Device(_) => (holder, format!("ztgate devices rename {name} NEW-NAME")),
                holder @ Holder::Owner(of) => (holder, format!("ztgate devices owner {of} NEW-OWNER")),
                _ => return None,
            };
            Some(Problem {
                file,
                line,
                key: Some(key),
                message: format!("\"{name}\" is a group here, and it is {holder}"),
                hint: Some(format!(
                    "one name means one thing: call the group something else, or type \"{command}\""
                )),
            })
        })
        .collect()
}

/// The devices of a list read from `file` whose names would mean two things here: beside the configuration's groups, beside
/// `devices`, or beside each other. Those of `devices` that the list has too are left out, for it says what they are to be
/// called; so it may swap names.
pub fn import_clashes<'a>(
    config: &Config,
    file: &Path,
    list: &[Device],
    devices: impl IntoIterator<Item = Bearer<'a>>,
) -> Vec<Problem> {
    let listed: HashSet<MemberId> = list.iter().map(|device| device.id).collect();
    let mut names = Names::of(config, devices.into_iter().filter(|device| !listed.contains(&device.id)));
    let mut problems = Vec::new();
    for device in list {
        let bearer = Bearer::from(device);
        if let Err(error) = names.check_device(&bearer) {
            problems.push(Problem {
                file: file.to_owned(),
                line: Some(device.line),
                key: Some(format!("device.{}", device.name)),
                message: error.to_string(),
                hint: None,
            });
        }
        names.add(&bearer);
    }
    problems.sort_by_key(|problem| problem.line);
    problems
}

/// The words in `allow` and `[groups]` that nobody bears, and the groups that nobody is in. No errors, because a name may
/// be given later.
pub fn unused_words<'a>(config: &Config, devices: impl IntoIterator<Item = Bearer<'a>>) -> Vec<Problem> {
    let mut names = Names::default();
    devices.into_iter().for_each(|device| names.add(&device));
    let empty = |name: &Label| !matches!(names.0.get(name), Some(Holder::Group(_)));
    let idle = config.groups.iter().filter(|group| group.members.is_empty() && empty(&group.name));
    let mut warnings: Vec<Problem> = idle
        .map(|group| {
            let message = format!("no device is in the group \"{}\" yet", group.name);
            warning(&group.file, group.line, format!("groups.{}", group.name), message, None)
        })
        .collect();
    names.add_config(config);
    let granted = config.services.iter().flat_map(|service| {
        service.allow.iter().map(move |grant| {
            let role = grant.role.map(|role| format!(".{role}")).unwrap_or_default();
            (&grant.who, &grant.file, grant.line, format!("service.{}.allow{role}", service.name))
        })
    });
    let listed = config.groups.iter().flat_map(|group| {
        let key = || format!("groups.{}", group.name);
        group.members.iter().map(move |who| (who, &group.file, group.line, key()))
    });
    warnings.extend(granted.chain(listed).filter_map(|(who, file, line, key)| {
        let Who::Name(word) = who else { return None };
        if names.0.contains_key(word) {
            return None;
        }
        let message = format!("no device, owner or group is called \"{word}\" yet");
        let hint = match names.nearest(word.as_str()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "\"ztgate admit\" and \"ztgate devices\" give devices their names, owners and groups"
                .to_owned(),
        };
        Some(warning(file, line, key, message, Some(hint)))
    }));
    let main = main_file(config);
    warnings.sort_by(|a, b| (a.file != main, &a.file, a.line).cmp(&(b.file != main, &b.file, b.line)));
    warnings
}

fn warning(file: &str, line: u32, key: String, message: String, hint: Option<String>) -> Problem {
    Problem { file: PathBuf::from(file), line: Some(line), key: Some(key), message, hint }
}

fn main_file(config: &Config) -> PathBuf {
    Path::new(config.file.file_name().unwrap_or_default()).to_owned()
}

impl<'a> From<&'a Device> for Bearer<'a> {
    fn from(device: &'a Device) -> Self {
        let Device { id, name, owner, groups, .. } = device;
        Self { id: *id, name: Some(name), owner: owner.as_ref(), groups }
    }
}

impl<'a> Bearer<'a> {
    fn words(&self) -> impl Iterator<Item = (&'a Label, Kind)> {
        let groups = self.groups.iter().map(|group| (group, Kind::Group));
        let name = self.name.map(|name| (name, Kind::Device));
        name.into_iter().chain(self.owner.map(|owner| (owner, Kind::Owner))).chain(groups)
    }
}

impl Holder {
    fn kind(&self) -> Kind {
        match self {
            Self::Device(_) => Kind::Device,
            Self::Owner(_) => Kind::Owner,
            Self::Group(_) | Self::Listed { .. } | Self::Default => Kind::Group,
            Self::Itself(kind) => *kind,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "a device",
            Self::Owner => "an owner",
            Self::Group => "a group",
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(id) => write!(f, "the name of device {id}"),
            Self::Owner(of) => write!(f, "the owner of {of}"),
            Self::Group(of) => write!(f, "a group of {of}"),
            Self::Listed { file, line } => write!(f, "the group at {file}:{line}"),
            Self::Default => f.write_str("the default_group of [controller]"),
            Self::Itself(Kind::Device) => f.write_str("this device's own name"),
            Self::Itself(Kind::Owner) => f.write_str("this device's owner"),
            Self::Itself(Kind::Group) => f.write_str("a group of this device"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Problems, from_text};
    use super::*;

    const MAIN: &str = r#"
network = "5e02d9cb41c0ffee"
zone = "home.arpa"

[controller]
sync = "follow"
default_group = "guests"

[service.films]
upstream = "http://127.0.0.1:8096"
allow = ["family", "guests", "red-phon", "*", "c4c8812898"]

[service.dl]
kind = "aria2"
upstream = "http://127.0.0.1:6800"
allow = { watch = ["kids"], admin = ["neighbours"] }
"#;

    const GROUPS: &str = "[groups]\nfamily = [\"mum\", \"tv\"]\nkids = []\n";

    fn config() -> Config {
        from_text(MAIN, &[("groups.toml", GROUPS)]).unwrap()
    }

    /// ID, name, owner and groups, with a space between.
    struct Text(MemberId, Vec<Label>, Vec<Label>);

    fn device(id: &str, name: &str, owner: &str, groups: &str) -> Text {
        let labels = |text: &str| text.split_whitespace().map(|word| word.parse().unwrap()).collect();
        Text(id.parse().unwrap(), labels(&format!("{name} {owner}")), labels(groups))
    }

    impl Text {
        fn bearer(&self) -> Bearer<'_> {
            Bearer { id: self.0, name: self.1.first(), owner: self.1.get(1), groups: &self.2 }
        }
    }

    fn home() -> [Text; 2] {
        [device("c4c8812898", "red-phone", "mum", "admins"), device("61c20fd87b", "tablet", "", "")]
    }

    #[test]
    fn one_name_means_one_thing() {
        let home = home();
        let names = Names::of(&config(), home.iter().map(Text::bearer));
        let said = |name: &str, kind| match names.check(&name.parse().unwrap(), kind) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        let end = "; one name means one thing, so choose another";
        for (name, kind, expected) in [
            ("new", Kind::Device, ""),
            ("mum", Kind::Owner, ""),
            ("admins", Kind::Group, ""),
            ("family", Kind::Group, ""),
            ("guests", Kind::Group, ""),
            ("tablet", Kind::Device, "\"tablet\" cannot be a device: it is the name of device 61c20fd87b"),
            ("tablet", Kind::Owner, "\"tablet\" cannot be an owner: it is the name of device 61c20fd87b"),
            ("mum", Kind::Device, "\"mum\" cannot be a device: it is the owner of red-phone"),
            ("mum", Kind::Group, "\"mum\" cannot be a group: it is the owner of red-phone"),
            ("admins", Kind::Owner, "\"admins\" cannot be an owner: it is a group of red-phone"),
            (
                "family",
                Kind::Device,
                "\"family\" cannot be a device: it is the group at policy/groups.toml:2",
            ),
            ("guests", Kind::Owner, "\"guests\" cannot be an owner: it is the default_group of [controller]"),
        ] {
            let expected = if expected.is_empty() { String::new() } else { format!("{expected}{end}") };
            assert_eq!(said(name, kind), expected);
        }
        assert_eq!(
            said("everyone", Kind::Group),
            "\"everyone\" is reserved; it would read as more than a group: choose another name"
        );
    }

    #[test]
    fn the_names_of_one_device_differ_too() {
        let names = Names::of(&config(), []);
        for (device, expected) in [
            (device("c4c8812898", "tv", "mum", "family admins admins"), None),
            (device("c4c8812898", "tv", "tv", ""), Some("this device's own name")),
            (device("c4c8812898", "tv", "mum", "mum"), Some("this device's owner")),
            (device("c4c8812898", "tv", "family", ""), Some("the group at policy/groups.toml:2")),
        ] {
            let error = names.check_device(&device.bearer()).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), expected.is_some());
            assert!(error.unwrap_or_default().contains(expected.unwrap_or_default()));
        }
    }

    #[test]
    fn an_import_takes_its_names_line_by_line() {
        let mut names = Names::of(&config(), []);
        let [first, second] = [device("c4c8812898", "tv", "mum", ""), device("61c20fd87b", "tv", "mum", "")];
        assert_eq!(names.check_device(&first.bearer()), Ok(()));
        names.add(&first.bearer());
        let holder = Holder::Device(first.0);
        let taken = NameError::Taken { name: "tv".parse().unwrap(), kind: Kind::Device, holder };
        assert_eq!(names.check_device(&second.bearer()), Err(taken));
    }

    #[test]
    fn an_import_is_held_against_what_stays() {
        let list = "[device.tablet]\nid = \"c4c8812898\"\nowner = \"mum\"\n\
                    [device.red-phone]\nid = \"61c20fd87b\"\n\
                    [device.tv]\nid = \"a000000001\"\nowner = \"family\"\n\
                    [device.new]\nid = \"a000000002\"\ngroups = [\"stays\"]\n\
                    [device.admins]\nid = \"a000000003\"\n";
        let list = super::super::devices::parse("list.toml", list, &jiff::tz::TimeZone::UTC).unwrap();
        let [phone, tablet] = home();
        let stays = device("d000000009", "stays", "", "");
        let here = [&phone, &tablet, &stays].map(Text::bearer);
        insta::assert_snapshot!(Problems(&import_clashes(&config(), Path::new("list.toml"), &list, here)), @r#"
        list.toml:6: device.tv: "family" cannot be an owner: it is the group at policy/groups.toml:2; one name means one thing, so choose another
        list.toml:9: device.new: "stays" cannot be a group: it is the name of device d000000009; one name means one thing, so choose another
        "#);
    }

    #[test]
    fn a_group_may_not_have_the_name_of_somebody() {
        let home = [device("c4c8812898", "guests", "family", ""), device("61c20fd87b", "tablet", "", "kids")];
        insta::assert_snapshot!(Problems(&clashes(&config(), home.iter().map(Text::bearer))), @r#"
        policy/groups.toml:2: groups.family: "family" is a group here, and it is the owner of guests
          hint: one name means one thing: call the group something else, or type "ztgate devices owner guests NEW-OWNER"
        ztgate.toml: controller.default_group: "guests" is a group here, and it is the name of device c4c8812898
          hint: one name means one thing: call the group something else, or type "ztgate devices rename guests NEW-NAME"
        "#);
    }

    #[test]
    fn words_that_nobody_bears() {
        let home = home();
        insta::assert_snapshot!(Problems(&unused_words(&config(), home.iter().map(Text::bearer))), @r#"
        ztgate.toml:11: service.films.allow: no device, owner or group is called "red-phon" yet
          hint: did you mean "red-phone"?
        ztgate.toml:16: service.dl.allow.admin: no device, owner or group is called "neighbours" yet
          hint: "ztgate admit" and "ztgate devices" give devices their names, owners and groups
        policy/groups.toml:2: groups.family: no device, owner or group is called "tv" yet
          hint: "ztgate admit" and "ztgate devices" give devices their names, owners and groups
        policy/groups.toml:3: groups.kids: no device is in the group "kids" yet
        "#);
        let all =
            [device("c4c8812898", "red-phon", "mum", "kids"), device("61c20fd87b", "tv", "neighbours", "")];
        assert_eq!(unused_words(&config(), all.iter().map(Text::bearer)), []);
    }
}
