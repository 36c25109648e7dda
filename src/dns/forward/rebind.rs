//! Which addresses and names no name from outside may lead to (DNS rebinding), and whose names may.
//!
//! A page opened from a hostile domain may ask that domain's name again and get an address of this house; its browser then
//! takes the router or a service for the page's own server. So an answer from outside has no such address, and is no alias
//! of a name of the house either: resolvers on devices ask for such a name themselves, and would be told. Nor does it rename
//! a domain to one that has the house's names below it (DNAME), which resolvers follow for names that they were never told of.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::rr::rdata::SVCB;
use hickory_proto::rr::rdata::svcb::SvcParamValue;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use tokio::sync::watch;

use crate::dns::special::special;
use crate::dns::view::View;

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

/// Whether a name is such that nobody can own it on the internet.
pub(in crate::dns) fn is_nobodys(name: &Name) -> bool {
    House::new(&[]).include(name)
}

/// What belongs to this house: names whose answers may be private addresses, its zone, and its overlay's addresses.
pub(super) struct House {
    names: Vec<Name>,
    views: Option<watch::Receiver<Option<Arc<View>>>>,
}

impl House {
    /// Those that nobody can own, and those below these domains.
    pub(super) fn new(domains: &[String]) -> Self {
        let all = NOBODYS.into_iter().chain(domains.iter().map(String::as_str));
        // The root would include everything.
        let is_domain = |name: &Name| name.iter().next().is_some();
        let names = all.filter_map(|domain| Name::from_ascii(domain).ok()).filter(is_domain).collect();
        Self { names, views: None }
    }

    /// With the zone and the addresses of the network as they are at the time.
    pub(super) fn with_views(self, views: watch::Receiver<Option<Arc<View>>>) -> Self {
        Self { views: Some(views), ..self }
    }

    /// A single label is the house's, too: no domain can be registered at the root.
    pub(super) fn include(&self, name: &Name) -> bool {
        name.iter().count() <= 1 || self.names.iter().any(|domain| domain.zone_of(name))
    }

    /// Where in the house this record of an answer leads, if it does.
    pub(super) fn way_in(&self, record: &Record) -> Option<Inside> {
        let address = |address| Some(address).filter(|at| self.is_at(at)).map(Inside::Address);
        match &record.data {
            RData::A(a) => address(a.0.into()),
            RData::AAAA(aaaa) => address(aaaa.0.into()),
            RData::CNAME(alias) => self.named(&alias.0),
            RData::HTTPS(service) => self.service(&service.0),
            RData::SVCB(service) => self.service(service),
            RData::Unknown { code: RecordType::DNAME, rdata } => self.below(renamed_to(&rdata.anything)),
            _ => None,
        }
    }

    fn service(&self, service: &SVCB) -> Option<Inside> {
        // The root stands for the record's own name, or for no service at all (RFC 9460, section 2.5).
        let target = Some(&service.target_name).filter(|name| !name.is_root());
        let hint = || hints(service).find(|at| self.is_at(at)).map(Inside::Address);
        target.and_then(|name| self.named(name)).or_else(hint)
    }

    /// A domain that is renamed to this one has a name for each below it.
    fn below(&self, target: Name) -> Option<Inside> {
        let is_above = || {
            self.names.iter().any(|domain| target.zone_of(domain))
                || self.view(|view| target.zone_of(&view.zone))
        };
        self.named(&target).or_else(|| is_above().then(|| Inside::Name(target.clone())))
    }

    fn named(&self, name: &Name) -> Option<Inside> {
        let is_ours = || self.view(|view| view.zone.zone_of(name));
        let is_inside = self.include(name) || special(name).is_some() || is_ours();
        is_inside.then(|| Inside::Name(name.clone()))
    }

    fn is_at(&self, address: &IpAddr) -> bool {
        is_private(address) || self.view(|view| view.knows(*address))
    }

    fn view(&self, holds: impl FnOnce(&View) -> bool) -> bool {
        self.views.as_ref().is_some_and(|views| views.borrow().as_deref().is_some_and(holds))
    }
}

/// Something of this house that an answer from outside led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    Address(IpAddr),
    Name(Name),
}

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// Where a DNAME leads, which hickory leaves unread. What is no whole name without compression (RFC 6672, section 2.5)
/// counts as the root: each resolver may make something else of it.
fn renamed_to(rdata: &[u8]) -> Name {
    let mut decoder = BinDecoder::new(rdata);
    let target = Name::read(&mut decoder).ok().filter(|_| decoder.is_empty());
    target.unwrap_or_else(Name::root)
}

