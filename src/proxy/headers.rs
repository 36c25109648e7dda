//! What an upstream learns of a request, and a device of an answer: strip first, then set ours, one value each.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::identity::Member;
use crate::model::{Label, Lane, RequestId};

use super::cors::is_of_cors;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const REFUSAL: HeaderName = HeaderName::from_static("ztgate-refusal");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// Clears what a browser keeps, for subdomains as well (W3C Clear Site Data).
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
/// Lets a service worker rule over more than the folder of its script (W3C Service Workers, section 3.4.1).
const SERVICE_WORKER_ALLOWED: HeaderName = HeaderName::from_static("service-worker-allowed");
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

/// What upstreams learn of one device, written once for all of its requests.
#[derive(Clone, Debug)]
pub struct IdentityHeaders(Box<[u8]>);

impl IdentityHeaders {
    pub fn new(member: &Member, groups: &[Label], address: std::net::IpAddr) -> Self {
        // Addresses, IDs and labels are letters, digits and a few marks by construction.
        let mut lines = format!("x-forwarded-for: {address}\r\nx-ztgate-member: {}\r\n", member.id);
        let groups = groups.iter().map(Label::as_str).collect::<Vec<_>>().join(",");
        for (name, value) in [
            ("x-ztgate-device", member.device.as_ref().map(|name| name.as_str())),
            ("x-ztgate-owner", member.owner.as_ref().map(|name| name.as_str())),
            ("x-ztgate-groups", Some(groups.as_str()).filter(|groups| !groups.is_empty())),
        ] {
            if let Some(value) = value {
                lines.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        Self(lines.into_bytes().into())
    }
}

/// What a request's head says besides the device's own fields.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    pub identity: &'a IdentityHeaders,
    /// The authority, as it was judged.
    pub host: &'a HeaderValue,
    pub lane: Lane,
    pub request: RequestId,
}

/// Whether a field is there that may cross the gateway, and not one of the connection's own.
pub fn crosses(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.contains_key(name) && !named_by_connection(headers).contains(name)
}

/// Writes a request's header fields for an upstream: those of the device's that may cross, then ours, one value each.
/// Nothing that the device said about who or where it is survives. The body's length is left to who sends the body.
pub fn write_to_upstream(head: &mut Vec<u8>, headers: &HeaderMap, around: Around<'_>) {
    let mut line = |name: &[u8], value: &[u8]| {
        head.reserve(name.len() + value.len() + 4);
        head.extend_from_slice(name);
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    line(b"host", around.host.as_bytes());
    let named = named_by_connection(headers);
    let ours = [header::HOST, header::CONTENT_LENGTH, header::PROXY_AUTHORIZATION, header::COOKIE];
    for (name, value) in headers {
        if !ours.contains(name) && !HOP.contains(name) && !named.contains(name) && !is_reserved(name.as_str())
        {
            line(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    write_cookies(&mut line, headers, &named);
    line(b"x-forwarded-host", around.host.as_bytes());
    line(b"x-forwarded-proto", around.lane.scheme().as_bytes());
    line(b"x-request-id", &around.request.digits());
    head.extend_from_slice(&around.identity.0);
}

/// HTTP/2 may split a cookie header; HTTP/1.1 has one (RFC 9113, section 8.2.3).
fn write_cookies(line: &mut impl FnMut(&[u8], &[u8]), headers: &HeaderMap, named: &[HeaderName]) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let Some(first) = cookies.next() else { return };
    if named.contains(&header::COOKIE) {
        return;
    }
    let mut all = std::borrow::Cow::from(first.as_bytes());
    for cookie in cookies {
        let all = all.to_mut();
        all.extend_from_slice(b"; ");
        all.extend_from_slice(cookie.as_bytes());
    }
    let is_theirs = |cookie: &&[u8]| !is_our_cookie(cookie);
    if !all.split(|&byte| byte == b';').all(|cookie| is_theirs(&cookie)) {
        all = all.split(|&byte| byte == b';').filter(is_theirs).collect::<Vec<_>>().join(&b';').into();
    }
    let all = all.trim_ascii();
    if !all.is_empty() {
        line(b"cookie", all);
    }
}

/// What the name of each cookie of the gateway's own begins with. They stay between it and the browser: rule R6.
const OUR_COOKIES: &[u8] = b"__Host-ztgate";

/// Whether `name=value` is a cookie of the gateway's own. One without a name, whose value reads like one with, is sent
/// back as if it had that name.
fn is_our_cookie(cookie: &[u8]) -> bool {
    let cookie = cookie.trim_ascii();
    let cookie = cookie.strip_prefix(b"=").unwrap_or(cookie).trim_ascii_start();
    cookie.get(..OUR_COOKIES.len()).is_some_and(|name| name.eq_ignore_ascii_case(OUR_COOKIES))
}

/// Whether a service worker's scope lies in the folder of the script at this path. Only what no parser reads in two ways
/// counts.
fn is_below(scope: &HeaderValue, path: &str) -> bool {
    let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'~' | b'.');
    let scope = scope.as_bytes();
    scope.starts_with(folder.as_bytes())
        && !scope.starts_with(b"//")
        && scope.iter().all(plain)
        && !scope.split(|&b| b == b'/').any(|part| part == b"..")
}

/// The fields that `Connection` makes the connection's own.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    // An option that is no field is most often the only one.
    let names = names.map(<[u8]>::trim_ascii).filter(|name| !name.eq_ignore_ascii_case(b"keep-alive"));
    names.filter_map(|name| HeaderName::from_bytes(name).ok()).collect()
}

/// Turns an upstream's header fields, in its answer to a request for `path`, into the device's: rule R5. With `hsts` it
/// may bind browsers to HTTPS.
pub fn to_device(headers: &mut HeaderMap, path: &str, request_id: HeaderValue, hsts: bool) {
    let beyond = headers.get_all(SERVICE_WORKER_ALLOWED).iter().any(|scope| !is_below(scope, path));
    // The lane decides about HSTS and other doors, and the gateway about other origins, not a service behind it.
    strip(headers, |name| {
        *name == header::STRICT_TRANSPORT_SECURITY && !hsts
            || *name == header::ALT_SVC
            || *name == CLEAR_SITE_DATA
            || *name == SERVICE_WORKER_ALLOWED && beyond
            || *name == REFUSAL
            || is_of_cors(name)
    });
    if headers.contains_key(header::SET_COOKIE) {
        keep_cookies_at_home(headers);
    }
    headers.insert(REQUEST_ID, request_id);
}

/// Removes the fields of this connection (the well-known ones, and those that `Connection` names), and those that
/// `also` names. One look over what is there, for most messages have nothing to remove.
fn strip(headers: &mut HeaderMap, also: impl Fn(&HeaderName) -> bool) {
    let mut gone = named_by_connection(headers);
    gone.extend(headers.keys().filter(|name| HOP.contains(name) || also(name)).cloned());
    for name in gone {
        headers.remove(name);
    }
}

/// Whether a field's name is one that only a gateway may set, however it is spelt: upstreams that map names to
/// environment variables read `X_Forwarded.For` as `X-Forwarded-For`.
///
/// Reserved are the names by which gateways tell who a client is, where it is, or what it asked for (nginx, Apache, IIS,
/// Envoy, Cloudflare, Akamai, Fastly, Azure, oauth2-proxy, Authelia, Authentik, Pomerium, Vouch, Tailscale, Google's IAP and
/// copyparty's example), and `Proxy`, which CGI turns into `HTTP_PROXY` (CVE-2016-5385). A service set up behind one of
/// these once may still believe them. By first letter, so that most names end at their first byte or two.
fn is_reserved(name: &str) -> bool {
    let (begins, whole): (&[&str], &[&str]) = match name.as_bytes().first() {
        Some(b'x') => (
            &[
                "x-forwarded-",
                "x-ztgate-",
                "x-remote-",
                "x-auth-request-",
                "x-authenticated-",
                "x-authentik-",
                "x-pomerium-",
                "x-webauth-",
                "x-vouch-",
                "x-idp-",
                "x-goog-authenticated-user-",
                "x-goog-iap-",
                "x-ms-client-principal",
                "x-client-cert",
                "x-ssl-client-",
                "x-proxy-user",
                "x-accel-",
            ],
            &[
                "x-real-ip",
                "x-request-id",
                "x-forwarded",
                "x-original-url",
                "x-original-uri",
                "x-original-host",
                "x-original-method",
                "x-original-for",
                "x-original-proto",
                "x-original-forwarded-for",
                "x-rewrite-url",
                "x-host",
                "x-scheme",
                "x-url-scheme",
                "x-script-name",
                "x-client-ip",
                "x-cluster-client-ip",
                "x-envoy-external-address",
                "x-envoy-original-path",
                "x-azure-clientip",
                "x-azure-socketip",
                "x-proxyuser-ip",
                "x-sendfile-type",
            ],
        ),
        Some(b'c') => {
            (&["cf-connecting-", "cf-access-authenticated-", "cf-pseudo-"], &["client-ip", "cf-visitor"])
        }
        Some(b'f') => (&[], &["forwarded", "forwarded-for", "fastly-client-ip", "front-end-https"]),
        Some(b'p') => (&[], &["proxy"]),
        Some(b'r') => (&["remote-"], &[]),
        Some(b's') => (&["ssl-client-"], &[]),
        Some(b't') => (&["tailscale-"], &["true-client-ip"]),
        _ => return false,
    };
    begins.iter().any(|pattern| starts_with(name, pattern))
        || whole.iter().any(|pattern| name.len() == pattern.len() && starts_with(name, pattern))
}

/// Whether a name begins with a pattern, in which `-` stands for anything that is neither letter nor digit.
fn starts_with(name: &str, pattern: &str) -> bool {
    name.len() >= pattern.len()
        && name.bytes().zip(pattern.bytes()).all(|(have, want)| match want {
            b'-' => !have.is_ascii_alphanumeric(),
            _ => have == want,
        })
}

/// Takes `Domain` off each cookie, so that it stays with the one name that set it, and drops what is named like ours.
fn keep_cookies_at_home(headers: &mut HeaderMap) {
    let theirs = |cookie: &&HeaderValue| !is_our_cookie(cookie.as_bytes());
    let cookies = headers.get_all(header::SET_COOKIE).iter().filter(theirs);
    let cookies: Vec<HeaderValue> = cookies.map(without_domain).collect();
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
mod tests;
