//! The top of `ztgate.toml`: the network, the zone, and what the gateway itself needs.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use crate::model::{NameError, NetworkId, Zone, nearest};

use super::names::Kind;
use super::read::{Keys, Report, Section, quote};
use super::{Controller, Node, SyncMode, Tls, devices, tls, words};

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
        "dns",
        "nameserver",
        "publish",
    ],
    not_here: &[
        ("rule", "not supported by this version; to ignore it could let in whom you mean to keep out"),
        ("deny", "not supported by this version; to ignore it could let in whom you mean to keep out"),
        ("device", devices::NOT_HERE),
    ],
    meant: &[
        ("services", "service"),
        ("domain", "zone"),
        ("group", "groups"),
        ("notifications", "notify"),
        ("acme", "tls"),
    ],
};

const CONTROLLER_KEYS: Keys<'_> = Keys {
    known: &["kind", "url", "token_file", "sync", "default_group"],
    not_here: &[("token", "the token itself does not belong in this file; name its file with token_file")],
    meant: &[("type", "kind"), ("mode", "sync"), ("group", "default_group")],
};

const NODE_KEYS: Keys<'_> = Keys {
    known: &["url", "token_file"],
    not_here: &[("token", "the token itself does not belong in this file; name its file with token_file")],
    meant: &[],
};

/// Everything but services and people.
pub(super) struct Gateway {
    pub network: Option<NetworkId>,
    pub zone: Option<Zone>,
    pub state_dir: PathBuf,
    pub node: Node,
    pub controller: Controller,
    pub sync: SyncMode,
    pub time_zone: TimeZone,
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
    Gateway {
        network: read_network(root, report),
        zone: read_zone(root, report),
        state_dir: folder.join(root.text("state_dir", report).unwrap_or(STATE_DIR)),
        node,
        controller,
        sync: read_sync(root, report),
        time_zone: read_time_zone(root, report),
        http_port,
        https_port,
        tls: tls::read(root, folder, report),
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
/// token; a controller elsewhere has its own.
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

    let place = controller.as_ref().map_or(Place::Here, |section| read_place(section, &url, report));
    let own_token = |at: &Section<'_>, what: &str, hint: &str, report: &mut Report| {
        if at.get("token_file").is_none() {
            report.error(&at.spot.missing("token_file"), format!("missing: the file with {what}"), hint);
        }
        folder.join(controller_token.unwrap_or_default())
    };
    let (controller, node_token) = match (place, &controller) {
        (Place::Remote(url), Some(section)) => {
            let hint = "copy the text of its authtoken.secret alone into a file of mode 0600; if it is this machine's node \
                        that answers there, write url under [node] instead";
            let token_file = own_token(section, "the controller's token", hint, report);
            (Controller::Remote { url, token_file }, node_token)
        }
        (Place::Central(url), Some(section)) => {
            let hint =
                "make an API token at my.zerotier.com under Account, put it alone into a file of mode 0600";
            let token_file = own_token(section, "ZeroTier Central's API token", hint, report);
            (Controller::Central { url, token_file }, node_token)
        }
        (_, section) => {
            if let (Some(one), Some(other), Some(section)) = (controller_token, node_token, section)
                && one != other
            {
                let at = section.spot.missing("token_file");
                let message = "names another file than node.token_file; a local controller and its node share one token";
                report.error(&at, message, "remove one of the two lines");
            }
            (Controller::Local, controller_token.or(node_token))
        }
    };
    (Node { url, token_file: folder.join(node_token.unwrap_or(NODE_TOKEN)) }, controller)
}

/// Where the controller answers.
enum Place {
    /// Where the node does.
    Here,
    Remote(String),
    Central(String),
}

fn read_place(controller: &Section<'_>, node_url: &str, report: &mut Report) -> Place {
    if is_central(controller, report) {
        return Place::Central(read_central_url(controller, report));
    }
    let Some(item) = controller.get("url") else { return Place::Here };
    let Some(text) = item.text(report) else { return Place::Here };
    let url = text.trim_end_matches('/');
    if url == node_url {
        report.error(&item.spot, "a local controller answers where the node does", "remove the line");
        return Place::Here;
    }
    if !keeps_a_token(text) {
        let hint = "the token drives the whole controller, so it travels over TLS, or to this machine: \
                    \"ssh -L 19993:127.0.0.1:9993\" brings a controller here";
        report.error(
            &item.spot,
            "expected a URL like https://controller.example.org or http://127.0.0.1:19993",
            hint,
        );
        return Place::Here;
    }
    Place::Remote(url.to_owned())
}

