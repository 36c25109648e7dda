//! The gateway's own names: who this device is and what it may open, and what makes it trust the zone's certificates.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};

use crate::ca::trust::{Trust, TrustKit};
use crate::model::Lane;
use crate::policy::{Ask, Subject};
use crate::portal::{Access, GatePage, PROBE_PATH, RootFacts, TRUST_PATH, Tile, TrustPage, Vouched};
use crate::routes::{GATE, Route, TRUST_PROBE, Target};

use super::admit::Admitted;
use super::body::Payload;
use super::connection::Connection;
use super::entry::Entry;
use super::refuse::{Client, Form, own, own_file, url_of};
use super::snapshot::Snapshot;

/// Answers on the gateway's own name.
pub fn gate<B>(mut entry: Entry, request: &Request<B>, admitted: &Admitted) -> Response<Payload> {
    let client = Client::of(request);
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let words = "Pages are read here, with GET.\n".to_owned();
        let mut response = own(&mut entry, &client, Form::Text, StatusCode::METHOD_NOT_ALLOWED, words);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let trusted = entry.connection().context.trust.clone();
    let is_probe = matches!(admitted.target(), Target::TrustProbe);
    match (request.uri().path(), trusted.kit()) {
        // That it could be asked is the answer.
        (PROBE_PATH, _) if is_probe => {
            own(&mut entry, &client, Form::Text, StatusCode::OK, "trusted\n".to_owned())
        }
        _ if is_probe => not_here(&mut entry, &client),
        ("/", _) => launchpad(entry, &client, client.form(), admitted),
        ("/whoami", _) => launchpad(entry, &client, Form::Json, admitted),
        (TRUST_PATH, _) => trust(entry, &client, request, &trusted),
        (path, Some(kit)) if path.starts_with("/trust/") => file(entry, &client, path, kit),
        _ => not_here(&mut entry, &client),
    }
}

fn not_here(entry: &mut Entry, client: &Client) -> Response<Payload> {
    own(entry, client, Form::Text, StatusCode::NOT_FOUND, "There is no such page here.\n".to_owned())
}

fn launchpad(mut entry: Entry, client: &Client, form: Form, admitted: &Admitted) -> Response<Payload> {
    let connection = entry.connection().clone();
    let snapshot = connection.context.snapshot();
    let member = &admitted.who().member;
    let groups = snapshot.rules.groups_of(&Subject::from(&**member));
    let page = GatePage {
        member: member.id,
        device: member.device.as_ref().map(|name| name.as_str()),
        owner: member.owner.as_ref().map(|name| name.as_str()),
        groups: groups.iter().map(|group| group.as_str()).collect(),
        address: connection.peer.ip(),
        how_proved: connection.context.proof,
        lane: connection.lane(),
        zone: snapshot.site.zone.as_str(),
        services: snapshot
            .site
            .routes()
            .iter()
            .filter_map(|route| tile(&snapshot, &connection, admitted, route))
            .collect(),
    };
    let text = if form == Form::Json { page.json() } else { page.html() };
    own(&mut entry, client, form, StatusCode::OK, text)
}

fn trust<B>(mut entry: Entry, client: &Client, request: &Request<B>, trusted: &Trust) -> Response<Payload> {
    let connection = entry.connection().clone();
    let site = connection.context.snapshot().site.clone();
    let user_agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let page = TrustPage {
        zone: site.zone.as_str(),
        http: &url_of(&site, &connection, Lane::Http, GATE),
        https: &url_of(&site, &connection, Lane::Https, GATE),
        probe: &url_of(&site, &connection, Lane::Https, TRUST_PROBE),
        user_agent: user_agent.unwrap_or_default(),
        vouched: match trusted.kit() {
            Some(kit) => Vouched::ByUs(RootFacts { subject: &kit.subject, sha256: &kit.sha256 }),
            None if trusted.is_public => Vouched::ByAPublicAuthority,
            None => Vouched::BySomebodyElse,
        },
    };
    let mut response = own(&mut entry, client, Form::Html, StatusCode::OK, page.html());
    if let Ok(policy) = HeaderValue::try_from(page.policy()) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// One of the files that the trust page leads to, with the media type by which a device knows what to do with it.
fn file(mut entry: Entry, client: &Client, path: &str, kit: &TrustKit) -> Response<Payload> {
    let zone = entry.connection().context.snapshot().site.zone.clone();
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let (media_type, name, content) = match path {
        // Apple: "Distributing profiles" (Configuration Profile Reference).
        "/trust/apple.mobileconfig" => {
            ("application/x-apple-aspen-config", format!("{zone}.mobileconfig"), text(&kit.apple))
        }
        // RFC 5280, section 4.2.2.1 has pkix-cert for fetching; browsers and Android install what comes as x-x509-ca-cert.
        "/trust/root.crt" => {
            ("application/x-x509-ca-cert", format!("{zone}.crt"), Bytes::copy_from_slice(&kit.der))
        }
        "/trust/root.pem" => ("application/x-pem-file", format!("{zone}.pem"), text(&kit.pem)),
        "/trust/windows.ps1" => {
            ("text/plain; charset=utf-8", format!("trust-{zone}.ps1"), text(&kit.windows))
        }
        "/trust/linux.sh" => ("text/plain; charset=utf-8", format!("trust-{zone}.sh"), text(&kit.linux)),
        _ => return not_here(&mut entry, client),
    };
    let mut response = own_file(&mut entry, client, media_type, StatusCode::OK, content);
    if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

fn tile<'a>(
    snapshot: &'a Snapshot,
    connection: &Connection,
    admitted: &Admitted,
    route: &'a Arc<Route>,
) -> Option<Tile<'a>> {
    let name = route.name();
    let at = connection.context.clock.now();
    let ask = Ask { service: name, method: "GET", path: "/", at };
    let decision = snapshot.rules.decide(&Subject::from(&*admitted.who().member), &ask);
    // What a device may not open is not on its page: no list of names for those who may not have them.
    let access = decision.verdict.ok()?.role().map_or(Access::Open, Access::Role);
    let url = |lane| format!("{}/", url_of(&snapshot.site, connection, lane, name.as_str()));
    let plain = route.service.plain_http;
    let here = if plain { connection.lane() } else { Lane::Https };
    let other = if here == Lane::Http { Lane::Https } else { Lane::Http };
    Some(Tile {
        name: name.as_str(),
        title: name.as_str(),
        url: url(here),
        endpoint: route
            .room
            .endpoint()
            .map(|path| format!("{}{path}", url_of(&snapshot.site, connection, here, name.as_str()))),
        other_url: (plain || other == Lane::Https).then(|| url(other)),
        kind: route.service.kind,
        access,
    })
}
