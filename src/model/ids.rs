//! ZeroTier's ids and the arithmetic between them.
//!
//! The formulas are ZeroTier's own (`node/MAC.hpp`, `node/InetAddress.cpp` in ZeroTierOne 1.14.1);
//! the tests hold them against interfaces of a real network.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a text that should be an id was not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {digits} hexadecimal digits, like {example}")]
pub struct ParseIdError {
    what: &'static str,
    digits: usize,
    example: &'static str,
}

fn hex(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit()))
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
}

/// A ZeroTier node's address: 40 bits, the hash of its public identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(u64);

/// Which of a member's addresses comes first where they are listed: managed ones, for people chose those, IPv4 before IPv6;
/// then the derived ones, of which RFC 4193 has no prefix of its own for each member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressKind {
    ManagedV4,
    ManagedV6,
    Rfc4193,
    SixPlane,
}

impl AddressKind {
    /// The kind of an address of this member; without one none is known to be derived.
    pub fn of(address: IpAddr, owner: Option<MemberId>, network: NetworkId) -> Self {
        match (address, owner) {
            (IpAddr::V4(_), _) => Self::ManagedV4,
            (IpAddr::V6(v6), Some(owner)) if v6 == owner.rfc4193(network) => Self::Rfc4193,
            (IpAddr::V6(v6), Some(owner)) if owner.derives(network, v6) => Self::SixPlane,
            (IpAddr::V6(_), _) => Self::ManagedV6,
        }
    }
}

impl MemberId {
    /// The id with these low 40 bits; `None` for the reserved ones (zero, and those that start with `ff`).
    pub fn from_bits(bits: u64) -> Option<Self> {
        (bits != 0 && bits >> 40 == 0 && bits >> 32 != 0xff).then_some(Self(bits))
    }

    pub fn bits(self) -> u64 {
        self.0
    }

    fn octets(self) -> [u8; 5] {
        let b = self.0.to_be_bytes();
        [b[3], b[4], b[5], b[6], b[7]]
    }

    /// The member's RFC 4193 address on a network (a /88 whose host part is the node).
    pub fn rfc4193(self, network: NetworkId) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets[0] = 0xfd;
        octets[1..9].copy_from_slice(&network.0.to_be_bytes());
        octets[9..11].copy_from_slice(&[0x99, 0x93]);
        octets[11..].copy_from_slice(&self.octets());
        octets.into()
    }

    /// The member's 6PLANE address on a network. The member owns the whole /80 around it.
    pub fn six_plane(self, network: NetworkId) -> Ipv6Addr {
        let folded = (network.0 as u32) ^ ((network.0 >> 32) as u32);
        let mut octets = [0; 16];
        octets[0] = 0xfc;
        octets[1..5].copy_from_slice(&folded.to_be_bytes());
        octets[5..10].copy_from_slice(&self.octets());
        octets[15] = 1;
        octets.into()
    }

    /// Whether an IPv6 address is one that ZeroTier derives from this member: its RFC 4193 address,
    /// or anything in its 6PLANE /80.
    pub fn derives(self, network: NetworkId, address: Ipv6Addr) -> bool {
        address == self.rfc4193(network) || address.octets()[..10] == self.six_plane(network).octets()[..10]
    }
}

/// A ZeroTier network's id: 64 bits, of which the first 40 are its controller's node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkId(u64);

impl NetworkId {
    /// The network's controller.
    pub fn controller(self) -> Option<MemberId> {
        MemberId::from_bits(self.0 >> 24)
    }

    fn first_octet(self) -> u8 {
        match (self.0 as u8 & 0xfe) | 0x02 {
            0x52 => 0x32,
            octet => octet,
        }
    }

    fn mask(self) -> [u8; 5] {
        [8, 16, 24, 32, 40].map(|shift| (self.0 >> shift) as u8)
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// The address that ZeroTier gives, and enforces for, a member on a network.
    pub fn of(member: MemberId, network: NetworkId) -> Self {
        let (node, mask) = (member.octets(), network.mask());
        let mut octets = [network.first_octet(); 6];
        for i in 0..5 {
            octets[i + 1] = node[i] ^ mask[i];
        }
        Self(octets)
    }

    /// The member behind this address on that network; `None` if it is no address of the network's own.
    pub fn member(self, network: NetworkId) -> Option<MemberId> {
        if self.0[0] != network.first_octet() {
            return None;
        }
        let mask = network.mask();
        let bits = (0..5).fold(0, |bits, i| (bits << 8) | u64::from(self.0[i + 1] ^ mask[i]));
        MemberId::from_bits(bits)
    }

    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for MemberId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        hex(text, 10).and_then(Self::from_bits).ok_or(ParseIdError {
            what: "a member ID",
            digits: 10,
            example: "c4c8812898",
        })
    }
}

impl FromStr for NetworkId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        hex(text, 16).map(Self).ok_or(ParseIdError {
            what: "a network ID",
            digits: 16,
            example: "5e02d9cb41c0ffee",
        })
    }
}

impl FromStr for Mac {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = ParseIdError { what: "a MAC address", digits: 12, example: "ee:3b:08:c0:e3:41" };
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            *octet = parts.next().and_then(|p| hex(p, 2)).ok_or(error.clone())? as u8;
        }
        if parts.next().is_some() { Err(error) } else { Ok(Self(octets)) }
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010x}", self.0)
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Names one request, in the audit log, upstream (`X-Request-Id`) and in the reply.
///
/// 128 bits in 32 hexadecimal digits: the gateway's start and thread in the first half, a count in the second, so that
/// making one asks neither a lock nor a random source.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64, pub u64);

