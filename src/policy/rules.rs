//! The rules, compiled once for many decisions.
//!
//! Each service has an ordered list of rules, and a rule is a set of people and what it gives them. A decision asks
//! every rule of the service whether it knows the subject: a few hash look-ups, no allocation. Conditions (hours,
//! method, path) will narrow a rule beside its `people`, and a rule that denies will end the walk in [`Rules::decide`].

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{Config, Grant, Group, Service, Who};
use crate::model::{Label, MemberId, RefusalCode};

use super::ask::{Allowed, Ask, Decision, RuleRef, Subject};

/// All rules of one configuration. Immutable; a newer configuration's replace them whole.
#[derive(Clone, Debug)]
pub struct Rules {
    services: HashMap<Label, ServiceRules>,
    /// Ordered as in the configuration.
    pub(super) order: Vec<Label>,
    groups: Vec<(Label, People<()>)>,
}

#[derive(Clone, Debug)]
pub(super) struct ServiceRules {
    rules: Vec<Rule>,
    /// Where a further word of `allow` would go: for each role, the weakest first; just one where the kind has none.
    places: Vec<(Option<&'static str>, Place)>,
}

/// The `allow` of a service, as a place to write to.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// `ztgate.toml:14`.
    pub at: String,
    pub gap: Gap,
}

/// What an `allow` lacks for one more who gets in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Gap {
    /// A word in its list.
    Word,
    /// A word in the list of this role.
    WordOf(&'static str),
    /// A list for this role.
    Role(&'static str),
    /// The service has no `allow`.
    Allow,
}

#[derive(Clone, Debug)]
struct Rule {
    people: People<Arc<RuleRef>>,
    /// What it gives; see [`Allowed::roles`].
    roles: &'static [&'static str],
}

impl Rules {
    pub fn compile(config: &Config) -> Self {
        let groups: HashMap<&Label, &Group> = config.groups.iter().map(|g| (&g.name, g)).collect();
        let file = config.file.file_name().unwrap_or_default().to_string_lossy();
        let services = config
            .services
            .iter()
            .map(|service| (service.name.clone(), ServiceRules::compile(service, &groups, &file)))
            .collect();
        let memberships = config.groups.iter().map(|group| {
            let mut people = People::default();
            for who in &group.members {
                people.add(who, ());
            }
            (group.name.clone(), people)
        });
        Self {
            services,
            order: config.services.iter().map(|s| s.name.clone()).collect(),
            groups: memberships.collect(),
        }
    }

    /// Whether the subject may have what it asks for. Nothing matches: refused.
    ///
    /// Where the kind of service has roles, any of them opens it; what a role may do there, the service's room judges.
    ///
    /// Judges the rules alone. That the member is active, and who it says it is, was judged before.
    pub fn decide(&self, subject: &Subject<'_>, ask: &Ask<'_>) -> Decision {
        let rules = self.services.get(ask.service).map_or(&[][..], |service| &service.rules);
        let mut best: Option<(&Rule, &Arc<RuleRef>)> = None;
        for rule in rules {
            if let Some(word) = rule.people.find(subject)
                && best.is_none_or(|(other, _)| rule.roles.len() > other.roles.len())
            {
                best = Some((rule, word));
            }
        }
        match best {
            Some((rule, word)) => {
                Decision { verdict: Ok(Allowed { roles: rule.roles }), rule: Some(word.clone()) }
            }
            None => Decision { verdict: Err(RefusalCode::NoRule), rule: None },
        }
    }

    /// Every group that the subject is in, by its own word and by `[groups]`; ordered by name.
    pub fn groups_of(&self, subject: &Subject<'_>) -> Vec<Label> {
        let listed = self.groups.iter().filter(|(_, people)| people.find(subject).is_some());
        let mut groups: Vec<Label> = listed.map(|(name, _)| name.clone()).collect();
        groups.extend_from_slice(subject.groups);
        groups.sort();
        groups.dedup();
        groups
    }

    /// The same rules with references of their own, so that a thread that hands them out shares no count with another.
    pub fn for_thread(&self) -> Self {
        let mut own = self.clone();
        for rule in own.services.values_mut().flat_map(|service| &mut service.rules) {
            rule.people.each(|word| {
                *word = Arc::new(RuleRef { label: Arc::from(&*word.label), ..(**word).clone() });
            });
        }
        own
    }

    pub(super) fn has(&self, service: &Label) -> bool {
        self.services.contains_key(service)
    }

