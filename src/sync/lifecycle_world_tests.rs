//! The lifecycle in a world in which everything happens in any order.

use std::time::Duration;

use proptest::prelude::*;

use super::tests::{A, B, config, id, label, now, own, root, roster};
use super::*;
use crate::config::SyncMode;
use crate::store::Profile;
use crate::sync::merge::{Ruling, merge};
use crate::sync::order::Step;
use crate::sync::plan::{enforced, plan};
use crate::zerotier::{ControllerMember, ControllerView};

/// What may happen, to one of four devices.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Knocks(usize),
    Admit(usize),
    Suspend(usize),
    Revoke(usize),
    Restore(usize),
    /// Somebody else edits the controller.
    Edited(usize, bool),
    /// The controller is told, and says so.
    Told,
    /// It is told, and its answer is lost.
    Lost,
    /// It does not hear.
    Deaf,
    Poll,
    /// A list that lacks a device.
    Lacks(usize),
    Passes,
    /// `kill -9`: what is on disk is all there is.
    Killed,
}

fn happens() -> impl Strategy<Value = Happens> {
    use Happens::*;
    let which = 0usize..4;
    prop_oneof![
        which.clone().prop_map(Knocks),
        which.clone().prop_map(Admit),
        which.clone().prop_map(Suspend),
        which.clone().prop_map(Revoke),
        which.clone().prop_map(Restore),
        (which.clone(), any::<bool>()).prop_map(|(who, yes)| Edited(who, yes)),
        Just(Told),
        Just(Lost),
        Just(Deaf),
        Just(Poll),
        which.prop_map(Lacks),
        Just(Passes),
        Just(Killed),
    ]
}

/// A gateway and a controller, step by step.
struct World {
    config: Config,
    mode: SyncMode,
    controller: std::collections::BTreeMap<MemberId, bool>,
    known: StoredRoster,
    disk: StoredRoster,
    now: Timestamp,
    /// Whom we told the controller to authorise, without anybody's order.
    unasked: Vec<MemberId>,
    /// Who was ordered in, last.
    wanted: BTreeSet<MemberId>,
}

impl World {
    const IDS: [&str; 4] = [A, B, "00deadbeef", "5e02d9cb42"];

    fn new(mode: SyncMode) -> Self {
        let known = roster(vec![]);
        // The gateway itself, so that no list is empty.
        let controller = std::collections::BTreeMap::from([(id("5e02d9cb41"), true)]);
        let mut world = Self {
            config: config(),
            mode,
            controller,
            disk: known.clone(),
            known,
            now: now(),
            unasked: vec![],
            wanted: BTreeSet::new(),
        };
        world.poll(None, true);
        world
    }

    fn keep(&mut self) {
        self.disk = self.known.clone();
    }

    fn order(&mut self, order: Order) -> bool {
        let Ok(draft) = draft(&order, &self.known, &self.config, own(), &root(), self.now) else {
            return false;
        };
        self.known = draft.next;
        self.keep();
        true
    }

    fn poll(&mut self, without: Option<MemberId>, first_start: bool) {
        let members =
            self.controller.iter().filter(|(id, _)| Some(**id) != without).map(|(&id, &authorized)| {
                ControllerMember { id, authorized, identity: None, ..crate::zerotier::examples::member() }
            });
        let view = ControllerView { members: members.collect(), ..crate::zerotier::examples::view() };
        let outbox = self.known.outbox.clone();
        let ruling =
            Ruling { first_start, mode: &self.mode, shielded: &|id| outbox.contains_key(&id), now: self.now };
        self.known.members = merge(&view, &self.known.members, ruling).members;
        if self.mode == SyncMode::Enforce && !first_start {
            let more = enforced(&plan(&self.known, &view, &self.mode, own()), &self.known.outbox, self.now);
            self.known.outbox.extend(more);
        }
        self.keep();
    }

