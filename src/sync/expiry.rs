//! When a device's time is up, and when to say so before. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::MemberState;
use crate::store::{StoredMember, StoredRoster};

/// Whether it is time to say that a device expires soon: `lead` before its end, and each end once.
pub fn is_due_notice(member: &StoredMember, now: Timestamp, lead: Duration) -> bool {
    member.state == MemberState::Active && notice_at(member, lead).is_some_and(|at| at <= now)
}

fn notice_at(member: &StoredMember, lead: Duration) -> Option<Timestamp> {
    let until = member.profile.until.filter(|until| member.noticed != Some(*until))?;
    until.checked_sub(lead).ok()
}

/// The next moment at which a device expires or a notice of that is due.
pub fn next_moment(known: &StoredRoster, lead: Duration) -> Option<Timestamp> {
    let active = known.members.iter().filter(|member| member.state == MemberState::Active);
    active.filter_map(|member| notice_at(member, lead).or(member.profile.until)).min()
}
