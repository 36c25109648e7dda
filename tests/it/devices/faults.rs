//! A controller that is down, slow, or says odd things, while a person orders.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use ztgate::demo::standin::{Fault, WriteFault};
use ztgate::linux::clock::SystemClock;
use ztgate::model::{Clock, MemberState, Moment};

use super::home;
use crate::world::Live;
use crate::world::orders::{restore, revoke, suspend};

/// While something is wrong: the phone is revoked, the tablet admitted. Once it is right again both are so everywhere.
async fn orders_in(world: &Live, fails: impl Fn(bool), what: &str) {
    fails(true);
    let revoked = tokio::spawn(world.order(revoke("red-phone")));
    world.from("red-phone").is_soon_refused("wiki", "member-revoked").await;
    let admitted = tokio::spawn(world.order(world.admission("tablet", &["family"])));
    world.from("tablet").get("wiki", "/").await.refused("member-pending");
    world.from("laptop").get("wiki", "/").await.is(200);
    let told = world.told();
    assert!(
        told.iter().all(|told| *told == ("red-phone", false) || *told == ("tablet", true)),
        "{what}: {told:?}"
    );

    fails(false);
    let both = async { tokio::try_join!(revoked, admitted).unwrap() };
    tokio::pin!(both);
    while tokio::time::timeout(Duration::from_secs(1), &mut both).await.is_err() {
        world.from("laptop").get("wiki", "/").await.is(200);
    }
    world.settles("red-phone", MemberState::Revoked).await;
    world.settles("tablet", MemberState::Active).await;
    world.from("tablet").get("wiki", "/").await.is(200);
    world.from("laptop").get("wiki", "/").await.is(200);
    // What is done twice is done once: nothing but what was ordered was ever asked for.
    let mut told = world.told();
    told.sort_unstable();
    told.dedup();
    assert_eq!(told, [("red-phone", false), ("tablet", true)], "{what}");
    assert!(world.look().await.unwrap().plan.is_empty(), "{what}");
    let (phone, tablet) = (world.id("red-phone"), world.id("tablet"));
    let controller =
        world.network().change(|net| [phone, tablet].map(|id| net.member(id).unwrap().authorized));
    assert_eq!(controller, [false, true], "{what}");
}

async fn orders_while(fault: Fault) {
    let world = home().start().await;
    orders_in(&world, |yes| world.network().fail(yes.then_some(fault)), &format!("{fault:?}")).await;
}

async fn orders_while_writes(fault: WriteFault) {
    let world = home().start().await;
    orders_in(&world, |yes| world.network().fail_writes(yes.then_some(fault)), &format!("{fault:?}")).await;
}

#[tokio::test]
async fn orders_wait_for_a_controller_that_is_down_or_refuses() {
    for fault in [Fault::Down, Fault::Error500, Fault::NoController, Fault::Unauthorized, Fault::Busy(1)] {
        orders_while(fault).await;
    }
}

#[tokio::test]
async fn orders_wait_for_a_controller_that_makes_no_sense() {
    for fault in [Fault::Html, Fault::Empty, Fault::BrokenOff, Fault::CutJson, Fault::OtherNetworksMembers] {
        orders_while(fault).await;
    }
}

#[tokio::test]
async fn orders_wait_for_a_controller_that_hangs() {
    orders_while(Fault::Hang).await;
}

#[tokio::test]
async fn a_write_that_fails_is_made_again_until_it_is_seen() {
    for fault in [
        WriteFault::Down,
        WriteFault::NotFound,
        WriteFault::Error500,
        WriteFault::Html,
        WriteFault::Ignored,
        WriteFault::Elsewhere,
    ] {
        orders_while_writes(fault).await;
    }
}

/// The write is done and the answer lost: what was done is seen at the next try.
#[tokio::test]
async fn a_write_whose_answer_is_lost_is_found_done() {
    for fault in [WriteFault::DownAfter, WriteFault::Error500After, WriteFault::CutJson] {
        let world = home().start().await;
        world.network().fail_writes(Some(fault));
        let admitted = tokio::spawn(world.order(world.admission("tablet", &["family"])));
        while world.told().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.network().fail_writes(None);
        admitted.await.unwrap();
        world.settles("tablet", MemberState::Active).await;
        assert!(world.told().iter().all(|told| *told == ("tablet", true)), "{fault:?}: {:?}", world.told());
    }
}

#[tokio::test]
async fn an_odd_list_moves_nobody_and_is_told_nothing() {
    let world = home().start().await;
    let stands =
        |world: &Live| world.devices().iter().map(|device| (device.member, device.state)).collect::<Vec<_>>();
    let before = stands(&world);
    for fault in [
        Fault::NoMembers,
        Fault::OtherNetwork,
        Fault::OtherNetworksMembers,
        Fault::Twice,
        Fault::Short,
        Fault::Html,
        Fault::Empty,
        Fault::CutJson,
        Fault::BrokenOff,
        Fault::NoController,
        Fault::Error500,
        Fault::Down,
    ] {
        world.controller_fails(fault);
        for _ in 0..3 {
            let look = world.look().await;
            assert!(look.is_err(), "{fault:?} passes for an answer: {look:?}");
        }
        assert_eq!(stands(&world), before, "{fault:?}");
        world.from("red-phone").get("wiki", "/").await.is(200);
        world.from("tablet").get("wiki", "/").await.refused("member-pending");
        world.network().fail(None);
        assert!(world.look().await.unwrap().plan.is_empty(), "{fault:?}");
        assert_eq!(stands(&world), before, "{fault:?}");
    }
    assert_eq!(world.network().writes(), []);
}

/// A wall clock that somebody sets, over the machine's own that nobody can.
#[derive(Default)]
struct SetClock(AtomicI64);

impl SetClock {
    fn set_forward(&self, hours: i64) {
        self.0.fetch_add(hours, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + jiff::SignedDuration::from_hours(self.0.load(Ordering::Relaxed))
    }

    fn instant(&self) -> Moment {
        SystemClock.instant()
    }
}

#[tokio::test]
async fn a_clock_that_jumps_changes_no_plan() {
    let clock = Arc::new(SetClock::default());
    let world = home().clock(clock.clone()).start().await;
    world.order(suspend("laptop")).await;
    let day = 24;
    for jump in [day, -2 * day, 400 * day, -800 * day, 401 * day] {
        clock.set_forward(jump);
        let before = world.network().writes();
        assert!(world.look().await.unwrap().plan.is_empty(), "after {jump} h");
        assert_eq!(world.network().writes(), before, "after {jump} h");
        world.from("red-phone").get("wiki", "/").await.is(200);
        world.from("laptop").get("wiki", "/").await.refused("member-suspended");

        // An order counts whatever the clock said before.
        world.order(revoke("red-phone")).await;
        world.from("red-phone").is_soon_refused("wiki", "member-revoked").await;
        world.order(restore("red-phone")).await;
        world.from("red-phone").get("wiki", "/").await.is(200);
    }
    // A revocation that the controller does not hear waits over a jump, and is made.
    world.controller_fails(Fault::Down);
    world.order(revoke("red-phone")).await;
    clock.set_forward(-300 * day);
    world.from("red-phone").is_soon_refused("wiki", "member-revoked").await;
    world.network().fail(None);
    world.look().await.unwrap();
    world.settles("red-phone", MemberState::Revoked).await;
    assert_eq!(world.told().last(), Some(&("red-phone", false)));
}
