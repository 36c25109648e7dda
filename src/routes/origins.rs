//! Whose pages may use a service: its own names on the gateway's ports, and the origins that its paragraph lists.

use crate::config::{Config, Service};
use crate::model::{Label, Lane, WebOrigin};

/// The origins of one name's pages. Made once for all requests, each of which is compared without making anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    /// Full, in lower case.
    names: Box<[Box<str>]>,
    http_port: u16,
    https_port: u16,
    extra_ports: Box<[u16]>,
    listed: Box<[Box<str>]>,
}

impl Origins {
    pub(super) fn of_service(config: &Config, service: &Service) -> Self {
        let labels = std::iter::once(&service.name).chain(&service.aliases).map(Label::as_str);
        let extra_ports = service.extra_ports.clone().into();
        Self { extra_ports, ..Self::new(config, labels, &service.allow_origins) }
    }

    pub(super) fn of_gate(config: &Config) -> Self {
        Self::new(config, std::iter::once(super::GATE), &[])
    }

    fn new<'a>(config: &Config, labels: impl Iterator<Item = &'a str>, listed: &[Box<str>]) -> Self {
        Self {
            names: labels.map(|label| config.zone.name(label).into_boxed_str()).collect(),
            http_port: config.http_port,
            https_port: config.https_port,
            extra_ports: Box::default(),
            listed: listed.into(),
        }
    }

    /// Whether an origin is the service's own, as told to a request for a URL of this lane and port. A page that came over
    /// http is none of its own over https: whoever can forge the one cannot forge the other. The same name on a port that
    /// is not the gateway's is another program.
    pub fn owns(&self, origin: WebOrigin<'_>, lane: Lane, port: u16) -> bool {
        let of = match origin.scheme {
            "https" => Lane::Https,
            "http" if lane == Lane::Http => Lane::Http,
            _ => return false,
        };
        let usual = match of {
            Lane::Http => self.http_port,
            Lane::Https => self.https_port,
        };
        let host = origin.host.strip_suffix('.').unwrap_or(origin.host);
        let is_ours =
            |named| named == usual || self.extra_ports.contains(&named) || of == lane && named == port;
        origin.port().is_some_and(is_ours) && self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    /// Whether the configuration lists an origin, by its text.
    pub fn lists(&self, origin: &str) -> bool {
        self.listed.iter().any(|listed| **listed == *origin)
    }

    /// Whether answers depend on whose page asks: one that is listed, or the service's own by another name or port.
    pub fn lets_others_read(&self) -> bool {
        !self.listed.is_empty() || self.names.len() > 1 || !self.extra_ports.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_text;

    fn origins(lines: &str) -> Origins {
        let text = format!(
            "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\nhttp_port = 8080\n\
             [service.wiki]\nupstream = \"http://127.0.0.1:1\"\nallow = [\"*\"]\naliases = [\"notes\"]\n{lines}"
        );
        let config = from_text(&text, &[]).unwrap();
        Origins::of_service(&config, &config.services[0])
    }

    #[test]
    fn a_services_own_are_its_names_on_the_gateways_ports() {
        let wiki = origins("");
        for (origin, by_http, by_https) in [
            ("https://wiki.home.arpa", true, true),
            ("https://notes.home.arpa", true, true),
            ("https://wiki.home.arpa.", true, true),
            ("https://WIKI.home.arpa:443", true, true),
            ("http://wiki.home.arpa:8080", true, false),
            // The port that is asked for, however it leads here.
            ("http://wiki.home.arpa:6800", true, false),
            ("https://wiki.home.arpa:6800", false, true),
            ("http://wiki.home.arpa", false, false),
            ("https://wiki.home.arpa:9090", false, false),
            ("https://nas.home.arpa", false, false),
            ("https://x.wiki.home.arpa", false, false),
            ("https://wiki.home.arpa.example", false, false),
            ("wss://wiki.home.arpa", false, false),
            ("chrome-extension://wiki.home.arpa", false, false),
        ] {
            let read = WebOrigin::parse(origin).unwrap();
            assert_eq!(wiki.owns(read, Lane::Http, 6800), by_http, "{origin} over http");
            assert_eq!(wiki.owns(read, Lane::Https, 6800), by_https, "{origin} over https");
        }
    }

    #[test]
    fn listed_is_what_stands_there_to_the_letter() {
        let wiki = origins("allow_origins = [\"https://ariang.example\", \"null\"]");
        assert!(wiki.lists("https://ariang.example") && wiki.lists("null") && wiki.lets_others_read());
        for other in
            ["https://ariang.example:8443", "http://ariang.example", "https://x.ariang.example", "", "NULL"]
        {
            assert!(!wiki.lists(other), "{other:?}");
        }
        assert!(!origins("").lists("null"));
        let alone = from_text(
            "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n\
             [service.nas]\nupstream = \"http://127.0.0.1:1\"\nallow = [\"*\"]\n",
            &[],
        );
        let alone = alone.unwrap();
        assert!(!Origins::of_service(&alone, &alone.services[0]).lets_others_read());
        assert!(origins("").lets_others_read(), "it has an alias");
    }
}
