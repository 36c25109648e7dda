//! Web origins: whose page a request of a browser comes from (RFC 6454).

/// An origin as browsers write it: in `Origin`, and at the beginning of `Referer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebOrigin<'a> {
    /// `http`, or an app's or extension's own.
    pub scheme: &'a str,
    /// Empty for `file://`.
    pub host: &'a str,
    /// `None` where none is written.
    pub port: Option<u16>,
}

impl<'a> WebOrigin<'a> {
    /// Reads `scheme://host[:port]`. `null` is no origin that could be told from another, and is not read here.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let begins = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        if !begins || !scheme.bytes().all(fine) {
            return None;
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(v6) => {
                let (address, after) = v6.split_once(']')?;
                address.parse::<std::net::Ipv6Addr>().ok()?;
                let port = if after.is_empty() { None } else { Some(after.strip_prefix(':')?) };
                (&rest[..address.len() + 2], port)
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = match port {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
            None => None,
        };
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        let fits = host.starts_with('[') || host.bytes().all(fine);
        (fits && (!host.is_empty() || scheme == "file")).then_some(Self { scheme, host, port })
    }

    /// The origin of a URL, and its text, which has no user in it.
    pub fn of_url(url: &'a str) -> Option<(Self, &'a str)> {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        if rest[..end].contains('@') {
            // Browsers leave users out, so that there is nothing to be told apart.
            return None;
        }
        let text = &url[..scheme.len() + "://".len() + end];
        Some((Self::parse(text)?, text))
    }

    /// As browsers write it: in lower case, but for the hosts of extensions, which are as their browser made them, and
    /// without the port that goes without saying.
    pub fn as_browsers_write(&self) -> String {
        let scheme = self.scheme.to_ascii_lowercase();
        let is_web = matches!(&*scheme, "http" | "https");
        let host = if is_web { self.host.to_ascii_lowercase() } else { self.host.to_owned() };
        let origin = WebOrigin { scheme: &scheme, host: &host, port: None };
        match self.port.filter(|_| self.port != origin.port()) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }

    /// The page's origin that a program means which writes its WebSocket's own URL for it (Starscream, for one). No page
    /// has such an origin.
    pub fn of_websocket(self) -> Self {
        match self.scheme {
            "ws" => Self { scheme: "http", ..self },
            "wss" => Self { scheme: "https", ..self },
            _ => self,
        }
    }

    /// The port that is meant where none is written.
    pub fn port(&self) -> Option<u16> {
        let by_scheme = || match self.scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        self.port.or_else(by_scheme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_write_a_scheme_a_host_and_a_port_that_is_not_the_usual_one() {
        for (text, scheme, host, port) in [
            ("https://example.org", "https", "example.org", Some(443)),
            ("http://nas.home.arpa.", "http", "nas.home.arpa.", Some(80)),
            ("http://nas.home.arpa:8080", "http", "nas.home.arpa", Some(8080)),
            ("http://[fd00::1]:81", "http", "[fd00::1]", Some(81)),
            ("chrome-extension://abcdefgh", "chrome-extension", "abcdefgh", None),
            ("safari-web-extension://E3449EA7-0000", "safari-web-extension", "E3449EA7-0000", None),
            ("file://", "file", "", None),
        ] {
            let origin = WebOrigin::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((origin.scheme, origin.host, origin.port()), (scheme, host, port), "{text}");
            assert_eq!(origin.as_browsers_write(), text);
        }
    }

    #[test]
    fn other_spellings_mean_one_that_browsers_write() {
        for (text, written) in [
            ("HTTPS://Example.org:443", "https://example.org"),
            ("http://example.org:80", "http://example.org"),
            ("https://example.org:080", "https://example.org:80"),
            ("Safari-Web-Extension://E3449EA7", "safari-web-extension://E3449EA7"),
        ] {
            assert_eq!(WebOrigin::parse(text).unwrap().as_browsers_write(), written, "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "null",
            "example.org",
            "://example.org",
            "https://",
            "https:///",
            "https://example.org/",
            "https://me@example.org",
            "https://example.org:",
            "https://example.org:+1",
            "https://example.org:65536",
            "https://example.org:80:80",
            "https://a.example, https://b.example",
            "https://a.example https://b.example",
            "https://[fd00::1",
            "https://[fd00::g]",
            "https://exämple.org",
            "1https://example.org",
            "ht tps://example.org",
        ] {
            assert_eq!(WebOrigin::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_url_begins_with_its_origin() {
        for (url, origin) in [
            ("https://example.org/a?b#c", Some("https://example.org")),
            ("http://nas.home.arpa:81", Some("http://nas.home.arpa:81")),
            ("http://evil.example\\@nas.home.arpa/", Some("http://evil.example")),
            ("http://evil.example?http://nas.home.arpa/", Some("http://evil.example")),
            ("http://nas.home.arpa@evil.example/", None),
            ("/only/a/path", None),
            ("about:blank", None),
        ] {
            assert_eq!(WebOrigin::of_url(url).map(|(_, text)| text), origin, "{url}");
        }
    }
}
