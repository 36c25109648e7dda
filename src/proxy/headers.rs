//! What an upstream learns of a request, and a device of an answer: strip first, then set ours, one value each.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::identity::Member;
use crate::model::{Label, Lane};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const REFUSAL: HeaderName = HeaderName::from_static("ztgate-refusal");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const MEMBER: HeaderName = HeaderName::from_static("x-ztgate-member");
const DEVICE: HeaderName = HeaderName::from_static("x-ztgate-device");
const OWNER: HeaderName = HeaderName::from_static("x-ztgate-owner");
const GROUPS: HeaderName = HeaderName::from_static("x-ztgate-groups");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Fields that concern one connection and never cross the gateway (RFC 9110, section 7.6.1).
const HOP: [HeaderName; 8] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HTTP2_SETTINGS,
];

/// What upstreams learn of one device, made once and shared by its requests.
#[derive(Clone, Debug)]
pub struct IdentityHeaders {
    address: HeaderValue,
    member: HeaderValue,
    device: Option<HeaderValue>,
    owner: Option<HeaderValue>,
    groups: Option<HeaderValue>,
}

impl IdentityHeaders {
    pub fn new(member: &Member, groups: &[Label], address: std::net::IpAddr) -> Self {
        // Addresses, IDs and labels are letters, digits and a few marks by construction.
        let value = |text: &str| HeaderValue::from_str(text).ok();
        let groups: Vec<_> = groups.iter().map(Label::as_str).collect();
        Self {
            address: value(&address.to_string()).unwrap_or(HeaderValue::from_static("unknown")),
            member: value(&member.id.to_string()).unwrap_or(HeaderValue::from_static("unknown")),
            device: member.device.as_ref().and_then(|name| value(name.as_str())),
            owner: member.owner.as_ref().and_then(|name| value(name.as_str())),
            groups: (!groups.is_empty()).then(|| value(&groups.join(","))).flatten(),
        }
    }
}

/// Turns a device's header fields into the upstream's: nothing that the device said about who or where it is survives.
pub fn to_upstream(
    headers: &mut HeaderMap,
    identity: &IdentityHeaders,
    host: HeaderValue,
    lane: Lane,
    request_id: HeaderValue,
) {
    strip(headers, |name| *name == header::PROXY_AUTHORIZATION || is_reserved(name.as_str()));
    headers.insert(FORWARDED_HOST, host.clone());
    headers.insert(header::HOST, host);
    headers.insert(FORWARDED_FOR, identity.address.clone());
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(lane.scheme()));
    headers.insert(MEMBER, identity.member.clone());
    for (name, value) in [(DEVICE, &identity.device), (OWNER, &identity.owner), (GROUPS, &identity.groups)] {
        if let Some(value) = value {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(REQUEST_ID, request_id);
}

/// Turns an upstream's header fields into the device's. With `hsts` it may bind browsers to HTTPS.
pub fn to_device(headers: &mut HeaderMap, request_id: HeaderValue, hsts: bool) {
    // The lane decides about HSTS and other doors, not a service behind it.
    strip(headers, |name| {
        *name == header::STRICT_TRANSPORT_SECURITY && !hsts || *name == header::ALT_SVC || *name == REFUSAL
    });
    if headers.contains_key(header::SET_COOKIE) {
        keep_cookies_at_home(headers);
    }
    headers.insert(REQUEST_ID, request_id);
}

/// Removes the fields of this connection (the well-known ones, and those that `Connection` names), and those that
/// `also` names. One look over what is there, for most messages have nothing to remove.
fn strip(headers: &mut HeaderMap, also: impl Fn(&HeaderName) -> bool) {
    let mut gone: Vec<HeaderName> = Vec::new();
    for (name, value) in headers.iter() {
        if *name == header::CONNECTION
            && let Ok(value) = value.to_str()
        {
            gone.extend(value.split(',').filter_map(|name| name.trim().parse::<HeaderName>().ok()));
        }
        if HOP.contains(name) || also(name) {
            gone.push(name.clone());
        }
    }
    for name in gone {
        headers.remove(name);
    }
}

/// Whether a field's name is one that only the gateway may set, however it is spelt: upstreams that map names to
/// environment variables read `X_Forwarded.For` as `X-Forwarded-For`.
fn is_reserved(name: &str) -> bool {
    // Most names end here.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'f' | b'r')) {
        return false;
    }
    let is = |pattern: &str, exact: bool| {
        let same = name.len() >= pattern.len()
            && name.bytes().zip(pattern.bytes()).all(|(have, want)| match want {
                b'-' => !have.is_ascii_alphanumeric(),
                _ => have == want,
            });
        same && (!exact || name.len() == pattern.len())
    };
    is("x-forwarded-", false)
        || is("x-ztgate-", false)
        || is("remote-", false)
        || is("forwarded", true)
        || is("x-real-ip", true)
        || is("x-request-id", true)
}

