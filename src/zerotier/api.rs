//! A JSON API behind a token file: one call, and every way in which an answer can be odd.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::header::HeaderName;
use http::{HeaderValue, StatusCode};
use serde::de::DeserializeOwned;

use super::http::{Endpoint, HttpError, Reply, UrlError};
use super::token::{self, Owners, Secret, SecretError};
use crate::model::{MemberId, NetworkId};

/// Why an answer cannot be used. It changes nothing: what was known before stands.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error(transparent)]
    Token(#[from] SecretError),
    #[error("{url}: {source}")]
    Http { url: String, source: HttpError },
    #[error("{url} refuses the token in {}; put the right one there", .file.display())]
    Unauthorized { url: String, file: PathBuf },
    #[error("{url} answers {status}{}", said(.detail))]
    Status { url: String, status: StatusCode, detail: String },
    #[error("{url} answers {what}, not the JSON it should; is something else listening there?")]
    NotJson { url: String, what: &'static str },
    #[error("{url} answers JSON that cannot be read: {source}")]
    Json { url: String, source: serde_json::Error },
    #[error(
        "this node is no controller (from 1.16 the usual zerotier-one has none built in); install one with its controller, \
         or set kind = \"central\" under [controller] in ztgate.toml"
    )]
    NoController,
    /// Whether it did what it was asked is not known.
    #[error("no answer within {seconds} s; it may have done it nevertheless")]
    NoAnswer { seconds: u64 },
    #[error(
        "the controller has no network {0}; compare network in ztgate.toml with: \
         sudo zerotier-cli listnetworks"
    )]
    NoNetwork(NetworkId),
    #[error("asked for network {asked}, the answer is about {}", .got.as_deref().unwrap_or("none"))]
    WrongNetwork { asked: NetworkId, got: Option<String> },
    #[error("the answer about {of} lacks {field}")]
    Missing { of: String, field: &'static str },
    #[error("the member list has an entry whose ID is none: {0:?}")]
    BadMember(String),
    #[error("the member list names {0} twice")]
    TwiceMember(MemberId),
    #[error("the member list is empty, which is never believed; is it the right network?")]
    NoMembers,
    #[error("the member list has {got} entries where the controller counts {counted}")]
    ShortList { got: usize, counted: u64 },
}

fn said(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

/// How the token travels.
#[derive(Clone, Copy)]
pub(super) enum Scheme {
    /// The local node's own header.
    XZt1Auth,
    /// `Authorization: token ...`, as ZeroTier Central wants it.
    Token,
}

impl Scheme {
    fn header(self, secret: &Secret) -> Option<(HeaderName, HeaderValue)> {
        let (name, text) = match self {
            Self::XZt1Auth => {
                (HeaderName::from_static("x-zt1-auth"), zeroize::Zeroizing::new(secret.expose().to_owned()))
            }
            Self::Token => {
                (http::header::AUTHORIZATION, zeroize::Zeroizing::new(format!("token {}", secret.expose())))
            }
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    }
}

/// An API: where it is, and the file with its token.
#[derive(Clone)]
pub(super) struct Api(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    scheme: Scheme,
    token_file: PathBuf,
    owners: Owners,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Api({})", self.0.endpoint.url())
    }
}

impl Api {
    pub(super) fn new(endpoint: Endpoint, scheme: Scheme, token_file: PathBuf, owners: Owners) -> Self {
        Self(Arc::new(Inner { endpoint, scheme, token_file, owners }))
    }

    /// The whole URL of a path, for messages.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0.endpoint.url())
    }

    /// What a path answers; `None` where it answers 404.
    pub(super) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ApiError> {
        let reply = self.call(path).await?;
        if reply.status == StatusCode::NOT_FOUND && !is_html(&reply) {
            return Ok(None);
        }
        self.read(path, &reply).map(Some)
    }

    /// What a path answers, where even 404 is odd.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let reply = self.call(path).await?;
        self.read(path, &reply)
    }

    /// One call. A node may have made a new token since the file was read: on 401 it is read and tried once more.
    async fn call(&self, path: &str) -> Result<Reply, ApiError> {
        let reply = self.attempt(path).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        let reply = self.attempt(path).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        Err(ApiError::Unauthorized { url: self.url(path), file: self.0.token_file.clone() })
    }

    async fn attempt(&self, path: &str) -> Result<Reply, ApiError> {
        let secret = token::read(&self.0.token_file, self.0.owners)?;
        let header = self
            .0
            .scheme
            .header(&secret)
            .ok_or_else(|| ApiError::Token(SecretError::NotText(self.0.token_file.clone())))?;
        let reply = self.0.endpoint.get(path, header).await;
        reply.map_err(|source| ApiError::Http { url: self.url(path), source })
    }

    fn read<T: DeserializeOwned>(&self, path: &str, reply: &Reply) -> Result<T, ApiError> {
        let url = || self.url(path);
        if reply.status != StatusCode::OK {
            return Err(ApiError::Status { url: url(), status: reply.status, detail: detail(&reply.body) });
        }
        if reply.body.iter().all(u8::is_ascii_whitespace) {
            return Err(ApiError::NotJson { url: url(), what: "nothing" });
        }
        if is_html(reply) {
            return Err(ApiError::NotJson { url: url(), what: "a web page" });
        }
        serde_json::from_slice(&reply.body).map_err(|source| ApiError::Json { url: url(), source })
    }
}

fn is_html(reply: &Reply) -> bool {
    let says_so = reply.content_type.as_deref().is_some_and(|kind| kind.starts_with("text/html"));
    says_so || reply.body.trim_ascii_start().starts_with(b"<")
}

/// The start of what an error's body says, fit for one line of a terminal. (The node's own may not be valid JSON.)
fn detail(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(400)]);
    let text: String = super::shapes::printable(&text).split_whitespace().collect::<Vec<_>>().join(" ");
    match text.as_str() {
        "{}" => String::new(),
        text => text.chars().take(160).collect(),
    }
}
