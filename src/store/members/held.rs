//! Rights that were taken back and that `members.db` does not know of yet, in words of their own. Pure.
//!
//! Applied to what the database says, they only ever make rights smaller, whatever database that is: of two words about a
//! device the smaller one holds.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::types::{Admitted, Change, Intent, StoredMember, StoredRoster};
use crate::model::{Label, MemberId, MemberState, NetworkId};

/// What is known beyond the database, as far as it takes something from somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    network: NetworkId,
    members: Vec<HeldMember>,
    /// How that came about, for the history.
    pub changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct HeldMember {
    id: MemberId,
    state: MemberState,
    groups: Vec<Label>,
    until: Option<Timestamp>,
    notice: Option<Timestamp>,
    /// What the controller is to be told.
    intent: Option<Intent>,
}

/// What the database says.
#[derive(Debug, Default)]
pub(super) struct OnDisk {
    pub members: HashMap<MemberId, StoredMember>,
    pub outbox: BTreeMap<MemberId, Intent>,
}

impl Held {
    /// Where what is known differs from what is on disk, with the changes that tell of it.
    pub fn of(known: &StoredRoster, disk: &OnDisk, changes: &[Change]) -> Self {
        let differs = |member: &&StoredMember| {
            let intent = known.outbox.get(&member.id);
            let said = |m: &StoredMember| (m.state, m.profile.groups.clone(), m.profile.until);
            let before = disk.members.get(&member.id);
            let is_new = before.is_none() && member.state != MemberState::Pending;
            is_new
                || before.is_some_and(|before| said(before) != said(member))
                || disk.outbox.get(&member.id) != intent
        };
        let held = |member: &StoredMember| HeldMember {
            id: member.id,
            state: member.state,
            groups: member.profile.groups.clone(),
            until: member.profile.until,
            notice: member.notice,
            intent: known.outbox.get(&member.id).cloned(),
        };
        let members: Vec<HeldMember> = known.members.iter().filter(differs).map(held).collect();
        let is_held = |change: &&Change| members.iter().any(|member| member.id == change.member);
        let changes = changes.iter().filter(is_held).cloned().collect();
        Self { network: known.network, members, changes }
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn is_about(&self, network: NetworkId) -> bool {
        self.network == network
    }

    /// The smaller right of both, for every device; and a device that the database does not know, if it was put out.
    pub fn narrow(&self, roster: &mut StoredRoster) {
        for held in &self.members {
            let place = match roster.members.binary_search_by_key(&held.id, |member| member.id) {
                Ok(place) => place,
                Err(_) if matches!(held.state, MemberState::Active | MemberState::Pending) => continue,
                Err(place) => {
                    let member = StoredMember::unheard(held.id, roster.taken);
                    roster.members.insert(place, member);
                    place
                }
            };
            held.narrow(&mut roster.members[place]);
            match &held.intent {
                Some(intent) if !intent.authorize => _ = roster.outbox.insert(held.id, intent.clone()),
                // To let somebody in is on disk before anybody hears of it: this one is what the database has.
                Some(_) => {}
                None if roster.outbox.get(&held.id).is_some_and(|intent| intent.authorize) => {
                    roster.outbox.remove(&held.id);
                }
                None => {}
            }
        }
    }
}

impl HeldMember {
    fn narrow(&self, member: &mut StoredMember) {
        use MemberState::{Active, Pending};
        match (member.state, self.state) {
            (_, Active) => {}
            // Who waits may be let in by the controller's word alone (`follow`); who was put out may not.
            (before, Pending) if before != Active => {}
            (_, out) => {
                member.state = out;
                member.admitted.get_or_insert(Admitted::SentAway);
            }
        }
        member.profile.groups.retain(|group| self.groups.contains(group));
        if let Some(until) = self.until.filter(|until| member.profile.until.is_none_or(|old| *until < old)) {
            (member.profile.until, member.notice) = (Some(until), self.notice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MemberState::{Active, Expired, Pending, Revoked, Suspended};

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn intent(authorize: bool) -> Intent {
        Intent { authorize, since: time("2026-03-01T12:00:00Z"), who: "mum".to_owned(), origin: None }
    }

    fn roster(state: MemberState, authorize: Option<bool>) -> StoredRoster {
        let taken = time("2026-03-01T12:00:00Z");
        let id = "c4c8812898".parse().unwrap();
        let mut member = StoredMember { state, ..StoredMember::unheard(id, taken) };
        member.profile.groups = vec!["family".parse().unwrap(), "music".parse().unwrap()];
        StoredRoster {
            network: "5e02d9cb41c0ffee".parse().unwrap(),
            taken,
            public: false,
            redirects: Vec::new(),
            listed: true,
            members: vec![member],
            outbox: authorize.map(|authorize| (id, intent(authorize))).into_iter().collect(),
        }
    }

    fn disk(roster: &StoredRoster) -> OnDisk {
        let members = roster.members.iter().map(|member| (member.id, member.clone())).collect();
        OnDisk { members, outbox: roster.outbox.clone() }
    }

    /// Written as it would be on a disk.
    fn held(known: &StoredRoster, before: &StoredRoster) -> Held {
        let held = Held::of(known, &disk(before), &[]);
        serde_json::from_slice(&serde_json::to_vec(&held).unwrap()).unwrap()
    }

    #[test]
    fn what_was_taken_back_is_what_holds() {
        let out = [(Active, Revoked), (Active, Suspended), (Active, Expired), (Pending, Revoked)];
        for (before, after) in out {
            for (queued, told) in [(Some(true), Some(false)), (Some(true), None), (None, Some(false))] {
                let (mut on_disk, known) = (roster(before, queued), roster(after, told));
                held(&known, &on_disk).narrow(&mut on_disk);
                assert_eq!(on_disk.members[0].state, after, "{before} -> {after}");
                assert_eq!(on_disk.outbox, known.outbox, "{before} -> {after}, {queued:?} -> {told:?}");
                assert_ne!(on_disk.members[0].admitted, None, "nobody who waits: {before} -> {after}");
            }
        }
    }

    #[test]
    fn groups_and_ends_are_the_smaller_of_both() {
        let before = roster(Active, None);
        let mut known = before.clone();
        known.members[0].profile.groups.remove(0);
        known.members[0].profile.until = Some(time("2026-04-01T12:00:00Z"));
        known.members[0].notice = Some(time("2026-03-31T12:00:00Z"));
        let held = held(&known, &before);
        let mut on_disk = before.clone();
        held.narrow(&mut on_disk);
        assert_eq!(on_disk, known);
        // A backup that knows of an earlier end and of fewer groups.
        let mut on_disk = before;
        on_disk.members[0].profile.groups.pop();
        on_disk.members[0].profile.until = Some(time("2026-03-20T12:00:00Z"));
        held.narrow(&mut on_disk);
        assert_eq!(on_disk.members[0].profile.groups, []);
        assert_eq!(on_disk.members[0].profile.until, Some(time("2026-03-20T12:00:00Z")));
    }

    #[test]
    fn whatever_the_database_says_nobody_is_let_in_and_nobody_is_to_be() {
        let states = [Pending, Active, Suspended, Expired, Revoked];
        let told = [None, Some(false), Some(true)];
        let all = || states.iter().flat_map(|state| told.iter().map(|told| roster(*state, *told)));
        for known in all() {
            for before in all() {
                for mut database in all() {
                    let was = database.clone();
                    held(&known, &before).narrow(&mut database);
                    let (old, new) = (&was.members[0], &database.members[0]);
                    let told = |roster: &StoredRoster| roster.outbox.values().any(|intent| intent.authorize);
                    let case = format!("{known:?} over {was:?}");
                    assert!(new.state == old.state || new.state != Active, "{case}");
                    assert!(new.state == old.state || new.state != Pending || old.state == Active, "{case}");
                    assert!(!told(&database) || told(&was), "{case}");
                }
            }
        }
    }

    #[test]
    fn a_stranger_who_was_sent_away_stays_away_and_one_who_only_knocked_is_nobody() {
        let (mut empty, known) = (roster(Pending, None), roster(Revoked, Some(false)));
        empty.members.clear();
        let before = empty.clone();
        held(&known, &before).narrow(&mut empty);
        assert_eq!(empty.members[0].state, Revoked);
        assert_eq!(empty.members[0].admitted, Some(Admitted::SentAway));
        assert!(held(&roster(Pending, None), &before).is_empty());
    }
}
