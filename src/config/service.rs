//! `[service.NAME]`: one paragraph a service.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::model::{Label, TlsVersion, Zone};
use crate::services::Kind;

use super::read::{Keys, Report, Section, Spot, quote};
use super::words::{self, label};
use super::{LinkPaths, Service, Upstream, UpstreamHost, kind, links, origins, upstream};

/// Names of the zone that the gateway itself answers, now or later.
const RESERVED: [&str; 5] = ["gate", "localhost", "ns", "trust-probe", "ztgate"];

const LATER: &str = "not supported by this version; to ignore it could let in whom you mean to keep out";

const KEYS: Keys<'_> = Keys {
    known: &[
        "kind",
        "upstream",
        "pin",
        "ca",
        "allow",
        "aliases",
        "allow_origins",
        "links",
        "plain_http",
        "http1_only",
        "min_tls",
        "extra_ports",
        "hsts",
    ],
    not_here: &[
        ("deny", LATER),
        ("days", LATER),
        ("hours", LATER),
        ("method", LATER),
        ("methods", LATER),
        ("path", LATER),
        ("paths", LATER),
        ("listen", "not supported by this version: TCP services come in a later one"),
    ],
    meant: &[
        ("address", "upstream"),
        ("backend", "upstream"),
        ("target", "upstream"),
        ("url", "upstream"),
        ("alias", "aliases"),
        ("type", "kind"),
        ("secret", "secret_file"),
        ("token", "secret_file"),
        ("tls", "min_tls"),
        ("tls_min_version", "min_tls"),
        ("who", "allow"),
        ("origins", "allow_origins"),
        ("cors", "allow_origins"),
        ("allow_links", "links"),
        ("link_paths", "links"),
    ],
};

/// What a paragraph is read against.
pub(super) struct Around<'a> {
    /// Paths are relative to it.
    pub folder: &'a Path,
    /// `None` if it is wrong itself.
    pub zone: Option<&'a Zone>,
    /// Ports that are taken by the gateway itself.
    pub ports: &'a [u16],
}

/// All services, ordered by name. Whichever is wrong is left out and reported.
pub(super) fn read_all(
    services: &Section<'_>,
    around: &Around<'_>,
    report: &mut Report,
) -> Vec<Arc<Service>> {
    let mut taken = Taken::default();
    // Names before aliases, so that a collision is told at the alias.
    let mut paragraphs = Vec::new();
    for (name, item) in services.entries() {
        let name = taken.take(name, &item.spot, report);
        if let Some(section) = item.section(report) {
            paragraphs.push((name, section));
        }
    }
    let read = paragraphs
        .into_iter()
        .map(|(name, section)| read_one(name, &section, around, &mut taken, report).map(Arc::new));
    read.flatten().collect()
}

fn read_one(
    name: Option<Label>,
    section: &Section<'_>,
    around: &Around<'_>,
    taken: &mut Taken,
    report: &mut Report,
) -> Option<Service> {
    // Said once; what else such a paragraph holds is for the version that knows it.
    if let Some(item) = section.get("kind").filter(|item| item.is_text("tcp")) {
        report.error(&item.spot, "not supported by this version: TCP services come in a later one", None);
        return None;
    }
    let kind = kind::read(section, report);
    check_keys(section, kind, report);
    let upstream = upstream::read(section, around.folder, report);
    warn_of_circle(section, upstream.as_ref(), around.zone, report);
    let aliases = match section.get("aliases") {
        Some(item) => item
            .list(report)
            .iter()
            .filter_map(|alias| taken.take(alias.text(report)?, &alias.spot, report))
            .collect(),
        None => Vec::new(),
    };
    let allow = match (section.get("allow"), kind) {
        (Some(item), Some(kind)) => kind::read_allow(&item, kind, report),
        // Without a kind the roles are unknown, and complaints about them would be noise.
        (Some(item), None) if item.is_section() => Vec::new(),
        (Some(item), None) => words::grants(&item, None, report),
        (None, _) => {
            let hint = "add a line like allow = [\"*\"], for any active member";
            report.warn(&section.spot.missing("allow"), "missing, so nobody may open it", hint);
            Vec::new()
        }
    };
    let settings =
        kind.map_or_else(Vec::new, |kind| kind::read_settings(section, kind, around.folder, report));
    let allow_origins =
        section.get("allow_origins").map_or_else(Vec::new, |item| origins::read(&item, report));
    let links = section.get("links").map_or_else(LinkPaths::default, |item| links::read(&item, report));
    let plain_http = section.flag("plain_http", true, report);
    let hsts = section.flag("hsts", false, report);
    if let Some(item) = section.get("hsts").filter(|_| hsts && plain_http) {
        let message = "a browser that has seen it never comes by http again, and plain_http, which is true unless said, offers that";
        report.error(&item.spot, message, "add plain_http = false");
    }
    Some(Service {
        plain_http,
        hsts,
        http1_only: section.flag("http1_only", false, report),
        min_tls: read_min_tls(section, plain_http, report),
        name: name?,
        aliases,
        kind: kind?,
        settings,
        extra_ports: read_extra_ports(section, around.ports, report),
        upstream: upstream?,
        allow,
        allow_origins,
        links,
        line: section.spot.line,
    })
}

