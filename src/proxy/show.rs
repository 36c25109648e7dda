//! Files that the gateway shows in a service's name.

use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};

use crate::services::Shown;

use super::body::Payload;
use super::entry::Entry;
use super::exchange::request_id;
use super::headers::REQUEST_ID;
use super::refuse::{Client, Form, own};

/// Answers with a file. It is looked for again each time it is used (`no-cache`), so that a newer one is seen at once.
pub fn file<B>(mut entry: Entry, request: &Request<B>, shown: &Shown) -> Response<Payload> {
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    // A weak comparison (RFC 9110, section 13.1.2).
    let is_known = known.is_some_and(|tags| {
        tags.split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"))
            .any(|tag| tag == "*" || tag == &*shown.tag)
    });
    let (status, content) = match (is_known, request.method()) {
        (true, _) => (StatusCode::NOT_MODIFIED, None),
        (false, &Method::HEAD) => (StatusCode::OK, None),
        (false, _) => (StatusCode::OK, Some(shown.content.clone())),
    };
    let sent = content.as_ref().map_or(0, |content| content.len());
    let mut response =
        Response::new(content.map_or_else(Payload::empty, |content| Payload::Own(content.into())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(shown.media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Over http nothing tells a frame from a link, and in a frame people click without seeing what.
    headers.insert(header::CONTENT_SECURITY_POLICY, super::cors::FRAMED_BY_ITSELF);
    headers.insert(REQUEST_ID, request_id(&entry));
    if let Ok(tag) = HeaderValue::from_str(&shown.tag) {
        headers.insert(header::ETAG, tag);
    }
    if status == StatusCode::OK {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(shown.content.len() as u64));
    }
    entry.status(status);
    entry.sent(sent as u64);
    response
}

/// Answers where there is nothing.
pub fn nothing<B>(mut entry: Entry, request: &Request<B>) -> Response<Payload> {
    let words = "There is nothing at this address.\n".to_owned();
    own(&mut entry, &Client::of(request), Form::Text, StatusCode::NOT_FOUND, words)
}
