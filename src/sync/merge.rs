//! What the controller says and what we know, made into what holds from now on. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;

use super::expiry::notice_of;
use crate::config::{Device, SyncMode};
use crate::identity::{Hazard, IdentityProof, Member};
use crate::model::{MemberId, MemberState, Moment};
use crate::store::{Admitted, AtController, Change, PinProof, StoredMember};
use crate::zerotier::{ControllerMember, ControllerView};

impl Alarm {
    pub fn member(&self) -> MemberId {
        match self {
            Self::OtherIdentity { member, .. } | Self::NotItsIdentity { member, .. } => *member,
        }
    }
}

/// By what a merge judges.
#[derive(Clone, Copy)]
pub struct Ruling<'a> {
    /// No roster was ever kept: whoever is authorised is adopted.
    pub first_start: bool,
    /// What becomes of those whom somebody else authorises.
    pub mode: &'a SyncMode,
    /// Members about whom the answer may be older than what we told the controller: nothing follows from it.
    pub shielded: &'a dyn Fn(MemberId) -> bool,
    pub now: Timestamp,
}

/// The outcome of a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Every member we know, ordered by ID; also those that the controller lists no more.
    pub members: Vec<StoredMember>,
    /// The changes of state on the way, for the control log.
    pub changes: Vec<Change>,
    /// What a person must hear about, each once.
    pub alarms: Vec<Alarm>,
}

/// A member whose identity is not to be trusted any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    #[error(
        "member {member}: the controller shows another public identity than the one pinned at first sight; it is refused \
         (identity-changed) until the controller shows the pinned one again. Pinned: {pinned} Shown: {shown}"
    )]
    OtherIdentity { member: MemberId, pinned: String, shown: String },
    #[error("member {member}: its public identity is not its own ({why}); it is refused (identity-changed)")]
    NotItsIdentity { member: MemberId, why: String },
}

/// Merges a controller's whole answer into what is known.
pub fn merge(view: &ControllerView, known: &[StoredMember], ruling: Ruling<'_>) -> Merged {
    let now = ruling.now;
    let mut known: BTreeMap<MemberId, &StoredMember> =
        known.iter().map(|member| (member.id, member)).collect();
    let (mut members, mut changes, mut alarms) = (Vec::new(), Vec::new(), Vec::new());
    for seen in &view.members {
        let old = known.remove(&seen.id);
        let (mut member, alarm) = observe(seen, old, now);
        alarms.extend(alarm);
        changes.extend(settle(&mut member, old, ruling));
        members.push(member);
    }
    for old in known.into_values() {
        let mut member = StoredMember { at_controller: AtController::Gone, ..old.clone() };
        changes.extend(settle(&mut member, Some(old), ruling));
        members.push(member);
    }
    members.sort_by_key(|member| member.id);
    Merged { members, changes, alarms }
}

impl Merged {
    /// Whether somebody who was let in is not any more.
    pub fn shrinks(&self) -> bool {
        let was_in = |change: &Change| change.from == Some(MemberState::Active);
        !self.alarms.is_empty() || self.changes.iter().any(|c| was_in(c) && c.to != MemberState::Active)
    }

    /// The same without any right that is new, for when the store cannot take it: rights widen only once that is on
    /// disk, and shrink at once.
    pub fn without_new_rights(mut self, known: &[StoredMember]) -> Self {
        let known: HashMap<MemberId, &StoredMember> =
            known.iter().map(|member| (member.id, member)).collect();
        for member in self.members.iter_mut().filter(|member| member.state == MemberState::Active) {
            let old = known.get(&member.id);
            if old.is_none_or(|old| old.state != MemberState::Active) {
                member.state = old.map_or(MemberState::Pending, |old| old.state);
                member.admitted = old.and_then(|old| old.admitted);
                member.profile = old.map(|old| old.profile.clone()).unwrap_or_default();
            }
        }
        // What is noted of one who stays active is no right.
        self.changes.retain(|change| change.to != MemberState::Active || change.from == Some(change.to));
        self
    }
}