impl RequestId {
    /// The id's 32 digits, without going through the formatter.
    pub fn digits(self) -> [u8; 32] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 32];
        let bits = (u128::from(self.0) << 64) | u128::from(self.1);
        for (i, digit) in digits.iter_mut().enumerate() {
            *digit = HEX[(bits >> (124 - 4 * i)) as usize & 15];
        }
        digits
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0, self.1)
    }
}

impl FromStr for RequestId {
    type Err = ParseIdError;
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error =
            ParseIdError { what: "a request ID", digits: 32, example: "18f3a5c2000000010000000000000001" };
        let (high, low) = text.split_at_checked(16).ok_or(error.clone())?;
        match (hex(high, 16), hex(low, 16)) {
            (Some(high), Some(low)) => Ok(Self(high, low)),
            _ => Err(error),
        }
    }
}

macro_rules! text_id {
    ($($id:ty),*) => {$(
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl Serialize for $id {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
text_id!(MemberId, NetworkId, Mac, RequestId);

#[cfg(test)]
mod tests {
    use super::*;

    /// network, node, MAC, RFC 4193, 6PLANE: read off real interfaces.
    const MEASURED: [[&str; 5]; 7] = [
        [
            "5e02d9cb41c0ffee",
            "5e02d9cb41",
            "ee:a1:c2:98:00:98",
            "fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41",
            "fc1f:c226:255e:2d9:cb41::1",
        ],
        [
            "5e02d9cb41c0ffee",
            "c4c8812898",
            "ee:3b:08:c0:e3:41",
            "fd5e:2d9:cb41:c0ff:ee99:93c4:c881:2898",
            "fc1f:c226:25c4:c881:2898::1",
        ],
        [
            "5e02d9cb41c0ffee",
            "bcba17eef8",
            "ee:43:7a:56:25:21",
            "fd5e:2d9:cb41:c0ff:ee99:93bc:ba17:eef8",
            "fc1f:c226:25bc:ba17:eef8::1",
        ],
        [
            "5e02d9cb41000052",
            "c4c8812898",
            "32:c4:c8:c0:e3:41",
            "fd5e:2d9:cb41:0:5299:93c4:c881:2898",
            "fc1f:2d9:99c4:c881:2898::1",
        ],
        [
            "5e02d9cb41123450",
            "bcba17eef8",
            "32:88:a8:56:25:21",
            "fd5e:2d9:cb41:1234:5099:93bc:ba17:eef8",
            "fc1f:10ed:9bbc:ba17:eef8::1",
        ],
        [
            "bcba17eef80000ff",
            "5e02d9cb41",
            "fe:5e:02:21:25:56",
            "fdbc:ba17:eef8:0:ff99:935e:2d9:cb41",
            "fc44:ba17:115e:2d9:cb41::1",
        ],
        [
            "bcba17eef8abcd01",
            "c4c8812898",
            "02:09:63:79:c6:8f",
            "fdbc:ba17:eef8:abcd:199:93c4:c881:2898",
            "fc44:11da:efc4:c881:2898::1",
        ],
    ];

    #[test]
    fn arithmetic_matches_real_interfaces() {
        for [network, node, mac, rfc4193, six_plane] in MEASURED {
            let (network, node): (NetworkId, MemberId) = (network.parse().unwrap(), node.parse().unwrap());
            assert_eq!(Mac::of(node, network).to_string(), mac);
            assert_eq!(mac.parse::<Mac>().unwrap().member(network), Some(node));
            assert_eq!(node.rfc4193(network).to_string(), rfc4193);
            assert_eq!(node.six_plane(network).to_string(), six_plane);
        }
    }

    #[test]
    fn a_mac_of_another_network_names_nobody() {
        let network: NetworkId = "5e02d9cb41c0ffee".parse().unwrap();
        assert_eq!("32:c4:c8:c0:e3:41".parse::<Mac>().unwrap().member(network), None);
    }

    #[test]
    fn a_member_owns_its_whole_six_plane_and_nobody_elses() {
        let network: NetworkId = "5e02d9cb41c0ffee".parse().unwrap();
        let a: MemberId = "c4c8812898".parse().unwrap();
        assert!(a.derives(network, "fc1f:c226:25c4:c881:2898::7".parse().unwrap()));
        assert!(!a.derives(network, "fc1f:c226:25bc:ba17:eef8::1".parse().unwrap()));
        assert!(!a.derives(network, "fd5e:2d9:cb41:c0ff:ee99:93bc:ba17:eef8".parse().unwrap()));
    }

    #[test]
    fn reserved_and_malformed_ids_are_refused() {
        for text in ["0000000000", "ff00000001", "c4c881289", "c4c88128981", "c4c881289g", "+4c8812898"] {
            assert!(text.parse::<MemberId>().is_err(), "{text}");
        }
    }

    #[test]
    fn request_ids_print_the_same_both_ways() {
        let id = RequestId(0x18f3_a5c2_0000_0001, 0xabc);
        assert_eq!(std::str::from_utf8(&id.digits()).unwrap(), id.to_string());
        assert_eq!(id.to_string().parse::<RequestId>(), Ok(id));
    }
}