/// A browser may connect to a hint before it asks for an address (RFC 9460, section 7.3).
fn hints(service: &SVCB) -> impl Iterator<Item = IpAddr> {
    service.svc_params.iter().flat_map(|(_, value)| match value {
        SvcParamValue::Ipv4Hint(hint) => hint.0.iter().map(|address| IpAddr::V4(address.0)).collect(),
        SvcParamValue::Ipv6Hint(hint) => hint.0.iter().map(|address| IpAddr::V6(address.0)).collect(),
        _ => Vec::new(),
    })
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
    // 240/4 is nobody's (RFC 1112, section 4), and some use it at home; it has the broadcast address, too.
    let is_reserved = a >= 240;
    is_own_or_shared
        || is_reserved
        || address.is_multicast()
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // fec0::/10 was site-local (RFC 3879). 64:ff9b:1::/48 is for a site's own translators (RFC 8215), and where the IPv4
    // address stands in it is theirs to choose.
    let is_site_local = segments[0] & 0xffc0 == 0xfec0 || segments[..3] == [0x64, 0xff9b, 1];
    is_site_local
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || wrapped_v4(segments).is_some_and(is_private_v4)
}

/// The IPv4 address inside an IPv4-mapped or -compatible (RFC 4291), translated (RFC 6052, and RFC 7915's older form) or 6to4 (RFC 3056) address.
fn wrapped_v4(segments: [u16; 8]) -> Option<Ipv4Addr> {
    let (high, low) = match segments {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => (high, low),
        [0, 0, 0, 0, 0xffff, 0, high, low] => (high, low),
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
    use hickory_proto::rr::rdata::{A, AAAA, HTTPS, NULL};

    #[test]
    fn addresses_of_the_house_and_of_the_world() {
        for (text, expected) in [
            ("0.0.0.0", true),
            ("223.255.255.255", false),
            ("224.0.0.251", true),
            ("239.255.255.250", true),
            ("240.0.0.1", true),
            ("255.255.255.255", true),
            ("ff02::fb", true),
            ("::ffff:0:192.168.1.5", true),
            ("::ffff:0:9.9.9.9", false),
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
        let names = House::new(&["corp.example.org".into(), String::new(), ".".into()]);
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
    fn a_domain_is_not_renamed_into_or_above_the_house() {
        let house = House::new(&["lab.example.org".into()]);
        for (rdata, way_in) in [
            (&b"\x07example\x03net\x00"[..], None),
            (b"\x03lan\x07example\x03net\x00", None),
            (b"\x04home\x04ARPA\x00", Some("home.ARPA.")),
            (b"\x02tv\x03lan\x00", Some("tv.lan.")),
            (b"\x03lab\x07example\x03org\x00", Some("lab.example.org.")),
            (b"\x07EXAMPLE\x03org\x00", Some("EXAMPLE.org.")),
            (b"\x04arpa\x00", Some("arpa.")),
            (b"\x00", Some(".")),
            // Half of a name, one with something behind it, and pointers.
            (b"\x07example\x03n", Some(".")),
            (b"\x07example\x03net\x00\x00", Some(".")),
            (b"\xc0\x0c", Some(".")),
            (b"\x07example\xc0\x00", Some(".")),
        ] {
            let rdata = NULL::with(rdata.to_vec());
            let rdata = RData::Unknown { code: RecordType::DNAME, rdata };
            let said = house.way_in(&Record::from_rdata(Name::root(), 60, rdata.clone()));
            assert_eq!(said.map(|inside| inside.to_string()).as_deref(), way_in, "{rdata:?}");
        }
    }

    #[test]
    fn hints_are_addresses_too() {
        let house = House::new(&[]);
        let way_in = |record: &Record| house.way_in(record);
        let https_at = |target: &str, params| {
            let service = SVCB::new(1, Name::from_ascii(target).unwrap(), params);
            Record::from_rdata(Name::root(), 60, RData::HTTPS(HTTPS(service)))
        };
        let https = |params| https_at(".", params);
        let (public, nas): (Ipv4Addr, Ipv4Addr) = ([9, 9, 9, 9].into(), [192, 168, 1, 5].into());
        let v4 = |list: Vec<Ipv4Addr>| {
            let hint = IpHint(list.into_iter().map(A).collect());
            vec![(SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(hint))]
        };
        let v6 = SvcParamValue::Ipv6Hint(IpHint(vec![AAAA(Ipv6Addr::LOCALHOST)]));
        assert_eq!(way_in(&https(v4(vec![public]))), None);
        assert_eq!(way_in(&https(v4(vec![public, nas]))), Some(Inside::Address(nas.into())));
        let hidden = https(vec![(SvcParamKey::Ipv6Hint, v6)]);
        assert_eq!(way_in(&hidden), Some(Inside::Address(Ipv6Addr::LOCALHOST.into())));
        let named = |target| way_in(&https_at(target, vec![])).map(|inside| inside.to_string());
        assert_eq!(named("cdn.example.org."), None);
        assert_eq!(named("nas.lan.").as_deref(), Some("nas.lan."));
        assert_eq!(named("localhost.").as_deref(), Some("localhost."));
    }
}