/// What the controller says of one member, with the pin that it cannot move.
fn observe(
    seen: &ControllerMember,
    old: Option<&StoredMember>,
    now: Timestamp,
) -> (StoredMember, Option<Alarm>) {
    let (mut identity, mut proof, mut differs, mut alarm) = match old {
        Some(old) => (old.identity.clone(), old.proof, old.differs, None),
        None => (None, PinProof::Unproven, false, None),
    };
    match (&identity, &seen.identity) {
        (_, None) => {}
        (Some(pinned), Some(shown)) if pinned == shown => differs = false,
        // A pin that cannot be the member's protects nothing; nobody was ever let in by it.
        (Some(_), Some(shown)) if proof == PinProof::Failed => {
            (identity, proof, differs) = (Some(shown.clone()), PinProof::Unproven, false);
        }
        (Some(pinned), Some(shown)) => {
            if !differs {
                let (pinned, shown) = (pinned.clone(), shown.chars().take(200).collect());
                alarm = Some(Alarm::OtherIdentity { member: seen.id, pinned, shown });
            }
            differs = true;
        }
        (None, Some(shown)) => identity = Some(shown.clone()),
    }
    let member = StoredMember {
        id: seen.id,
        state: old.map_or(MemberState::Pending, |old| old.state),
        at_controller: if seen.authorized { AtController::Authorized } else { AtController::Unauthorized },
        identity,
        proof,
        differs,
        admitted: old.and_then(|old| old.admitted),
        first_seen: old.map_or(now, |old| old.first_seen),
        label: seen.label.clone(),
        assigned: seen.assigned.clone(),
        active_bridge: seen.active_bridge,
        version: seen.version.clone().or_else(|| old.and_then(|old| old.version.clone())),
        // An answer without it must not hide that the record was made again.
        creation_time: seen.creation_time.or(old.and_then(|old| old.creation_time)),
        profile: old.map(|old| old.profile.clone()).unwrap_or_default(),
        notice: old.and_then(|old| old.notice),
    };
    (member, alarm)
}

/// Moves a member to the state that follows, and tells if it moved.
fn settle(member: &mut StoredMember, old: Option<&StoredMember>, ruling: Ruling<'_>) -> Option<Change> {
    let from = old.map(|old| old.state);
    let Next { state, admitted, why, who } = match old {
        Some(old) if (ruling.shielded)(member.id) => {
            member.at_controller = old.at_controller;
            member.creation_time = old.creation_time;
            return None;
        }
        _ => next(member, old, ruling),
    };
    if let (Some(Admitted::Followed), SyncMode::Follow { group }) = (admitted, ruling.mode)
        && member.profile.groups.is_empty()
    {
        member.profile.groups = vec![group.clone()];
    }
    member.state = state;
    member.admitted = admitted.or(member.admitted);
    (from != Some(state)).then(|| Change {
        time: ruling.now,
        member: member.id,
        from,
        to: state,
        why: why.to_owned(),
        who: who.to_owned(),
        // Which controller said so, the task knows.
        origin: None,
    })
}

/// Where a member goes from where it stands.
struct Next {
    state: MemberState,
    /// How it was let in, if it is just now.
    admitted: Option<Admitted>,
    why: &'static str,
    who: &'static str,
}

/// What follows from the controller's word. The smaller right wins, and nothing widens by itself but what the mode lets
/// follow.
fn next(member: &StoredMember, old: Option<&StoredMember>, ruling: Ruling<'_>) -> Next {
    use AtController::{Authorized, Gone, Unauthorized};
    use MemberState::{Active, Expired, Pending, Revoked, Suspended};

    let by_controller = |state, why| Next { state, admitted: None, why, who: "controller" };
    let was_gone = old.is_some_and(|old| old.at_controller == Gone);
    // Another record of the same ID: the one that was admitted was deleted. No tolerance, and not only later times: a record
    // made again within it, or by a clock that was set back, would be taken for the one that was admitted.
    let is_remade = old.is_some_and(|old| {
        old.creation_time.is_some()
            && member.creation_time.is_some()
            && old.creation_time != member.creation_time
    });
    match (member.state, member.at_controller) {
        (Pending | Revoked, Authorized) if ruling.first_start => Next {
            state: Active,
            admitted: Some(Admitted::Adopted),
            why: "adopted at the first start: the controller had authorised it",
            who: "ztgate",
        },
        // What a person took back here, nobody gives again elsewhere.
        (Pending, Authorized)
            if member.admitted.is_none() && matches!(ruling.mode, SyncMode::Follow { .. }) =>
        {
            Next {
                state: Active,
                admitted: Some(Admitted::Followed),
                why: "authorised at the controller, which is followed",
                who: "controller",
            }
        }
        (Revoked, Authorized) => {
            by_controller(Pending, "authorised again at the controller; waits to be admitted")
        }
        (Pending, Authorized) => by_controller(Pending, "authorised at the controller; waits to be admitted"),
        (Active, Authorized) if is_remade => by_controller(
            Pending,
            "deleted at the controller, and made and authorised again; waits to be admitted",
        ),
        (Active, Authorized) => by_controller(Active, "as before"),
        (same @ (Suspended | Expired), _) => by_controller(same, "as before"),
        (Pending, Unauthorized | Gone) if member.admitted.is_none() => {
            by_controller(Pending, "asks to join; not authorised at the controller")
        }
        (Revoked, Unauthorized | Gone) => by_controller(Revoked, "as before"),
        (_, Unauthorized) => by_controller(Revoked, "deauthorised at the controller"),
        // One list may lack a member by mistake; a second one says it was deleted.
        (Active, Gone) if !was_gone => by_controller(Active, "as before"),
        (_, Gone) => by_controller(Revoked, "deleted at the controller"),
    }
}

