//! Names that people give: services, devices, owners, groups, and the zone they live in.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::MemberId;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name is 1 to 63 of a-z, 0-9 and '-', and starts and ends with a letter or digit")]
    Grammar,
    #[error("it looks like a member ID; names and IDs are kept apart")]
    LooksLikeId,
    #[error("a zone is two names or one, joined by '.', like home.arpa or internal")]
    Zone,
    #[error("{0} is no zone for a private network (mDNS and routers claim it); use home.arpa or internal")]
    ClaimedZone(&'static str),
}

/// One name: a service, a device, an owner or a group. It is also one label of a DNS name
/// (RFC 1123, section 2.1: letters, digits and hyphens), always in lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(Arc<str>);

impl Label {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shared text itself, for records that outlive the configuration they name.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// A name made of words that somebody wrote elsewhere, for a person to take or leave; `None` where nothing is left of them.
    pub fn suggested(words: &str) -> Option<Self> {
        let words: Vec<String> = words
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        words.join("-").parse().ok()
    }
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

impl FromStr for Label {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if !is_label(text) {
            return Err(NameError::Grammar);
        }
        if text.parse::<MemberId>().is_ok() {
            return Err(NameError::LooksLikeId);
        }
        Ok(Self(text.into()))
    }
}

/// The DNS zone that all services of one gateway live in, like `home.arpa`; lower case, no trailing dot.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Zone(Arc<str>);

impl Zone {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full DNS name of a label in this zone.
    pub fn name(&self, label: &str) -> String {
        format!("{label}.{}", self.0)
    }
}

impl FromStr for Zone {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.len() > 180 || !text.split('.').all(is_label) || text.parse::<std::net::IpAddr>().is_ok() {
            return Err(NameError::Zone);
        }
        for claimed in ["local", "lan"] {
            if text.rsplit('.').next() == Some(claimed) {
                return Err(NameError::ClaimedZone(claimed));
            }
        }
        Ok(Self(text.into()))
    }
}

macro_rules! text_name {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
text_name!(Label, Zone);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_dns_labels_in_lower_case() {
        for good in ["jellyfin", "a", "nas-2", "9p"] {
            assert!(good.parse::<Label>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "é", &"a".repeat(64)] {
            assert_eq!(bad.parse::<Label>(), Err(NameError::Grammar), "{bad}");
        }
        assert_eq!("c4c8812898".parse::<Label>(), Err(NameError::LooksLikeId));
    }

    #[test]
    fn words_suggest_names_that_can_be_typed() {
        for (words, name) in [
            ("New TV", Some("new-tv")),
            ("  Mum's iPhone (2)", Some("mum-s-iphone-2")),
            ("$(reboot)", Some("reboot")),
            ("кухня", None),
            ("", None),
            ("C4C8812898", None),
            (&"x".repeat(64), None),
        ] {
            assert_eq!(Label::suggested(words).as_ref().map(Label::as_str), name, "{words}");
        }
    }

    #[test]
    fn zones_that_others_claim_are_refused_by_name() {
        assert_eq!("home.arpa.".parse::<Zone>().unwrap().name("nas"), "nas.home.arpa");
        assert_eq!("home.local".parse::<Zone>(), Err(NameError::ClaimedZone("local")));
        assert_eq!("10.0.0.1".parse::<Zone>(), Err(NameError::Zone));
        assert_eq!("home..arpa".parse::<Zone>(), Err(NameError::Zone));
    }
}
