//! A new configuration for a gateway at work: what of it is in force at once, what waits for a restart, and what keeps the old
//! one in force.

use std::sync::Arc;

use crate::config::names::{Bearer, clashes};
use crate::config::{Config, Problem, Problems};
use crate::identity::Member;
use crate::policy::Rules;
use crate::routes::Site;

use super::Inner;

impl Inner {
    /// Puts a configuration in force as far as that goes without a restart; its warnings, or why the old one stays.
    pub(super) fn adopt(&self, mut config: Config) -> Result<Vec<Problem>, String> {
        let old = self.config.borrow().clone();
        for (what, differs) in [
            ("network", old.network != config.network),
            ("zone", old.zone != config.zone),
            ("state_dir", old.state_dir != config.state_dir),
            ("controller", old.controller != config.controller || old.node != config.node),
            ("tls", old.tls != config.tls),
        ] {
            if differs {
                return Err(format!("a changed {what} takes a restart: systemctl restart ztgate"));
            }
        }
        keep_ports(&old, &mut config);
        let site = Site::new(&config, Some(&self.site.load())).map_err(|error| error.to_string())?;
        let renewed = self.renewed(&config, &site).map_err(|error| error.to_string())?;
        for route in site.routes() {
            self.resolver.refresh(&route.place);
        }
        let (rules, warnings) = (Rules::compile(&config), config.warnings.clone());
        let mut found = Vec::new();
        // Orders hold their names against the configuration under the same lock, so whichever comes second sees the other.
        self.config.send_if_modified(|current| {
            found = self.clashes(&config);
            let is_sound = found.is_empty();
            if is_sound {
                self.serve(renewed);
                self.rules.store(Arc::new(rules));
                self.site.store(Arc::new(site));
                *current = Arc::new(config);
            }
            is_sound
        });
        if found.is_empty() { Ok(warnings) } else { Err(Problems(&found).to_string()) }
    }

    /// The groups of a configuration that have the name of somebody, or will in a moment.
    fn clashes(&self, config: &Config) -> Vec<Problem> {
        // Before the roster: what is no longer here is in it.
        let naming = self.members.naming.borrow().clone();
        let roster = self.members.roster.borrow().clone();
        let members: Vec<_> = roster.iter().flat_map(|roster| roster.sorted()).cloned().collect();
        let named = naming.iter().map(|(id, profile)| Bearer {
            id: *id,
            name: profile.name.as_ref(),
            owner: profile.owner.as_ref(),
            groups: &profile.groups,
        });
        clashes(config, named.chain(members.iter().map(|member| bearer(member))))
    }
}

/// Leaves the ports as they are: whoever is connected, and each address that the gateway has told, relies on them.
fn keep_ports(old: &Config, new: &mut Config) {
    let Config { http_port, https_port, dns, warnings, file, .. } = new;
    // Where nobody listened yet, nobody relies on it.
    let dns_was = if old.dns.enabled { old.dns.port } else { dns.port };
    for (key, was, port) in [
        ("http_port", old.http_port, http_port),
        ("https_port", old.https_port, https_port),
        ("dns.port", dns_was, &mut dns.port),
    ] {
        let wanted = std::mem::replace(port, was);
        if wanted != was {
            warnings.push(Problem {
                file: file.file_name().unwrap_or_default().into(),
                line: None,
                key: Some(key.to_owned()),
                message: format!(
                    "{wanted} takes a restart, and the port stays {was} until then; the rest is in force"
                ),
                hint: Some("systemctl restart ztgate".to_owned()),
            });
        }
    }
}

/// A member with the names that it brings into use.
fn bearer(member: &Member) -> Bearer<'_> {
    let Member { id, device, owner, groups, .. } = member;
    Bearer { id: *id, name: device.as_ref(), owner: owner.as_ref(), groups }
}
