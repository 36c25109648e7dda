//! The gateway's side of the socket.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Query, State as Given};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tokio::sync::watch;

use crate::identity::{IdentityProof, Member, identify};
use crate::model::{Clock, Mac, MemberId, Moment, NetworkId, RefusalCode, nearest};
use crate::proxy::{Shared, Snapshot};
use crate::push::Pusher;
use crate::sync::{DeviceView, Orders};

use super::devices::{self, Peer};
use super::dns;
use super::status::{Status, Whois};
use super::why;

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

/// What would refuse the member before any rule is asked, from an address of its own.
pub(super) fn earlier_refusal(snapshot: &Snapshot, member: &Member, now: Moment) -> Option<RefusalCode> {
    let network = snapshot.roster.network;
    let own = member.id.rfc4193(network).into();
    identify(&snapshot.roster, Mac::of(member.id, network), own, now).err().map(|refusal| refusal.code)
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

/// Finds a member by device name, ID or address.
pub(super) fn find<'a>(snapshot: &'a Snapshot, who: &str) -> Result<(&'a Member, String), Problem> {
    let roster = &snapshot.roster;
    if let Ok(id) = who.parse::<MemberId>()
        && let Some(member) = roster.get(id)
    {
        return Ok((member, "by its member ID".to_owned()));
    }
    if let Ok(address) = who.parse()
        && let Some(member) = roster.owner_of(address)
    {
        let unbound = !roster.is_bound(address, Mac::of(member.id, roster.network));
        let but =
            if unbound { ", but it is let in from pinned ones only while a member may bridge" } else { "" };
        return Ok((member, format!("{address} is its address{but}")));
    }
    let members = roster.sorted();
    let named = members.iter().find(|m| m.device.as_ref().is_some_and(|name| name.as_str() == who));
    match named {
        Some(member) => Ok((member, "by its device name".to_owned())),
        None => {
            let known = members.iter().filter_map(|m| m.device.as_ref().map(|name| name.as_str()));
            Err(unknown("device, member ID or address", who, known))
        }
    }
}

pub(super) fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let hint = nearest(word, known).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    Problem(StatusCode::NOT_FOUND, format!("no {what} {word} here{hint}"))
}
