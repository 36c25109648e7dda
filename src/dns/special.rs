//! Names that no server elsewhere is ever asked about. Pure.

use hickory_proto::rr::Name;

/// What is said of such a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// There is none.
    NoName,
    /// There is one, without anything.
    NoData,
    /// This very machine.
    Loopback,
}

/// Each with all names below it.
const SPECIAL: [(&str, Special); 6] = [
    // Firefox then asks the system, hence us, instead of a server of its own choice (Mozilla's canary domain).
    ("use-application-dns.net", Special::NoName),
    // Multicast's (RFC 6762, section 22.1).
    ("local", Special::NoName),
    // Tor's; asked elsewhere, it tells where somebody wants to go (RFC 7686, section 2).
    ("onion", Special::NoName),
    // RFC 6761, sections 6.3 and 6.4.
    ("localhost", Special::Loopback),
    ("invalid", Special::NoName),
    // Whether we speak encrypted DNS: no (RFC 9462, section 6.1, which forbids to ask others).
    ("resolver.arpa", Special::NoData),
];

/// What is said of a name that is nobody's to be asked about, and of which domain that is said.
pub fn special(name: &Name) -> Option<(Special, Name)> {
    let &(domain, special) = SPECIAL.iter().find(|(of, _)| is_within(name, of))?;
    Some((special, Name::from_ascii(format!("{domain}.")).ok()?))
}

fn is_within(name: &Name, domain: &str) -> bool {
    let mut labels = name.iter().rev();
    domain
        .rsplit('.')
        .all(|part| labels.next().is_some_and(|label| label.eq_ignore_ascii_case(part.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_names_are_special_with_all_below_and_in_any_case() {
        for (name, expected) in [
            ("use-application-dns.net.", Some(Special::NoName)),
            ("USE-application-DNS.net.", Some(Special::NoName)),
            ("printer.local.", Some(Special::NoName)),
            ("a.b.onion.", Some(Special::NoName)),
            ("localhost.", Some(Special::Loopback)),
            ("x.localhost.", Some(Special::Loopback)),
            ("_dns.resolver.arpa.", Some(Special::NoData)),
            ("net.", None),
            (".", None),
            ("arpa.", None),
            ("notlocal.", None),
            ("local.example.org.", None),
            ("my-use-application-dns.net.", None),
        ] {
            let found = special(&Name::from_ascii(name).unwrap());
            assert_eq!(found.map(|(special, _)| special), expected, "{name}");
        }
    }
}
