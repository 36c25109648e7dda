//! The configuration that `ztgate init` writes: what was found on this machine, each line with what it is for.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::model::{Label, NetworkId, Zone};

use super::gateway::{NODE_TOKEN, STATE_DIR};
use crate::services::{KINDS, Kind};

/// What was found on this machine.
#[derive(Clone, Debug)]
pub struct Found {
    /// The network to serve; `None` where there is none, or more than one to choose from.
    pub network: Option<NetworkId>,
    /// Every network that the node has joined, with its name.
    pub networks: Vec<(NetworkId, String)>,
    pub zone: Zone,
    pub services: Vec<GuessedService>,
    /// The local node's token, where it is.
    pub token_file: Option<PathBuf>,
}

/// A service that seems to run here.
#[derive(Clone, Debug)]
pub struct GuessedService {
    pub name: Label,
    pub kind: &'static Kind,
    /// As `upstream` takes it: `http://127.0.0.1:8096`.
    pub upstream: String,
    /// What it was told by, in a few words for the comment: `Jellyfin answers there`.
    pub because: String,
}

/// A commented `ztgate.toml`. It loads as it is, unless no network was chosen: then the first error says what to type.
pub fn starter(found: &Found) -> String {
    let mut text = String::new();
    let sections: [fn(&mut String, &Found) -> std::fmt::Result; 5] =
        [network, zone, folders, controller, services];
    text.push_str(HEAD);
    for section in sections {
        // Writing to a String cannot fail.
        _ = section(&mut text, found);
    }
    text.push_str(TAIL);
    text
}

const HEAD: &str = "\
# ztgate's configuration. \"ztgate check\" tells whether it is right; a running gateway takes
# changes at once, and keeps the old one if the new one is broken.

";

const TAIL: &str = "
# A further service is a paragraph like this:
#
# [service.nas]                             # opens as nas in the zone above
# upstream = \"https://192.168.1.10:5001\"    # where it really is: http:// or https://, host, port
# pin      = \"sha256/...\"                   # its public key, if its certificate is of its own making
# aliases  = [\"files\"]                      # further names
# plain_http = false                        # HTTPS only; else both, for TVs that trust no private CA
# min_tls  = \"1.3\"                        # nothing older, where plain_http is false
# allow    = [\"family\", \"c4c8812898\"]       # devices, owners, groups, member IDs; nobody else
# allow_origins = [\"https://example.org\"]  # whose pages may use it beside its own; deploy/pages.md
# links = [\"/share/*\"]                     # links from elsewhere lead to these and to \"/\" alone

# Who is told when a new device knocks; deploy/notify.md has more:
#
# [notify]
# ntfy = \"https://ntfy.sh/a-topic-that-nobody-guesses\"

# The gateway answers DNS for the zone, and passes other names on to this system's own servers, unless told:
#
# [dns]
# forward = [\"192.168.1.1\"]     # these instead; [] for nobody
# private = [\"corp.example.org\"] # whose names may lead to private addresses
# enabled = false                # no DNS at all

# Devices get their names, owners and groups by command, while the gateway runs:
#
#   ztgate devices --pending
#   ztgate admit c4c8812898 --name red-phone --owner mum --group family
#
# Groups of owners or devices may stand here, too:
#
# [groups]
# family = [\"mum\", \"kids-tablet\"]
";

fn network(to: &mut String, found: &Found) -> std::fmt::Result {
    match found.network {
        Some(id) => {
            writeln!(to, "# The ZeroTier network whose members may knock.")?;
            writeln!(to, "network = \"{id}\"{}", named(found, id))?;
        }
        None => {
            writeln!(
                to,
                "# The ZeroTier network whose members may knock: remove the # before one of these lines."
            )?;
            for (id, _) in &found.networks {
                writeln!(to, "# network = \"{id}\"{}", named(found, *id))?;
            }
            if found.networks.is_empty() {
                writeln!(to, "# This machine has joined none yet: \"zerotier-cli join ID\".")?;
                writeln!(to, "# network = \"the network's ID\"")?;
            }
        }
    }
    writeln!(to)
}

/// A network's name as a comment. Names come from the controller, so nothing in them may end the comment.
fn named(found: &Found, id: NetworkId) -> String {
    let name = found.networks.iter().find(|(other, _)| *other == id).map_or("", |(_, name)| name);
    let name: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
    if name.trim().is_empty() { name } else { format!("  # {}", name.trim()) }
}

fn zone(to: &mut String, found: &Found) -> std::fmt::Result {
    let zone = &found.zone;
    writeln!(to, "# Every service is a name in this zone; the gateway itself is gate.{zone}.")?;
    writeln!(to, "zone = \"{zone}\"\n")
}

fn folders(to: &mut String, _: &Found) -> std::fmt::Result {
    writeln!(to, "# What the gateway remembers: its certificates, its members, its records.")?;
    writeln!(to, "# state_dir = \"{STATE_DIR}\"\n")?;
    writeln!(to, "# The ports on the network's addresses, and on no other.")?;
    writeln!(to, "# http_port  = 80\n# https_port = 443\n")
}

