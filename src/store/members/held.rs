//! Rights that were taken back and that `members.db` does not know of yet, in words of their own. Pure.
//!
//! Applied to what the database says, they only ever make rights smaller, whatever database that is: of two words about a
//! device the smaller one holds. What makes an origin doubtful is among them, for it takes something from everybody.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::types::{Admitted, AtController, Change, Intent, PinProof, StoredMember, StoredRoster};
use crate::model::{Label, MemberId, MemberState, NetworkId};

/// What is known beyond the database, as far as it takes something from somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    network: NetworkId,
    /// The network is public.
    public: bool,
    /// More rules that hand frames to the gateway.
    redirects: Vec<String>,
    members: Vec<HeldMember>,
    /// What happened, for the history, whoever it is about.
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
    /// Somebody let it in or sent it away once, so the controller's word alone never lets it in.
    decided: bool,
    /// The public identity that was seen first.
    identity: Option<String>,
    /// The controller shows another one.
    differs: bool,
    /// The controller lists it, and as one that may bridge.
    bridges: bool,
}

/// What the database says.
#[derive(Debug, Default)]
pub(super) struct OnDisk {
    pub public: bool,
    pub redirects: Vec<String>,
    pub members: HashMap<MemberId, StoredMember>,
    pub outbox: BTreeMap<MemberId, Intent>,
}

impl OnDisk {
    /// A roster that was just read or written.
    pub fn of(roster: &StoredRoster) -> Self {
        Self {
            public: roster.public,
            redirects: roster.redirects.clone(),
            members: roster.members.iter().map(|member| (member.id, member.clone())).collect(),
            outbox: roster.outbox.clone(),
        }
    }
}

impl Held {
    /// Where what is known differs from what is on disk, with the changes that are not there.
    pub fn of(known: &StoredRoster, disk: &OnDisk, changes: &[Change]) -> Self {
        let held = |member: &StoredMember| HeldMember {
            id: member.id,
            state: member.state,
            groups: member.profile.groups.clone(),
            until: member.profile.until,
            notice: member.notice,
            intent: known.outbox.get(&member.id).cloned(),
            decided: member.admitted.is_some(),
            identity: member.identity.clone(),
            differs: member.differs,
            bridges: bridges(member),
        };
        let differs = |member: &&StoredMember| {
            let is_more = match disk.members.get(&member.id) {
                Some(before) => held(before) != held(member),
                None => !is_stranger(member),
            };
            is_more || disk.outbox.get(&member.id) != known.outbox.get(&member.id)
        };
        let members: Vec<HeldMember> = known.members.iter().filter(differs).map(held).collect();
        let held: HashSet<MemberId> = members.iter().map(|member| member.id).collect();
        // A stranger who only knocked is news again at the next look.
        let is_knock = |change: &Change| change.from.is_none() && change.to == MemberState::Pending;
        let is_kept = |change: &&Change| held.contains(&change.member) || !is_knock(change);
        let is_more = |rule: &&String| !disk.redirects.contains(rule);
        Self {
            network: known.network,
            public: known.public && !disk.public,
            redirects: known.redirects.iter().filter(is_more).cloned().collect(),
            changes: changes.iter().filter(is_kept).cloned().collect(),
            members,
        }
    }

    pub fn is_empty(&self) -> bool {
        !self.public && self.redirects.is_empty() && self.members.is_empty() && self.changes.is_empty()
    }

    /// The same without the history.
    pub fn without_changes(mut self) -> Self {
        self.changes.clear();
        self
    }

    pub fn is_about(&self, network: NetworkId) -> bool {
        self.network == network
    }

