//! A JSON API behind a token file: one call, and every way in which an answer can be odd.
//!
//! A write's own answer is not believed: what counts is what the API says when asked again.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, StatusCode};
use serde::de::DeserializeOwned;

use super::endpoint::{Ask, Endpoint, UrlError, retry_after};
use crate::linux::secret::{self, Owners, Secret, SecretError};
use crate::model::{MemberId, NetworkId};
use crate::outbound::{CallError, Reply};

/// Why an answer cannot be used. It changes nothing: what was known before stands.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error(transparent)]
    Token(#[from] SecretError),
    #[error("{url}: {source}")]
    Http { url: String, source: CallError },
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
    #[error("{url} takes no more requests for now; try again in {} s", .retry_after.as_secs())]
    Busy { url: String, retry_after: Duration },
    #[error(
        "the controller answered, but {what} is still {found} there where {wanted} was asked for; type the command again, \
         and if that does not help set it in the controller's own interface"
    )]
    NotTaken { what: String, wanted: String, found: String },
    #[error(
        "{what}: the controller may have done it or not ({why}); type the command again, for doing it twice does no harm"
    )]
    Unsure { what: String, why: Box<ApiError> },
    #[error("the controller does not know {0}; let the device ask to join first: zerotier-cli join {1}")]
    UnknownMember(MemberId, NetworkId),
    #[error(
        "{what} was changed at the controller in the meantime; type the command again to see what is there now"
    )]
    Changed { what: String },
}

impl ApiError {
    /// How long the other side wants to be left alone; `None` if it did not say so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => Some(*retry_after),
            Self::Unsure { why, .. } => why.retry_after(),
            _ => None,
        }
    }

    /// Whether what was asked for may have been carried out all the same.
    fn leaves_it_open(&self) -> bool {
        match self {
            Self::Http { source, .. } => source.may_have_been_sent(),
            Self::Status { status, .. } => status.is_server_error(),
            _ => false,
        }
    }
}

fn said(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

/// How a write went, as far as its own answer tells.
#[derive(Debug)]
pub(super) enum Posted {
    /// It was answered as a success; whether it took is to be read back.
    Answered,
    /// What it was about is not there.
    NotFound,
    /// It may have been carried out or not.
    Open(ApiError),
}

/// How long to stay away from an API that says 429 and not for how long, and how long at most: a revocation may wait.
const BUSY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10 * 60));

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

    #[cfg(test)]
    pub(super) fn with_deadline(&self, deadline: Duration) -> Self {
        let Inner { endpoint, scheme, token_file, owners } = &*self.0;
        Self::new(endpoint.clone().with_deadline(deadline), *scheme, token_file.clone(), *owners)
    }

    /// The whole URL of a path, for messages.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0.endpoint.url())
    }

    /// What a path answers; `None` where it answers 404.
    pub(super) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ApiError> {
        let reply = self.call(&Ask::Get, path).await?;
        if reply.status == StatusCode::NOT_FOUND && !is_html(&reply) {
            return Ok(None);
        }
        self.read(path, &reply).map(Some)
    }

    /// What a path answers, where even 404 is odd.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let reply = self.call(&Ask::Get, path).await?;
        self.read(path, &reply)
    }

    /// Writes JSON at a path.
    pub(super) async fn post(&self, path: &str, json: &serde_json::Value) -> Result<Posted, ApiError> {
        let posted = match self.call(&Ask::Post(json.to_string().into()), path).await {
            Ok(reply) if reply.status == StatusCode::NOT_FOUND && !is_html(&reply) => {
                return Ok(Posted::NotFound);
            }
            Ok(reply) if reply.status.is_success() => return Ok(Posted::Answered),
            Ok(reply) => {
                let detail = detail(&reply.body);
                ApiError::Status { url: self.url(path), status: reply.status, detail }
            }
            Err(error) => error,
        };
        if posted.leaves_it_open() { Ok(Posted::Open(posted)) } else { Err(posted) }
    }

    /// One call. A node may have made a new token since the file was read: on 401 it is read and tried once more.
    async fn call(&self, ask: &Ask, path: &str) -> Result<Reply, ApiError> {
        let mut reply = self.attempt(ask, path).await?;
        if reply.status == StatusCode::UNAUTHORIZED {
            reply = self.attempt(ask, path).await?;
        }
        match reply.status {
            StatusCode::UNAUTHORIZED => {
                Err(ApiError::Unauthorized { url: self.url(path), file: self.0.token_file.clone() })
            }
            StatusCode::TOO_MANY_REQUESTS => {
                let (usual, longest) = BUSY;
                let retry_after = retry_after(&reply.headers).unwrap_or(usual).clamp(usual, longest);
                Err(ApiError::Busy { url: self.url(path), retry_after })
            }
            _ => Ok(reply),
        }
    }

    async fn attempt(&self, ask: &Ask, path: &str) -> Result<Reply, ApiError> {
        let secret = secret::read(&self.0.token_file, self.0.owners)?;
        let header = self
            .0
            .scheme
            .header(&secret)
            .ok_or_else(|| ApiError::Token(SecretError::NotText(self.0.token_file.clone())))?;
        let reply = self.0.endpoint.call(ask, path, header).await;
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
    let html = b"text/html";
    let kind = reply.headers.get(CONTENT_TYPE).and_then(|kind| kind.as_bytes().get(..html.len()));
    let says_so = kind.is_some_and(|kind| kind.eq_ignore_ascii_case(html));
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
