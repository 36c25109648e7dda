//! What pages of other origins may read: CORS (Fetch, section 3.3), by the gateway's configuration alone. What a service
//! says of it is dropped, for it does not know whose page asks.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};

use super::body::Payload;
use super::entry::Entry;
use super::headers::REQUEST_ID;

/// Asked by browsers before a page reaches into a network that is more private than its own (Private Network Access).
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// For how long a browser need not ask again, in seconds. Whether the page may ask is judged at each request all the same.
const REMEMBER: HeaderValue = HeaderValue::from_static("600");

/// What a page of the service's own may frame, and no other (Content Security Policy Level 3, section 6.4.2).
pub const FRAMED_BY_ITSELF: HeaderValue = HeaderValue::from_static("frame-ancestors 'self'");

const YES: HeaderValue = HeaderValue::from_static("true");

/// Whether a field is one by which services let pages of other origins read what they say.
pub fn is_of_cors(name: &HeaderName) -> bool {
    name.as_str().starts_with("access-control-")
}

/// Who may read an answer beside the service's own pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reader {
    Nobody,
    /// Nobody this time; another page may ask the same and be told.
    NotThis,
    /// The page of this `Origin`.
    Page(HeaderValue),
    /// Nobody, and no other page may even show it in a frame.
    Unframed,
}

impl Reader {
    /// Lets it read an answer: all of it, as the service's own pages would.
    pub fn may_read(&self, headers: &mut HeaderMap) {
        match self {
            Self::Nobody => return,
            Self::NotThis => {}
            Self::Unframed => {
                headers.append(header::CONTENT_SECURITY_POLICY, FRAMED_BY_ITSELF);
            }
            Self::Page(origin) => {
                let mut names = String::new();
                for name in headers.keys() {
                    if !names.is_empty() {
                        names.push_str(", ");
                    }
                    names.push_str(name.as_str());
                }
                if let Ok(names) = HeaderValue::try_from(names) {
                    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names);
                }
                allow(headers, origin.clone());
            }
        }
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, YES);
}

/// Answers a browser that asks whether a page may send what it is about to: as it asked, for a listed page may do what
/// the service's own may.
pub fn preflight<B>(mut entry: Entry, asked: &Request<B>, origin: HeaderValue) -> Response<Payload> {
    let mut response = Response::new(Payload::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    for (question, answer) in [
        (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
        (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
        (REQUEST_PRIVATE_NETWORK, ALLOW_PRIVATE_NETWORK),
    ] {
        if let Some(value) = asked.headers().get(&question) {
            headers.insert(answer, value.clone());
        }
        headers.append(header::VARY, HeaderValue::from(question));
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, REMEMBER);
    allow(headers, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    headers.insert(REQUEST_ID, super::exchange::request_id(&entry));
    entry.status(response.status());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_page_reads_what_the_services_own_would() {
        let answer = || HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("\"1\""))]);
        let mut headers = answer();
        Reader::Page(HeaderValue::from_static("https://ariang.example")).may_read(&mut headers);
        for (name, value) in [
            ("access-control-allow-origin", "https://ariang.example"),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "etag"),
            ("vary", "origin"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
        let mut headers = answer();
        Reader::NotThis.may_read(&mut headers);
        assert_eq!((headers.len(), &headers["vary"]), (2, &HeaderValue::from_static("origin")));
        let mut headers = answer();
        Reader::Nobody.may_read(&mut headers);
        assert_eq!(headers, answer());
    }
}
