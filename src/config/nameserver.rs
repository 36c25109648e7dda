//! `[nameserver]` and `[publish]`: the domain's own name server, how its records are changed, and which are kept there.

use std::path::{Path, PathBuf};

use super::dns::{DNS_PORT, is_domain};
use super::read::{Item, Keys, Report, Section, quote};
use crate::model::{Zone, nearest};

const NAMESERVER_KEYS: Keys<'_> = Keys {
    known: &["server", "zone", "key", "algorithm", "secret_file", "hook"],
    not_here: &[("secret", "the secret itself does not belong in this file; name its file with secret_file")],
    meant: &[
        ("address", "server"),
        ("host", "server"),
        ("tsig", "key"),
        ("key_name", "key"),
        ("command", "hook"),
    ],
};

const PUBLISH_KEYS: Keys<'_> = Keys {
    known: &["services", "public", "address", "ttl"],
    not_here: &[],
    meant: &[("name", "public"), ("command", "address")],
};

/// How records of the domain are changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nameserver {
    /// Dynamic updates (RFC 2136), signed with a shared key (TSIG, RFC 8945).
    Update(UpdateServer),
    /// A program of one's own, for any provider: `HOOK present NAME VALUE` makes a TXT record, `HOOK cleanup NAME VALUE`
    /// removes it, as lego's `exec` provider has it. Good for certificates, not for [`Publish`].
    Hook { program: PathBuf },
}

/// A name server that takes dynamic updates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateServer {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    /// The zone there, which the records are in: `zone` of the file unless said. Lower case, no dot at either end.
    pub zone: String,
    pub key: TsigKey,
}

/// The key that signs updates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TsigKey {
    /// Its name at the server, as a domain name; lower case, no dot at either end.
    pub name: String,
    pub algorithm: TsigAlgorithm,
    /// Holds the secret in base64, as `tsig-keygen` prints it. Read anew for each use.
    pub secret_file: PathBuf,
}

/// HMACs for TSIG that are still recommended (RFC 8945, section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TsigAlgorithm {
    #[default]
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

impl TsigAlgorithm {
    pub const ALL: [Self; 3] = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// As `algorithm` and the protocol say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }
}

/// Which records are kept at the domain's own server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The addresses of all services and of the gateway, on the overlay.
    pub services: bool,
    /// One more name, for the house's address on the internet.
    pub public: Option<PublicName>,
    /// Seconds that resolvers may keep what they heard. 300 unless said.
    pub ttl: u32,
}

/// The name of the house on the internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicName {
    /// A full domain name; lower case, no dot at either end.
    pub name: String,
    /// Prints the house's addresses, one a line; run without a shell.
    pub command: Vec<String>,
}

/// Both sections; `zone` is the file's own.
pub(super) fn read(
    root: &Section<'_>,
    folder: &Path,
    zone: Option<&Zone>,
    report: &mut Report,
) -> (Option<Nameserver>, Option<Publish>) {
    let nameserver = root.section("nameserver", report);
    let server = nameserver.as_ref().and_then(|section| read_nameserver(section, folder, zone, report));
    let publish = root.section("publish", report);
    let published = publish.as_ref().and_then(|section| read_publish(section, report));
    if let Some(section) = &publish {
        match (&server, &nameserver) {
            (Some(Nameserver::Update(at)), _) => {
                let name = published.as_ref().and_then(|publish| publish.public.as_ref());
                if let (Some(public), Some(item)) = (name, section.get("public"))
                    && !is_within(&public.name, &at.zone)
                {
                    let message =
                        format!("{} is not in the zone {} of the name server", public.name, at.zone);
                    report.error(&item.spot, message, None);
                }
            }
            (Some(Nameserver::Hook { .. }), _) => {
                let hint = "name a server that takes dynamic updates with server, key and secret_file";
                report.error(&section.spot, "records cannot be kept by a hook, which cannot be asked", hint);
            }
            (None, None) => {
                let hint = "add [nameserver] with server, key and secret_file";
                report.error(&section.spot, "there is no name server to publish at", hint);
            }
            // What is wrong with it was said.
            (None, Some(_)) => {}
        }
    }
    (server, published)
}