/// Takes `Domain` off each cookie, so that it stays with the one name that set it.
fn keep_cookies_at_home(headers: &mut HeaderMap) {
    let cookies: Vec<HeaderValue> = headers.get_all(header::SET_COOKIE).iter().map(without_domain).collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
}

fn without_domain(cookie: &HeaderValue) -> HeaderValue {
    let is_domain = |part: &[u8]| {
        let name = part.split(|&b| b == b'=').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"domain")
    };
    let mut parts = cookie.as_bytes().split(|&b| b == b';');
    let mut kept = parts.next().unwrap_or_default().to_vec();
    for part in parts.filter(|part| !is_domain(part)) {
        kept.push(b';');
        kept.extend_from_slice(part);
    }
    HeaderValue::from_bytes(&kept).unwrap_or_else(|_| cookie.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::examples::member;

    fn phone() -> IdentityHeaders {
        let member = Member {
            device: Some("red-phone".parse().unwrap()),
            owner: Some("mum".parse().unwrap()),
            groups: vec!["family".parse().unwrap(), "admins".parse().unwrap()],
            ..member("c4c8812898", "10.147.20.11")
        };
        IdentityHeaders::new(&member, &member.groups, "10.147.20.11".parse().unwrap())
    }

    fn sent_upstream(from_device: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in from_device {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let host = HeaderValue::from_static("wiki.home.arpa");
        to_upstream(&mut headers, &phone(), host, Lane::Https, HeaderValue::from_static("1"));
        headers
    }

    #[test]
    fn an_upstream_learns_who_it_is_from_us_alone() {
        let forged = [
            "x-forwarded-for",
            "X_Forwarded_For",
            "x.forwarded.for",
            "x-forwarded-prefix",
            "forwarded",
            "x-real-ip",
            "x_real_ip",
            "x-ztgate-member",
            "X-ZTGATE-GROUPS",
            "x_ztgate_owner",
            "remote-user",
            "Remote_User",
            "x-request-id",
        ];
        let sent = sent_upstream(&forged.map(|name| (name, "forged")));
        assert!(sent.values().all(|value| value != "forged"), "{sent:?}");
        for (name, value) in [
            ("x-forwarded-for", "10.147.20.11"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "wiki.home.arpa"),
            ("host", "wiki.home.arpa"),
            ("x-ztgate-member", "c4c8812898"),
            ("x-ztgate-device", "red-phone"),
            ("x-ztgate-owner", "mum"),
            ("x-ztgate-groups", "family,admins"),
            ("x-request-id", "1"),
        ] {
            let values: Vec<_> = sent.get_all(name).iter().collect();
            assert_eq!(values, [value], "{name}");
        }
    }

    #[test]
    fn connection_cannot_be_used_to_strip_what_we_set() {
        let sent = sent_upstream(&[
            ("connection", "x-ztgate-member, close, x-secret"),
            ("x-secret", "of this hop"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("accept", "*/*"),
        ]);
        assert_eq!(sent["x-ztgate-member"], "c4c8812898");
        for gone in ["connection", "x-secret", "te", "upgrade", "http2-settings"] {
            assert!(!sent.contains_key(gone), "{gone}");
        }
        assert_eq!(sent["accept"], "*/*");
    }

    #[test]
    fn names_that_only_begin_alike_pass() {
        for name in ["x-requested-with", "referer", "range", "from", "x-forward", "remotely", "x-real-ipv6"] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    #[test]
    fn a_cookie_stays_with_the_name_that_set_it() {
        for (from, to) in [
            ("id=1; Domain=home.arpa; Path=/", "id=1; Path=/"),
            ("id=1; DOMAIN = .home.arpa;Secure", "id=1;Secure"),
            ("domain=1; Path=/", "domain=1; Path=/"),
            ("id=1", "id=1"),
        ] {
            assert_eq!(without_domain(&HeaderValue::from_static(from)), to);
        }
    }
}
