//! The top of `ztgate.toml`: the network, the zone, and what the gateway itself needs.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::model::{NameError, NetworkId, Zone};

use super::read::{Keys, Report, Section, quote};
use super::{Controller, Node, Tls};

pub(super) const NODE_URL: &str = "http://127.0.0.1:9993";
pub(super) const NODE_TOKEN: &str = "/var/lib/zerotier-one/authtoken.secret";
pub(super) const CENTRAL_URL: &str = "https://api.zerotier.com/api/v1";
pub(super) const STATE_DIR: &str = "/var/lib/ztgate";

const KEYS: Keys<'_> = Keys {
    known: &[
        "network",
        "zone",
        "state_dir",
        "http_port",
        "https_port",
        "time_zone",
        "controller",
        "node",
        "tls",
        "service",
        "groups",
        "notify",
    ],
    not_here: &[
        ("rule", "not supported by this version; to ignore it could let in whom you mean to keep out"),
        ("deny", "not supported by this version; to ignore it could let in whom you mean to keep out"),
        ("device", "devices belong in policy/devices.toml"),
    ],
    meant: &[("services", "service"), ("domain", "zone"), ("group", "groups"), ("notifications", "notify")],
};

const CONTROLLER_KEYS: Keys<'_> = Keys {
    known: &["kind", "url", "token_file"],
    not_here: &[("token", "the token itself does not belong in this file; name its file with token_file")],
    meant: &[("type", "kind")],
};

const NODE_KEYS: Keys<'_> = Keys {
    known: &["url", "token_file"],
    not_here: &[("token", "the token itself does not belong in this file; name its file with token_file")],
    meant: &[],
};

const TLS_KEYS: Keys<'_> =
    Keys { known: &["certificate", "key"], not_here: &[], meant: &[("cert", "certificate")] };

/// Everything but services and people.
pub(super) struct Gateway {
    pub network: Option<NetworkId>,
    pub zone: Option<Zone>,
    pub state_dir: PathBuf,
    pub node: Node,
    pub controller: Controller,
    pub http_port: u16,
    pub https_port: u16,
    pub tls: Tls,
}

pub(super) fn read(root: &Section<'_>, folder: &Path, report: &mut Report) -> Gateway {
    root.only(&KEYS, report);
    let (node, controller) = read_api(root, folder, report);
    let port = |key, default, report: &mut Report| {
        root.get(key).and_then(|item| item.port(report)).unwrap_or(default)
    };
    let (http_port, https_port) = (port("http_port", 80, report), port("https_port", 443, report));
    if http_port == https_port {
        let given = root.get("https_port").or_else(|| root.get("http_port"));
        if let Some(item) = given {
            report.error(&item.spot, format!("HTTP and HTTPS cannot share port {http_port}"), None);
        }
    }
    check_time_zone(root, report);
    Gateway {
        network: read_network(root, report),
        zone: read_zone(root, report),
        state_dir: folder.join(root.text("state_dir", report).unwrap_or(STATE_DIR)),
        node,
        controller,
        http_port,
        https_port,
        tls: read_tls(root, folder, report),
    }
}

fn read_network(root: &Section<'_>, report: &mut Report) -> Option<NetworkId> {
    let Some(item) = root.get("network") else {
        let hint = "\"zerotier-cli listnetworks\" shows it; add a line like network = \"5e02d9cb41c0ffee\"";
        report.error(&root.spot.missing("network"), "missing: the ZeroTier network's ID", hint);
        return None;
    };
    let text = item.text(report)?;
    match text.parse() {
        Ok(id) => Some(id),
        Err(error) => {
            let hint = "\"zerotier-cli listnetworks\" shows it";
            report.error(&item.spot, format!("{error}; found {}", quote(text)), hint);
            None
        }
    }
}

fn read_zone(root: &Section<'_>, report: &mut Report) -> Option<Zone> {
    let Some(item) = root.get("zone") else {
        let hint = "add zone = \"home.arpa\", the name set aside for homes (RFC 8375), or a domain of yours";
        report.error(
            &root.spot.missing("zone"),
            "missing: the DNS zone that the services' names end in",
            hint,
        );
        return None;
    };
    let text = item.text(report)?;
    match text.parse() {
        Ok(zone) => Some(zone),
        Err(error) => {
            let lower = text.to_lowercase();
            let hint = match error {
                NameError::Zone if lower != text && lower.parse::<Zone>().is_ok() => {
                    Some(format!("write \"{lower}\""))
                }
                _ => None,
            };
            report.error(&item.spot, format!("{} will not do: {error}", quote(text)), hint);
            None
        }
    }
}

