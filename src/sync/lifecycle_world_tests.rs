//! The lifecycle in a world in which everything happens in any order.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::tests::{A, B, config, id, label, now, own, root, roster};
use super::*;
use crate::config::SyncMode;
use crate::identity::IdentityProof;
use crate::model::Moment;
use crate::store::{Profile, after_a_restart};
use crate::sync::merge::{Ruling, merge, roster_member};
use crate::sync::order::Step;
use crate::sync::plan::{enforced, plan};
use crate::zerotier::{ControllerMember, ControllerView};

use books::{Books, Key, Record, Records, identity};

#[path = "lifecycle_world_books.rs"]
mod books;

/// What may happen, to one of four devices.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Knocks(usize, Key),
    Admit(usize),
    /// For two minutes.
    Lend(usize),
    Suspend(usize),
    Revoke(usize),
    Restore(usize),
    /// Its end is set, or taken away.
    Ends(usize, bool),
    /// Somebody else edits the controller.
    Edited(usize, bool),
    Deleted(usize),
    /// Deleted, and made and authorised again, with no look in between.
    Remade(usize),
    /// The controller shows another identity for it, or its own again.
    Shows(usize, Key),
    /// The controller is told, and says so.
    Told,
    /// It is told, and its answer is lost.
    Lost,
    /// It does not hear.
    Deaf,
    Poll,
    /// The controller makes an answer, which takes its time.
    Asked,
    /// It arrives, whatever was written since.
    Answered,
    /// A list that lacks a device.
    Lacks(usize),
    /// A minute.
    Passes,
    /// The disk takes nothing more but what is put by in room taken beforehand, or there is room again.
    Full(bool),
    /// `kill -9`: what is on disk is all there is.
    Killed,
}

fn happens() -> impl Strategy<Value = Happens> {
    use Happens::*;
    let which = 0usize..4;
    let key = prop_oneof![4 => Just(Key::Own), 1 => Just(Key::Twin), 1 => Just(Key::Forged)];
    prop_oneof![
        3 => (which.clone(), key.clone()).prop_map(|(who, key)| Knocks(who, key)),
        2 => which.clone().prop_map(Admit),
        1 => which.clone().prop_map(Lend),
        1 => which.clone().prop_map(Suspend),
        1 => which.clone().prop_map(Revoke),
        2 => which.clone().prop_map(Restore),
        1 => (which.clone(), any::<bool>()).prop_map(|(who, yes)| Ends(who, yes)),
        2 => (which.clone(), any::<bool>()).prop_map(|(who, yes)| Edited(who, yes)),
        1 => which.clone().prop_map(Deleted),
        1 => which.clone().prop_map(Remade),
        1 => (which.clone(), key).prop_map(|(who, key)| Shows(who, key)),
        4 => Just(Told),
        1 => Just(Lost),
        1 => Just(Deaf),
        4 => Just(Poll),
        2 => Just(Asked),
        2 => Just(Answered),
        1 => which.prop_map(Lacks),
        1 => Just(Passes),
        2 => prop_oneof![2 => Just(true), 1 => Just(false)].prop_map(Full),
        2 => Just(Killed),
    ]
}

/// A gateway and a controller, step by step, and beside them who may be in by what happened.
struct World {
    config: Config,
    mode: SyncMode,
    controller: Records,
    known: StoredRoster,
    disk: StoredRoster,
    /// The disk takes nothing.
    is_full: bool,
    /// What a start would find.
    kept: StoredRoster,
    now: Timestamp,
    /// How many steps there were.
    step: u32,
    /// An answer on its way, and when it was made.
    answer: Option<(Records, u32)>,
    /// When the controller was last told something of a device.
    told: BTreeMap<MemberId, u32>,
    books: Books,
}

fn view(records: &Records) -> ControllerView {
    let members = records.iter().map(|(&id, record)| ControllerMember {
        id,
        authorized: record.authorized,
        identity: record.key.map(|key| identity(id, key)),
        creation_time: Some(record.made),
        ..crate::zerotier::examples::member()
    });
    ControllerView { members: members.collect(), ..crate::zerotier::examples::view() }
}