    /// Where to write whoever is to get a role, or, without one, to get in at all: for that the weakest is enough.
    pub(super) fn place(&self, service: &Label, role: Option<&str>) -> Option<&Place> {
        let mut places = self.services.get(service)?.places.iter();
        let found = places.find(|(of, _)| role.is_none() || *of == role);
        found.map(|(_, place)| place)
    }
}

impl ServiceRules {
    fn compile(service: &Service, groups: &HashMap<&Label, &Group>, file: &str) -> Self {
        let all = service.kind.roles;
        let mut rules: Vec<Rule> = Vec::new();
        for grant in &service.allow {
            let roles = match grant.role {
                Some(role) => &all[..all.iter().position(|known| *known == role).map_or(0, |rank| rank + 1)],
                None => all,
            };
            let index = rules.iter().position(|rule| rule.roles.len() == roles.len()).unwrap_or_else(|| {
                rules.push(Rule { people: People::default(), roles });
                rules.len() - 1
            });
            let people = &mut rules[index].people;
            let word = Arc::new(RuleRef::of(grant));
            people.add(&grant.who, word.clone());
            if let Who::Name(name) = &grant.who {
                for member in groups.get(name).map_or(&[][..], |group| &group.members) {
                    people.add(member, word.clone());
                }
            }
        }
        let of = |role| (role, Place::of(service, role, file));
        let places = match all {
            [] => vec![of(None)],
            roles => roles.iter().map(|role| of(Some(*role))).collect(),
        };
        Self { rules, places }
    }
}

impl Place {
    /// `file` is the one that services stand in.
    fn of(service: &Service, role: Option<&'static str>, file: &str) -> Self {
        let gives_it = |grant: &&Grant| grant.role.is_none() || grant.role == role;
        let there = |grant: &Grant| format!("{}:{}", grant.file, grant.line);
        match (service.allow.iter().find(gives_it), service.allow.first(), role) {
            (Some(grant), ..) => Self { at: there(grant), gap: grant.role.map_or(Gap::Word, Gap::WordOf) },
            (None, Some(grant), Some(role)) => Self { at: there(grant), gap: Gap::Role(role) },
            _ => Self { at: format!("{file}:{}", service.line), gap: Gap::Allow },
        }
    }
}

impl RuleRef {
    fn of(grant: &Grant) -> Self {
        let Grant { who, role, file, line } = grant;
        let word = match who {
            Who::Anyone => "*".to_owned(),
            Who::Member(id) => id.to_string(),
            Who::Name(name) => name.to_string(),
        };
        let (text, label) = match role {
            Some(role) => (
                format!("allow = {{ {role} = [\"{word}\"] }}"),
                format!("{file}:{line} allow {word} as {role}"),
            ),
            None => (format!("allow = [\"{word}\"]"), format!("{file}:{line} allow {word}")),
        };
        Self { file: file.clone(), line: *line, text, label: label.into() }
    }
}

/// A set of people, each with what put them into it.
#[derive(Clone, Debug)]
struct People<T> {
    members: HashMap<MemberId, T>,
    /// Devices, owners and groups alike: one name means one thing.
    names: HashMap<Label, T>,
    anyone: Option<T>,
}

impl<T> Default for People<T> {
    fn default() -> Self {
        Self { members: HashMap::new(), names: HashMap::new(), anyone: None }
    }
}

impl<T> People<T> {
    /// Adds whom a word means; the first word for somebody stays.
    fn add(&mut self, who: &Who, by: T) {
        match who {
            Who::Anyone => _ = self.anyone.get_or_insert(by),
            Who::Member(id) => _ = self.members.entry(*id).or_insert(by),
            Who::Name(name) => _ = self.names.entry(name.clone()).or_insert(by),
        }
    }

    fn each(&mut self, change: impl FnMut(&mut T)) {
        self.members.values_mut().chain(self.names.values_mut()).chain(self.anyone.as_mut()).for_each(change);
    }

    /// What put the subject into the set, the most particular first.
    fn find(&self, subject: &Subject<'_>) -> Option<&T> {
        let device = || self.names.get(subject.device?);
        let owner = || self.names.get(subject.owner?);
        let group = || subject.groups.iter().find_map(|group| self.names.get(group));
        self.members.get(&subject.id).or_else(device).or_else(owner).or_else(group).or(self.anyone.as_ref())
    }
}