/// Reports keys that no service has, or none of this kind.
fn check_keys(section: &Section<'_>, kind: Option<&'static Kind>, report: &mut Report) {
    let others = kind::keys_of_others(kind);
    // Without a kind no key of its own can be told to be wrong.
    let own = kind.map_or_else(Vec::new, |kind| kind.keys.iter().map(|key| key.name).collect());
    let own = if kind.is_some() { own } else { others.iter().map(|(name, _)| *name).collect() };
    let known: Vec<&str> = KEYS.known.iter().copied().chain(own).collect();
    let not_here = KEYS.not_here.iter().copied();
    let elsewhere = others.iter().filter(|_| kind.is_some()).map(|(name, says)| (*name, says.as_str()));
    let not_here: Vec<(&str, &str)> = not_here.chain(elsewhere).collect();
    section.only(&Keys { known: &known, not_here: &not_here, meant: KEYS.meant }, report);
}

fn read_extra_ports(section: &Section<'_>, taken: &[u16], report: &mut Report) -> Vec<u16> {
    let Some(item) = section.get("extra_ports") else { return Vec::new() };
    let mut ports = Vec::new();
    for item in item.list(report) {
        let Some(port) = item.port(report) else { continue };
        if taken.contains(&port) {
            let message = format!("{port} is one of the gateway's own ports");
            report.error(&item.spot, message, "there every service is found by its name; leave it out");
        } else if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports
}

fn read_min_tls(section: &Section<'_>, plain_http: bool, report: &mut Report) -> TlsVersion {
    let Some(item) = section.get("min_tls") else { return TlsVersion::default() };
    let version = match item.text(report) {
        Some("1.2") | None => TlsVersion::V1_2,
        Some("1.3") => TlsVersion::V1_3,
        Some(other) => {
            let message = format!("expected \"1.2\" or \"1.3\", found {}", quote(other));
            report.error(&item.spot, message, "leave the line out for 1.2 and later, which old TVs need");
            TlsVersion::V1_2
        }
    };
    if version == TlsVersion::V1_3 && plain_http {
        let message = "it binds HTTPS alone, and plain_http, which is true unless said, needs no TLS at all";
        report.warn(&item.spot, message, "add plain_http = false");
    }
    version
}

/// A name of the gateway's own zone may lead back to the gateway.
fn warn_of_circle(
    section: &Section<'_>,
    upstream: Option<&Upstream>,
    zone: Option<&Zone>,
    report: &mut Report,
) {
    let (Some(Upstream { host: UpstreamHost::Name(host), .. }), Some(zone)) = (upstream, zone) else {
        return;
    };
    let inside = host.strip_suffix(zone.as_str()).is_some_and(|rest| rest.ends_with('.'));
    if let Some(item) = section.get("upstream").filter(|_| inside) {
        report.warn(
            &item.spot,
            format!("{host} is a name in the gateway's own zone, {zone}; it may lead back to the gateway"),
            "write the machine's address",
        );
    }
}

/// The names of the zone that are in use, each with the place that took it.
#[derive(Default)]
struct Taken(BTreeMap<Label, Spot>);

impl Taken {
    fn take(&mut self, text: &str, spot: &Spot, report: &mut Report) -> Option<Label> {
        let name = label(text, spot, report)?;
        if RESERVED.contains(&name.as_str()) {
            let message = format!("\"{name}\" is the gateway's own name");
            report.error(spot, message, format!("call it \"my-{name}\", say"));
            return None;
        }
        if let Some(first) = self.0.get(&name) {
            let message = format!("\"{name}\" is taken by a service or alias at {first}");
            report.error(spot, message, "each name opens one service: choose another");
            return None;
        }
        self.0.insert(name.clone(), spot.clone());
        Some(name)
    }
}