impl World {
    const IDS: [&str; 4] = [A, B, "00deadbeef", "5e02d9cb42"];

    fn new(mode: SyncMode) -> Self {
        let known = roster(vec![]);
        let mut world = Self {
            config: config(),
            mode,
            controller: Records::new(),
            disk: known.clone(),
            is_full: false,
            kept: known.clone(),
            known,
            now: now(),
            step: 0,
            answer: None,
            told: BTreeMap::new(),
            books: Books::default(),
        };
        // The gateway itself, so that no list is empty.
        let gateway = Record { authorized: true, ..world.record(Some(Key::Own)) };
        world.controller.insert(id("5e02d9cb41"), gateway);
        world.books.behind.insert(id("5e02d9cb41"));
        world.poll(world.controller.clone(), 0, true);
        world
    }

    /// A new record, as a device gets one that asks to join.
    fn record(&mut self, key: Option<Key>) -> Record {
        self.step += 1;
        Record { authorized: false, key, made: now() + Duration::from_secs(self.step.into()) }
    }

    fn keep(&mut self) {
        if !self.is_full {
            self.disk = self.known.clone();
        }
        self.kept = after_a_restart(&self.known, &self.disk);
    }

    fn is_killed(&mut self) {
        self.known = self.kept.clone();
        self.answer = None;
        let known: BTreeMap<MemberId, _> =
            self.known.members.iter().map(|member| (member.id, member)).collect();
        // Of strangers, and of whom the last list lacked, nothing is put by.
        self.books.pinned.retain(|id, _| known.contains_key(id));
        let gone = known.values().filter(|member| member.at_controller == AtController::Gone);
        self.books.lacked = gone.map(|member| member.id).collect();
    }

    fn order(&mut self, order: Order) -> bool {
        let Ok(draft) = draft(&order, &self.known, &self.config, own(), &root(), self.now) else {
            return false;
        };
        if self.is_full && draft.widens() {
            return false;
        }
        self.known = draft.next;
        self.keep();
        true
    }

    fn poll(&mut self, answer: Records, asked: u32, first_start: bool) {
        let view = view(&answer);
        let (outbox, told) = (self.known.outbox.clone(), self.told.clone());
        let shielded =
            |id: MemberId| outbox.contains_key(&id) || told.get(&id).is_some_and(|told| *told >= asked);
        let listed = answer.keys().copied();
        let all: BTreeSet<MemberId> = listed.chain(self.known.members.iter().map(|m| m.id)).collect();
        for &id in all.iter().filter(|id| !first_start && !shielded(**id)) {
            let follows = matches!(self.mode, SyncMode::Follow { .. }) && !self.is_full;
            self.books.read(id, answer.get(&id), follows);
        }
        for (&id, record) in &answer {
            self.books.shown.extend(record.key.map(|key| (id, identity(id, key))));
        }
        let ruling = Ruling { first_start, mode: &self.mode, shielded: &shielded, now: self.now };
        let mut merged = merge(&view, &self.known.members, ruling);
        if self.is_full {
            merged = merged.without_new_rights(&self.known.members);
        }
        self.known.members = merged.members;
        if self.mode == SyncMode::Enforce && !first_start {
            let more = enforced(&plan(&self.known, &view, &self.mode, own()), &self.known.outbox, self.now);
            self.known.outbox.extend(more);
        }
        self.prove();
        self.keep();
    }

    /// The prover has judged each identity by the time of the next step.
    fn prove(&mut self) {
        for member in self.known.members.iter_mut().filter(|member| member.proof == PinProof::Unproven) {
            let Some(identity) = &member.identity else { continue };
            let is_its_own = !identity.ends_with("Forged");
            member.proof = if is_its_own { PinProof::Proven } else { PinProof::Failed };
            if is_its_own {
                self.books.pinned.entry(member.id).or_insert_with(|| identity.clone());
            }
        }
    }

