//! What members should be told about DNS, and whether the controller may be told so. Pure.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::memory::Memory;
use crate::model::{AddressKind, MemberId, NetworkId};
use crate::zerotier::NetworkDns;

/// Where the gateway answers DNS at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// As the configuration has it.
    pub enabled: bool,
    /// What members ask is 53, always.
    pub port: u16,
    /// Where it listens, UDP and TCP.
    pub addresses: Vec<IpAddr>,
    /// Where it should and does not.
    pub silent: Vec<Silent>,
    /// Whether it has nobody to ask about names that are not in the zone: `forward = []`.
    pub alone: bool,
}

/// A socket that could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silent {
    pub at: SocketAddr,
    /// `udp` or `tcp`.
    pub protocol: String,
    /// With the program that is in the way, if that can be told.
    pub why: String,
}

/// What is decided from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub zone: String,
    pub network: NetworkId,
    /// The gateway's own member.
    pub own: Option<MemberId>,
    /// What DNS is bound to; `None` in the demo.
    pub device: Option<String>,
    pub serving: Serving,
}

/// Why there is nothing to tell members.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhyNot {
    #[error("DNS is off here: take `enabled = false` out of [dns] in ztgate.toml")]
    Disabled,
    #[error("DNS does not listen on any overlay address yet; see: ztgate dns doctor")]
    NotListening,
    #[error(
        "the zone {0} is longer than the {most} bytes that ZeroTier has for it; choose a shorter one",
        most = NetworkDns::LONGEST_DOMAIN
    )]
    LongZone(String),
}

/// What members should be told: the zone, and the addresses where its DNS listens in the order in which it names itself,
/// managed IPv4 first, then managed IPv6, RFC 4193 and 6PLANE; no more than a member hears of.
///
/// # Errors
/// There is nothing that they could be told.
pub fn wanted(facts: &Facts) -> Result<NetworkDns, WhyNot> {
    let Facts { zone, network, own, serving, .. } = facts;
    if !serving.enabled {
        return Err(WhyNot::Disabled);
    }
    if zone.len() > NetworkDns::LONGEST_DOMAIN {
        return Err(WhyNot::LongZone(zone.clone()));
    }
    let mut servers = serving.addresses.clone();
    servers.sort_by_key(|address| (AddressKind::of(*address, *own, *network), *address));
    servers.dedup();
    servers.truncate(NetworkDns::MOST_SERVERS);
    if servers.is_empty() {
        return Err(WhyNot::NotListening);
    }
    Ok(NetworkDns { domain: zone.clone(), servers, odd: Vec::new() })
}

/// How it stands with the setting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Nobody asked for it.
    #[default]
    Off,
    /// It was asked for, and the controller was not looked at yet.
    Unknown,
    InStep,
    /// Somebody else wrote what is there; it is left alone.
    Foreign,
    /// There is nothing to tell members, and what is there is left alone.
    Blocked(String),
}

/// What to do about the setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Rest(Standing),
    Write(NetworkDns),
}

/// What to do by oneself, with what is remembered, about what the controller has.
pub fn step(memory: &Memory, wanted: &Result<NetworkDns, WhyNot>, found: &NetworkDns) -> Step {
    match wanted {
        _ if !memory.kept => Step::Rest(Standing::Off),
        Err(why) => Step::Rest(Standing::Blocked(why.to_string())),
        Ok(wanted) if wanted.says_same(found) => Step::Rest(Standing::InStep),
        Ok(wanted) if found.is_empty() || memory.owns(found) => Step::Write(wanted.clone()),
        Ok(_) => Step::Rest(Standing::Foreign),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: &str = "5e02d9cb41c0ffee";

    fn facts(zone: &str, addresses: &[&str]) -> Facts {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Facts {
            zone: zone.to_owned(),
            network: NETWORK.parse().unwrap(),
            own: "5e02d9cb41".parse().ok(),
            device: None,
            serving: Serving { enabled: true, port: 53, addresses, ..Serving::default() },
        }
    }

    fn dns(servers: &[&str]) -> NetworkDns {
        let servers = servers.iter().map(|server| server.parse().unwrap()).collect();
        NetworkDns { domain: "home.arpa".to_owned(), servers, odd: Vec::new() }
    }

    #[test]
    fn servers_stand_in_the_order_in_which_they_are_to_be_asked() {
        // shared/zerotier: the row of the table of this node.
        let (rfc4193, six_plane) = ("fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41", "fc1f:c226:255e:2d9:cb41::1");
        for (listening, servers) in [
            (
                vec![six_plane, rfc4193, "fd00::1", "10.147.20.1"],
                vec!["10.147.20.1", "fd00::1", rfc4193, six_plane],
            ),
            (vec![six_plane, rfc4193], vec![rfc4193, six_plane]),
            // A member hears of four.
            (
                vec![rfc4193, "10.0.0.2", "10.0.0.1", "fd00::1", six_plane],
                vec!["10.0.0.1", "10.0.0.2", "fd00::1", rfc4193],
            ),
            (vec!["10.0.0.1", "10.0.0.1"], vec!["10.0.0.1"]),
        ] {
            assert_eq!(wanted(&facts("home.arpa", &listening)), Ok(dns(&servers)), "{listening:?}");
        }
    }

    #[test]
    fn where_nobody_could_ask_nothing_is_told() {
        let mut off = facts("home.arpa", &["10.0.0.1"]);
        off.serving.enabled = false;
        let long = format!("{}.example", "a.".repeat(61));
        assert_eq!(wanted(&off), Err(WhyNot::Disabled));
        assert_eq!(wanted(&facts("home.arpa", &[])), Err(WhyNot::NotListening));
        assert_eq!(wanted(&facts(&long, &["10.0.0.1"])), Err(WhyNot::LongZone(long)));
        assert!(wanted(&facts(&"a".repeat(127), &["10.0.0.1"])).is_ok());
    }

    #[test]
    fn only_what_is_empty_or_our_own_is_replaced() {
        use Standing::{Blocked, Foreign, InStep, Off};
        let (old, new, other, none) =
            (dns(&["10.0.0.1"]), dns(&["10.0.0.2"]), dns(&["10.0.0.9"]), NetworkDns::default());
        let never = Memory::default();
        let ours = Memory { kept: true, ours: Some(old.clone()), writing: None };
        let killed = Memory { kept: true, ours: None, writing: Some(old.clone()) };
        let stopped = Memory { kept: false, ..ours.clone() };
        let write = || Step::Write(new.clone());
        for (memory, found, expected) in [
            (&never, &none, Step::Rest(Off)),
            (&never, &other, Step::Rest(Off)),
            (&stopped, &old, Step::Rest(Off)),
            (&ours, &new, Step::Rest(InStep)),
            (&ours, &old, write()),
            (&ours, &none, write()),
            (&ours, &other, Step::Rest(Foreign)),
            // Killed between telling the controller and remembering that it was told.
            (&killed, &old, write()),
            (&killed, &other, Step::Rest(Foreign)),
            (&killed, &none, write()),
        ] {
            assert_eq!(step(memory, &Ok(new.clone()), found), expected, "{memory:?} {found}");
        }
        // The way home is lost, not the setting.
        let blocked = Step::Rest(Blocked(WhyNot::NotListening.to_string()));
        assert_eq!(step(&ours, &Err(WhyNot::NotListening), &old), blocked);
    }
}
