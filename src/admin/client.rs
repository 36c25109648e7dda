//! The command line's side of the socket.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::SSH_CLIENT;

/// For a whole answer. The gateway answers from memory.
const DEADLINE: Duration = Duration::from_secs(10);

/// For what comes of an order, which may wait for disk and controller.
const ORDER_DEADLINE: Duration = Duration::from_secs(20);

/// Why the gateway did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("no gateway is running here (no {}); start it with `ztgate run`", .0.display())]
    NotRunning(PathBuf),
    #[error("not allowed to open {}; use sudo, or join the group ztgate", .0.display())]
    NotAllowed(PathBuf),
    #[error("{}: {source}", socket.display())]
    Socket { socket: PathBuf, source: std::io::Error },
    #[error("the gateway did not answer within {} s; see its log", DEADLINE.as_secs())]
    Slow,
    /// It may be carried out yet: orders are not taken back.
    #[error(
        "the gateway did not answer within {} s; it may do it yet, so look before you repeat it: ztgate devices",
        ORDER_DEADLINE.as_secs()
    )]
    SlowOrder,
    #[error("the gateway broke off its answer: {0}")]
    Http(#[from] hyper::Error),
    /// The gateway's own words: it cannot answer now.
    #[error("{0}")]
    Refused(String),
    /// The gateway's own words: it was asked for what is not there.
    #[error("{0}")]
    WrongAsk(String),
    /// The gateway's own words: it does not do what it was asked to, and nothing was changed.
    #[error("{0}")]
    Declined(String),
    #[error("the gateway's answer is no JSON of this version; restart it after an upgrade ({0})")]
    Json(#[from] serde_json::Error),
}

/// Asks a running gateway; `target` is path and query.
///
/// # Errors
/// No answer, or one that says why there is none.
pub async fn get<T: serde::de::DeserializeOwned>(socket: &Path, target: &str) -> Result<T, AdminError> {
    let request = Request::get(target).body(Full::default());
    let answer = tokio::time::timeout(DEADLINE, ask(socket, request));
    answer.await.map_err(|_| AdminError::Slow)?
}

/// Has a running gateway carry out an order. `claimed_ssh` is from where the user came by SSH, as far as we can tell.
///
/// # Errors
/// It was not done; or, with [`AdminError::SlowOrder`] and [`AdminError::Http`], nobody told whether it was.
pub async fn order<T: serde::de::DeserializeOwned>(
    socket: &Path,
    path: &str,
    order: &impl serde::Serialize,
    claimed_ssh: Option<IpAddr>,
) -> Result<T, AdminError> {
    let body = Full::from(serde_json::to_vec(order)?);
    let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    if let Some(client) = claimed_ssh {
        request = request.header(SSH_CLIENT, client.to_string());
    }
    let request = request.body(body);
    let answer = tokio::time::timeout(ORDER_DEADLINE, ask(socket, request));
    answer.await.map_err(|_| AdminError::SlowOrder)?
}

async fn ask<T: serde::de::DeserializeOwned>(
    socket: &Path,
    request: http::Result<Request<Full<Bytes>>>,
) -> Result<T, AdminError> {
    let mut request = request.map_err(|error| AdminError::Refused(error.to_string()))?;
    request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("admin"));
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
            AdminError::NotRunning(socket.to_owned())
        }
        std::io::ErrorKind::PermissionDenied => AdminError::NotAllowed(socket.to_owned()),
        _ => AdminError::Socket { socket: socket.to_owned(), source: error },
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Dropped, and so ended, with the answer or the deadline.
    let mut connecting = tokio::task::JoinSet::new();
    connecting.spawn(connection);
    let answer = sender.send_request(request).await?;
    let (status, body) = (answer.status(), answer.into_body().collect().await?.to_bytes());
    if status.is_success() {
        return Ok(serde_json::from_slice(&body)?);
    }
    let words: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let words = words["error"].as_str().map_or_else(|| format!("the gateway said {status}"), str::to_owned);
    Err(match status {
        StatusCode::CONFLICT => AdminError::Declined(words),
        _ if status.is_client_error() => AdminError::WrongAsk(words),
        _ => AdminError::Refused(words),
    })
}