/// Takes over a device list from before devices were kept in the store: what it says of those that have no name yet.
pub(super) fn take_list(members: &mut [StoredMember], devices: &[Device], now: Timestamp) {
    let listed: HashMap<MemberId, &Device> = devices.iter().map(|device| (device.id, device)).collect();
    for member in members.iter_mut().filter(|member| member.profile.name.is_none()) {
        if let Some(device) = listed.get(&member.id) {
            member.profile.name = Some(device.name.clone());
            member.profile.owner.clone_from(&device.owner);
            member.profile.groups.clone_from(&device.groups);
            member.profile.notes.clone_from(&device.notes);
            member.profile.until = device.until;
            member.notice = notice_of(device.until, now);
        }
    }
}

/// The settings that void all proof of identity. A gateway whose own ID is not known takes every forward as its own.
pub(super) fn redirects(view: &ControllerView, gateway: Option<MemberId>) -> Vec<String> {
    view.forwards.iter().filter(|f| f.may_reach(gateway)).map(|f| f.rule.clone()).collect()
}

/// All hazards of what is known. A deauthorised bridge counts too: it may go on for as long as its certificate lasts.
pub(super) fn hazards(public: bool, redirects: &[String], members: &[StoredMember]) -> Vec<Hazard> {
    let bridges =
        members.iter().filter(|member| member.active_bridge && member.at_controller != AtController::Gone);
    let mut hazards: Vec<Hazard> =
        redirects.iter().map(|rule| Hazard::Redirect { rule: rule.clone() }).collect();
    hazards.extend(bridges.map(|member| Hazard::ActiveBridge { member: member.id }));
    if public {
        hazards.push(Hazard::Public);
    }
    hazards
}

/// A member as the roster has it. `clock` is one moment on both clocks.
pub(super) fn roster_member(member: &StoredMember, clock: (Timestamp, Moment)) -> Member {
    let (now, moment) = clock;
    let until = |until: Timestamp| {
        let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        moment + left
    };
    Member {
        id: member.id,
        state: member.state,
        proof: match (member.differs, member.proof) {
            (true, _) | (_, PinProof::Failed) => IdentityProof::Changed,
            (false, PinProof::Proven) => IdentityProof::Proven,
            (false, PinProof::Unproven) => IdentityProof::Unproven,
        },
        device: member.profile.name.clone(),
        owner: member.profile.owner.clone(),
        groups: member.profile.groups.clone(),
        until: member.profile.until.map(until),
        label: member.label.clone(),
        assigned: member.assigned.clone(),
        active_bridge: member.active_bridge,
        version: member.version.clone(),
    }
}

/// The pinned identities that are still to be proved, those of active members first.
pub(super) fn to_prove(known: &[StoredMember]) -> Vec<(MemberId, &str)> {
    let mut open: Vec<&StoredMember> =
        known.iter().filter(|member| member.proof == PinProof::Unproven).collect();
    open.sort_by_key(|member| {
        (member.state != MemberState::Active, member.at_controller != AtController::Authorized)
    });
    open.into_iter().filter_map(|member| Some((member.id, member.identity.as_deref()?))).collect()
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
