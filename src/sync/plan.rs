//! How gateway and controller differ, and what is done about it. Pure.
//!
//! The controller is to authorise exactly the devices that are active here. What a person ordered is done; what somebody
//! else changed is undone in `enforce` alone.

use std::collections::{BTreeMap, HashMap};

use crate::config::SyncMode;
use crate::model::{MemberId, MemberState};
use crate::store::{ChangeOrigin, Intent, StoredMember, StoredRoster};
use crate::zerotier::ControllerView;

use super::lifecycle::called;
use super::order::{Difference, Step};

/// Every difference, ordered by member. Empty once gateway and controller are in step; applying its steps makes it so, but
/// for what is left to a person. This machine's own member is nobody to decide about.
pub fn plan(
    known: &StoredRoster,
    view: &ControllerView,
    mode: &SyncMode,
    own: Option<MemberId>,
) -> Vec<Difference> {
    let authorized: HashMap<MemberId, bool> =
        view.members.iter().map(|member| (member.id, member.authorized)).collect();
    let look = |member: &StoredMember| {
        let authorized = authorized.get(&member.id).copied().unwrap_or(false);
        let (step, why) = step(member, authorized, known.outbox.get(&member.id), mode)?;
        let (here, name) = (member.state, member.profile.name.clone());
        Some(Difference { member: member.id, name, here, authorized, step, why })
    };
    known.members.iter().filter(|member| Some(member.id) != own).filter_map(look).collect()
}

fn step(
    member: &StoredMember,
    authorized: bool,
    intent: Option<&Intent>,
    mode: &SyncMode,
) -> Option<(Step, String)> {
    if let Some(intent) = intent {
        // To tell the controller what it knows already costs nothing, and shows that it does.
        let step = if intent.authorize { Step::Authorize } else { Step::Deauthorize };
        return Some((step, format!("{} wants it since {:.0}", intent.who, intent.since)));
    }
    let wanted = member.state == MemberState::Active;
    if wanted == authorized {
        return None;
    }
    let called = called(member);
    Some(match (wanted, mode) {
        (true, _) => (Step::Leave, "the next look revokes it here, too".to_owned()),
        (false, SyncMode::Enforce) => (Step::Deauthorize, "sync = \"enforce\"".to_owned()),
        (false, _) if member.state == MemberState::Pending => (
            Step::Leave,
            format!("somebody else authorised it: ztgate admit {}, or ztgate revoke {called}", member.id),
        ),
        (false, _) => (
            Step::Leave,
            format!("somebody else authorised it: ztgate restore {called}, or ztgate revoke {called}"),
        ),
    })
}

/// Whether `enforce` would put out more at once than it does by itself: a store from an old backup knows less than the
/// controller, and must not throw a house off its network.
pub fn is_too_much(put_out: usize, authorized: usize) -> bool {
    put_out > 2 && put_out * 3 > authorized
}

/// What `enforce` adds to what the controller is to be told. Nothing else tells it anything by itself, and nothing at all
/// ever authorises by itself.
pub fn enforced(
    differences: &[Difference],
    outbox: &BTreeMap<MemberId, Intent>,
    now: jiff::Timestamp,
) -> BTreeMap<MemberId, Intent> {
    let new = differences.iter().filter(|difference| difference.step == Step::Deauthorize);
    new.filter(|difference| !outbox.contains_key(&difference.member))
        .map(|difference| {
            let who = "ztgate (sync = \"enforce\")".to_owned();
            let origin = Some(ChangeOrigin::Config);
            (difference.member, Intent { authorize: false, since: now, who, origin })
        })
        .collect()
}
