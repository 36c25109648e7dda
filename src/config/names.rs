//! The names of people and things. One name means one thing, whoever uses it.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::{Label, MemberId, NameError};

use super::Who;
use super::read::{Item, Report, Spot, nearest, quote};

/// Words that would read as more than one device, owner or group.
const RESERVED: [&str; 6] = ["all", "any", "anyone", "everyone", "nobody", "none"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    Device,
    Owner,
    Group,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "a device",
            Self::Owner => "an owner",
            Self::Group => "a group",
        })
    }
}

/// Every device, owner and group that the files name, each with the place that named it first.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<Label, (Thing, Spot)>);

impl Names {
    /// Takes a name for a thing. `None`, and a problem, if it is no name or means something else already.
    pub fn declare(&mut self, text: &str, thing: Thing, spot: &Spot, report: &mut Report) -> Option<Label> {
        let name = label(text, spot, report)?;
        if RESERVED.contains(&name.as_str()) {
            let message = format!("\"{name}\" is reserved; it would read as more than {thing}");
            report.error(spot, message, "choose another name; any active member is \"*\" in allow");
            return None;
        }
        match self.0.get(&name) {
            Some((other, first)) if *other != thing => {
                let message = format!("\"{name}\" is {thing} here and {other} at {first}");
                report.error(spot, message, "one name means one thing: rename one of them");
                None
            }
            Some(_) => Some(name),
            None => {
                self.0.insert(name.clone(), (thing, spot.clone()));
                Some(name)
            }
        }
    }

    /// The groups, each with the place that named it first.
    pub fn groups(&self) -> impl Iterator<Item = (&Label, &Spot)> {
        self.0.iter().filter(|(_, (thing, _))| *thing == Thing::Group).map(|(name, (_, spot))| (name, spot))
    }

    /// Whom a word means. `None`, and a problem, if nobody.
    pub fn resolve(&self, word: &Item<'_>, report: &mut Report) -> Option<Who> {
        let text = word.text(report)?;
        if text == "*" {
            return Some(Who::Anyone);
        }
        if let Ok(id) = text.parse::<MemberId>() {
            return Some(Who::Member(id));
        }
        if let Some((name, (thing, _))) = self.0.get_key_value(text) {
            let name = name.clone();
            return Some(match thing {
                Thing::Device => Who::Device(name),
                Thing::Owner => Who::Owner(name),
                Thing::Group => Who::Group(name),
            });
        }
        let hint = match nearest(text, self.0.keys().map(Label::as_str)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if RESERVED.contains(&text) => "any active member is \"*\"".to_owned(),
            None => "devices and owners come from policy/devices.toml, groups from [groups]; \
                     a member ID like \"c4c8812898\" and \"*\" work without either"
                .to_owned(),
        };
        let message = format!("no device, owner or group is called {}", quote(text));
        report.error(&word.spot, message, hint);
        None
    }
}

/// A text as a name; a problem if it is none.
pub(super) fn label(text: &str, spot: &Spot, report: &mut Report) -> Option<Label> {
    match text.parse::<Label>() {
        Ok(name) => Some(name),
        Err(error) => {
            let mended = text.to_lowercase().replace([' ', '_', '.'], "-");
            let hint = match error {
                NameError::LooksLikeId => Some("give it a name that a person would say".to_owned()),
                _ if mended != text && mended.parse::<Label>().is_ok() => Some(format!("write \"{mended}\"")),
                _ => None,
            };
            report.error(spot, format!("{} is no name: {error}", quote(text)), hint);
            None
        }
    }
}