    /// Tells the controller the next thing. `hears`: it does it; `answers`: we learn that it did.
    fn tell(&mut self, hears: bool, answers: bool) {
        let Some((&id, intent)) = self.known.outbox.iter().next() else { return };
        let authorize = intent.authorize;
        self.told.insert(id, self.step);
        if !hears {
            return;
        }
        if authorize && !self.books.wanted.contains(&id) {
            self.books.unasked.push(id);
        }
        match self.controller.get_mut(&id) {
            Some(record) => record.authorized = authorize,
            None if authorize => {
                let record = Record { authorized: true, ..self.record(None) };
                self.controller.insert(id, record);
            }
            None => {}
        }
        // That somebody is in waits for the disk: it is told again.
        if !answers || (authorize && self.is_full) {
            return;
        }
        self.known = if authorize {
            let made = self.controller[&id].made;
            self.books.held.insert(id);
            self.books.decided.insert(id);
            self.books.lacked.remove(&id);
            // The record that it is let in by may be a new one.
            self.books.made.insert(id, made);
            granted(&self.known, id, Some(made), self.now).unwrap().next
        } else {
            taken_back(&self.known, id).unwrap().next
        };
        self.keep();
    }

    /// What the task does before anything else.
    fn expire(&mut self) -> Result<(), TestCaseError> {
        let to_authorize = |world: &Self| -> BTreeSet<MemberId> {
            let intents = world.known.outbox.iter().filter(|(_, intent)| intent.authorize);
            intents.map(|(id, _)| *id).collect()
        };
        let before = (self.active(), to_authorize(self));
        let Some(draft) = expire(&self.known, own(), self.now) else { return Ok(()) };
        self.known = draft.next;
        self.keep();
        let ended =
            self.known.members.iter().filter(|m| m.profile.until.is_some_and(|until| until <= self.now));
        ended.for_each(|member| self.books.take_back(member.id));
        prop_assert!(self.active().is_subset(&before.0), "the clock let somebody in");
        prop_assert!(to_authorize(self).is_subset(&before.1), "the clock would have somebody authorised");
        prop_assert!(expire(&self.known, own(), self.now).is_none(), "expires twice");
        Ok(())
    }

    fn active(&self) -> BTreeSet<MemberId> {
        self.known.members.iter().filter(|m| m.state == MemberState::Active).map(|m| m.id).collect()
    }

    /// What must be true after each step.
    fn holds(&self) -> Result<(), TestCaseError> {
        let moment = Moment::since_boot(60, 0);
        let Books { behind, held, pinned, shown, unasked, .. } = &self.books;
        for member in &self.known.members {
            let seen = roster_member(member, (self.now, moment));
            let is_in = seen.state == MemberState::Active
                && seen.proof == IdentityProof::Proven
                && !seen.has_ended(moment);
            if !is_in {
                continue;
            }
            prop_assert!(behind.contains(&member.id), "let in, and nothing stands behind it: {member:?}");
            prop_assert!(
                member.profile.until.is_none_or(|until| until > self.now),
                "let in past its end: {member:?}"
            );
            prop_assert_eq!(
                pinned.get(&member.id),
                shown.get(&member.id),
                "let in by an identity other than the first: {:?}",
                member
            );
        }
        let lost: Vec<_> = held.difference(&self.active()).copied().collect();
        prop_assert!(lost.is_empty(), "out, and nobody took it back: {lost:?}");
        prop_assert!(unasked.is_empty(), "authorised by itself: {unasked:?}");
        Ok(())
    }

