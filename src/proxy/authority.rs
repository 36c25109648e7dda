//! Which name a request is for: rule R0. This is what stops DNS rebinding and virtual-host confusion.
//!
//! There must be exactly one authority, and everything that names one must agree: `Host`, `:authority`, an
//! absolute-form target (RFC 9112, section 3.2.2) and the TLS server name.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri, Version};

use crate::model::RefusalCode;

/// What the rule needs to know of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    /// The port the connection came in on; the only one an authority may name.
    pub port: u16,
    /// The TLS server name, in lower case.
    pub sni: Option<&'a str>,
}

/// A host name that passed: lower case, without port or trailing dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    pub host: std::borrow::Cow<'a, str>,
    /// The port that it names, which is none where the device takes it for the usual one.
    pub port: Option<u16>,
}

/// Why there is no one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    #[error("a request names its host exactly once")]
    NotOne,
    #[error("the host is not a name with an optional port")]
    Malformed,
    #[error("Host, :authority and the request target name different hosts")]
    Disagree,
    #[error("the name is not the one that TLS was opened for")]
    NotTheTlsName,
    #[error("the port is not the one that this arrived on")]
    OtherPort,
    #[error("services are opened by name, not by address")]
    Address,
}

impl AuthorityError {
    pub fn code(self) -> RefusalCode {
        match self {
            Self::NotOne | Self::Malformed | Self::Disagree => RefusalCode::BadRequest,
            Self::NotTheTlsName | Self::OtherPort | Self::Address => RefusalCode::UnknownName,
        }
    }
}

/// Finds the one name that a request is for.
pub fn asked<'a>(
    version: Version,
    target: &'a Uri,
    headers: &'a HeaderMap,
    door: Door<'_>,
) -> Result<Asked<'a>, AuthorityError> {
    let mut hosts = headers.get_all(HOST).iter();
    let header = match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            Some(std::str::from_utf8(host.as_bytes()).map_err(|_| AuthorityError::Malformed)?)
        }
        (None, None) => None,
        _ => return Err(AuthorityError::NotOne),
    };
    let target = target.authority().map(Authority::as_str);
    let text = match (header, target) {
        (Some(header), Some(target)) => {
            if parse(header)? != parse(target)? {
                return Err(AuthorityError::Disagree);
            }
            header
        }
        (Some(header), None) => header,
        // HTTP/1.1 wants the header even beside an absolute-form target (RFC 9112, section 3.2).
        (None, Some(target)) if version == Version::HTTP_2 => target,
        _ => return Err(AuthorityError::NotOne),
    };
    let (host, port) = parse(text)?;
    if port.is_some_and(|port| port != door.port) {
        return Err(AuthorityError::OtherPort);
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) || host.starts_with('[') {
        return Err(AuthorityError::Address);
    }
    if door.sni.is_some_and(|sni| sni != host) {
        return Err(AuthorityError::NotTheTlsName);
    }
    Ok(Asked { host, port })
}

/// An authority that was judged, as services get it: the name that was judged, not another spelling of it.
pub fn tidy(authority: &HeaderValue) -> HeaderValue {
    let untidy = |byte: &u8| byte.is_ascii_uppercase();
    let bytes = authority.as_bytes();
    let name = bytes.iter().position(|&byte| byte == b':').unwrap_or(bytes.len());
    if bytes[..name].last() != Some(&b'.') && !bytes.iter().any(untidy) {
        return authority.clone();
    }
    let (name, port) = bytes.split_at(name);
    let mut tidy = name.strip_suffix(b".").unwrap_or(name).to_ascii_lowercase();
    tidy.extend_from_slice(port);
    HeaderValue::from_bytes(&tidy).unwrap_or_else(|_| authority.clone())
}

