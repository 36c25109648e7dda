//! The gateway's own answers instead of a service's: refusals with their code, and services that do not answer.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use jiff::tz::TimeZone;

use crate::model::{Lane, RefusalCode};
use crate::portal::{
    Asked, CONTENT_SECURITY_POLICY, Elsewhere, Person, RefusalPage, Trouble, UpstreamPage, wants_json,
};
use crate::routes::{Route, Site, Target};

use super::admit::Admitted;
use super::body::Payload;
use super::connection::Connection;
use super::cors::Reader;
use super::entry::Entry;
use super::headers::{REFUSAL, REQUEST_ID};

/// Why a request ends here, and what its page needs to say so.
#[derive(Debug)]
pub struct Refusal {
    pub code: RefusalCode,
    /// Which rule of well-formed requests was broken.
    pub why: Option<Box<str>>,
    /// The service whose existence the device may learn, since its name was judged before.
    service: Option<Box<str>>,
    host: Option<Box<str>>,
    /// Whose page asked, where that is why.
    from: Option<Elsewhere>,
    /// The listed page that may read it, where one asked.
    reader: Reader,
}

impl Refusal {
    pub fn of(code: RefusalCode) -> Self {
        Self { code, why: None, service: None, host: None, from: None, reader: Reader::Nobody }
    }

    pub fn because(code: RefusalCode, why: String) -> Self {
        Self { why: Some(why.into()), ..Self::of(code) }
    }

    pub fn for_service(self, target: &Target) -> Self {
        match target {
            Target::Gate | Target::TrustProbe => self,
            Target::Service(route) => Self { service: Some(route.name().as_str().into()), ..self },
        }
    }

    pub fn for_host(self, host: &str) -> Self {
        Self { host: Some(host.into()), ..self }
    }

    pub fn by_page_of(self, from: Option<Elsewhere>) -> Self {
        Self { from, ..self }
    }

    /// For what was judged to be the service's own page, or a listed one.
    pub fn readable_by(self, reader: Reader) -> Self {
        Self { reader, ..self }
    }
}

/// What must be known of a request after it is gone. Read only if there is something of our own to say.
#[derive(Clone, Debug)]
pub struct Client {
    accept: Option<HeaderValue>,
    /// HEAD is answered without a body.
    head: bool,
    is_h2: bool,
}

impl Client {
    pub fn of<B>(request: &Request<B>) -> Self {
        let accept = request.headers().get(header::ACCEPT).cloned();
        let is_h2 = request.version() == Version::HTTP_2;
        Self { accept, head: request.method() == Method::HEAD, is_h2 }
    }

    /// Makes this answer the last on its connection, where the bytes that follow are in doubt. HTTP/2 keeps its streams
    /// apart by itself.
    pub fn hang_up(&self, headers: &mut HeaderMap) {
        if !self.is_h2 {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }

    pub(super) fn form(&self) -> Form {
        if wants_json(self.accept.as_ref().and_then(|accept| accept.to_str().ok())) {
            Form::Json
        } else {
            Form::Html
        }
    }
}

/// How we say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Html,
    Json,
    Text,
}

impl Form {
    fn media_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }
}

