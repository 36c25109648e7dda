//! What is said of the zone's own names. Pure.

use std::net::IpAddr;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::svcb::{Alpn, IpHint, SVCB, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{A, AAAA, HTTPS, NS, PTR, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::message::{Asked, record};
use super::reverse::Reverse;
use super::special::Special;
use super::view::{Entry, Https, View};

/// Seconds that a device may rely on an answer. Names and addresses follow the configuration and ZeroTier's device, and a
/// minute is how long a moved service stays away at most; a cached name spares a home's gateway no work worth more.
pub const TTL: u32 = 60;
/// Seconds that a device may rely on there being no such name. Whoever adds a service and looks at once has often asked before.
pub const NEGATIVE_TTL: u32 = 60;

/// Of secondary servers, which there are none of (RFC 1035, section 3.3.13).
const REFRESH: i32 = 3600;
const RETRY: i32 = 600;
const EXPIRE: i32 = 86_400;

/// The answer to a question about the zone; `None` if it is about something else.
pub fn answer(view: &View, asked: &Asked, question: &Query) -> Option<Message> {
    if !view.zone.zone_of(&question.name) {
        return None;
    }
    let mut below: Vec<&[u8]> = question.name.iter().collect();
    below.truncate(below.len().saturating_sub(view.zone.iter().count()));
    let data = match below[..] {
        [] => apex(view, question.query_type),
        [label] => match entry(view, label) {
            Some(entry) => of_entry(entry, question.query_type),
            None => return Some(negative(view, asked, ResponseCode::NXDomain, &view.zone)),
        },
        // No name of ours has names below it.
        _ => return Some(negative(view, asked, ResponseCode::NXDomain, &view.zone)),
    };
    if data.is_empty() {
        return Some(negative(view, asked, ResponseCode::NoError, &view.zone));
    }
    let mut answer = positive(asked, question, data);
    if question.query_type == RecordType::NS {
        let addresses = view.addresses().iter().map(|&address| of_address(address));
        answer.add_additionals(addresses.map(|data| Record::from_rdata(view.gate.clone(), TTL, data)));
    }
    Some(answer)
}

/// The answer about a name that is nobody's to be asked about.
pub fn special(view: &View, asked: &Asked, question: &Query, special: Special, zone: &Name) -> Message {
    let loopback = match question.query_type {
        RecordType::A => vec![RData::A(A(std::net::Ipv4Addr::LOCALHOST))],
        RecordType::AAAA => vec![RData::AAAA(AAAA(std::net::Ipv6Addr::LOCALHOST))],
        _ => Vec::new(),
    };
    match special {
        Special::NoName => negative(view, asked, ResponseCode::NXDomain, zone),
        Special::Loopback if !loopback.is_empty() => positive(asked, question, loopback),
        Special::NoData | Special::Loopback => negative(view, asked, ResponseCode::NoError, zone),
    }
}

/// The answer about an address of this network.
pub fn reverse(view: &View, asked: &Asked, question: &Query, reverse: &Reverse) -> Message {
    // The zone of such an answer is the one right above the address: nobody else was asked to keep it.
    let above = question.name.base_name();
    match reverse {
        Reverse::Name(name) if question.query_type == RecordType::PTR => {
            positive(asked, question, vec![RData::PTR(PTR(name.clone()))])
        }
        Reverse::Name(_) | Reverse::Above => negative(view, asked, ResponseCode::NoError, &above),
        Reverse::Nobody => negative(view, asked, ResponseCode::NXDomain, &above),
    }
}

fn entry<'a>(view: &'a View, label: &[u8]) -> Option<&'a Entry> {
    view.entry(&std::str::from_utf8(label).ok()?.to_ascii_lowercase())
}

fn apex(view: &View, kind: RecordType) -> Vec<RData> {
    match kind {
        RecordType::SOA => vec![soa(view)],
        RecordType::NS => vec![RData::NS(NS(view.gate.clone()))],
        _ => of_addresses(view.addresses(), kind),
    }
}

fn of_entry(entry: &Entry, kind: RecordType) -> Vec<RData> {
    match (kind, entry.https) {
        (RecordType::HTTPS, Some(https)) => vec![service(https, &entry.https_at)],
        _ => of_addresses(&entry.addresses, kind),
    }
}

fn of_addresses(addresses: &[IpAddr], kind: RecordType) -> Vec<RData> {
    let data = addresses.iter().map(|&address| of_address(address));
    data.filter(|data| data.record_type() == kind).collect()
}

fn of_address(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    }
}

/// `1 . alpn=... ipv4hint=... ipv6hint=...`: this very name, in service mode (RFC 9460, section 2.4.3).
fn service(https: Https, addresses: &[IpAddr]) -> RData {
    let protocols: &[&str] = match https {
        Https::Http1 => &["http/1.1"],
        Https::Http2 => &["h2", "http/1.1"],
    };
    let alpn = Alpn(protocols.iter().map(|&name| name.to_owned()).collect());
    let mut v4 = Vec::new();
    let mut v6 = Vec::new();
    for address in addresses {
        match *address {
            IpAddr::V4(address) => v4.push(A(address)),
            IpAddr::V6(address) => v6.push(AAAA(address)),
        }
    }
    // In the order of their numbers (RFC 9460, section 2.2).
    let mut params = vec![(SvcParamKey::Alpn, SvcParamValue::Alpn(alpn))];
    if !v4.is_empty() {
        params.push((SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(v4))));
    }
    if !v6.is_empty() {
        params.push((SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(v6))));
    }
    RData::HTTPS(HTTPS(SVCB::new(1, Name::root(), params)))
}

fn positive(asked: &Asked, question: &Query, data: Vec<RData>) -> Message {
    let mut answer = authoritative(asked, ResponseCode::NoError);
    answer.add_answers(data.into_iter().map(|data| record(question, TTL, data)));
    answer
}

/// Nothing, and for how long that may be relied on (RFC 2308, section 3).
fn negative(view: &View, asked: &Asked, code: ResponseCode, zone: &Name) -> Message {
    let mut answer = authoritative(asked, code);
    answer.add_authority(Record::from_rdata(zone.clone(), NEGATIVE_TTL, soa(view)));
    answer
}

fn authoritative(asked: &Asked, code: ResponseCode) -> Message {
    let mut answer = asked.answer(code);
    answer.metadata.authoritative = true;
    answer
}

fn soa(view: &View) -> RData {
    let person = view.zone.prepend_label("hostmaster").unwrap_or_else(|_| view.zone.clone());
    RData::SOA(SOA::new(view.gate.clone(), person, view.serial, REFRESH, RETRY, EXPIRE, NEGATIVE_TTL))
}
