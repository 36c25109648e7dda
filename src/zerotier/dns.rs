//! A network's DNS setting: one domain, and the servers that members are told to ask about it.
//!
//! What controllers and members do with it, in ZeroTierOne's own code:
//! - a node's controller takes the setting only as an object (`[]`, as it reads before it was ever set, is ignored), and
//!   keeps domain and servers as they come, however many and whatever they say (controller/EmbeddedNetworkController.cpp,
//!   `networkUpdateFromPostData`);
//! - what a member is sent has room for four servers, and the domain is copied into 128 bytes without a look at its
//!   length (`ZT_MAX_DNS_SERVERS` and `ZT_VirtualNetworkDNS` in include/ZeroTierOne.h; the same file, `_request`);
//! - a member without a domain has none of it, and a server has no port: it is asked on 53 (service/OneService.cpp).

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fix::Shape;
use super::shapes;

/// What members are told about DNS. Prints as a line for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkDns {
    /// Without a dot at its end; empty if there is none.
    pub domain: String,
    /// Those to be asked first stand first.
    pub servers: Vec<IpAddr>,
    /// What is no address among the servers, cleaned for a terminal. Members skip it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub odd: Vec<String>,
}

impl NetworkDns {
    /// The most servers that a member hears of (`ZT_MAX_DNS_SERVERS`).
    pub const MOST_SERVERS: usize = 4;

    /// The longest domain, in bytes: one less than the room for it, which ends with a zero.
    pub const LONGEST_DOMAIN: usize = 127;

    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        self.domain.is_empty() && self.servers.is_empty() && self.odd.is_empty()
    }

    /// Whether both say the same. The order of servers is a wish, which a controller may keep or not.
    pub fn says_same(&self, other: &Self) -> bool {
        let servers = |dns: &Self| dns.servers.iter().copied().collect::<BTreeSet<_>>();
        plain(&self.domain) == plain(&other.domain)
            && servers(self) == servers(other)
            && self.odd.is_empty()
            && other.odd.is_empty()
    }

    /// Out of a network's record; absent, `null` and `[]` are all nothing.
    pub(super) fn read(shape: Shape, record: &Value) -> Self {
        let setting = match shape {
            Shape::SelfHosted => &record["dns"],
            Shape::Central => &record["config"]["dns"],
        };
        let domain = setting["domain"].as_str().map(shapes::printable).unwrap_or_default();
        let servers = setting["servers"].as_array().map_or(&[][..], Vec::as_slice);
        let mut read = Self { domain, ..Self::default() };
        for server in servers {
            match server.as_str().map(|text| (text, text.parse())) {
                Some((_, Ok(address))) => read.servers.push(address),
                Some((text, Err(_))) => read.odd.push(shapes::printable(text)),
                None => read.odd.push(server.to_string()),
            }
        }
        read
    }

    /// What is sent: the one setting, always as an object.
    pub(super) fn body(&self, shape: Shape) -> Value {
        let setting = json!({"dns": {"domain": self.domain, "servers": self.servers}});
        match shape {
            Shape::SelfHosted => setting,
            Shape::Central => json!({"config": setting}),
        }
    }
}

impl fmt::Display for NetworkDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        f.write_str(if self.domain.is_empty() { "no domain" } else { &self.domain })?;
        f.write_str(" at")?;
        if self.servers.is_empty() && self.odd.is_empty() {
            return f.write_str(" no server");
        }
        self.servers.iter().try_for_each(|server| write!(f, " {server}"))?;
        self.odd.iter().try_for_each(|odd| write!(f, " {odd:?} (no address)"))
    }
}

/// A domain as DNS compares it.
fn plain(domain: &str) -> String {
    domain.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(domain: &str, servers: &[&str]) -> NetworkDns {
        let servers = servers.iter().map(|server| server.parse().unwrap()).collect();
        NetworkDns { domain: domain.to_owned(), servers, odd: Vec::new() }
    }

    #[test]
    fn what_controllers_write_is_read() {
        for (setting, says) in [
            (json!([]), "nothing"),
            (json!(null), "nothing"),
            (json!({}), "nothing"),
            (json!({"domain": "", "servers": []}), "nothing"),
            (json!({"domain": null, "servers": null}), "nothing"),
            (
                json!({"domain": "home.arpa", "servers": ["10.0.0.1", "fd00::1"]}),
                "home.arpa at 10.0.0.1 fd00::1",
            ),
            (json!({"domain": "home.arpa"}), "home.arpa at no server"),
            (json!({"servers": ["10.0.0.1"]}), "no domain at 10.0.0.1"),
            (
                json!({"domain": "a\u{1b}b", "servers": ["10.0.0.1/24", 7]}),
                r#"a b at "10.0.0.1/24" (no address) "7" (no address)"#,
            ),
        ] {
            for (shape, record) in [
                (Shape::SelfHosted, json!({"dns": setting})),
                (Shape::Central, json!({"config": {"dns": setting}})),
            ] {
                let read = NetworkDns::read(shape, &record);
                assert_eq!(read.to_string(), says, "{record}");
                assert_eq!(read.is_empty(), says == "nothing");
            }
        }
    }

    #[test]
    fn what_is_sent_is_read_back_as_the_same() {
        for sent in [dns("home.arpa", &["10.0.0.1", "fd00::1"]), NetworkDns::default()] {
            for shape in [Shape::SelfHosted, Shape::Central] {
                assert_eq!(NetworkDns::read(shape, &sent.body(shape)), sent);
            }
        }
        // An empty list in place of the object would be ignored.
        assert!(NetworkDns::default().body(Shape::SelfHosted)["dns"].is_object());
    }

    #[test]
    fn the_same_is_said_in_any_order_and_case() {
        let ours = dns("home.arpa", &["10.0.0.1", "fd00::1"]);
        for (other, same) in [
            (dns("Home.Arpa.", &["fd00:0::1", "10.0.0.1"]), true),
            (dns("home.arpa", &["10.0.0.1"]), false),
            (dns("home.arpa", &["10.0.0.1", "fd00::2"]), false),
            (dns("example.org", &["10.0.0.1", "fd00::1"]), false),
            (NetworkDns { odd: vec!["x".to_owned()], ..ours.clone() }, false),
            (NetworkDns::default(), false),
        ] {
            assert_eq!(ours.says_same(&other), same, "{other}");
            assert_eq!(other.says_same(&ours), same, "{other}");
        }
    }
}
