//! Which addresses no name from outside may lead to (DNS rebinding), and whose names may.
//!
//! A page opened from a hostile domain may ask that domain's name again and get an address of this house; its browser then
//! takes the router or a service for the page's own server. So an answer from outside has no such address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::SVCB;
use hickory_proto::rr::rdata::svcb::SvcParamValue;
use hickory_proto::rr::{Name, RData, Record};

/// Ends of names that nobody can register, so that only a server of one's own answers for them: RFC 6761 (`localhost`,
/// `test`), RFC 6762 (`local`, and what its appendix G lists as in private use), RFC 8375 (`home.arpa`), and what ICANN set
/// aside (`internal` in 2024; `corp`, `home` and `mail` are never delegated, 2018).
const NOBODYS: [&str; 11] = [
    "corp",
    "home",
    "home.arpa",
    "internal",
    "intranet",
    "lan",
    "local",
    "localhost",
    "mail",
    "private",
    "test",
];

/// The names whose answers may be private addresses.
pub(super) struct PrivateNames(Vec<Name>);

impl PrivateNames {
    /// Those that nobody can own, and those below these domains.
    pub(super) fn new(domains: &[String]) -> Self {
        let all = NOBODYS.into_iter().chain(domains.iter().map(String::as_str));
        // The root would include everything.
        let is_domain = |name: &Name| name.iter().next().is_some();
        Self(all.filter_map(|domain| Name::from_ascii(domain).ok()).filter(is_domain).collect())
    }

    /// A single label is the house's, too: no domain can be registered at the root.
    pub(super) fn include(&self, name: &Name) -> bool {
        name.iter().count() <= 1 || self.0.iter().any(|domain| domain.zone_of(name))
    }
}

/// The private address that this record leads to, if it does.
pub(super) fn private_address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(address) => Some(address.0.into()).filter(is_private),
        RData::AAAA(address) => Some(address.0.into()).filter(is_private),
        RData::HTTPS(service) => private_hint(&service.0),
        RData::SVCB(service) => private_hint(service),
        _ => None,
    }
}

/// A browser may connect to a hint before it asks for an address (RFC 9460, section 7.3).
fn private_hint(service: &SVCB) -> Option<IpAddr> {
    let mut hints = service.svc_params.iter().flat_map(|(_, value)| match value {
        SvcParamValue::Ipv4Hint(hint) => hint.0.iter().map(|address| IpAddr::V4(address.0)).collect(),
        SvcParamValue::Ipv6Hint(hint) => hint.0.iter().map(|address| IpAddr::V6(address.0)).collect(),
        _ => Vec::new(),
    });
    hints.find(is_private)
}

/// Whether an address means this machine, this link or this site, however it is wrapped.
fn is_private(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(*v4),
        IpAddr::V6(v6) => is_private_v6(*v6),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    // "This network", which Linux takes for itself (RFC 1122), and what carriers share among their customers (RFC 6598).
    let is_own_or_shared = a == 0 || (a == 100 && b & 0xc0 == 64);
    is_own_or_shared
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // fec0::/10 was site-local (RFC 3879). 64:ff9b:1::/48 is for a site's own translators (RFC 8215), and where the IPv4
    // address stands in it is theirs to choose.
    let is_site_local = segments[0] & 0xffc0 == 0xfec0 || segments[..3] == [0x64, 0xff9b, 1];
    is_site_local
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || wrapped_v4(segments).is_some_and(is_private_v4)
}

/// The IPv4 address inside an IPv4-mapped or -compatible (RFC 4291), translated (RFC 6052) or 6to4 (RFC 3056) address.
fn wrapped_v4(segments: [u16; 8]) -> Option<Ipv4Addr> {
    let (high, low) = match segments {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => (high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => (high, low),
        [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::svcb::{IpHint, SvcParamKey};
    use hickory_proto::rr::rdata::{A, AAAA, HTTPS};

    #[test]
    fn addresses_of_the_house_and_of_the_world() {
        for (text, expected) in [
            ("0.0.0.0", true),
            ("0.1.2.3", true),
            ("10.0.0.1", true),
            ("100.63.255.255", false),
            ("100.64.0.1", true),
            ("100.127.255.255", true),
            ("100.128.0.0", false),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("169.254.169.254", true),
            ("172.15.0.1", false),
            ("172.16.0.1", true),
            ("172.31.255.255", true),
            ("172.32.0.1", false),
            ("192.168.1.5", true),
            ("192.169.1.5", false),
            ("255.255.255.255", true),
            ("9.9.9.9", false),
            ("::", true),
            ("::1", true),
            ("::127.0.0.1", true),
            ("::ffff:192.168.1.5", true),
            ("::ffff:9.9.9.9", false),
            ("64:ff9b::10.1.2.3", true),
            ("64:ff9b::9.9.9.9", false),
            ("64:ff9b:1::1", true),
            ("2002:c0a8:105::1", true),
            ("2002:909:909::1", false),
            ("fe80::1", true),
            ("fec0::1", true),
            ("fc00::1", true),
            ("fd5e:2d9:cb41:c0ff:ee99:9300:0:1", true),
            ("2620:fe::fe", false),
        ] {
            assert_eq!(is_private(&text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn names_that_may_lead_into_the_house() {
        let names = PrivateNames::new(&["corp.example.org".into(), String::new(), ".".into()]);
        for (name, expected) in [
            ("nas.lan.", true),
            ("LAN.", true),
            ("router.", true),
            ("tv.home.arpa.", true),
            ("db.internal.", true),
            ("printer.local.", true),
            ("a.b.corp.example.org.", true),
            ("Corp.Example.ORG.", true),
            ("example.org.", false),
            ("notcorp.example.org.", false),
            ("corp.example.org.evil.example.", false),
            ("lan.evil.example.", false),
            ("in-addr.arpa.", false),
        ] {
            assert_eq!(names.include(&Name::from_ascii(name).unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn hints_are_addresses_too() {
        let https = |params| {
            let service = SVCB::new(1, Name::root(), params);
            Record::from_rdata(Name::root(), 60, RData::HTTPS(HTTPS(service)))
        };
        let (public, nas): (Ipv4Addr, Ipv4Addr) = ([9, 9, 9, 9].into(), [192, 168, 1, 5].into());
        let v4 = |list: Vec<Ipv4Addr>| {
            let hint = IpHint(list.into_iter().map(A).collect());
            vec![(SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(hint))]
        };
        let v6 = SvcParamValue::Ipv6Hint(IpHint(vec![AAAA(Ipv6Addr::LOCALHOST)]));
        assert_eq!(private_address(&https(v4(vec![public]))), None);
        assert_eq!(private_address(&https(v4(vec![public, nas]))), Some(nas.into()));
        let hidden = https(vec![(SvcParamKey::Ipv6Hint, v6)]);
        assert_eq!(private_address(&hidden), Some(Ipv6Addr::LOCALHOST.into()));
    }
}
