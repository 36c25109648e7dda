//! Which names a certificate is to carry.

use crate::config::{AcmeNames, Config};

/// The gateway's own name in the zone.
const GATE: &str = "gate";

/// The names of one certificate, in the order in which they are asked for.
pub fn wanted(config: &Config, names: AcmeNames) -> Vec<String> {
    match names {
        AcmeNames::Wildcard => vec![config.zone.to_string(), config.zone.name("*")],
        AcmeNames::Each => {
            let services = config.services.iter().flat_map(|service| {
                std::iter::once(&service.name).chain(&service.aliases).map(|label| label.as_str())
            });
            std::iter::once(GATE).chain(services).map(|label| config.zone.name(label)).collect()
        }
    }
}

/// Where the ACME server looks for the proof that a name is ours (RFC 8555, section 8.4). A wildcard's is its domain's.
pub(super) fn challenge_at(name: &str) -> String {
    format!("_acme-challenge.{}", name.strip_prefix("*.").unwrap_or(name))
}

/// A name that a certificate for this one covers: for a wildcard, one of those it stands for.
pub(super) fn example_of(name: &str) -> String {
    match name.strip_prefix("*.") {
        Some(domain) => format!("any.{domain}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        crate::config::from_text(
            "network = \"5e02d9cb41c0ffee\"\nzone = \"home.example.org\"\n\
             [service.wiki]\nupstream = \"http://127.0.0.1:8080\"\naliases = [\"notes\"]\n\
             [service.films]\nupstream = \"http://127.0.0.1:8096\"\n",
            &[],
        )
        .unwrap()
    }

    #[test]
    fn a_wildcard_names_no_service_and_each_names_all() {
        assert_eq!(wanted(&config(), AcmeNames::Wildcard), ["home.example.org", "*.home.example.org"]);
        let mut each = wanted(&config(), AcmeNames::Each);
        each.sort_unstable();
        let names = ["films", "gate", "notes", "wiki"].map(|label| format!("{label}.home.example.org"));
        assert_eq!(each, names);
    }

    #[test]
    fn a_wildcard_is_proved_where_its_domain_is() {
        for name in ["home.example.org", "*.home.example.org"] {
            assert_eq!(challenge_at(name), "_acme-challenge.home.example.org");
        }
        assert_eq!(example_of("*.home.example.org"), "any.home.example.org");
        assert_eq!(example_of("wiki.home.example.org"), "wiki.home.example.org");
    }
}
