//! When a device's time is up, and when to say so before. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::{MemberId, MemberState};
use crate::store::{StoredMember, StoredRoster};

/// How long before its end a notice of it is given: the longest of these that leaves any time before the notice.
const LEADS: [Duration; 3] =
    [Duration::from_secs(24 * 60 * 60), Duration::from_secs(60 * 60), Duration::from_secs(10 * 60)];

/// When to give notice of an end that is set now. `None` if it is too near to be news.
pub fn notice_of(until: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let until = until?;
    LEADS.into_iter().filter_map(|lead| until.checked_sub(lead).ok()).find(|notice| *notice > now)
}

/// Whether it is time to say that a device expires soon.
pub fn is_due_notice(member: &StoredMember, own: Option<MemberId>, now: Timestamp) -> bool {
    member.state == MemberState::Active
        && own != Some(member.id)
        && member.notice.is_some_and(|notice| notice <= now)
}

/// The next moment at which a device expires or a notice of that is due. `own` is this machine's member, which never expires.
pub fn next_moment(known: &StoredRoster, own: Option<MemberId>) -> Option<Timestamp> {
    // Whoever is still to be let in has an end, too.
    let queued = |member: &StoredMember| known.outbox.get(&member.id).is_some_and(|intent| intent.authorize);
    let ending = known.members.iter().filter(|member| member.state == MemberState::Active || queued(member));
    let others = ending.filter(|member| own != Some(member.id));
    others.filter_map(|member| member.notice.or(member.profile.until)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_comes_well_before_the_end_and_never_at_once() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        for (lent, notice) in [
            ("2026-03-08T12:00:00Z", Some("2026-03-07T12:00:00Z")),
            ("2026-03-02T12:00:00Z", Some("2026-03-02T11:00:00Z")),
            ("2026-03-01T14:00:00Z", Some("2026-03-01T13:00:00Z")),
            ("2026-03-01T12:30:00Z", Some("2026-03-01T12:20:00Z")),
            ("2026-03-01T12:05:00Z", None),
        ] {
            let due = notice_of(lent.parse().ok(), now);
            assert_eq!(due, notice.map(|notice| notice.parse().unwrap()), "{lent}");
        }
        assert_eq!(notice_of(None, now), None);
    }
}