    /// The smaller right of both, for every device; and a device that the database does not know, if somebody sent it away or it
    /// makes origins doubtful.
    pub fn narrow(&self, roster: &mut StoredRoster) {
        roster.public |= self.public;
        let more: Vec<String> =
            self.redirects.iter().filter(|rule| !roster.redirects.contains(rule)).cloned().collect();
        roster.redirects.extend(more);
        for held in &self.members {
            let place = match roster.members.binary_search_by_key(&held.id, |member| member.id) {
                Ok(place) => place,
                Err(_) if held.is_nobody() => continue,
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
    /// Whether it takes nothing from anybody where the database does not know the device.
    fn is_nobody(&self) -> bool {
        let waits = self.state == MemberState::Pending && !self.decided;
        !self.bridges && (waits || self.state == MemberState::Active)
    }

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
        if self.decided {
            member.admitted.get_or_insert(Admitted::SentAway);
        }
        member.profile.groups.retain(|group| self.groups.contains(group));
        if let Some(until) = self.until.filter(|until| member.profile.until.is_none_or(|old| *until < old)) {
            (member.profile.until, member.notice) = (Some(until), self.notice);
        }
        // No pin, or one that cannot be the member's, takes whatever is shown next.
        let is_open = member.identity.is_none() || member.proof == PinProof::Failed;
        if is_open && self.identity.is_some() && self.identity != member.identity {
            member.identity.clone_from(&self.identity);
            member.proof = PinProof::Unproven;
        }
        member.differs |= self.differs;
        if self.bridges {
            member.active_bridge = true;
            if member.at_controller == AtController::Gone {
                member.at_controller = AtController::Unauthorized;
            }
        }
    }
}

/// Whether it only knocked.
fn is_stranger(member: &StoredMember) -> bool {
    member.state == MemberState::Pending && member.admitted.is_none() && !bridges(member)
}

/// Whether it makes the origin of others doubtful (`sync/merge.rs`).
fn bridges(member: &StoredMember) -> bool {
    member.active_bridge && member.at_controller != AtController::Gone
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

    /// Written as it would be on a disk.
    fn held(known: &StoredRoster, before: &StoredRoster) -> Held {
        let held = Held::of(known, &OnDisk::of(before), &[]);
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
    fn alarms_and_what_makes_origins_doubtful_are_put_by() {
        let mut before = roster(Active, None);
        before.members[0].at_controller = AtController::Authorized;
        before.redirects = vec!["redirect".to_owned()];
        type Happens = fn(&mut StoredRoster);
        let cases: [(&str, Happens); 4] = [
            ("another identity", |roster| roster.members[0].differs = true),
            ("a bridge", |roster| roster.members[0].active_bridge = true),
            ("public", |roster| roster.public = true),
            ("a rule", |roster| roster.redirects.push("tee".to_owned())),
        ];
        for (what, happens) in cases {
            let mut after = before.clone();
            happens(&mut after);
            let mut on_disk = before.clone();
            held(&after, &before).narrow(&mut on_disk);
            assert_eq!(on_disk, after, "{what}");
            // What is safe again is only believed from the disk.
            let mut on_disk = after.clone();
            held(&before, &after).narrow(&mut on_disk);
            assert_eq!(on_disk, after, "{what}, no more");
        }
    }

    #[test]
    fn a_stranger_who_bridges_is_put_by() {
        let (mut known, mut on_disk) = (roster(Pending, None), roster(Pending, None));
        known.members[0].active_bridge = true;
        known.members[0].at_controller = AtController::Unauthorized;
        on_disk.members.clear();
        let before = on_disk.clone();
        held(&known, &before).narrow(&mut on_disk);
        let stranger = &on_disk.members[0];
        assert!(
            bridges(stranger) && stranger.state == Pending && stranger.admitted.is_none(),
            "{stranger:?}"
        );
    }

    #[test]
    fn the_identity_that_was_seen_first_is_put_by_and_moves_no_pin() {
        let before = roster(Active, None);
        let mut known = before.clone();
        known.members[0].identity = Some("the first".to_owned());
        let held = held(&known, &before);
        for (pin, proof, then) in [
            (None, PinProof::Unproven, "the first"),
            (Some("not its own"), PinProof::Failed, "the first"),
            (Some("another"), PinProof::Unproven, "another"),
            (Some("another"), PinProof::Proven, "another"),
        ] {
            let mut on_disk = before.clone();
            (on_disk.members[0].identity, on_disk.members[0].proof) = (pin.map(str::to_owned), proof);
            held.narrow(&mut on_disk);
            let member = &on_disk.members[0];
            assert_eq!(member.identity.as_deref(), Some(then), "over {pin:?}");
            assert_ne!((member.proof, then), (PinProof::Proven, "the first"), "proved by nobody");
        }
    }

    #[test]
    fn records_are_put_by_whoever_they_are_about_but_no_knocks_of_strangers() {
        let known = roster(Active, None);
        let id = known.members[0].id;
        let change = |member, from, to| Change {
            time: known.taken,
            member,
            from,
            to,
            why: "sync: in step".to_owned(),
            who: "mum".to_owned(),
            origin: None,
        };
        let note = change(id, Some(Active), Active);
        let knock = change("00deadbeef".parse().unwrap(), None, Pending);
        let held = Held::of(&known, &OnDisk::of(&known), &[note.clone(), knock.clone()]);
        assert_eq!(held.changes, [note]);
        assert!(!held.is_empty());
        assert!(Held::of(&known, &OnDisk::of(&known), &[knock]).is_empty());
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
        // Sent away, and its record made again: it waits for an order, whatever `sync` says.
        let mut waits = roster(Pending, None);
        waits.members[0].admitted = Some(Admitted::SentAway);
        for mut database in [before.clone(), roster(Pending, None)] {
            held(&waits, &before).narrow(&mut database);
            let found = &database.members[0];
            assert_eq!((found.state, found.admitted), (Pending, Some(Admitted::SentAway)));
        }
    }
}
