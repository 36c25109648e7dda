//! The few kinds of records that are kept at a name server, and the changes to them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// A type of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    A,
    Aaaa,
    Txt,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Txt => "TXT",
        })
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type", content = "is")]
pub enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    /// At most 255 bytes, which is one string on the wire.
    Txt(String),
}

impl Data {
    pub fn kind(&self) -> Kind {
        match self {
            Self::A(_) => Kind::A,
            Self::Aaaa(_) => Kind::Aaaa,
            Self::Txt(_) => Kind::Txt,
        }
    }
}

impl From<IpAddr> for Data {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::A(v4),
            IpAddr::V6(v6) => Self::Aaaa(v6),
        }
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(address) => address.fmt(f),
            Self::Aaaa(address) => address.fmt(f),
            // Quotes and control characters cannot break out of a line.
            Self::Txt(text) => write!(f, "{text:?}"),
        }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// A full domain name; lower case, no dot at either end.
    pub name: String,
    /// Seconds that resolvers may keep it.
    pub ttl: u32,
    pub data: Data,
}

/// What stands at a name, of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Records(Vec<Record>),
    /// A CNAME to this name, or a wildcard's that answers for it: no record of ours can stand beside it.
    Alias(String),
}

impl Found {
    /// The records; none beside an alias.
    pub fn records(&self) -> &[Record] {
        match self {
            Self::Records(records) => records,
            Self::Alias(_) => &[],
        }
    }
}

/// One change. The changes of one call happen together or not at all (RFC 2136, section 3.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds it beside others of its name and kind; one that is there gets its TTL.
    Add(Record),
    /// Removes just this one; none there is no error.
    Remove { name: String, data: Data },
    /// Makes these the only ones of that name and kind.
    Replace { name: String, kind: Kind, ttl: u32, data: Vec<Data> },
}

impl Change {
    pub fn name(&self) -> &str {
        match self {
            Self::Add(record) => &record.name,
            Self::Remove { name, .. } | Self::Replace { name, .. } => name,
        }
    }
}
