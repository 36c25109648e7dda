//! What the socket answers from, and how it says that it cannot.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

use crate::model::{Clock, MemberId};
use crate::proxy::{Shared, Snapshot};
use crate::push::Pusher;
use crate::sync::{DeviceView, Orders};

use super::status::Status;

/// What the socket answers from.
#[derive(Clone)]
pub struct State {
    pub clock: Arc<dyn Clock>,
    pub status: Arc<dyn Fn() -> Status + Send + Sync>,
    /// `None` until a roster is there.
    pub shared: Arc<dyn Fn() -> Option<Arc<Shared>> + Send + Sync>,
    /// Whether requests are judged by the newest roster.
    pub in_force: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The ruleset of `ztgate nft`, with SSH for these members past the gateway; `None` while there is no device.
    pub nft: Arc<NftSource>,
    /// Every device as lists show it; empty until a roster is there.
    pub devices: watch::Receiver<Arc<[Arc<DeviceView>]>>,
    /// Where orders are carried out.
    pub orders: Orders,
    /// Where orders about the network's DNS setting are.
    pub push: Pusher,
}

/// Makes the ruleset, given a break-glass port and the members it is for.
pub type NftSource = dyn Fn(Option<u16>, &[MemberId]) -> Option<String> + Send + Sync;

/// A refusal to answer, in words for the terminal.
pub(super) struct Problem(pub StatusCode, pub String);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, Json(serde_json::json!({ "error": self.1 }))).into_response()
    }
}

pub(super) fn snapshot(state: &State) -> Result<Arc<Snapshot>, Problem> {
    let wait = "the gateway has no roster yet; `ztgate status` tells what it waits for";
    (state.shared)()
        .map(|shared| shared.load())
        .ok_or_else(|| Problem(StatusCode::SERVICE_UNAVAILABLE, wait.to_owned()))
}
