//! Strangers who knocked once, were never let in, and whom the controller lists no more: how many of them are remembered. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{MemberId, MemberState};
use crate::store::{AtController, Intent, Profile, StoredMember};

/// Anybody can make identities and ask to join, so of those who are gone this many are remembered, those who came last, and
/// none that came longer ago. Whom the controller lists is remembered as long as it does: it would be news again at each look.
const MOST: usize = 1_000;
const FOR: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Drops from `members` the strangers that are too many, and tells who they were. `before` is what was known: one list may
/// lack a member by mistake.
pub fn strangers(
    members: &mut Vec<StoredMember>,
    before: &[StoredMember],
    outbox: &BTreeMap<MemberId, Intent>,
    now: Timestamp,
) -> BTreeSet<MemberId> {
    let were_gone: BTreeSet<MemberId> =
        before.iter().filter(|member| member.at_controller == AtController::Gone).map(|m| m.id).collect();
    let mut gone: Vec<(Timestamp, MemberId)> = members
        .iter()
        .filter(|m| is_stranger(m) && were_gone.contains(&m.id) && !outbox.contains_key(&m.id))
        .map(|member| (member.first_seen, member.id))
        .collect();
    gone.sort_unstable();
    gone.reverse();
    let is_old = |came: Timestamp| Duration::try_from(now.duration_since(came)).is_ok_and(|age| age > FOR);
    let too_many = gone.into_iter().enumerate().filter(|(place, (came, _))| *place >= MOST || is_old(*came));
    let dropped: BTreeSet<MemberId> = too_many.map(|(_, (_, id))| id).collect();
    if !dropped.is_empty() {
        members.retain(|member| !dropped.contains(&member.id));
    }
    dropped
}

/// Nobody ever let it in, sent it away, or said anything of it; and the controller does not list it.
fn is_stranger(member: &StoredMember) -> bool {
    member.state == MemberState::Pending
        && member.admitted.is_none()
        && member.at_controller == AtController::Gone
        && member.profile == Profile::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-06-01T12:00:00Z";

    fn gone(id: u64, came: &str) -> StoredMember {
        StoredMember::unheard(format!("{id:010x}").parse().unwrap(), came.parse().unwrap())
    }

    fn left(members: Vec<StoredMember>, outbox: &BTreeMap<MemberId, Intent>) -> Vec<StoredMember> {
        let mut left = members.clone();
        let dropped = strangers(&mut left, &members, outbox, NOW.parse().unwrap());
        assert_eq!(dropped.len(), members.len() - left.len());
        left
    }

    #[test]
    fn the_last_thousand_are_remembered() {
        let flood = (1..=3_000).map(|id| {
            let hour = Duration::from_secs(3600);
            StoredMember {
                first_seen: NOW.parse::<Timestamp>().unwrap() - hour * (3_001 - id) / 2,
                ..gone(id.into(), NOW)
            }
        });
        let left = left(flood.collect(), &BTreeMap::new());
        assert_eq!(left.len(), MOST);
        assert_eq!(left[0].id.to_string(), format!("{:010x}", 2_001));
    }

    #[test]
    fn only_who_is_nothing_to_anybody_is_forgotten() {
        let old = || gone(1, "2026-01-01T12:00:00Z");
        let none = BTreeMap::new();
        assert_eq!(left(vec![old()], &none), []);
        assert_eq!(left(vec![gone(1, "2026-05-01T12:00:00Z")], &none).len(), 1);
        let named = Profile { name: "tablet".parse().ok(), ..Profile::default() };
        for known in [
            StoredMember { profile: named, ..old() },
            StoredMember { state: MemberState::Revoked, ..old() },
            StoredMember { admitted: Some(crate::store::Admitted::SentAway), ..old() },
            StoredMember { at_controller: AtController::Unauthorized, ..old() },
        ] {
            assert_eq!(left(vec![known.clone()], &none), [known]);
        }
        let intent =
            Intent { authorize: true, since: NOW.parse().unwrap(), who: "mum".to_owned(), origin: None };
        assert_eq!(left(vec![old()], &BTreeMap::from([(old().id, intent)])).len(), 1);
    }

    #[test]
    fn one_list_that_lacks_a_stranger_makes_nobody_forget_it() {
        let now = gone(1, "2026-01-01T12:00:00Z");
        let before = StoredMember { at_controller: AtController::Unauthorized, ..now.clone() };
        let mut members = vec![now];
        strangers(&mut members, &[before], &BTreeMap::new(), NOW.parse().unwrap());
        assert_eq!(members.len(), 1);
    }
}