    fn step(&mut self, what: Happens) {
        self.step += 1;
        let of = |which: usize| id(Self::IDS[which]);
        let name = |which: usize| Self::IDS[which].to_owned();
        match what {
            Happens::Knocks(who, key) => {
                let fresh = self.record(None);
                self.controller.entry(of(who)).or_insert(fresh).key = Some(key);
            }
            Happens::Shows(who, key) => {
                if let Some(record) = self.controller.get_mut(&of(who)) {
                    record.key = Some(key);
                }
            }
            Happens::Admit(who) => self.let_in(of(who), self.admission(who, None)),
            Happens::Lend(who) => {
                let until = Some(self.now + Duration::from_secs(120));
                self.let_in(of(who), self.admission(who, until));
            }
            Happens::Restore(who) => self.let_in(of(who), Order::Restore { who: name(who), until: None }),
            Happens::Suspend(who) => self.put_out(of(who), Order::Suspend { who: name(who), why: None }),
            Happens::Revoke(who) => self.put_out(of(who), Order::Revoke { who: name(who), why: None }),
            Happens::Ends(who, ends) => {
                let until = ends.then_some(self.now + Duration::from_secs(60));
                self.order(Order::Edit { who: name(who), edit: Edit::Until(until) });
            }
            Happens::Edited(who, yes) => {
                if let Some(record) = self.controller.get_mut(&of(who)) {
                    record.authorized = yes;
                }
            }
            Happens::Deleted(who) => _ = self.controller.remove(&of(who)),
            Happens::Remade(who) => {
                if let Some(record) = self.controller.remove(&of(who)) {
                    let again = Record { authorized: true, ..self.record(record.key) };
                    self.controller.insert(of(who), again);
                }
            }
            Happens::Told => self.tell(true, true),
            Happens::Lost => self.tell(true, false),
            Happens::Deaf => self.tell(false, false),
            Happens::Poll => self.poll(self.controller.clone(), self.step, false),
            Happens::Asked => self.answer = Some((self.controller.clone(), self.step)),
            Happens::Answered => {
                if let Some((answer, asked)) = self.answer.take() {
                    self.poll(answer, asked, false);
                }
            }
            Happens::Lacks(who) => {
                let mut answer = self.controller.clone();
                answer.remove(&of(who));
                self.poll(answer, self.step, false);
            }
            Happens::Passes => self.now += Duration::from_secs(60),
            Happens::Full(is_full) => {
                self.is_full = is_full;
                self.keep();
            }
            Happens::Killed => self.is_killed(),
        }
    }

    fn admission(&self, who: usize, until: Option<Timestamp>) -> Order {
        let profile = Profile { name: Some(label(&format!("device-{who}"))), until, ..Profile::default() };
        Order::Admit { id: id(Self::IDS[who]), profile, ahead: true }
    }

    fn let_in(&mut self, id: MemberId, order: Order) {
        if self.order(order) {
            self.books.behind.insert(id);
            self.books.wanted.insert(id);
        }
    }

    fn put_out(&mut self, id: MemberId, order: Order) {
        if self.order(order) {
            self.books.take_back(id);
            self.books.decided.insert(id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_in_whatever_order_they_come_in_step_and_nobody_is_let_in_unasked(
        steps in prop::collection::vec(happens(), 0..60),
        which in 0..3,
    ) {
        let enforce = which == 2;
        let mode = match which {
            0 => SyncMode::Ask,
            1 => SyncMode::Follow { group: label("guests") },
            _ => SyncMode::Enforce,
        };
        let mut world = World::new(mode);
        for step in steps {
            world.step(step);
            world.holds()?;
            world.expire()?;
            world.holds()?;
        }
        world.step(Happens::Full(false));
        // Quiet: all that is to be told is told, and two looks later nothing moves any more.
        for _ in 0..3 {
            while !world.known.outbox.is_empty() {
                world.step(Happens::Told);
            }
            world.step(Happens::Poll);
            world.expire()?;
            world.holds()?;
        }
        let left = plan(&world.known, &view(&world.controller), &world.mode, own());
        prop_assert!(left.iter().all(|difference| difference.step == Step::Leave && difference.authorized), "{left:?}");
        prop_assert!(!enforce || left.is_empty(), "{left:?}");
        for id in world.active() {
            prop_assert!(world.controller[&id].authorized, "in here and not there: {id}");
        }
        let settled = world.known.clone();
        world.step(Happens::Poll);
        prop_assert_eq!(&settled, &world.known);
    }
}