    /// Tells the controller the next thing. `hears`: it does it; `answers`: we learn that it did.
    fn tell(&mut self, hears: bool, answers: bool) {
        let Some((&id, intent)) = self.known.outbox.iter().next() else { return };
        let authorize = intent.authorize;
        if !hears {
            return;
        }
        if authorize && !self.wanted.contains(&id) {
            self.unasked.push(id);
        }
        self.controller.insert(id, authorize);
        if !answers {
            return;
        }
        self.known = if authorize {
            granted(&self.known, id, self.now).unwrap().next
        } else {
            taken_back(&self.known, id).unwrap().next
        };
        self.keep();
    }

    fn step(&mut self, what: Happens) {
        let of = |which: usize| id(Self::IDS[which]);
        let name = |which: usize| Self::IDS[which].to_owned();
        match what {
            Happens::Knocks(who) => _ = self.controller.entry(of(who)).or_insert(false),
            Happens::Admit(who) => {
                let profile = Profile { name: Some(label(&format!("device-{who}"))), ..Profile::default() };
                let order = Order::Admit { id: of(who), profile, ahead: true };
                if self.order(order) {
                    self.wanted.insert(of(who));
                }
            }
            Happens::Restore(who) => {
                if self.order(Order::Restore { who: name(who), until: None }) {
                    self.wanted.insert(of(who));
                }
            }
            Happens::Suspend(who) => {
                if self.order(Order::Suspend { who: name(who), why: None }) {
                    self.wanted.remove(&of(who));
                }
            }
            Happens::Revoke(who) => {
                if self.order(Order::Revoke { who: name(who), why: None }) {
                    self.wanted.remove(&of(who));
                }
            }
            Happens::Edited(who, yes) => {
                if let Some(known) = self.controller.get_mut(&of(who)) {
                    *known = yes;
                }
            }
            Happens::Told => self.tell(true, true),
            Happens::Lost => self.tell(true, false),
            Happens::Deaf => self.tell(false, false),
            Happens::Poll => self.poll(None, false),
            Happens::Lacks(who) => self.poll(Some(of(who)), false),
            Happens::Passes => self.now += Duration::from_secs(60),
            Happens::Killed => self.known = self.disk.clone(),
        }
    }

    fn differences(&self) -> Vec<crate::sync::order::Difference> {
        let members = self.controller.iter().map(|(&id, &authorized)| ControllerMember {
            id,
            authorized,
            ..crate::zerotier::examples::member()
        });
        let view = ControllerView { members: members.collect(), ..crate::zerotier::examples::view() };
        plan(&self.known, &view, &self.mode, own())
    }
}

proptest! {
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
        let mut sent_away = BTreeSet::new();
        let mut world = World::new(mode);
        for step in steps {
            world.step(step);
            let state = |who: &MemberId| world.known.members.iter().find(|m| m.id == *who).map(|m| m.state);
            match step {
                Happens::Revoke(who) => {
                    sent_away.extend(Some(id(World::IDS[who])).filter(|id| state(id) == Some(MemberState::Revoked)));
                }
                Happens::Admit(who) | Happens::Restore(who) => _ = sent_away.remove(&id(World::IDS[who])),
                _ => {}
            }
            for member in &world.known.members {
                let is_in = member.state == MemberState::Active;
                prop_assert!(!is_in || !sent_away.contains(&member.id), "sent away, and in: {member:?}");
            }
            for member in &world.known.members {
                let ordered = member.id == id("5e02d9cb41") || member.admitted.is_some();
                prop_assert!(member.state != MemberState::Active || ordered, "{member:?}");
            }
        }
        // Quiet: all that is to be told is told, and two looks later nothing moves any more.
        for _ in 0..3 {
            while !world.known.outbox.is_empty() {
                world.tell(true, true);
            }
            world.poll(None, false);
        }
        prop_assert!(world.unasked.is_empty(), "authorised by itself: {:?}", world.unasked);
        let left = world.differences();
        prop_assert!(left.iter().all(|difference| difference.step == Step::Leave && difference.authorized), "{left:?}");
        prop_assert!(!enforce || left.is_empty(), "{left:?}");
        for member in &world.known.members {
            let authorized = world.controller.get(&member.id).copied().unwrap_or(false);
            prop_assert!(member.state != MemberState::Active || authorized, "{member:?}");
        }
        let settled = world.known.members.clone();
        world.poll(None, false);
        prop_assert_eq!(&settled, &world.known.members);
    }
}