fn read_nameserver(
    section: &Section<'_>,
    folder: &Path,
    zone: Option<&Zone>,
    report: &mut Report,
) -> Option<Nameserver> {
    section.only(&NAMESERVER_KEYS, report);
    if let Some(hook) = section.get("hook") {
        if let Some(item) = section.get("server") {
            report.error(&item.spot, "either a server or a hook changes records", "remove one of the two");
        }
        return hook.text(report).map(|program| Nameserver::Hook { program: folder.join(program) });
    }
    let mut needs = |key: &str, what: &str, hint: &str| {
        let text = section.text(key, report);
        if section.get(key).is_none() {
            report.error(&section.spot.missing(key), format!("missing: {what}"), hint.to_owned());
        }
        text
    };
    let server =
        needs("server", "the name server that takes updates", "write it like server = \"ns1.example.org\"");
    let key = needs("key", "the name of the TSIG key", "\"tsig-keygen NAME\" makes one");
    let secret = needs(
        "secret_file",
        "the file with the key's secret",
        "put its base64 alone into a file of mode 0600",
    );
    let algorithm =
        section.get("algorithm").map_or(Some(TsigAlgorithm::default()), |item| read_algorithm(&item, report));
    let zone = match section.get("zone") {
        Some(item) => read_domain(&item, report)?,
        None => zone?.to_string(),
    };
    let server = server.and_then(|text| {
        let at = host_and_port(text);
        if at.is_none() {
            let item = section.get("server")?;
            let hint = "write a name or an address, like \"ns1.example.org\" or \"192.0.2.53:5353\"";
            report.error(&item.spot, format!("expected a name server, found {}", quote(text)), hint);
        }
        at
    });
    let name = key.and_then(|_| read_domain(&section.get("key")?, report));
    let ((host, port), name, secret) = (server?, name?, secret?);
    let key = TsigKey { name, algorithm: algorithm?, secret_file: folder.join(secret) };
    Some(Nameserver::Update(UpdateServer { host, port, zone, key }))
}

fn read_algorithm(item: &Item<'_>, report: &mut Report) -> Option<TsigAlgorithm> {
    let text = item.text(report)?;
    let known =
        TsigAlgorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == text.to_ascii_lowercase());
    if known.is_none() {
        let names = TsigAlgorithm::ALL.map(TsigAlgorithm::as_str);
        let hint = match nearest(text, names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("there are {}; weaker ones are no longer safe", names.join(", ")),
        };
        report.error(&item.spot, format!("no algorithm is called {}", quote(text)), hint);
    }
    known
}

fn read_publish(section: &Section<'_>, report: &mut Report) -> Option<Publish> {
    /// Longer than any resolver keeps it, and what RFC 2181 section 8 allows.
    const LONGEST_TTL: i64 = 86_400;
    section.only(&PUBLISH_KEYS, report);
    let services = section.flag("services", false, report);
    let ttl = section.get("ttl").and_then(|item| {
        let ttl = item.whole_number(report).filter(|seconds| (30..=LONGEST_TTL).contains(seconds));
        if ttl.is_none() {
            report.error(&item.spot, "expected 30 to 86400 seconds", "300 is usual");
        }
        ttl?.try_into().ok()
    });
    let command = section.get("address").map(|item| {
        item.list(report).iter().filter_map(|word| word.text(report)).map(str::to_owned).collect::<Vec<_>>()
    });
    let public = match (section.get("public"), command) {
        (None, None) => None,
        (None, Some(_)) => {
            let hint = "add a line like public = \"home.example.org\"";
            report.error(&section.spot.missing("public"), "missing: the name for the house's address", hint);
            None
        }
        (Some(item), command) => {
            let name = read_domain(&item, report);
            let command = command.filter(|words| !words.is_empty());
            if command.is_none() {
                let hint = "add a line like address = [\"curl\", \"--silent\", \"https://api.ipify.org\"]";
                let message = "missing: the command that prints the house's address";
                report.error(&section.spot.missing("address"), message, hint);
            }
            name.zip(command).map(|(name, command)| PublicName { name, command })
        }
    };
    if !services && section.get("public").is_none() && section.get("address").is_none() {
        let hint = "write services = true, or public and address";
        report.error(&section.spot, "nothing is named that could be published", hint);
    }
    Some(Publish { services, public, ttl: ttl.unwrap_or(300) })
}

fn read_domain(item: &Item<'_>, report: &mut Report) -> Option<String> {
    let text = item.text(report)?;
    let plain = text.trim_end_matches('.').to_ascii_lowercase();
    if is_domain(&plain) {
        return Some(plain);
    }
    report.error(&item.spot, format!("expected a domain name, found {}", quote(text)), None);
    None
}

/// `HOST` or `HOST:PORT`; an IPv6 address may stand without brackets where no port follows.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Some((address.to_string(), DNS_PORT));
    }
    if let Ok(at) = text.parse::<std::net::SocketAddr>() {
        return (at.port() != 0).then(|| (at.ip().to_string(), at.port()));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
        None => (text, DNS_PORT),
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    is_domain(&host).then_some((host, port))
}