/// Answers with a refusal, and records it.
pub fn refuse(mut entry: Entry, client: Client, refusal: &Refusal) -> Response<Payload> {
    let connection = entry.connection().clone();
    let snapshot = connection.context.snapshot();
    let member = connection.member.and_then(|id| snapshot.roster.get(id));
    let active = refusal.code > RefusalCode::MemberExpired;
    let gate = gate_url(&snapshot.site, &connection);
    // The lane on which that page's browser says whose it is, or the one that the link came by.
    let lane = match refusal.from {
        Some(Elsewhere::Nowhere) if connection.lane() == Lane::Http => Some(Lane::Https),
        Some(Elsewhere::Link(_)) => Some(connection.lane()),
        _ => None,
    };
    let first_page = lane.zip(refusal.service.as_ref());
    let first_page =
        first_page.map(|(lane, name)| format!("{}/", url_of(&snapshot.site, &connection, lane, name)));
    let page = RefusalPage {
        code: refusal.code,
        person: connection.member.map(|id| Person {
            device: member.and_then(|member| member.device.as_ref()).map(|name| name.as_str()),
            member: id,
        }),
        address: connection.peer.ip(),
        asked: match (&refusal.service, &refusal.host) {
            (Some(name), _) => Some(Asked::Service { name, title: name }),
            (None, Some(host)) => Some(Asked::Host(host)),
            (None, None) => None,
        },
        detail: refusal.why.as_deref(),
        from: refusal.from.as_ref(),
        first_page: first_page.as_deref(),
        zone: snapshot.site.zone.as_str(),
        gate: active.then_some(gate.as_str()),
        request: Some(entry.request_id()),
    };
    entry.refused(refusal.code);
    let form = client.form();
    let text = if form == Form::Json { page.json() } else { page.html() };
    let mut response = own(&mut entry, &client, form, refusal.code.status(), text);
    response.headers_mut().insert(REFUSAL, HeaderValue::from_static(refusal.code.as_str()));
    if refusal.code == RefusalCode::BadRequest || connection.is_retired() {
        client.hang_up(response.headers_mut());
    }
    if refusal.code.status() == StatusCode::SERVICE_UNAVAILABLE
        || refusal.code == RefusalCode::IdentityUnproven
    {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    }
    refusal.reader.may_read(response.headers_mut());
    response
}

/// Answers for a service that does not.
pub fn unanswered(
    mut entry: Entry,
    client: Client,
    admitted: &Admitted,
    route: &Arc<Route>,
    trouble: Trouble,
) -> Response<Payload> {
    let connection = entry.connection().clone();
    let snapshot = connection.context.snapshot();
    let member = &admitted.who().member;
    let gate = gate_url(&snapshot.site, &connection);
    let name = route.name().as_str();
    let page = UpstreamPage {
        service: name,
        title: name,
        trouble,
        since: route.health.down_since(),
        now: &connection.context.clock.now().to_zoned(TimeZone::system()),
        person: Person { device: member.device.as_ref().map(|name| name.as_str()), member: member.id },
        zone: snapshot.site.zone.as_str(),
        gate: &gate,
        request: entry.request_id(),
    };
    let code = trouble.code();
    entry.refused(code);
    let form = client.form();
    let text = if form == Form::Json { page.json() } else { page.html() };
    let mut response = own(&mut entry, &client, form, code.status(), text);
    response.headers_mut().insert(REFUSAL, HeaderValue::from_static(code.as_str()));
    response
}

pub(super) fn gate_url(site: &Site, connection: &Connection) -> String {
    format!("{}/", url_of(site, connection, connection.lane(), crate::routes::GATE))
}

/// A name's URL on a lane, by the port that the device came in on where the lane is the same.
pub(super) fn url_of(site: &Site, connection: &Connection, lane: Lane, label: &str) -> String {
    let port = match lane {
        lane if lane == connection.lane() && !site.is_extra(connection.local.port()) => {
            connection.local.port()
        }
        Lane::Http => site.http_port,
        Lane::Https => site.https_port,
    };
    let host = site.zone.name(label);
    if port == lane.default_port() {
        format!("{}://{host}", lane.scheme())
    } else {
        format!("{}://{host}:{port}", lane.scheme())
    }
}

/// A page or its JSON, with the headers that every page of ours has.
pub(super) fn own(
    entry: &mut Entry,
    client: &Client,
    form: Form,
    status: StatusCode,
    text: String,
) -> Response<Payload> {
    own_file(entry, client, form.media_type(), status, Bytes::from(text))
}

/// The same for what is no text.
pub(super) fn own_file(
    entry: &mut Entry,
    client: &Client,
    media_type: &'static str,
    status: StatusCode,
    content: Bytes,
) -> Response<Payload> {
    let length = content.len() as u64;
    let body = if client.head { Bytes::new() } else { content };
    entry.status(status);
    entry.sent(body.len() as u64);
    let mut response = Response::new(Payload::Own(Full::new(body)));
    *response.status_mut() = status;
    set_headers(response.headers_mut(), media_type, length);
    response.headers_mut().insert(REQUEST_ID, super::exchange::request_id(entry));
    response
}

fn set_headers(headers: &mut HeaderMap, kind: &'static str, length: u64) {
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        // Who asks decides what it says, so nobody else may be shown it.
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "accept"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
}
