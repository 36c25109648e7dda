//! Which names of `in-addr.arpa` and `ip6.arpa` are about this network. Pure.
//!
//! Whole addresses that a member has, and all that ZeroTier derives on this network, are answered here and asked nobody
//! else: who lives at which address is no stranger's business, and no stranger knows. An address of a managed range that no
//! member has is asked elsewhere like any other, for the range may be shared with a house's own network.

use std::net::Ipv6Addr;

use hickory_proto::rr::Name;
use ipnet::{IpNet, Ipv6Net};

use super::view::View;
use crate::model::{MemberId, NetworkId};

/// What there is to say of a name in the reverse tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reverse {
    /// An address that has this name.
    Name(Name),
    /// An address of this network that has no name, or none that may be told.
    Nobody,
    /// Only the beginning of an address.
    Above,
}

/// What is said of a name that is about this network; `None` if it is about another.
pub fn reverse(view: &View, name: &Name) -> Option<Reverse> {
    let net = name.parse_arpa_name().ok()?;
    let derived = [rfc4193(view.roster.network), six_plane(view.roster.network)];
    let is_derived = derived.into_iter().flatten().any(|prefix| IpNet::V6(prefix).contains(&net));
    let address = net.addr();
    // Only names that are written as such: `010` is no number in a name.
    let is_whole = net.prefix_len() == net.max_prefix_len() && Name::from(address) == *name;
    if !is_whole {
        return is_derived.then_some(Reverse::Above);
    }
    if !is_derived && !view.knows(address) {
        return None;
    }
    let found = view.pointer(address).and_then(|label| view.zone.prepend_label(label).ok());
    Some(found.map_or(Reverse::Nobody, Reverse::Name))
}

/// The prefix of the network's RFC 4193 addresses: all but the member's 40 bits.
fn rfc4193(network: NetworkId) -> Option<Ipv6Net> {
    prefix(88, |member| member.rfc4193(network))
}

/// The prefix of the network's 6PLANE addresses.
fn six_plane(network: NetworkId) -> Option<Ipv6Net> {
    prefix(40, |member| member.six_plane(network))
}

/// What the addresses of any two members have in common.
fn prefix(length: u8, of: impl Fn(MemberId) -> Ipv6Addr) -> Option<Ipv6Net> {
    let anybody = of(MemberId::from_bits(1)?);
    Ipv6Net::new(anybody, length).ok().map(|net| net.trunc())
}

/// Kept beside the tests: an address in the reverse tree.
#[cfg(test)]
pub fn arpa(address: &str) -> String {
    Name::from(address.parse::<std::net::IpAddr>().unwrap()).to_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_hold_every_members_addresses_and_no_other_networks() {
        let network: NetworkId = "5e02d9cb41c0ffee".parse().unwrap();
        let [rfc4193, six_plane] = [rfc4193(network), six_plane(network)].map(Option::unwrap);
        assert_eq!(rfc4193.to_string(), "fd5e:2d9:cb41:c0ff:ee99:9300::/88");
        assert_eq!(six_plane.to_string(), "fc1f:c226:2500::/40");
        let member: MemberId = "c4c8812898".parse().unwrap();
        assert!(rfc4193.contains(&member.rfc4193(network)) && six_plane.contains(&member.six_plane(network)));
        let other: NetworkId = "5e02d9cb41000052".parse().unwrap();
        assert!(!rfc4193.contains(&member.rfc4193(other)) && !six_plane.contains(&member.six_plane(other)));
    }
}
