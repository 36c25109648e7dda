//! What the gateway says about itself: its status, and the ruleset around it.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::admin;
use crate::config::{Config, Tls};
use crate::identity::{Hazard, IdentityProof, Member, Roster};
use crate::model::{Lane, MemberId, MemberState, NetworkId};
use crate::overlay::{Overlay, OverlayState, nft};
use crate::proxy::{Bind, Distrusting, FailureCounts, ThreadStats};
use crate::routes::{Route, Site};
use crate::sync::DeviceView;

use super::Inner;
use super::keep::wanted;

impl Inner {
    pub(super) fn ruleset(&self, ssh: Option<u16>, members: &[MemberId]) -> Option<String> {
        let overlay = self.overlay.borrow().clone();
        let config = self.config.borrow().clone();
        let roster = self.members.roster.borrow().clone()?;
        let dns: Vec<u16> = config.dns.enabled.then_some(config.dns.port).into_iter().collect();
        Some(nft::render(&nft::Ruleset {
            device: overlay.device.as_deref()?,
            roster: &roster,
            own: overlay.own,
            tcp: &[&[config.http_port, config.https_port][..], &config.extra_ports(), &dns].concat(),
            udp: &dns,
            break_glass: ssh.map(|port| nft::BreakGlass { port, members }),
        }))
    }

    pub(super) fn status(&self) -> admin::Status {
        let config = self.config.borrow().clone();
        let overlay = self.overlay.borrow().clone();
        let roster = self.members.roster.borrow().clone();
        let sync = self.members.status.borrow().clone();
        let pinning = self.pinning.borrow().clone();
        let audit = self.audit.read();
        let site = self.site.load_full();
        let sum = |count: fn(&ThreadStats) -> u64| self.stats.iter().map(|stats| count(stats)).sum();
        let failures = self.stats.iter().map(|stats| stats.failed_handshakes()).sum::<FailureCounts>();
        let effective = roster.as_ref().map(|roster| self.effective(roster));
        let members = roster.as_ref().map(|roster| roster.sorted()).unwrap_or_default();
        let devices = self.members.devices.borrow().clone();
        let aged: HashSet<MemberId> =
            devices.iter().filter(|device| device.aged).map(|device| device.member).collect();
        let mut costs: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        costs.extend(pinning.cost());
        costs.extend(roster.iter().flat_map(|roster| tolerated(roster, &self.effective(roster))));
        admin::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: self.started,
            now: self.clock.now(),
            network: config.network,
            zone: config.zone.to_string(),
            overlay: overlay.state.to_string(),
            overlay_up: overlay.state == OverlayState::Up,
            device: overlay.device.clone(),
            own: overlay.own,
            addresses: overlay.addresses.clone(),
            listeners: self.listeners(&overlay, &config, roster.is_some()),
            dns: self.dns_status(&overlay, &config, roster.is_some()),
            controller: sync.source.to_owned(),
            last_answer: sync.last_ok,
            controller_error: sync.last_error,
            members: members.len(),
            active: members.iter().filter(|member| member.state == MemberState::Active).count(),
            pending: members
                .iter()
                .filter(|member| member.state == MemberState::Pending && !aged.contains(&member.id))
                .map(|member| person(member))
                .collect(),
            pending_aged: aged.len(),
            queued: devices.iter().filter_map(|device| queued(device)).collect(),
            differences: sync.differences,
            notify: self.notified.borrow().clone(),
            certificates: self.certificates(&config),
            publish: self.publish.borrow().clone(),
            push: self.push.borrow().clone(),
            changed: members
                .iter()
                .filter(|member| member.proof == IdentityProof::Changed)
                .map(|member| person(member))
                .collect(),
            roster_age_s: roster.as_ref().map(|roster| roster.age(self.clock.instant()).as_secs()),
            roster_limit_s: roster.as_ref().map(|roster| roster.limit.as_secs()),
            hazards: effective
                .map(|roster| roster.hazards.iter().map(Hazard::mend).collect())
                .unwrap_or_default(),
            costs,
            services: site.routes().iter().map(|route| describe(&site, route)).collect(),
            connections: self.stats.iter().map(|stats| stats.open()).sum(),
            most_connections: self.most_connections,
            closed_over_share: sum(ThreadStats::over_share),
            closed_for_want_of_room: sum(ThreadStats::over_all),
            requests: sum(ThreadStats::requests),
            closed_without_proof: sum(ThreadStats::no_proof),
            failed_handshakes: failures.total(),
            handshake_failures: failures,
            distrusting: self.distrusting(&members),
            ca: self.ca_status(),
            records_written: audit.written,
            records_lost: audit.lost,
            audit_error: audit.last_error.as_ref().map(ToString::to_string),
            config_error: self.config_error.load_full().map(|why| why.to_string()),
            hosts: hosts(site.names().collect(), &overlay, config.network),
        }
    }

    fn certificates(&self, config: &Config) -> admin::CertificatesStatus {
        let ends = self.certificates.load().ends();
        let acme = self.acme.borrow().clone();
        let private = || format!("private CA for {}", config.zone);
        let (source, serves) = match &config.tls {
            Tls::PrivateCa => (private(), private()),
            Tls::Files { certificate, .. } => {
                let file = certificate.display().to_string();
                (file.clone(), file)
            }
            Tls::Acme(acme) if ends.is_some() => (acme.directory.clone(), acme.directory.clone()),
            Tls::Acme(acme) => (acme.directory.clone(), private()),
        };
        admin::CertificatesStatus {
            source,
            serves,
            ends,
            acme: matches!(config.tls, Tls::Acme(_)).then_some(acme),
        }
    }

    /// Whose devices do not trust the root. To distrust anybody else's certificate is nothing that our root could mend.
    fn distrusting(&self, members: &[&Arc<Member>]) -> Vec<admin::Distrusting> {
        if self.certificates.load().authority().is_none() {
            return Vec::new();
        }
        // All threads keep one list.
        let list = self.stats.first().map(|stats| stats.distrust().list()).unwrap_or_default();
        let named = |Distrusting { member, at }| {
            let known = members.iter().find(|known| known.id == member)?;
            let device = known.device.as_ref().map(ToString::to_string);
            Some(admin::Distrusting { member, device, at })
        };
        list.iter().copied().filter_map(named).collect()
    }

    fn listeners(&self, overlay: &Overlay, config: &Config, ready: bool) -> Vec<admin::Listener> {
        if !ready {
            return Vec::new();
        }
        let faults = self.faults.borrow().clone();
        let fault = |bind: &Bind| {
            let fault = faults.iter().find(|fault| fault.bind == *bind)?;
            fault.error.as_ref().map(|(_, why)| why.clone())
        };
        wanted(overlay, config, &self.more_http_ports)
            .into_iter()
            .map(|bind| admin::Listener {
                at: bind.at,
                scheme: bind.lanes.as_str().to_owned(),
                error: fault(&bind),
            })
            .collect()
    }
}

