//! What the controller says and what we know, made into what holds from now on. Pure.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::config::Device;
use crate::identity::{Hazard, IdentityProof, Member};
use crate::model::{MemberId, MemberState};
use crate::store::{Admitted, AtController, Change, PinProof, StoredMember};
use crate::zerotier::{ControllerMember, ControllerView};

/// The outcome of a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Every member we know, ordered by ID; also those that the controller lists no more but that once were active.
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
///
/// With `first_start` every authorised member is adopted; after it only those in `devices` become active.
pub fn merge(
    view: &ControllerView,
    known: &[StoredMember],
    devices: &[Device],
    first_start: bool,
    now: Timestamp,
) -> Merged {
    let mut known: BTreeMap<MemberId, &StoredMember> =
        known.iter().map(|member| (member.id, member)).collect();
    let mut before = HashMap::new();
    let (mut members, mut alarms) = (Vec::new(), Vec::new());
    for seen in &view.members {
        let old = known.remove(&seen.id);
        before.extend(old.map(|old| (old.id, old.state)));
        let (member, alarm) = observe(seen, old, now);
        members.push(member);
        alarms.extend(alarm);
    }
    for old in known.into_values().filter(|old| old.admitted.is_some()) {
        before.insert(old.id, old.state);
        members.push(StoredMember { at_controller: AtController::Gone, ..old.clone() });
    }
    members.sort_by_key(|member| member.id);
    let changes = settle(&mut members, &before, devices, first_start, now);
    Merged { members, changes, alarms }
}

/// Applies a changed device list to what is known, without asking the controller.
pub fn readmit(known: &[StoredMember], devices: &[Device], now: Timestamp) -> Merged {
    let before = known.iter().map(|member| (member.id, member.state)).collect();
    let mut members = known.to_vec();
    let changes = settle(&mut members, &before, devices, false, now);
    Merged { members, changes, alarms: Vec::new() }
}

impl Merged {
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
            }
        }
        self.changes.retain(|change| change.to != MemberState::Active);
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
        version: seen.version.clone(),
        creation_time: seen.creation_time,
    };
    (member, alarm)
}

/// Moves every member to the state that follows, and tells what moved.
fn settle(
    members: &mut [StoredMember],
    before: &HashMap<MemberId, MemberState>,
    devices: &[Device],
    first_start: bool,
    now: Timestamp,
) -> Vec<Change> {
    let listed: HashMap<MemberId, &Device> = devices.iter().map(|device| (device.id, device)).collect();
    let mut changes = Vec::new();
    for member in members {
        let device = listed.get(&member.id).copied();
        let (state, admitted, why) = next(member, device.is_some(), first_start);
        let from = before.get(&member.id).copied();
        if from != Some(state) {
            changes.push(Change { time: now, member: member.id, from, to: state, why: why.to_owned() });
        }
        member.state = state;
        member.admitted = admitted.or(member.admitted);
    }
    changes
}

/// The lifecycle: where a member goes from where it stands, how it was let in if it is just now, and why.
fn next(
    member: &StoredMember,
    listed: bool,
    first_start: bool,
) -> (MemberState, Option<Admitted>, &'static str) {
    use AtController::{Authorized, Gone, Unauthorized};
    use MemberState::{Active, Expired, Pending, Revoked, Suspended};

    let let_in = match (listed, first_start) {
        (true, _) => {
            Some((Admitted::Listed, "listed in policy/devices.toml and authorised at the controller"))
        }
        (false, true) => {
            Some((Admitted::Adopted, "adopted at the first start: the controller had authorised it"))
        }
        (false, false) => None,
    };
    match (member.state, member.at_controller, let_in) {
        (Pending | Revoked, Authorized, Some((how, why))) => (Active, Some(how), why),
        (Revoked, Authorized, None) => {
            (Pending, None, "authorised again at the controller; waits to be admitted")
        }
        (Pending, Authorized, None) => (Pending, None, "authorised at the controller; waits to be admitted"),
        (same @ (Active | Suspended | Expired), Authorized, _) => (same, None, "as before"),
        (Pending, Unauthorized | Gone, _) if member.admitted.is_none() => {
            (Pending, None, "asks to join; not authorised at the controller")
        }
        (_, Unauthorized, _) => (Revoked, None, "deauthorised at the controller"),
        (_, Gone, _) => (Revoked, None, "deleted at the controller"),
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

/// What is known, with the names that the device list gives, as the roster has it.
pub(super) fn roster_members(known: &[StoredMember], devices: &[Device]) -> Vec<Member> {
    let named: HashMap<MemberId, &Device> = devices.iter().map(|device| (device.id, device)).collect();
    let members = known.iter().map(|member| {
        let device = named.get(&member.id);
        Member {
            id: member.id,
            state: member.state,
            proof: match (member.differs, member.proof) {
                (true, _) | (_, PinProof::Failed) => IdentityProof::Changed,
                (false, PinProof::Proven) => IdentityProof::Proven,
                (false, PinProof::Unproven) => IdentityProof::Unproven,
            },
            device: device.map(|device| device.name.clone()),
            owner: device.and_then(|device| device.owner.clone()),
            groups: device.map(|device| device.groups.clone()).unwrap_or_default(),
            label: member.label.clone(),
            assigned: member.assigned.clone(),
            active_bridge: member.active_bridge,
            version: member.version.clone(),
        }
    });
    members.collect()
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
