//! The two kinds of receivers: what a delivery to each looks like, and what its answer means.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::config::{Notify, NotifyEvent, NotifyUrl, Ntfy, Webhook};
use crate::linux::secret::{self, Owners, SecretError};
use crate::outbound::{CallError, Server, ServerError};

use super::timing::Timing;
use super::{Event, What};

/// Which receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    Webhook,
    Ntfy,
}

impl TargetKind {
    pub const ALL: [Self; 2] = [Self::Webhook, Self::Ntfy];

    /// As the configuration says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Ntfy => "ntfy",
        }
    }
}

/// A receiver, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Webhook(Webhook),
    Ntfy(Ntfy),
}

/// What came of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 2xx.
    Delivered(StatusCode),
    /// 410: the receiver wants this delivery no more, and does not get it again.
    Gone,
    /// The receiver is there, and did not take this delivery.
    Refused(String),
    /// The receiver is not there, or takes nothing for now.
    Down(String),
}

impl Answer {
    pub fn is_delivered(&self) -> bool {
        matches!(self, Self::Delivered(_))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered(status) => write!(f, "delivered: HTTP {status}"),
            Self::Gone => write!(f, "HTTP {}: the receiver wants it no more", StatusCode::GONE),
            Self::Refused(why) | Self::Down(why) => f.write_str(why),
        }
    }
}

type Headers = Vec<(&'static str, HeaderValue)>;

impl Target {
    /// The receiver of a kind, if the configuration names one.
    pub fn of(kind: TargetKind, config: &Notify) -> Option<Self> {
        match kind {
            TargetKind::Webhook => config.webhook.clone().map(Self::Webhook),
            TargetKind::Ntfy => config.ntfy.clone().map(Self::Ntfy),
        }
    }

    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Webhook(_) => TargetKind::Webhook,
            Self::Ntfy(_) => TargetKind::Ntfy,
        }
    }

    /// Where it is. Prints without what may be a secret.
    pub fn url(&self) -> &NotifyUrl {
        match self {
            Self::Webhook(webhook) => &webhook.url,
            Self::Ntfy(ntfy) => &ntfy.url,
        }
    }

    /// Sends an event once, and waits 10 s at most for the answer. `now` is what a signature is dated.
    pub async fn deliver(&self, event: &Event, now: Timestamp) -> Answer {
        self.deliver_within(event, now, &Timing::default()).await
    }

    pub(super) async fn deliver_within(&self, event: &Event, now: Timestamp, timing: &Timing) -> Answer {
        let (headers, body) = match self.compose(event, now) {
            Ok(composed) => composed,
            Err(error) => return Answer::Down(error.to_string()),
        };
        judge(post(self.url(), headers, body, timing.deadline).await, self)
    }

    /// The request. The secret is read anew, so that one that was changed is good from the next try on.
    fn compose(&self, event: &Event, now: Timestamp) -> Result<(Headers, Bytes), SecretError> {
        match self {
            Self::Webhook(webhook) => {
                let secret = secret::read(&webhook.secret_file, Owners::Ours)?;
                let body = serde_json::to_vec(event).expect("an event is text, ids and times");
                let headers = webhook_headers(&event.id, now, secret.expose().as_bytes(), &body);
                Ok((headers, body.into()))
            }
            Self::Ntfy(ntfy) => {
                let secret = ntfy.token_file.as_deref().map(|file| secret::read(file, Owners::Ours));
                let secret = secret.transpose()?;
                Ok((ntfy_headers(event, secret.as_ref().map(|secret| secret.expose())), ntfy_text(event)))
            }
        }
    }
}

fn webhook_headers(id: &str, now: Timestamp, secret: &[u8], body: &[u8]) -> Headers {
    let stamp = now.as_second().to_string();
    vec![
        (CONTENT_TYPE.as_str(), HeaderValue::from_static("application/json")),
        ("ztgate-delivery", header(id)),
        ("ztgate-signature", header(&signature(secret, &stamp, body))),
        ("ztgate-timestamp", header(&stamp)),
    ]
}

