//! How a controller is told, whichever kind it is: write, ask again, compare.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::ApiError;
use super::api::Posted;
use super::controller::{Controller, ControllerMember, ControllerView};
use super::dns::NetworkDns;
use super::fix::{Fix, Proposal, Shape};
use crate::model::{MemberId, NetworkId};

/// One network's records at a controller, each read whole and checked to be about that network. What can be read and
/// written like this is a [`Controller`].
pub(super) trait Records: Send + Sync {
    const NAME: &'static str;
    const SHAPE: Shape;

    fn network(&self) -> NetworkId;

    fn network_path(&self) -> String;

    fn whole(&self) -> impl Future<Output = Result<ControllerView, ApiError>> + Send;

    fn network_record(&self) -> impl Future<Output = Result<Value, ApiError>> + Send;

    fn members(&self) -> impl Future<Output = Result<Vec<ControllerMember>, ApiError>> + Send;

    /// `None` where the controller has no such record.
    fn find_member(
        &self,
        path: &str,
    ) -> impl Future<Output = Result<Option<ControllerMember>, ApiError>> + Send;

    fn post(&self, path: &str, body: &Value) -> impl Future<Output = Result<Posted, ApiError>> + Send;
}

impl<R: Records> Controller for R {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn view(&self) -> BoxFuture<'_, Result<ControllerView, ApiError>> {
        self.whole().boxed()
    }

    fn set_authorized(
        &self,
        member: MemberId,
        authorized: bool,
    ) -> BoxFuture<'_, Result<ControllerMember, ApiError>> {
        set_authorized(self, member, authorized).boxed()
    }

    fn propose(&self) -> BoxFuture<'_, Result<Vec<Proposal>, ApiError>> {
        propose(self).boxed()
    }

    fn apply<'a>(&'a self, proposal: &'a Proposal) -> BoxFuture<'a, Result<(), ApiError>> {
        apply(self, proposal).boxed()
    }

    fn dns(&self) -> BoxFuture<'_, Result<NetworkDns, ApiError>> {
        dns(self).boxed()
    }

    fn set_dns<'a>(
        &'a self,
        before: &'a NetworkDns,
        wanted: &'a NetworkDns,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        set_dns(self, before, wanted).boxed()
    }
}

async fn set_authorized(
    at: &impl Records,
    id: MemberId,
    authorized: bool,
) -> Result<ControllerMember, ApiError> {
    let word = |authorized: bool| if authorized { "authorised" } else { "not authorised" };
    let posted = post(at, Some(id), &at_shape(at, json!({"authorized": authorized}))).await?;
    let found = member(at, id).await.map(|member| match member {
        Some(member) if member.authorized == authorized => Ok(member),
        Some(member) => Err(word(member.authorized).to_owned()),
        None => Err("absent".to_owned()),
    });
    settled(format!("member {id}"), word(authorized), posted, found)
}

async fn propose<R: Records>(at: &R) -> Result<Vec<Proposal>, ApiError> {
    let mut proposals = Proposal::for_network(R::SHAPE, &at.network_record().await?);
    let members = at.members().await?;
    proposals.extend(members.iter().filter_map(|m| Proposal::for_member(R::SHAPE, m.id, m.active_bridge)));
    Ok(proposals)
}

async fn apply(at: &impl Records, proposal: &Proposal) -> Result<(), ApiError> {
    // Asked for before every write: a node that is told about a network that is not there makes it.
    let now = record(at, proposal.fix).await?;
    if proposal.is_made(&now) {
        return Ok(());
    }
    if !proposal.fits(&now) {
        return Err(ApiError::Changed { what: proposal.field() });
    }
    let member = match proposal.fix {
        Fix::BridgeOff(id) => Some(id),
        Fix::Private | Fix::DropUnauthenticated => None,
    };
    let posted = post(at, member, &proposal.body()).await?;
    let found = record(at, proposal.fix).await.map(|record| proposal.judge(&record));
    settled(proposal.field(), &proposal.wanted(), posted, found)
}