/// Splits an authority into its host, in lower case and without trailing dot, and its port.
fn parse(text: &str) -> Result<(std::borrow::Cow<'_, str>, Option<u16>), AuthorityError> {
    use AuthorityError::Malformed;
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']').ok_or(Malformed)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| Malformed)?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(Malformed)?) };
            (&text[..address.len() + 2], port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => None,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| Malformed)?)
        }
        Some(_) => return Err(Malformed),
    };
    if host.starts_with('[') {
        return Ok((host.into(), port));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
    if host.is_empty() || host.len() > 253 || host.starts_with('.') || !host.bytes().all(fine) {
        return Err(Malformed);
    }
    let lower = if host.bytes().any(|b| b.is_ascii_uppercase()) {
        host.to_ascii_lowercase().into()
    } else {
        host.into()
    };
    Ok((lower, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(
        version: Version,
        target: &str,
        hosts: &[&str],
        sni: Option<&str>,
    ) -> Result<String, AuthorityError> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        let target: Uri = target.parse().unwrap();
        asked(version, &target, &headers, Door { port: 443, sni }).map(|asked| asked.host.into_owned())
    }

    #[test]
    fn one_name_however_it_is_said() {
        for (version, target, hosts) in [
            (Version::HTTP_11, "/", &["nas.home.arpa"] as &[&str]),
            (Version::HTTP_11, "/", &["NAS.Home.Arpa."]),
            (Version::HTTP_11, "/", &["nas.home.arpa:443"]),
            (Version::HTTP_11, "http://nas.home.arpa/x", &["nas.home.arpa"]),
            (Version::HTTP_2, "https://nas.home.arpa/x", &[]),
            (Version::HTTP_2, "https://nas.home.arpa/x", &["nas.home.arpa"]),
        ] {
            let found = ask(version, target, hosts, Some("nas.home.arpa"));
            assert_eq!(found.as_deref(), Ok("nas.home.arpa"), "{version:?} {target} {hosts:?}");
        }
    }

    #[test]
    fn services_get_the_name_that_was_judged() {
        for (typed, sent) in [
            ("wiki.home.arpa", "wiki.home.arpa"),
            ("WIKI.Home.arpa.", "wiki.home.arpa"),
            ("Wiki.home.arpa.:8080", "wiki.home.arpa:8080"),
        ] {
            assert_eq!(tidy(&HeaderValue::from_static(typed)), sent, "{typed}");
        }
    }

    #[test]
    fn every_way_of_naming_two_or_none_is_refused() {
        use AuthorityError::*;
        for (version, target, hosts, sni, error) in [
            (Version::HTTP_11, "/", &[] as &[&str], None, NotOne),
            (Version::HTTP_10, "/", &[], None, NotOne),
            (Version::HTTP_11, "http://a.home.arpa/", &[], None, NotOne),
            (Version::HTTP_11, "/", &["a.home.arpa", "a.home.arpa"], None, NotOne),
            (Version::HTTP_11, "http://a.home.arpa/", &["b.home.arpa"], None, Disagree),
            (Version::HTTP_2, "https://a.home.arpa/", &["b.home.arpa"], None, Disagree),
            (Version::HTTP_11, "/", &["me@a.home.arpa"], None, Malformed),
            (Version::HTTP_11, "/", &["a.home.arpa/x"], None, Malformed),
            (Version::HTTP_11, "/", &["a.home.arpa, b.home.arpa"], None, Malformed),
            (Version::HTTP_11, "/", &["a.home.arpa:"], None, Malformed),
            (Version::HTTP_11, "/", &["a.home.arpa:x"], None, Malformed),
            (Version::HTTP_11, "/", &["a.home.arpa:99999"], None, Malformed),
            (Version::HTTP_11, "/", &["a.home.arpa:+443"], None, Malformed),
            (Version::HTTP_11, "/", &["a.home.arpa:443:443"], None, Malformed),
            (Version::HTTP_11, "/", &["a.home.arpa\tb.home.arpa"], None, Malformed),
            (Version::HTTP_11, "/", &["a%2ehome.arpa"], None, Malformed),
            (Version::HTTP_11, "/", &["a.home.arpa\\.evil.example"], None, Malformed),
            (Version::HTTP_11, "http://me@a.home.arpa/", &["a.home.arpa"], None, Malformed),
            (Version::HTTP_2, "https://me@a.home.arpa/", &[], None, Malformed),
            (Version::HTTP_11, "/", &["[fe80::1%eth0]"], None, Malformed),
            (Version::HTTP_11, "/", &["a.home.arpa:0"], None, OtherPort),
            (Version::HTTP_2, "https://a.home.arpa:80/", &[], None, OtherPort),
            (Version::HTTP_11, "/", &["a.home.arpa.."], None, Address),
            (Version::HTTP_11, "/", &[""], None, Malformed),
            (Version::HTTP_11, "/", &["."], None, Malformed),
            (Version::HTTP_11, "/", &["[::1"], None, Malformed),
            (Version::HTTP_11, "/", &["a.home.arpa:8080"], None, OtherPort),
            (Version::HTTP_11, "/", &["10.147.20.1"], None, Address),
            (Version::HTTP_11, "/", &["0x7f.1"], None, Address),
            (Version::HTTP_11, "/", &["[fd00::1]"], None, Address),
            (Version::HTTP_11, "/", &["a.home.arpa"], Some("b.home.arpa"), NotTheTlsName),
        ] {
            assert_eq!(ask(version, target, hosts, sni), Err(error), "{target} {hosts:?}");
        }
    }
}
