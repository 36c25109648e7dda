//! `[dns]`: how the gateway answers for its zone, and whom it asks about other names.

use std::net::{IpAddr, SocketAddr};

use super::read::{Item, Keys, Report, Section, quote};

const KEYS: Keys<'_> = Keys {
    known: &["enabled", "port", "forward", "private"],
    not_here: &[],
    meant: &[
        ("upstream", "forward"),
        ("forwarders", "forward"),
        ("servers", "forward"),
        ("off", "enabled"),
        ("rebind", "private"),
    ],
};

/// The port of DNS (RFC 1035, section 4.2).
pub const DNS_PORT: u16 = 53;

/// The gateway's own DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Whether it answers at all. True unless said.
    pub enabled: bool,
    /// UDP and TCP. 53 unless said; no client asks another one by itself, so others are for tests and the demo.
    pub port: u16,
    /// Who is asked about names that are not in the zone; the system's own resolvers unless said. Empty: nobody.
    pub forward: Option<Vec<SocketAddr>>,
    /// Domains whose answers from outside may be private addresses, in lower case, without a dot at either end. Names that
    /// nobody can own on the internet (`lan`, `home.arpa`, `internal`) are believed anyway.
    pub private: Vec<String>,
}

impl Default for Dns {
    fn default() -> Self {
        Self { enabled: true, port: DNS_PORT, forward: None, private: Vec::new() }
    }
}

pub(super) fn read(root: &Section<'_>, web: [u16; 2], report: &mut Report) -> Dns {
    let dns = read_section(root, report);
    if dns.enabled && web.contains(&dns.port) {
        let by_key = |key| root.get(key).filter(|item| item.port(&mut Report::default()) == Some(dns.port));
        let own = root.section("dns", &mut Report::default());
        let spot = own.as_ref().and_then(|section| section.get("port")).map(|item| item.spot);
        let spot =
            spot.or_else(|| by_key("http_port").or_else(|| by_key("https_port")).map(|item| item.spot));
        if let Some(spot) = spot {
            let hint = "give one of them another port; clients of DNS ask at 53 and no other";
            report.error(&spot, format!("DNS and the web cannot share port {}", dns.port), hint);
        }
    }
    dns
}

fn read_section(root: &Section<'_>, report: &mut Report) -> Dns {
    let Some(section) = root.section("dns", report) else { return Dns::default() };
    section.only(&KEYS, report);
    let forward = section.get("forward").map(|item| {
        item.list(report).iter().filter_map(|word| read_server(word, report)).collect::<Vec<_>>()
    });
    let private = section.get("private").map_or_else(Vec::new, |item| {
        item.list(report).iter().filter_map(|word| read_domain(word, report)).collect()
    });
    Dns {
        enabled: section.flag("enabled", true, report),
        port: section.get("port").and_then(|item| item.port(report)).unwrap_or(DNS_PORT),
        forward,
        private,
    }
}

/// An address, with a port if it is not 53.
fn read_server(word: &Item<'_>, report: &mut Report) -> Option<SocketAddr> {
    let text = word.text(report)?;
    let at = text.parse().ok().or_else(|| Some((text.parse::<IpAddr>().ok()?, DNS_PORT).into()));
    let usable = at.filter(|at: &SocketAddr| at.port() != 0 && !at.ip().is_unspecified());
    if usable.is_none() {
        let hint = "write the address of a DNS server, like \"192.168.1.1\" or \"[2620:fe::fe]:53\"; \
                    leave the line out for this system's own";
        report.error(&word.spot, format!("expected an IP address, found {}", quote(text)), hint);
    }
    usable
}

fn read_domain(word: &Item<'_>, report: &mut Report) -> Option<String> {
    let text = word.text(report)?;
    let plain = text.trim_matches('.').to_ascii_lowercase();
    if !is_domain(&plain) {
        let hint = "write it like \"corp.example.org\"; all names below it are meant";
        report.error(&word.spot, format!("expected a domain, found {}", quote(text)), hint);
        return None;
    }
    Some(plain)
}

/// Whether a text in lower case is a domain name as DNS servers take it for keys and zones (underscores included).
pub(super) fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Problems, from_text};

    const TOP: &str = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n";

    fn read(lines: &str) -> Result<Dns, String> {
        let config = from_text(&format!("{TOP}{lines}"), &[]);
        config.map(|config| config.dns).map_err(|problems| Problems(&problems).to_string())
    }

    #[test]
    fn it_answers_unless_told_not_to() {
        assert_eq!(read(""), Ok(Dns::default()));
        assert!(!read("[dns]\nenabled = false\n").unwrap().enabled);
    }

    #[test]
    fn servers_are_addresses_and_domains_are_names() {
        let dns = read(
            "[dns]\nforward = [\"192.168.1.1\", \"[2620:fe::fe]:5353\", \"2620:fe::9\"]\nprivate = [\"Corp.example.org.\"]\n",
        )
        .unwrap();
        let forward: Vec<_> = dns.forward.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(forward, ["192.168.1.1:53", "[2620:fe::fe]:5353", "[2620:fe::9]:53"]);
        assert_eq!(dns.private, ["corp.example.org"]);
        assert_eq!(read("[dns]\nforward = []\n").unwrap().forward, Some(vec![]));
    }

    #[test]
    fn the_web_has_other_ports() {
        insta::assert_snapshot!(read("[dns]\nport = 443\n").unwrap_err(), @r#"
        ztgate.toml:4: dns.port: DNS and the web cannot share port 443
          hint: give one of them another port; clients of DNS ask at 53 and no other
        "#);
        insta::assert_snapshot!(read("http_port = 53\n").unwrap_err(), @r#"
        ztgate.toml:3: http_port: DNS and the web cannot share port 53
          hint: give one of them another port; clients of DNS ask at 53 and no other
        "#);
        assert!(read("[dns]\nport = 443\nenabled = false\n").is_ok());
    }

    #[test]
    fn what_will_not_do_is_said() {
        insta::assert_snapshot!(read(
            "[dns]\nforwarders = []\nforward = [\"dns.quad9.net\", \"0.0.0.0\"]\nprivate = [\"a b\"]\nport = 0\n"
        ).unwrap_err(), @r#"
        ztgate.toml:4: dns.forwarders: unknown key
          hint: did you mean "forward"?
        ztgate.toml:5: dns.forward: expected an IP address, found "dns.quad9.net"
          hint: write the address of a DNS server, like "192.168.1.1" or "[2620:fe::fe]:53"; leave the line out for this system's own
        ztgate.toml:5: dns.forward: expected an IP address, found "0.0.0.0"
          hint: write the address of a DNS server, like "192.168.1.1" or "[2620:fe::fe]:53"; leave the line out for this system's own
        ztgate.toml:6: dns.private: expected a domain, found "a b"
          hint: write it like "corp.example.org"; all names below it are meant
        ztgate.toml:7: dns.port: expected a TCP port, 1 to 65535, found 0
        "#);
    }
}