fn is_within(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Problems, from_text};

    const TOP: &str = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.example.org\"\n";

    fn read(lines: &str) -> Result<Config, String> {
        from_text(&format!("{TOP}{lines}"), &[]).map_err(|problems| Problems(&problems).to_string())
    }

    #[test]
    fn a_server_with_its_key_and_what_is_kept_there() {
        let config = read(
            "[nameserver]\nserver = \"ns1.example.org\"\nzone = \"example.org.\"\nkey = \"ztgate.\"\n\
             secret_file = \"tsig.secret\"\n\
             [publish]\nservices = true\npublic = \"House.example.org\"\naddress = [\"/usr/bin/my-ip\", \"-4\"]\n",
        )
        .unwrap();
        let key = TsigKey {
            name: "ztgate".into(),
            algorithm: TsigAlgorithm::HmacSha256,
            secret_file: "/etc/ztgate/tsig.secret".into(),
        };
        let server =
            UpdateServer { host: "ns1.example.org".into(), port: 53, zone: "example.org".into(), key };
        assert_eq!(config.nameserver, Some(Nameserver::Update(server)));
        let public = PublicName {
            name: "house.example.org".into(),
            command: vec!["/usr/bin/my-ip".into(), "-4".into()],
        };
        assert_eq!(config.publish, Some(Publish { services: true, public: Some(public), ttl: 300 }));
    }

    #[test]
    fn a_hook_stands_alone() {
        let config = read("[nameserver]\nhook = \"dns-hook\"\n").unwrap();
        assert_eq!(config.nameserver, Some(Nameserver::Hook { program: "/etc/ztgate/dns-hook".into() }));
    }

    #[test]
    fn hosts_and_ports() {
        for (text, expected) in [
            ("ns1.example.org", Some(("ns1.example.org", 53))),
            ("ns1.example.org:5353", Some(("ns1.example.org", 5353))),
            ("2001:db8::53", Some(("2001:db8::53", 53))),
            ("[2001:db8::53]:5353", Some(("2001:db8::53", 5353))),
            ("ns1:0", None),
            ("two words", None),
        ] {
            assert_eq!(host_and_port(text), expected.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn what_is_missing_or_in_the_way_is_said() {
        insta::assert_snapshot!(read("[publish]\n").unwrap_err(), @r#"
        ztgate.toml:3: publish: nothing is named that could be published
          hint: write services = true, or public and address
        ztgate.toml:3: publish: there is no name server to publish at
          hint: add [nameserver] with server, key and secret_file
        "#);
        insta::assert_snapshot!(
            read("[nameserver]\nserver = \"ns1\"\nalgorithm = \"hmac-md5\"\n[publish]\nservices = true\n").unwrap_err(), @r#"
        ztgate.toml:3: nameserver.key: missing: the name of the TSIG key
          hint: "tsig-keygen NAME" makes one
        ztgate.toml:3: nameserver.secret_file: missing: the file with the key's secret
          hint: put its base64 alone into a file of mode 0600
        ztgate.toml:5: nameserver.algorithm: no algorithm is called "hmac-md5"
          hint: there are hmac-sha256, hmac-sha384, hmac-sha512; weaker ones are no longer safe
        "#);
        insta::assert_snapshot!(
            read("[nameserver]\nhook = \"h\"\nserver = \"ns1\"\n[publish]\npublic = \"house.example.org\"\n").unwrap_err(), @r#"
        ztgate.toml:5: nameserver.server: either a server or a hook changes records
          hint: remove one of the two
        ztgate.toml:6: publish.address: missing: the command that prints the house's address
          hint: add a line like address = ["curl", "--silent", "https://api.ipify.org"]
        ztgate.toml:6: publish: records cannot be kept by a hook, which cannot be asked
          hint: name a server that takes dynamic updates with server, key and secret_file
        "#);
        insta::assert_snapshot!(
            read("[nameserver]\nserver = \"ns1\"\nkey = \"k\"\nsecret_file = \"s\"\n\
                  [publish]\npublic = \"house.other.org\"\naddress = [\"ip\"]\nttl = 5\n").unwrap_err(), @r#"
        ztgate.toml:8: publish.public: house.other.org is not in the zone home.example.org of the name server
        ztgate.toml:10: publish.ttl: expected 30 to 86400 seconds
          hint: 300 is usual
        "#);
    }
}