/// See [`super::Controller::dns`].
pub(super) async fn dns<R: Records>(at: &R) -> Result<NetworkDns, ApiError> {
    Ok(NetworkDns::read(R::SHAPE, &at.network_record().await?))
}

/// See [`super::Controller::set_dns`].
pub(super) async fn set_dns<R: Records>(
    at: &R,
    before: &NetworkDns,
    wanted: &NetworkDns,
) -> Result<(), ApiError> {
    let what = || "the network's DNS setting".to_owned();
    // Asked for before the write: a node that is told about a network that is not there makes it.
    let now = dns(at).await?;
    if now.says_same(wanted) {
        return Ok(());
    }
    if !now.says_same(before) && now != *before {
        return Err(ApiError::Changed { what: what() });
    }
    let posted = post(at, None, &wanted.body(R::SHAPE)).await?;
    let found = dns(at).await.map(|now| if now.says_same(wanted) { Ok(()) } else { Err(now.to_string()) });
    settled(what(), &wanted.to_string(), posted, found)
}

/// The record that a fix is about.
async fn record(at: &impl Records, fix: Fix) -> Result<Value, ApiError> {
    match fix {
        Fix::Private | Fix::DropUnauthenticated => at.network_record().await,
        Fix::BridgeOff(id) => match member(at, id).await? {
            Some(member) => Ok(at_shape(at, json!({"activeBridge": member.active_bridge}))),
            None => Err(ApiError::UnknownMember(id, at.network())),
        },
    }
}

/// The ID is sent in lower case: a node finds a record by its number, and keeps the ID as the last write had it.
fn member_path(at: &impl Records, id: MemberId) -> String {
    format!("{}/member/{id}", at.network_path())
}

async fn member(at: &impl Records, id: MemberId) -> Result<Option<ControllerMember>, ApiError> {
    match at.find_member(&member_path(at, id)).await? {
        Some(other) if other.id != id => Err(ApiError::BadMember(other.id.to_string())),
        member => Ok(member),
    }
}

/// A member's settings as this kind of controller nests them.
fn at_shape<R: Records>(_: &R, settings: Value) -> Value {
    match R::SHAPE {
        Shape::SelfHosted => settings,
        Shape::Central => json!({"config": settings}),
    }
}

/// Writes to a member's record, or to the network's.
async fn post(at: &impl Records, member: Option<MemberId>, body: &Value) -> Result<Posted, ApiError> {
    let path = member.map_or_else(|| at.network_path(), |id| member_path(at, id));
    match at.post(&path, body).await? {
        Posted::NotFound => Err(why_not_found(at, member).await),
        posted => Ok(posted),
    }
}

/// Why a write found nothing to write to. A node that starts or stops says so for a moment of all that it has, and whoever
/// is not known need not be put out: so that is said only of a member that a whole list lacks.
async fn why_not_found(at: &impl Records, member: Option<MemberId>) -> ApiError {
    let found = at.network_record().await.err();
    let (None, Some(id)) = (&found, member) else {
        return found.unwrap_or(ApiError::NoNetwork(at.network()));
    };
    match at.whole().await {
        Ok(view) if view.members.iter().all(|member| member.id != id) => {
            ApiError::UnknownMember(id, at.network())
        }
        Ok(_) => ApiError::Unsure {
            what: format!("member {id}"),
            why: Box::new(ApiError::NoNetwork(at.network())),
        },
        Err(why) => why,
    }
}

/// Judges a write by what is there afterwards: `found` holds what was wanted, or what is there instead.
///
/// A write whose own answer went wrong still counts where it is seen to be done.
fn settled<T>(
    what: String,
    wanted: &str,
    posted: Posted,
    found: Result<Result<T, String>, ApiError>,
) -> Result<T, ApiError> {
    match (posted, found) {
        (_, Ok(Ok(done))) => Ok(done),
        (Posted::Open(why), _) | (_, Err(why)) => Err(ApiError::Unsure { what, why: Box::new(why) }),
        (_, Ok(Err(found))) => Err(ApiError::NotTaken { what, wanted: wanted.to_owned(), found }),
    }
}
