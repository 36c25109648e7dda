//! Whose name is whose. One name means one thing, a device, an owner or a group, wherever it is used. Pure.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::{Label, MemberId, nearest};

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
mod tests;
