//! One request, stage by stage. The order of the questions is the order of the refusals, so that only an active member
//! ever learns that a name exists.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use crate::model::{Lane, RefusalCode};
use crate::routes::{Route, Target};
use crate::services::Reception;

use super::admit::{Admitted, admit};
use super::authority::{self, Door};
use super::body::Payload;
use super::connection::Connection;
use super::cors::{self, Reader};
use super::entry::Entry;
use super::origin::{self, Asking, Links, Passage};
use super::refuse::{Client, Refusal, refuse};
use super::{exchange, show, talk, websocket};

/// Judges a request and has it answered.
///
/// What is rare is boxed: the future of a plain exchange is made for each request, and its size is paid in copying.
pub async fn answer(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Payload>, Infallible> {
    let context = &connection.context;
    context.stats.request();
    let mut entry = Entry::begin(&connection, &request, context.next_request());
    let (admitted, reader) = match judge(&connection, &request, &mut entry) {
        Ok(Onward::Goes(admitted, reader)) => (admitted, reader),
        Ok(Onward::Preflight(origin)) => return Ok(cors::preflight(entry, &request, origin)),
        Err(refusal) => return Ok(refuse(entry, Client::of(&request), &refusal)),
    };
    entry.rule(admitted.rule());
    let mut response = match admitted.route().cloned() {
        None => super::gate::gate(entry, &request, &admitted),
        Some(route) if connection.lane() == Lane::Http && !route.service.plain_http => {
            to_https(entry, &request)
        }
        Some(route) => receive(entry, admitted, route, request).await,
    };
    reader.may_read(response.headers_mut());
    Ok(response)
}

/// Has a service's room say what becomes of a request, and does it.
async fn receive(
    entry: Entry,
    admitted: Admitted,
    route: Arc<Route>,
    request: Request<Incoming>,
) -> Response<Payload> {
    let is_socket = websocket::is_asked_for(&request);
    let talk = match route.room.receive(request.method(), request.uri().path(), is_socket) {
        Reception::Through => None,
        Reception::Talk(talks) => Some(talks.begin()),
        Reception::Show(shown) => return show::file(entry, &request, shown),
        Reception::Nothing => return show::nothing(entry, &request),
        Reception::Closed(why) => {
            let refusal = Refusal::because(RefusalCode::NotOffered, why.to_owned());
            return refuse(entry, Client::of(&request), &refusal.for_service(admitted.target()));
        }
    };
    match talk {
        talk if is_socket => Box::pin(websocket::open(entry, admitted, route, talk, request)).await,
        None => exchange::run(entry, admitted, route, request).await,
        Some(talk) => Box::pin(talk::run(entry, admitted, route, talk, request)).await,
    }
}

/// Where a request goes that is the member's will.
enum Onward {
    Goes(Admitted, Reader),
    /// Nowhere: a browser asks whether a page of this origin may send one. No rule is asked: browsers show a page nothing
    /// of a preflight that was refused, and the code of the refusal that follows is what it should learn.
    Preflight(HeaderValue),
}

/// Every question in its order: network, identity, state, name, request, rule.
fn judge<B>(connection: &Rc<Connection>, request: &Request<B>, entry: &mut Entry) -> Result<Onward, Refusal> {
    let snapshot = connection.context.snapshot();
    let who = connection.identify(&snapshot).map_err(|refusal| {
        if let Some(member) = &refusal.known {
            entry.known(member);
        }
        entry.claimed(refusal.claimed);
        Refusal::of(refusal.code)
    })?;
    entry.by(&who);

    let sni = connection.sni.borrow();
    let door = Door { port: connection.local.port(), sni: sni.as_deref() };
    let asked = authority::asked(request.version(), request.uri(), request.headers(), door)
        .map_err(|error| Refusal::because(error.code(), error.to_string()))?;
    let Some(target) = snapshot.site.find_on(&asked.host, door.port) else {
        entry.asked(&asked.host);
        return Err(Refusal::of(RefusalCode::UnknownName).for_host(&asked.host));
    };
    entry.target(target);
    fits(connection, target)?;

    check(request).map_err(|why| Refusal::because(RefusalCode::BadRequest, why.to_owned()))?;

    let asking = Asking {
        lane: connection.lane(),
        port: asked.port.unwrap_or(connection.lane().default_port()),
        host: &asked.host,
        method: request.method(),
        headers: request.headers(),
        is_websocket: websocket::is_asked_for(request),
    };
    let origins = snapshot.site.origins(target);
    let passage = origin::judge(asking, origins, || links(target, request)).map_err(|foreign| {
        Refusal::because(RefusalCode::CrossSite, foreign.to_string())
            .for_service(target)
            .by_page_of(foreign.elsewhere(request.uri()))
    })?;
    let reader = match passage {
        Passage::Goes { reader: Some(origin) } => Reader::Page(origin.clone()),
        Passage::Goes { reader: None } if origins.lets_others_read() => Reader::NotThis,
        Passage::Goes { reader: None } => Reader::Nobody,
        Passage::GoesUnframed => Reader::Unframed,
        Passage::Preflight { reader } => return Ok(Onward::Preflight(reader.clone())),
    };

    match admit(&snapshot, &who, target, request, entry.at()) {
        Ok(admitted) => Ok(Onward::Goes(admitted, reader)),
        Err(denied) => {
            entry.rule(denied.rule.as_ref());
            Err(Refusal::of(denied.code).for_service(target).readable_by(reader))
        }
    }
}

/// What pages from elsewhere may do with a path.
fn links<B>(target: &Target, request: &Request<B>) -> Links {
    let path = request.uri().path();
    match target {
        // The trust page comes over http and asks this over https: whether it can be asked is all that it tells.
        Target::TrustProbe => Links::OwnPages,
        Target::Gate => Links::Lead,
        Target::Service(route) => {
            let talks =
                |method, is_socket| matches!(route.room.receive(method, path, is_socket), Reception::Talk(_));
            if talks(&Method::POST, false) || talks(&Method::GET, true) {
                Links::Closed
            } else if route.service.links.lead_to(path, request.uri().query()) {
                Links::Lead
            } else {
                Links::LeadElsewhere
            }
        }
    }
}

/// Whether this connection will do for the name, as its handshake would be judged now. Whoever connects anew is told by TLS
/// itself, or agrees on more.
fn fits(connection: &Connection, target: &Target) -> Result<(), Refusal> {
    match target {
        // On the plain lane it is sent to the other one.
        Target::Service(route) if connection.lane() == Lane::Https && !connection.suits(&route.service) => {
            connection.retire();
            let why = "this connection's TLS is older than the service takes by now; connect anew";
            Err(Refusal::because(RefusalCode::UnknownName, why.to_owned()).for_service(target))
        }
        _ => Ok(()),
    }
}

/// The longest method that anybody registered has 17 letters (UPDATEREDIRECTREF, RFC 4437).
const LONGEST_METHOD: usize = 32;

/// The rules that keep a request unambiguous, whatever service it is for.
fn check<B>(request: &Request<B>) -> Result<(), &'static str> {
    let headers = request.headers();
    if request.method().as_str().len() > LONGEST_METHOD {
        return Err("a method is a short word");
    }
    match *request.method() {
        Method::TRACE => return Err("TRACE shows headers to whoever asks"),
        Method::CONNECT if !websocket::is_asked_for(request) => {
            return Err("CONNECT is for WebSockets over HTTP/2 only");
        }
        _ => {}
    }
    if request.version() != Version::HTTP_2 {
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
        if let Some(coding) = codings.next()
            && (!coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some())
        {
            return Err("the only transfer coding is chunked");
        }
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if lengths.next().is_some() && lengths.next().is_some() {
        return Err("a request has one Content-Length");
    }
    let mut expected = headers.get_all(header::EXPECT).iter();
    if let Some(expect) = expected.next()
        && (!expect.as_bytes().eq_ignore_ascii_case(b"100-continue") || expected.next().is_some())
    {
        return Err("the only expectation is 100-continue");
    }
    match request.uri().path() {
        "*" if request.method() != Method::OPTIONS => Err("only OPTIONS asks about *"),
        "*" => Ok(()),
        path if path.starts_with('/') => Ok(()),
        _ => Err("a path begins with a slash"),
    }
}

/// Answers on the plain lane for a service that is on the TLS lane only.
fn to_https(mut entry: Entry, request: &Request<Incoming>) -> Response<Payload> {
    let site = entry.connection().context.snapshot().site.clone();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let port = match site.https_port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    let mut response = Response::new(Payload::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(place) = HeaderValue::try_from(format!("https://{host}{port}{path}")) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    entry.status(response.status());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn what_two_parsers_could_read_two_ways_is_refused() {
        for bad in [
            request("TRACE", "/", &[]),
            request("CONNECT", "nas.home.arpa:443", &[]),
            request("POST", "/", &[("transfer-encoding", "gzip, chunked")]),
            request("POST", "/", &[("transfer-encoding", "xchunked")]),
            request("POST", "/", &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]),
            request("POST", "/", &[("content-length", "1"), ("content-length", "1")]),
            request("PUT", "/", &[("expect", "200-ok")]),
            request("PUT", "/", &[("expect", "100-continue"), ("expect", "100-continue")]),
            request("GET", "*", &[]),
            request("GET", "nas.home.arpa", &[]),
        ] {
            assert!(check(&bad).is_err(), "{bad:?}");
        }
        for good in [
            request("POST", "/", &[("transfer-encoding", "Chunked")]),
            request("PUT", "/", &[("expect", "100-Continue")]),
            request("OPTIONS", "*", &[]),
            request("GET", "http://nas.home.arpa?a=1", &[]),
            request("PROPFIND", "/dav/", &[("depth", "infinity")]),
        ] {
            assert_eq!(check(&good), Ok(()), "{good:?}");
        }
    }
}