/// `sync` and `default_group` of `[controller]`. What is wrong is read as the default.
fn read_sync(root: &Section<'_>, report: &mut Report) -> SyncMode {
    const WORDS: [&str; 3] = ["ask", "follow", "enforce"];
    // That it is a table, was said by who read the rest of it.
    let Some(section) = root.get("controller").and_then(|item| item.section(&mut Report::default())) else {
        return SyncMode::Ask;
    };
    let word = section.text("sync", report).unwrap_or("ask");
    let group = section.get("default_group");
    if let Some(item) = group.as_ref().filter(|_| matches!(word, "ask" | "enforce")) {
        let message = format!("only sync = \"follow\" puts members into a group; this is \"{word}\"");
        report.error(&item.spot, message, "remove the line, or write sync = \"follow\"");
    }
    match (word, group, section.get("sync")) {
        ("enforce", ..) => return SyncMode::Enforce,
        ("follow", Some(item), _) => {
            let name = item.text(report).and_then(|text| words::name(text, Kind::Group, &item.spot, report));
            return name.map_or(SyncMode::Ask, |group| SyncMode::Follow { group });
        }
        ("follow", None, _) => {
            let at = section.spot.missing("default_group");
            let hint = "add a line like default_group = \"guests\"";
            report.error(&at, "missing: the group of members that the controller lets in", hint);
        }
        ("ask", ..) | (_, _, None) => {}
        (other, _, Some(item)) => {
            let hint = match nearest(other, WORDS) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "who is let in at the controller alone: \"ask\" waits for \"ztgate admit\", \"follow\" admits it, \
                         \"enforce\" puts it out again"
                    .to_owned(),
            };
            let message = format!("expected \"ask\", \"follow\" or \"enforce\", found {}", quote(other));
            report.error(&item.spot, message, hint);
        }
    }
    SyncMode::Ask
}

fn is_central(controller: &Section<'_>, report: &mut Report) -> bool {
    let Some(item) = controller.get("kind") else { return false };
    match item.text(report) {
        None | Some("local") => false,
        Some("central") => true,
        Some(other) => {
            let hint = "\"local\": a ZeroTier node is the controller, this machine's or the one at url; \"central\": ZeroTier's own, my.zerotier.com";
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
    if !keeps_a_token(text) {
        let hint = "leave the line out for ZeroTier's own";
        report.error(&item.spot, format!("expected an https URL like {CENTRAL_URL}"), hint);
    }
    text.trim_end_matches('/').to_owned()
}

/// A URL that a token may be sent to: over TLS, or to this machine.
fn keeps_a_token(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    let secure = uri.scheme_str() == Some("https") && uri.host().is_some() && !text.contains(['@', '?', '#']);
    secure || is_loopback(text)
}

/// `http://` to this machine, by address so that no resolver has a say.
fn is_loopback(text: &str) -> bool {
    let Ok(uri) = text.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    uri.scheme_str() == Some("http")
        && !text.contains(['@', '?', '#'])
        && host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn read_time_zone(root: &Section<'_>, report: &mut Report) -> TimeZone {
    let name = root.get("time_zone").and_then(|item| Some((item.text(report)?, item)));
    let Some((text, item)) = name else { return TimeZone::system() };
    let Ok(zone) = TimeZone::get(text) else {
        // Without a time zone database every name is unknown, and none is wrong.
        if jiff::tz::db().is_definitively_empty() {
            let message =
                "this system has no time zone database, so times are read on the system's own clock";
            report.warn(&item.spot, message, "install the package tzdata");
        } else {
            let message = format!("expected a time zone like \"Europe/Berlin\", found {}", quote(text));
            report.error(&item.spot, message, "\"timedatectl list-timezones\" lists them");
        }
        return TimeZone::system();
    };
    zone
}