/// `v1=` and the HMAC-SHA256 (RFC 2104) of timestamp, a dot and the body, in hexadecimal. The timestamp is under it so
/// that an old delivery cannot be sent again as new.
fn signature(secret: &[u8], stamp: &str, body: &[u8]) -> String {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    mac.update(stamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    let hex: String = mac.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v1={hex}")
}

/// As docs.ntfy.sh/publish has them: `Title`, `Priority` (1 to 5), `Tags` (names of emoji show as such).
fn ntfy_headers(event: &Event, token: Option<&str>) -> Headers {
    let (priority, tags) = ntfy_look(&event.what);
    let mut headers = vec![
        ("title", HeaderValue::from_static(event.title())),
        ("priority", HeaderValue::from_static(priority)),
        ("tags", HeaderValue::from_static(tags)),
    ];
    if let Some(token) = token {
        let mut value = header(&Zeroizing::new(format!("Bearer {token}")));
        value.set_sensitive(true);
        headers.push((AUTHORIZATION.as_str(), value));
    }
    headers
}

fn ntfy_look(what: &What) -> (&'static str, &'static str) {
    match what.kind() {
        Some(NotifyEvent::DevicePending) => ("4", "bell,device-pending"),
        Some(NotifyEvent::DeviceAdmitted) => ("3", "white_check_mark,device-admitted"),
        Some(NotifyEvent::DeviceRevoked) => ("3", "no_entry,device-revoked"),
        Some(NotifyEvent::DeviceSuspended) => ("3", "no_entry,device-suspended"),
        Some(NotifyEvent::DeviceRestored) => ("3", "white_check_mark,device-restored"),
        Some(NotifyEvent::DeviceExpiresSoon) => ("3", "hourglass_flowing_sand,device-expires-soon"),
        Some(NotifyEvent::DeviceExpired) => ("3", "hourglass,device-expired"),
        Some(NotifyEvent::IdentityChanged) => ("5", "rotating_light,identity-changed"),
        Some(NotifyEvent::ControllerLost) => ("4", "warning,controller-lost"),
        Some(NotifyEvent::ControllerBack) => ("2", "white_check_mark,controller-back"),
        None => ("3", "wave,test"),
    }
}

/// What a phone shows. ntfy makes an attachment of more than 4,096 bytes; an event stays far below.
fn ntfy_text(event: &Event) -> Bytes {
    match &event.next {
        Some(next) => format!("{}\n{next}", event.text).into(),
        None => event.text.clone().into(),
    }
}

/// A header of our own making. A token may hold what no header can carry; then the receiver will say that it has none.
fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

async fn post(
    url: &NotifyUrl,
    headers: Headers,
    body: Bytes,
    deadline: Duration,
) -> Result<StatusCode, PostError> {
    let server = if url.tls { Server::tls(&url.host, url.port) } else { Server::plain(&url.host, url.port) };
    let mut request = Request::post(&url.path_and_query);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(body).map_err(CallError::from)?;
    Ok(server?.tell(request, deadline).await?)
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum PostError {
    Server(#[from] ServerError),
    Call(#[from] CallError),
}

fn judge(outcome: Result<StatusCode, PostError>, target: &Target) -> Answer {
    let status = match outcome {
        Ok(status) => status,
        // It may be this very delivery that it breaks off at.
        Err(error @ PostError::Call(CallError::Broken(_))) => return Answer::Refused(error.to_string()),
        Err(error) => return Answer::Down(error.to_string()),
    };
    let said = format!("HTTP {status}");
    match status {
        _ if status.is_success() => Answer::Delivered(status),
        StatusCode::GONE => Answer::Gone,
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Answer::Down(said),
        _ if status.is_redirection() => {
            Answer::Refused(format!("{said}: redirects are not followed; name the new URL in ztgate.toml"))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Answer::Refused(match target {
            Target::Webhook(_) => format!("{said}: check that the receiver has the secret of secret_file"),
            Target::Ntfy(_) => {
                format!("{said}: check that token_file has a token that may write to this topic")
            }
        }),
        _ => Answer::Refused(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected value is of another make: Python's hmac.
    #[test]
    fn the_signature_is_the_documented_one() {
        let made = signature(b"Jefe", "1700000000", br#"{"a":1}"#);
        assert_eq!(made, "v1=fa5f6481efc59da48b19c9dc10196c9953e5651f8304b3a318b6b87d70272e0a");
    }

    #[test]
    fn answers_mean_what_the_documents_say() {
        let ntfy = from("ntfy = \"https://ntfy.sh/s3cret\"");
        let told = |code: u16| judge(Ok(StatusCode::from_u16(code).unwrap()), &ntfy);
        for code in [200, 202, 204] {
            assert!(told(code).is_delivered(), "{code}");
        }
        assert_eq!(told(410), Answer::Gone);
        for code in [408, 429, 502, 503, 504] {
            assert!(matches!(told(code), Answer::Down(_)), "{code}");
        }
        for code in [301, 307, 400, 401, 403, 404, 413, 500] {
            assert!(matches!(told(code), Answer::Refused(_)), "{code}");
        }
        assert!(told(302).to_string().contains("redirects are not followed"));
        assert!(told(403).to_string().contains("token_file"));
    }

    #[test]
    fn titles_and_tags_can_be_headers() {
        let event = event();
        let headers = ntfy_headers(&event, Some("tk_s3cret"));
        let told: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        let expected = [
            "title: \"Controller back\"",
            "priority: \"2\"",
            "tags: \"white_check_mark,controller-back\"",
            "authorization: Sensitive",
        ];
        assert_eq!(told, expected);
        assert_eq!(&ntfy_text(&event)[..], b"The controller answers again.\nztgate status");
    }

    #[test]
    fn a_secret_that_cannot_be_read_keeps_the_delivery_waiting() {
        let hook = from("webhook = \"https://home.example\"\nsecret_file = \"/nonexistent/s\"");
        let error = hook.compose(&event(), "2026-11-23T18:00:00Z".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/s: there is no such file"));
    }

    fn event() -> Event {
        let time = "2026-11-23T18:00:00Z".parse().unwrap();
        Event::new("5e02d9cb41c0ffee".parse().unwrap(), time, What::ControllerBack)
    }

    fn from(lines: &str) -> Target {
        let text = format!("network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[notify]\n{lines}\n");
        let notify = crate::config::from_text(&text, &[]).unwrap().notify;
        TargetKind::ALL.into_iter().find_map(|kind| Target::of(kind, &notify)).unwrap()
    }
}