fn controller(to: &mut String, found: &Found) -> std::fmt::Result {
    writeln!(
        to,
        "# Who decides which members there are: the ZeroTier node on this machine. For ZeroTier's own"
    )?;
    writeln!(
        to,
        "# service write kind = \"central\", for a node elsewhere url = \"https://...\"; name the file with"
    )?;
    writeln!(to, "# that one's token here, and the local node's under [node].")?;
    writeln!(to, "[controller]\nkind = \"local\"")?;
    writeln!(
        to,
        "# Whom only the controller lets in waits for \"ztgate admit\" (ask), is admitted into a group (follow,"
    )?;
    writeln!(to, "# with default_group = \"guests\"), or is put out there again (enforce).")?;
    writeln!(to, "# sync = \"ask\"")?;
    match found.token_file.as_deref() {
        Some(file) if file != Path::new(NODE_TOKEN) => {
            writeln!(to, "token_file = {}", toml_text(&file.to_string_lossy()))?;
        }
        _ => writeln!(to, "# token_file = \"{NODE_TOKEN}\"")?,
    }
    Ok(())
}

fn services(to: &mut String, found: &Found) -> std::fmt::Result {
    if found.services.is_empty() {
        return writeln!(to, "\n# No service that ztgate knows was found on this machine.");
    }
    for service in &found.services {
        let because: String = service.because.chars().filter(|c| !c.is_control()).collect();
        writeln!(to, "\n# {because}. It opens as http://{}.", found.zone.name(service.name.as_str()))?;
        writeln!(to, "[service.{}]", service.name)?;
        if service.kind.word != KINDS[0].word {
            writeln!(to, "kind     = \"{}\"", service.kind.word)?;
        }
        writeln!(to, "upstream = {}", toml_text(&service.upstream))?;
        match service.kind.roles {
            [] => {
                let hint = "every active member; narrow it to names or member IDs";
                writeln!(to, "allow    = [\"*\"]    # {hint}")?;
            }
            roles @ [weakest, ..] => {
                let roles = roles.join(", ");
                writeln!(
                    to,
                    "allow    = {{ {weakest} = [\"*\"] }}    # every active member; for more than that,"
                )?;
                writeln!(to, "# name devices, owners or groups under another role; weakest first: {roles}")?;
            }
        }
        to.push_str(service.kind.starter);
    }
    Ok(())
}

fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Problems, from_text};
    use crate::services::kind;

    fn found() -> Found {
        let service = |name: &str, kind, upstream: &str, because: &str| GuessedService {
            name: name.parse().unwrap(),
            kind,
            upstream: upstream.to_owned(),
            because: because.to_owned(),
        };
        Found {
            network: "5e02d9cb41c0ffee".parse().ok(),
            networks: vec![("5e02d9cb41c0ffee".parse().unwrap(), "home\n[rule]".to_owned())],
            zone: "home.arpa".parse().unwrap(),
            services: vec![
                service(
                    "jellyfin",
                    kind("jellyfin").unwrap(),
                    "http://windows-host:8096",
                    "Jellyfin answers on the Windows side",
                ),
                service("aria2", kind("aria2").unwrap(), "http://127.0.0.1:6800", "aria2 listens there"),
                service("web", KINDS[0], "http://127.0.0.1:3000", "Something answers HTTP there"),
            ],
            token_file: Some("/srv/zero \"tier\"/authtoken.secret".into()),
        }
    }

    #[test]
    fn what_it_writes_loads_without_a_word() {
        let config = from_text(&starter(&found()), &[]).unwrap();
        assert_eq!(Problems(&config.warnings).to_string(), "");
        assert_eq!(config.network.to_string(), "5e02d9cb41c0ffee");
        assert_eq!(config.services.len(), 3);
        assert_eq!(config.node.token_file, Path::new("/srv/zero \"tier\"/authtoken.secret"));
        let bare = Found { services: Vec::new(), token_file: None, networks: Vec::new(), ..found() };
        assert_eq!(from_text(&starter(&bare), &[]).unwrap().node.token_file, Path::new(NODE_TOKEN));
    }

    #[test]
    fn without_a_network_the_one_error_asks_for_it() {
        for networks in [found().networks, Vec::new()] {
            let problems =
                from_text(&starter(&Found { network: None, networks, ..found() }), &[]).unwrap_err();
            let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_deref()).collect();
            assert_eq!(keys, [Some("network")]);
        }
    }

    /// The commented lines are offers, so taking them up must work.
    #[test]
    fn the_commented_settings_hold_once_uncommented() {
        let text = starter(&found());
        let offers = ["state_dir =", "http_port  =", "https_port =", "sync ="];
        let taken = offers.iter().fold(text, |text, offer| {
            assert!(text.contains(&format!("# {offer}")), "{offer}");
            text.replace(&format!("# {offer}"), offer)
        });
        let of_kinds = KINDS.iter().flat_map(|kind| kind.starter.lines());
        let taken = of_kinds.fold(taken, |text, offer| text.replace(offer, offer.trim_start_matches("# ")));
        let config = from_text(&taken, &[]).unwrap();
        assert_eq!(config.state_dir, Path::new(STATE_DIR));
        for service in &config.services {
            assert_eq!(service.settings.len(), service.kind.starter.lines().count(), "{}", service.name);
        }
    }
}
