//! What somebody else does: edits at the controller, and devices that were admitted before they came.

use std::time::{Duration, Instant};

use ztgate::model::MemberState;
use ztgate::sync::{Order, Profile, Step};

use super::home;
use crate::world::SOON;
use crate::world::orders::{label, revoke, suspend};

/// The smaller right wins, whoever holds it.
#[tokio::test]
async fn nobody_is_let_in_by_somebody_else_s_edit() {
    let world = home().start().await;
    world.order(revoke("red-phone")).await;
    for device in ["red-phone", "tablet"] {
        world.network().change(|net| net.authorize(world.id(device), true));
    }
    world.poll().await;
    let plan = world.look().await.unwrap().plan;
    for device in ["red-phone", "tablet"] {
        world.from(device).get("wiki", "/").await.refused("member-pending");
        let difference = plan.iter().find(|difference| difference.member == world.id(device)).unwrap();
        assert_eq!(difference.step, Step::Leave, "{device}");
        assert!(difference.why.contains("ztgate admit"), "{}", difference.why);
    }
    assert_eq!(world.told(), [("red-phone", false)]);
}

#[tokio::test]
async fn whom_the_controller_lets_in_is_followed_where_that_is_wanted() {
    let lines = "[controller]\nsync = \"follow\"\ndefault_group = \"family\"\n";
    let world = home().gateway_lines(lines).start().await;
    world.order(suspend("laptop")).await;
    for device in ["tablet", "laptop"] {
        world.network().change(|net| net.authorize(world.id(device), true));
    }
    world.poll().await;
    world.from("tablet").get("wiki", "/").await.is(200);
    assert_eq!(world.device("tablet").groups, [label("family")]);
    // What was taken back here is not given again elsewhere.
    world.from("laptop").get("wiki", "/").await.refused("member-suspended");
    assert_eq!(world.told(), [("laptop", false)]);
}

#[tokio::test]
async fn whom_the_controller_lets_in_is_put_out_again_where_that_is_wanted() {
    let mut world = home().start().await;
    world.reload(|plan| plan.gateway_lines("[controller]\nsync = \"enforce\"\n")).await.unwrap();
    world.order(revoke("laptop")).await;
    for device in ["tablet", "laptop"] {
        world.network().change(|net| net.authorize(world.id(device), true));
    }
    world.poll().await;
    for (device, code) in [("tablet", "member-pending"), ("laptop", "member-revoked")] {
        let begin = Instant::now();
        while world.network().change(|net| net.member(world.id(device)).unwrap().authorized) {
            assert!(begin.elapsed() < SOON, "{device} is still let in there");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world.from(device).is_soon_refused("wiki", code).await;
    }
    // Put out once each, and nothing that nobody asked for.
    world.look().await.unwrap();
    let mut told = world.told();
    told.sort_unstable();
    assert_eq!(told, [("laptop", false), ("laptop", false), ("tablet", false)]);
    world.from("red-phone").get("wiki", "/").await.is(200);
}

#[tokio::test]
async fn a_device_that_was_admitted_ahead_is_in_when_it_comes() {
    let world = home().absent("guest").start().await;
    let profile = Profile { name: Some(label("guest")), groups: vec![label("family")], ..Profile::default() };
    let id = world.id("guest");
    let why = world.refuses(Order::Admit { id, profile: profile.clone(), ahead: false }).await;
    assert!(why.contains("--ahead"), "{why}");
    world.order(Order::Admit { id, profile, ahead: true }).await;
    assert_eq!(world.told(), [("guest", true)]);

    world.joins("guest");
    world.look().await.unwrap();
    world.settles("guest", MemberState::Active).await;
    let begin = Instant::now();
    while world.device("guest").identity != "proved and pinned" {
        assert!(begin.elapsed() < SOON, "{:?}", world.device("guest"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.from("guest").get("wiki", "/").await.is(200);
    assert_eq!(world.told(), [("guest", true)]);
}

#[tokio::test]
async fn a_device_that_knocks_while_the_gateway_runs_waits_within_one_poll() {
    let world = home().absent("guest").start().await;
    world.from("guest").get("wiki", "/").await.refused("unknown-member");
    world.joins("guest");
    world.poll().await;
    assert_eq!(world.device("guest").state, MemberState::Pending);
    // Its identity is proved meanwhile, and told of first.
    world.from("guest").is_soon_refused("wiki", "member-pending").await;
    assert_eq!(world.network().writes(), []);
}
