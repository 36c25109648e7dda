//! URLs that name the service itself, translated between the name people use and the one the upstream knows.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::model::Lane;
use crate::routes::Route;

/// WebDAV's target of COPY and MOVE (RFC 4918, section 10.3).
const DESTINATION: HeaderName = HeaderName::from_static("destination");
/// WebDAV's conditions, which may name resources by URL (RFC 4918, section 10.4).
const IF: HeaderName = HeaderName::from_static("if");

/// The service's own origin, as the device names it.
#[derive(Clone, Copy, Debug)]
pub struct Outside<'a> {
    pub lane: Lane,
    /// As the device sent it: name, and port if it named one.
    pub authority: &'a str,
}

/// A WebDAV target outside the service that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Destination must be on the same service")]
pub struct ForeignDestination;

/// Makes URLs in a request's headers name what the upstream sees: same authority, its own scheme.
pub fn to_upstream(
    headers: &mut HeaderMap,
    outside: Outside<'_>,
    scheme: &str,
) -> Result<(), ForeignDestination> {
    if let Some(destination) = headers.get(&DESTINATION) {
        let text = destination.to_str().map_err(|_| ForeignDestination)?;
        let path = local_path(text, outside).ok_or(ForeignDestination)?;
        let inside = format!("{scheme}://{}{path}", outside.authority);
        headers.insert(DESTINATION, HeaderValue::try_from(inside).map_err(|_| ForeignDestination)?);
    }
    if let Some(condition) = headers.get(&IF).and_then(|value| value.to_str().ok()) {
        let ours = format!("<{}://{}/", outside.lane.scheme(), outside.authority);
        let theirs = format!("<{scheme}://{}/", outside.authority);
        if let Ok(value) = HeaderValue::try_from(condition.replace(&ours, &theirs)) {
            headers.insert(IF, value);
        }
    }
    Ok(())
}

/// The path of a URL that lies on the outside origin, or of a bare path.
fn local_path<'a>(url: &'a str, outside: Outside<'_>) -> Option<&'a str> {
    if url.starts_with('/') && !url.starts_with("//") {
        return Some(url);
    }
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    bare(authority).eq_ignore_ascii_case(bare(outside.authority)).then_some(path)
}

/// An authority without a port: the request's own was judged already, and default ports may be written or not.
fn bare(authority: &str) -> &str {
    authority.split_once(':').map_or(authority, |(host, _)| host)
}

/// Turns a `Location` on the upstream's own origin into the one the device knows. Foreign ones are left.
pub fn to_device(headers: &mut HeaderMap, route: &Route, outside: Outside<'_>) {
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let Some(place) = headers.get(&name).and_then(|value| value.to_str().ok()) else { continue };
        let Some((scheme, rest)) = place.split_once("://") else { continue };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        // An upstream that takes the name from Host, and the scheme from itself, means us as well.
        let ours = authority.eq_ignore_ascii_case(outside.authority) && scheme == route.scheme();
        let own = route.own_authorities.iter().any(|own| own.eq_ignore_ascii_case(authority));
        if (scheme == "http" || scheme == "https") && (own || ours) {
            let new = format!("{}://{}{path}", outside.lane.scheme(), outside.authority);
            if let Ok(value) = HeaderValue::try_from(new) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTSIDE: Outside<'_> = Outside { lane: Lane::Https, authority: "nas.home.arpa" };

    fn destination(url: &str) -> Result<String, ForeignDestination> {
        let mut headers = HeaderMap::new();
        headers.insert(DESTINATION, url.parse().unwrap());
        to_upstream(&mut headers, OUTSIDE, "http")?;
        Ok(headers[DESTINATION].to_str().unwrap().to_owned())
    }

    #[test]
    fn a_move_stays_on_its_service() {
        for url in [
            "https://nas.home.arpa/a%20b",
            "https://nas.home.arpa:443/a%20b",
            "HTTP://NAS.home.arpa/a%20b",
            "/a%20b",
        ] {
            assert_eq!(destination(url).as_deref(), Ok("http://nas.home.arpa/a%20b"), "{url}");
        }
        for url in
            ["https://evil.home.arpa/a", "//evil/a", "file:///etc", "https://nas.home.arpa@evil/a", "a"]
        {
            assert_eq!(destination(url), Err(ForeignDestination), "{url}");
        }
    }

    #[test]
    fn conditions_name_what_the_upstream_sees() {
        let mut headers = HeaderMap::new();
        headers.insert(IF, HeaderValue::from_static("<https://nas.home.arpa/a> (<opaquelocktoken:1>)"));
        to_upstream(&mut headers, OUTSIDE, "http").unwrap();
        assert_eq!(headers[IF], "<http://nas.home.arpa/a> (<opaquelocktoken:1>)");
    }
}
