//! The command line's side of the socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// For a whole answer. The gateway answers from memory.
const DEADLINE: Duration = Duration::from_secs(10);

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
    #[error("the gateway broke off its answer: {0}")]
    Http(#[from] hyper::Error),
    /// The gateway's own words: it cannot answer now.
    #[error("{0}")]
    Refused(String),
    /// The gateway's own words: it was asked for what is not there.
    #[error("{0}")]
    WrongAsk(String),
    #[error("the gateway's answer is no JSON of this version; restart it after an upgrade ({0})")]
    Json(#[from] serde_json::Error),
}

/// Asks a running gateway; `target` is path and query.
pub async fn get<T: serde::de::DeserializeOwned>(socket: &Path, target: &str) -> Result<T, AdminError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
            AdminError::NotRunning(socket.to_owned())
        }
        std::io::ErrorKind::PermissionDenied => AdminError::NotAllowed(socket.to_owned()),
        _ => AdminError::Socket { socket: socket.to_owned(), source: error },
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(target)
        .header(header::HOST, "admin")
        .body(Empty::<Bytes>::new())
        .map_err(|error| AdminError::Refused(error.to_string()))?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let answer = sender.send_request(request).await?;
        Ok::<_, hyper::Error>((answer.status(), answer.into_body().collect().await?.to_bytes()))
    };
    let answer = tokio::time::timeout(DEADLINE, answer).await;
    connection.abort();
    let (status, body) = answer.map_err(|_| AdminError::Slow)??;
    if status.is_success() {
        return Ok(serde_json::from_slice(&body)?);
    }
    let words: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let words = words["error"].as_str().map_or_else(|| format!("the gateway said {status}"), str::to_owned);
    Err(if status.is_client_error() { AdminError::WrongAsk(words) } else { AdminError::Refused(words) })
}
