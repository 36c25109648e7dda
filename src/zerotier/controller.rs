//! What a controller says about a network and what it is told, whichever kind of controller it is.

use std::collections::HashSet;
use std::net::IpAddr;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::{ApiError, Forward, NetworkDns, Proposal};
use crate::model::{MemberId, NetworkId};

/// A network's controller, to be asked about that one network, and to be told.
///
/// Every write is read back and compared, for controllers drop bad values in silence and answer before all is done. A
/// repeated write changes nothing. Members are never deleted, because a controller then forgets their full identity.
pub trait Controller: Send + Sync {
    /// `local` or `central`.
    fn name(&self) -> &'static str;

    /// The network and all its members as of now.
    ///
    /// # Errors
    /// Every answer that is not whole and plausible; see [`ApiError`]. The caller then keeps what it has.
    fn view(&self) -> BoxFuture<'_, Result<ControllerView, ApiError>>;

    /// Authorises a member, or takes that back, and returns its record as it is then. A member that the controller has
    /// never heard of gets a record, so that it is let in when it comes. Addresses may be assigned only a moment later.
    ///
    /// # Errors
    /// [`ApiError::Unsure`] where it may have been done all the same, [`ApiError::NotTaken`] where it was not;
    /// [`ApiError::Busy`] says when to come back. After any other nothing was changed.
    fn set_authorized(
        &self,
        member: MemberId,
        authorized: bool,
    ) -> BoxFuture<'_, Result<ControllerMember, ApiError>>;

    /// The changes that would make the network's settings safe; none if they are.
    ///
    /// # Errors
    /// As [`Controller::view`].
    fn propose(&self) -> BoxFuture<'_, Result<Vec<Proposal>, ApiError>>;

    /// Makes a change that was proposed, if it still is what it was; one that is already made is left alone.
    ///
    /// # Errors
    /// [`ApiError::Changed`] where somebody else changed the setting meanwhile; and as [`Controller::set_authorized`].
    fn apply<'a>(&'a self, proposal: &'a Proposal) -> BoxFuture<'a, Result<(), ApiError>>;

    /// What members are told about DNS.
    ///
    /// # Errors
    /// As [`Controller::view`].
    fn dns(&self) -> BoxFuture<'_, Result<NetworkDns, ApiError>>;

    /// Has members told this about DNS, if the setting is still `before`; one that says the same already is left alone.
    ///
    /// # Errors
    /// [`ApiError::Changed`] where somebody else changed the setting meanwhile; and as [`Controller::set_authorized`].
    fn set_dns<'a>(
        &'a self,
        before: &'a NetworkDns,
        wanted: &'a NetworkDns,
    ) -> BoxFuture<'a, Result<(), ApiError>>;
}

/// A network as its controller knows it at one moment; whole, never empty, each member once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerView {
    pub network: NetworkId,
    pub members: Vec<ControllerMember>,
    /// Anybody may join, and deauthorising does nothing.
    pub public: bool,
    /// The rules that hand frames to somebody.
    pub forwards: Vec<Forward>,
}

/// A member as the controller knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerMember {
    pub id: MemberId,
    pub authorized: bool,
    /// `ID:0:KEY`, not proved to be the member's. Absent until the controller has heard from the member.
    pub identity: Option<String>,
    /// What the controller calls it; without control characters, 100 characters at most.
    pub label: Option<String>,
    /// Managed addresses. ZeroTier may assign one to two members.
    pub assigned: Vec<IpAddr>,
    pub active_bridge: bool,
    /// Tells a record apart from one that was deleted and made again.
    pub creation_time: Option<Timestamp>,
    /// Moves with changes, and starts again at 1 in a record that was made again: compare with `!=`.
    pub revision: Option<i64>,
    pub version: Option<String>,
    /// When it was last heard, by the controller's clock: Central's `lastSeen`, and of a controller on another machine's node
    /// what that node says of whom it talks to, for whoever asks to join asks it. `None` where nobody said.
    pub last_seen: Option<Timestamp>,
    /// Where on the internet it was last heard from, by the same word.
    pub physical: Option<IpAddr>,
}

impl ControllerView {
    pub(super) fn checked(self) -> Result<Self, ApiError> {
        if self.members.is_empty() {
            return Err(ApiError::NoMembers);
        }
        let mut seen = HashSet::new();
        match self.members.iter().find(|member| !seen.insert(member.id)) {
            Some(twice) => Err(ApiError::TwiceMember(twice.id)),
            None => Ok(self),
        }
    }
}

/// A member's ID in any of the fields that may hold it; all that are there must agree.
pub(super) fn member_id(fields: &[&Option<String>]) -> Result<MemberId, ApiError> {
    let mut texts = fields.iter().filter_map(|field| field.as_deref());
    let bad = |text: &str| ApiError::BadMember(text.chars().take(40).collect());
    let first = texts.next().ok_or_else(|| bad(""))?;
    let id = first.parse().map_err(|_| bad(first))?;
    match texts.find(|text| text.parse() != Ok(id)) {
        Some(other) => Err(bad(other)),
        None => Ok(id),
    }
}
