//! The socket's part about the network's DNS setting. Who orders is the user at the other end of the socket.

use axum::Json;
use axum::extract::State as Given;
use axum::extract::connect_info::ConnectInfo;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use crate::push::{Look, Outcome};
use crate::sync::OrderError;
use crate::zerotier::NetworkDns;

use super::peer::{Peer, claimed_ssh};
use super::state::{Problem, State};

/// What is done about the setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum PushOrder {
    /// Tells the controller what is wanted, if that is still what was agreed to and it still has what was shown, and keeps
    /// it told.
    Push { shown: NetworkDns, agreed: NetworkDns },
    /// Keeps it no longer; with `clear`, has members told nothing if what is there is the gateway's own.
    Stop { clear: bool },
}

pub(super) async fn look(Given(state): Given<State>) -> Result<Json<Look>, Problem> {
    state.push.look().await.map(Json).map_err(problem)
}

pub(super) async fn order(
    Given(state): Given<State>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    order: Result<Json<PushOrder>, JsonRejection>,
) -> Result<Json<Outcome>, Problem> {
    let Json(order) = order.map_err(|error| {
        let text = format!("no order of this version ({error}); restart the gateway after an upgrade");
        Problem(StatusCode::BAD_REQUEST, text)
    })?;
    let by = peer.actor(claimed_ssh(&headers)).await.ok_or_else(|| {
        let text = "the kernel does not say who is at the socket, and orders are recorded with a name";
        Problem(StatusCode::INTERNAL_SERVER_ERROR, text.to_owned())
    })?;
    let done = match order {
        PushOrder::Push { shown, agreed } => state.push.push(shown, agreed, by).await,
        PushOrder::Stop { clear } => state.push.stop(clear, by).await,
    };
    done.map(Json).map_err(problem)
}

fn problem(error: OrderError) -> Problem {
    let status = if error.is_too_early { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::CONFLICT };
    Problem(status, error.text)
}
