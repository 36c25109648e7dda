//! Where an API is, and whether its token may go there.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Uri};

use crate::outbound::{CallError, Reply, Server, ServerError};

/// Over everything: looking up, connecting, TLS, the answer's last byte.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// 120 times what the controller of 1,000 members sends.
pub(super) const LONGEST_BODY: usize = 64 * 1024 * 1024;

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    Get,
    /// Writes this JSON.
    Post(Bytes),
}

/// Why a URL is not one that a token may be sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("{0}: write it like http://127.0.0.1:9993 or https://api.zerotier.com/api/v1")]
    Malformed(String),
    #[error(
        "{0}: plain http would show the token to the network; use https, or an address of this machine (127.0.0.1)"
    )]
    PlainToElsewhere(String),
    #[error(
        "{0}: the node's token drives the whole controller and must not leave this machine; use http://127.0.0.1:9993"
    )]
    NotLoopback(String),
    #[error("{0}: {1}")]
    Server(String, ServerError),
}

/// Where calls go.
#[derive(Clone)]
pub(super) struct Endpoint {
    url: String,
    prefix: String,
    server: Server,
    deadline: Duration,
}

impl Endpoint {
    /// An `http://` endpoint on this machine, or an `https://` one that the system's roots vouch for.
    pub(super) fn parse(url: &str) -> Result<Self, UrlError> {
        let endpoint = Self::at(url)?;
        if has_scheme(url, "http") && !endpoint.server.is_loopback() {
            return Err(UrlError::PlainToElsewhere(url.to_owned()));
        }
        Ok(endpoint)
    }

    /// The same for the local node, whose token must not leave this machine.
    pub(super) fn parse_loopback(url: &str) -> Result<Self, UrlError> {
        let not_loopback = || UrlError::NotLoopback(url.to_owned());
        if has_scheme(url, "https") {
            return Err(not_loopback());
        }
        let endpoint = Self::at(url)?;
        if endpoint.server.is_loopback() { Ok(endpoint) } else { Err(not_loopback()) }
    }

    #[cfg(test)]
    pub(super) fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    fn at(url: &str) -> Result<Self, UrlError> {
        let malformed = || UrlError::Malformed(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        let authority = uri.authority().ok_or_else(malformed)?.as_str();
        if authority.contains('@') || uri.query().is_some() {
            return Err(malformed());
        }
        let host = uri.host().ok_or_else(malformed)?.trim_matches(['[', ']']);
        let server = match uri.scheme_str() {
            Some("http") => Server::plain(host, uri.port_u16().unwrap_or(80)),
            Some("https") => Server::tls(host, uri.port_u16().unwrap_or(443)),
            _ => return Err(malformed()),
        };
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            server: server.map_err(|why| UrlError::Server(url.to_owned(), why))?,
            deadline: DEADLINE,
        })
    }

    /// Asks at a path, with a secret in the one header named.
    pub(super) async fn call(
        &self,
        ask: &Ask,
        path: &str,
        secret: (HeaderName, HeaderValue),
    ) -> Result<Reply, CallError> {
        let uri = format!("{}{path}", self.prefix);
        let (request, body) = match ask {
            Ask::Get => (Request::get(uri), Bytes::new()),
            Ask::Post(json) => (Request::post(uri).header(CONTENT_TYPE, "application/json"), json.clone()),
        };
        let request = request.header(ACCEPT, "application/json").header(secret.0, secret.1).body(body)?;
        self.server.ask(request, LONGEST_BODY, self.deadline).await
    }
}

/// Whether a URL has a scheme, in whatever case it is written (RFC 3986, 3.1).
fn has_scheme(url: &str, scheme: &str) -> bool {
    url.parse().is_ok_and(|uri: Uri| uri.scheme_str() == Some(scheme))
}

/// How long to stay away, where an answer says so (RFC 9110, 10.2.3). As a date it counts from the answer's own `Date`, so
/// that neither clock need be right.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let date = |text| jiff::fmt::rfc2822::parse(text).ok();
    let said = text(RETRY_AFTER)?.trim();
    match said.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let wait = date(said)?.timestamp().duration_since(date(text(DATE)?)?.timestamp());
            Some(wait.try_into().unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_come_back_is_read_as_seconds_or_as_a_date() {
        let said = |retry: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(retry));
            headers.insert(DATE, HeaderValue::from_static("Sun, 01 Mar 2026 12:00:00 GMT"));
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(said("7"), Some(7));
        assert_eq!(said("Sun, 01 Mar 2026 12:01:30 GMT"), Some(90));
        assert_eq!(said("Sun, 01 Mar 2026 11:00:00 GMT"), Some(0));
        assert_eq!(said("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn a_token_goes_to_this_machine_or_over_tls_only() {
        for url in
            ["http://127.0.0.1:9993", "http://127.9.9.9:1/", "http://[::1]:9993", "http://localhost:9993"]
        {
            assert!(Endpoint::parse_loopback(url).is_ok(), "{url}");
            assert!(Endpoint::parse(url).is_ok(), "{url}");
        }
        for url in [
            "http://10.0.0.1:9993",
            "HTTP://10.0.0.1:9993",
            "https://127.0.0.1:9993",
            "HTTPS://127.0.0.1:9993",
            "http://localhost.evil.example:9993",
        ] {
            assert_eq!(Endpoint::parse_loopback(url).err(), Some(UrlError::NotLoopback(url.into())), "{url}");
        }
        for url in ["http://api.zerotier.com/api/v1", "HTTP://10.0.0.1", "hTTp://10.0.0.1:9993"] {
            assert_eq!(Endpoint::parse(url).err(), Some(UrlError::PlainToElsewhere(url.into())), "{url}");
        }
    }

    #[test]
    fn other_texts_are_no_urls() {
        for url in
            ["", "127.0.0.1:9993", "ftp://127.0.0.1", "http://me:pw@127.0.0.1:9993", "http://127.0.0.1/?a"]
        {
            assert_eq!(Endpoint::parse_loopback(url).err(), Some(UrlError::Malformed(url.into())), "{url}");
        }
    }

    fn secret() -> (HeaderName, HeaderValue) {
        (HeaderName::from_static("x-zt1-auth"), HeaderValue::from_static("s3cret"))
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_given_up() {
        // The backlog accepts, and nobody answers.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let endpoint = Endpoint::parse(&url).unwrap().with_deadline(Duration::from_millis(50));
        assert!(matches!(endpoint.call(&Ask::Get, "/status", secret()).await, Err(CallError::Timeout(_))));
    }

    #[test]
    fn the_path_of_the_url_stays_in_front() {
        let endpoint = Endpoint::parse("http://127.0.0.1:1/api/v1/").unwrap();
        assert_eq!((endpoint.prefix.as_str(), endpoint.url()), ("/api/v1", "http://127.0.0.1:1/api/v1"));
    }
}
