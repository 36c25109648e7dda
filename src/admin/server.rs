//! The gateway's side of the socket.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::extract::{Query, State as Given};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use crate::identity::{IdentityProof, Member};
use crate::model::{Mac, MemberId, NetworkId};

use super::lookup::{earlier_refusal, find};
use super::peer::Peer;
use super::state::{Problem, State, snapshot};
use super::status::{Status, Whois};
use super::{devices, dns, why};

/// Serves the socket until the task is dropped. A socket left behind by a gateway that died is replaced.
///
/// # Errors
/// The socket cannot be made.
pub fn serve(
    socket: &Path,
    state: State,
) -> std::io::Result<impl Future<Output = std::io::Result<()>> + use<>> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = tokio::net::UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))?;
    let app = Router::new()
        .route("/status", get(status))
        .route("/access", get(access))
        .route("/why", get(why::why))
        .route("/whois", get(whois))
        .route("/nft", get(nft))
        .route("/dns/push", get(dns::look).post(dns::order))
        .route("/devices", get(devices::list))
        .route("/devices/history", get(devices::history))
        .route("/devices/order", post(devices::order).layer(devices::most()))
        .with_state(state);
    let app = app.into_make_service_with_connect_info::<Peer>();
    Ok(async move { axum::serve(listener, app).await })
}

async fn status(Given(state): Given<State>) -> Json<Status> {
    Json((state.status)())
}

async fn access(Given(state): Given<State>) -> Result<Response, Problem> {
    let snapshot = snapshot(&state)?;
    let members = snapshot.roster.sorted();
    let instant = state.clock.instant();
    let earlier = |member: &Member| earlier_refusal(&snapshot, member, instant);
    let table = snapshot.rules.table(members.into_iter().map(AsRef::as_ref), earlier, state.clock.now());
    Ok(Json(table).into_response())
}

#[derive(Deserialize)]
struct WhoisQuery {
    who: String,
}

async fn whois(Given(state): Given<State>, Query(query): Query<WhoisQuery>) -> Result<Json<Whois>, Problem> {
    let snapshot = snapshot(&state)?;
    let (member, how) = find(&snapshot, &query.who)?;
    let network = snapshot.roster.network;
    Ok(Json(describe(member, network, how)))
}

fn describe(member: &Member, network: NetworkId, how: String) -> Whois {
    let text = |name: &crate::model::Label| name.to_string();
    Whois {
        member: member.id,
        state: member.state,
        device: member.device.as_ref().map(text),
        owner: member.owner.as_ref().map(text),
        groups: member.groups.iter().map(text).collect(),
        label: member.label.clone(),
        mac: Mac::of(member.id, network).to_string(),
        assigned: member.assigned.clone(),
        derived: vec![member.id.rfc4193(network).into(), member.id.six_plane(network).into()],
        how,
        identity: match member.proof {
            IdentityProof::Proven => "proved: its public identity hashes to its ID, and is the pinned one",
            IdentityProof::Unproven => "not proved yet",
            IdentityProof::Changed => "CHANGED: not the pinned one; refused",
        }
        .to_owned(),
    }
}

#[derive(Deserialize)]
struct NftQuery {
    ssh: Option<u16>,
    /// Members that may use it, separated by commas.
    #[serde(default)]
    members: String,
}

async fn nft(Given(state): Given<State>, Query(query): Query<NftQuery>) -> Result<Json<String>, Problem> {
    let snapshot = snapshot(&state)?;
    let named = query.members.split(',').filter(|name| !name.is_empty());
    let members: Vec<MemberId> =
        named.map(|name| find(&snapshot, name).map(|(member, _)| member.id)).collect::<Result<_, _>>()?;
    let wait = "there is no ZeroTier device to write rules for; see `ztgate status`";
    (state.nft)(query.ssh, &members)
        .map(Json)
        .ok_or_else(|| Problem(StatusCode::SERVICE_UNAVAILABLE, wait.to_owned()))
}