/// What the controller is still to be told of a device.
fn queued(device: &DeviceView) -> Option<String> {
    let what = device.queued.as_ref()?;
    let name = device.name.as_ref().map_or_else(|| device.member.to_string(), ToString::to_string);
    Some(with_name(what, &name))
}

/// `deauthorise (why)` with the device's name where it belongs.
fn with_name(what: &str, name: &str) -> String {
    match what.split_once(' ') {
        Some((verb, why)) => format!("{verb} {name} {why}"),
        None => format!("{what} {name}"),
    }
}

fn person(member: &Member) -> admin::Person {
    admin::Person {
        member: member.id,
        device: member.device.as_ref().map(ToString::to_string),
        label: member.label.clone(),
        state: member.state,
    }
}

/// The bridges that stop nobody but themselves, because neighbours are pinned.
fn tolerated(roster: &Roster, effective: &Roster) -> Vec<String> {
    let left = roster.hazards.iter().filter(|hazard| !effective.hazards.contains(hazard));
    let text = |hazard: &Hazard| match hazard {
        Hazard::ActiveBridge { member } => Some(format!(
            "member {member} may send frames with anybody's MAC, so it is never let in itself. Pinned neighbours keep the \
             others safe, who are let in from pinned addresses only: of 6PLANE's, the one that ends in ::1. To mend it, {}",
            hazard.mend()
        )),
        Hazard::Redirect { .. } | Hazard::Public => None,
    };
    left.filter_map(text).collect()
}

fn describe(site: &Site, route: &Route) -> admin::ServiceStatus {
    let service = &route.service;
    let (lane, port) =
        if service.plain_http { (Lane::Http, site.http_port) } else { (Lane::Https, site.https_port) };
    let host = site.zone.name(service.name.as_str());
    let shown = if port == lane.default_port() { String::new() } else { format!(":{port}") };
    let found = route.place.now();
    admin::ServiceStatus {
        name: service.name.to_string(),
        kind: service.kind.word.to_owned(),
        url: format!("{}://{host}{shown}/", lane.scheme()),
        upstream: service.upstream.to_string(),
        down_since: route.health.down_since(),
        error: found.addresses.is_empty().then(|| found.error.clone()).flatten(),
    }
}

/// One line an address, for the hosts file of a device that has no DNS for the zone yet.
fn hosts(mut names: Vec<&str>, overlay: &Overlay, network: NetworkId) -> Vec<String> {
    names.sort_unstable();
    // The managed addresses do; those that ZeroTier derives are the same machine in more digits.
    let derived = |address: &IpAddr| match (address, overlay.own) {
        (IpAddr::V6(address), Some(own)) => own.derives(network, *address),
        _ => false,
    };
    let shown = overlay.addresses.iter().filter(|address| !derived(address));
    shown.map(|address| format!("{address}  {}", names.join(" "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_queued_names_the_device_before_the_reason() {
        assert_eq!(with_name("deauthorise", "tv"), "deauthorise tv");
        assert_eq!(with_name("authorise (no answer yet)", "tv"), "authorise tv (no answer yet)");
    }

    #[test]
    fn hosts_have_every_managed_address_and_no_derived_one() {
        let network: NetworkId = "5e02d9cb41c0ffee".parse().unwrap();
        let own: MemberId = "5e02d9cb41".parse().unwrap();
        let managed = ["10.147.20.1", "fd00:1234::1"].map(|address| address.parse::<IpAddr>().unwrap());
        let derived = [own.rfc4193(network).into(), own.six_plane(network).into()];
        let overlay = Overlay {
            own: Some(own),
            addresses: managed.into_iter().chain(derived).collect(),
            ..Overlay::unknown()
        };
        let lines = hosts(vec!["wiki.home.arpa", "gate.home.arpa"], &overlay, network);
        assert_eq!(
            lines,
            ["10.147.20.1  gate.home.arpa wiki.home.arpa", "fd00:1234::1  gate.home.arpa wiki.home.arpa"]
        );
    }
}
