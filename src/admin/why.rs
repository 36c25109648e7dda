//! `GET /why`: one decision told in full, and what the word stands for that was asked about.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Given};
use axum::http::StatusCode;
use serde::Deserialize;

use crate::policy::{Ask, Why};
use crate::routes::{GATE, Route};
use crate::services::{Room, Takes};

use super::lookup::{earlier_refusal, find, unknown};
use super::state::{Problem, State, snapshot};

#[derive(Deserialize)]
pub(super) struct WhyQuery {
    device: String,
    service: String,
    /// An HTTP method, or a call of the service's own.
    method: Option<String>,
    path: Option<String>,
}

pub(super) async fn why(
    Given(state): Given<State>,
    Query(query): Query<WhyQuery>,
) -> Result<Json<Why>, Problem> {
    let snapshot = snapshot(&state)?;
    let (member, _) = find(&snapshot, &query.device)?;
    let method = query.method.as_deref().unwrap_or("GET");
    let path = query.path.as_deref().unwrap_or("/");
    let ask = |service| Ask { service, method, path, at: state.clock.now() };
    let earlier = earlier_refusal(&snapshot, member, state.clock.instant());
    let neither = |Neither(word): Neither<'_>| {
        let has = |route: &&Arc<Route>| matches!(route.room.takes(word), Some(Takes::Role(_)));
        let elsewhere = snapshot.site.routes().iter().find(has).map(|route| route.name().as_str());
        Problem(StatusCode::BAD_REQUEST, no_such_call(word, &query.device, &query.service, elsewhere))
    };
    if query.service == GATE
        && let Ok(gate) = GATE.parse()
    {
        takes(method, None).map_err(neither)?;
        return Ok(Json(snapshot.rules.why_gate(member, &ask(&gate), earlier)));
    }
    let known = snapshot.site.routes().iter().map(|route| route.name().as_str()).chain([GATE]);
    let route =
        snapshot.site.route(&query.service).ok_or_else(|| unknown("service", &query.service, known))?;
    let takes = takes(method, Some(&*route.room)).map_err(neither)?;
    Ok(Json(snapshot.rules.why(member, &ask(route.name()), earlier, takes)))
}

/// A word that is neither a call of the service's nor a method of HTTP's.
#[derive(Debug, PartialEq, Eq)]
struct Neither<'a>(&'a str);

/// What it takes to make the call that a word names; nothing of its own if the word is one of HTTP's methods.
fn takes<'a>(word: &'a str, room: Option<&dyn Room>) -> Result<Option<Takes>, Neither<'a>> {
    match room.and_then(|room| room.takes(word)) {
        None if !is_http_method(word) => Err(Neither(word)),
        takes => Ok(takes),
    }
}

/// Whether a word reads as a method of HTTP's. It could be any token (RFC 9110, section 9.1), but all that are registered with
/// IANA, and those of UPnP, are in capitals, and a call of a service's own is not.
fn is_http_method(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_uppercase())
        && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

/// What to type instead. `elsewhere` is a service that has such a call.
fn no_such_call(word: &str, device: &str, service: &str, elsewhere: Option<&str>) -> String {
    let capitals = word.to_ascii_uppercase();
    let (but, service_meant, meant) = match elsewhere {
        Some(other) => (format!("but {other} has"), other, word),
        None if is_http_method(&capitals) => {
            ("and HTTP's methods are in capitals".to_owned(), service, &*capitals)
        }
        None => ("nor is it a method of HTTP's".to_owned(), service, "GET"),
    };
    format!("{service} has no call {word}, {but}; type: ztgate why {device} {service_meant} {meant}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::{self, Settings};

    #[test]
    fn a_word_is_a_method_of_http_or_a_call_or_wrong() {
        let room = |kind| (services::kind(kind).unwrap().open)(Settings::default()).unwrap();
        let (http, jellyfin, aria2) = (room("http"), room("jellyfin"), room("aria2"));
        for method in ["GET", "PROPFIND", "REPORT", "VERSION-CONTROL", "M-SEARCH"] {
            for room in [&http, &jellyfin, &aria2] {
                assert_eq!(takes(method, Some(&**room)), Ok(None), "{method}");
            }
            assert_eq!(takes(method, None), Ok(None), "{method}");
        }
        assert_eq!(takes("aria2.addUri", Some(&*aria2)), Ok(Some(Takes::Role("add"))));
        assert_eq!(takes("aria2.typo", Some(&*aria2)), Ok(Some(Takes::Nobody { meant: None })));
        for word in ["aria2.addUri", "aria2.foo", "get", "Get", "G3T", "-GET", "GET ", "É", ""] {
            for room in [Some(&*http), Some(&*jellyfin), None] {
                assert_eq!(takes(word, room), Err(Neither(word)), "{word}");
            }
        }
        assert_eq!(takes("get", Some(&*aria2)), Err(Neither("get")));
    }

    #[test]
    fn a_wrong_word_is_answered_with_what_to_type() {
        for (word, elsewhere, told) in [
            (
                "propfind",
                None,
                ", and HTTP's methods are in capitals; type: ztgate why laptop films PROPFIND",
            ),
            ("aria2.foo", None, ", nor is it a method of HTTP's; type: ztgate why laptop films GET"),
            ("aria2.addUri", Some("dl"), ", but dl has; type: ztgate why laptop dl aria2.addUri"),
        ] {
            let answer = no_such_call(word, "laptop", "films", elsewhere);
            assert_eq!(answer, format!("films has no call {word}{told}"));
        }
    }
}