/// `[controller]` and `[node]`. The node's token may stand in either while the node is the controller, for it is one
/// token; with Central each has its own.
fn read_api(root: &Section<'_>, folder: &Path, report: &mut Report) -> (Node, Controller) {
    let node = root.section("node", report);
    let controller = root.section("controller", report);
    if let Some(section) = &node {
        section.only(&NODE_KEYS, report);
    }
    if let Some(section) = &controller {
        section.only(&CONTROLLER_KEYS, report);
    }
    let node_token = node.as_ref().and_then(|section| section.text("token_file", report));
    let controller_token = controller.as_ref().and_then(|section| section.text("token_file", report));
    let url = node.as_ref().and_then(|section| read_node_url(section, report));
    let url = url.unwrap_or_else(|| NODE_URL.to_owned());

    let central = controller.as_ref().is_some_and(|section| is_central(section, report));
    match &controller {
        Some(section) if central => {
            if section.get("token_file").is_none() {
                let hint = "make an API token at my.zerotier.com under Account, put it alone into a file of mode 0600";
                let at = section.spot.missing("token_file");
                report.error(&at, "missing: the file with ZeroTier Central's API token", hint);
            }
            let token_file = folder.join(node_token.unwrap_or(NODE_TOKEN));
            let central = Controller::Central {
                url: read_central_url(section, report),
                token_file: folder.join(controller_token.unwrap_or_default()),
            };
            (Node { url, token_file }, central)
        }
        _ => {
            if let Some(item) = controller.as_ref().and_then(|section| section.get("url")) {
                let hint = "write url under [node]";
                report.error(&item.spot, "a local controller answers where the node does", hint);
            }
            if let (Some(one), Some(other), Some(section)) = (controller_token, node_token, &controller)
                && one != other
            {
                let at = section.spot.missing("token_file");
                let message = "names another file than node.token_file; a local controller and its node share one token";
                report.error(&at, message, "remove one of the two lines");
            }
            let token_file = folder.join(controller_token.or(node_token).unwrap_or(NODE_TOKEN));
            (Node { url, token_file }, Controller::Local)
        }
    }
}

fn is_central(controller: &Section<'_>, report: &mut Report) -> bool {
    let Some(item) = controller.get("kind") else { return false };
    match item.text(report) {
        None | Some("local") => false,
        Some("central") => true,
        Some(other) => {
            let hint = "\"local\": the node on this machine is the controller; \"central\": ZeroTier's own, my.zerotier.com";
            report.error(
                &item.spot,
                format!("expected \"local\" or \"central\", found {}", quote(other)),
                hint,
            );
            false
        }
    }
}

fn read_node_url(node: &Section<'_>, report: &mut Report) -> Option<String> {
    let item = node.get("url")?;
    let text = item.text(report)?;
    if is_loopback(text) {
        return Some(text.trim_end_matches('/').to_owned());
    }
    report.error(
        &item.spot,
        format!("expected a loopback URL like {NODE_URL}"),
        "the token drives the whole controller, so it goes to this machine only",
    );
    None
}

fn read_central_url(controller: &Section<'_>, report: &mut Report) -> String {
    let Some(item) = controller.get("url") else { return CENTRAL_URL.to_owned() };
    let Some(text) = item.text(report) else { return CENTRAL_URL.to_owned() };
    let uri = text.parse::<http::Uri>().ok();
    let host = uri.as_ref().and_then(http::Uri::host).filter(|_| !text.contains(['@', '?', '#']));
    let secure = uri.as_ref().and_then(http::Uri::scheme_str) == Some("https");
    if host.is_none() || !(secure || is_loopback(text)) {
        let hint = "leave the line out for ZeroTier's own";
        report.error(&item.spot, format!("expected an https URL like {CENTRAL_URL}"), hint);
    }
    text.trim_end_matches('/').to_owned()
}

/// `http://` to this machine, by address so that no resolver has a say.
fn is_loopback(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    uri.scheme_str() == Some("http")
        && !text.contains(['@', '?', '#'])
        && host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn read_tls(root: &Section<'_>, folder: &Path, report: &mut Report) -> Tls {
    let Some(section) = root.section("tls", report) else { return Tls::PrivateCa };
    section.only(&TLS_KEYS, report);
    match (section.text("certificate", report), section.text("key", report)) {
        (Some(certificate), Some(key)) => {
            Tls::Files { certificate: folder.join(certificate), key: folder.join(key) }
        }
        _ => {
            for key in ["certificate", "key"] {
                if section.get(key).is_none() {
                    let hint = "name both PEM files, or remove [tls] for a private CA";
                    report.error(&section.spot.missing(key), "missing", hint);
                }
            }
            Tls::PrivateCa
        }
    }
}

fn check_time_zone(root: &Section<'_>, report: &mut Report) {
    let Some(item) = root.get("time_zone") else { return };
    let Some(text) = item.text(report) else { return };
    // Without a time zone database every name is unknown, and none is wrong.
    if jiff::tz::TimeZone::get(text).is_err() && !jiff::tz::db().is_definitively_empty() {
        let message = format!("expected a time zone like \"Europe/Berlin\", found {}", quote(text));
        report.error(&item.spot, message, "\"timedatectl list-timezones\" lists them");
    } else {
        report.warn(&item.spot, "unused: no rule of this version looks at the hour", None);
    }
}
