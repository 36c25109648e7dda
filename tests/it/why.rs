//! `ztgate why`, asked of a gateway that runs: the same verdict that the device gets, and what to type for another.

use crate::world::command::typed;
use crate::world::upstream::down;
use crate::world::{Live, World, echo};

/// One service for two, and an aria2 that the tablet may watch and the laptop manage.
async fn home() -> Live {
    World::new()
        .member("kids-tablet")
        .member("laptop")
        .pending("new-tv")
        .service("films", echo())
        .allow("laptop", "films")
        .service_with("aria2", down(), "kind = \"aria2\"")
        .allow_as("kids-tablet", "watch", "aria2")
        .allow_as("laptop", "manage", "aria2")
        .start()
        .await
}

/// What a person reads who types it, and the exit code.
fn why(world: &Live, line: &str) -> String {
    let (said, code) = typed(world.folder(), &format!("why {line}"));
    format!("{said}({})", code.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_told_with_the_line_that_decided() {
    let world = home().await;
    world.from("laptop").get("films", "/").await.is(200);
    insta::assert_snapshot!(why(&world, "laptop films"), @r#"
    laptop GET films /: allowed
    device  laptop (bcba17eef8), active; its controller calls it "laptop"
    rule    ztgate.toml:17  allow = ["laptop"]
    (0)
    "#);
    world.from("kids-tablet").ask("films", "PROPFIND", "/a", "").await.refused("no-rule");
    insta::assert_snapshot!(why(&world, "kids-tablet films PROPFIND /a"), @r#"
    kids-tablet PROPFIND films /a: refused: no-rule
    device  kids-tablet (c4c8812898), active; its controller calls it "kids-tablet"
    change  add "kids-tablet" to allow at ztgate.toml:17
    (1)
    "#);
    insta::assert_snapshot!(why(&world, "laptop gate"), @r#"
    laptop GET gate /: allowed
    device  laptop (bcba17eef8), active; its controller calls it "laptop"
    note    the gateway's own page is open to every active member
    (0)
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_told_with_the_role_that_it_takes() {
    let world = home().await;
    insta::assert_snapshot!(why(&world, "laptop aria2 aria2.addUri"), @r#"
    laptop aria2.addUri aria2: allowed as manage
    device  laptop (bcba17eef8), active; its controller calls it "laptop"
    rule    ztgate.toml:22  allow = { manage = ["laptop"] }
    takes   the role add, or a stronger one
    (0)
    "#);
    insta::assert_snapshot!(why(&world, "kids-tablet aria2 aria2.addUri"), @r#"
    kids-tablet aria2.addUri aria2: refused: no-rule
    device  kids-tablet (c4c8812898), active; its controller calls it "kids-tablet"
    rule    ztgate.toml:22  allow = { watch = ["kids-tablet"] }
    takes   the role add; it has watch
    change  add add = ["kids-tablet"] to allow at ztgate.toml:22
    (1)
    "#);
    insta::assert_snapshot!(why(&world, "laptop aria2 aria2.makeCoffee"), @r#"
    laptop aria2.makeCoffee aria2: refused: not-offered
    device  laptop (bcba17eef8), active; its controller calls it "laptop"
    rule    ztgate.toml:22  allow = { manage = ["laptop"] }
    takes   nobody may make this call through the gateway
    (1)
    "#);
    for nearly in ["addUri", "aria2.addURL"] {
        let told = why(&world, &format!("laptop aria2 {nearly}"));
        assert!(told.ends_with("change  ask for aria2.addUri, if that is what is meant\n(1)"), "{told}");
    }
    let pending = why(&world, &format!("{} aria2 aria2.addUri", world.id("new-tv")));
    assert!(pending.contains("refused: member-pending"), "{pending}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_means_nothing_is_answered_with_what_to_type() {
    let world = home().await;
    for (line, told) in [
        (
            "laptop films aria2.addUri",
            "films has no call aria2.addUri, but aria2 has; type: ztgate why laptop aria2 aria2.addUri",
        ),
        (
            "laptop films aria2.foo",
            "films has no call aria2.foo, nor is it a method of HTTP's; type: ztgate why laptop films GET",
        ),
        (
            "laptop gate get",
            "gate has no call get, and HTTP's methods are in capitals; type: ztgate why laptop gate GET",
        ),
        ("laptop flims", "no service flims here; did you mean films?"),
        ("labtop films", "no device, member ID or address labtop here; did you mean laptop?"),
    ] {
        assert_eq!(why(&world, line), format!("ztgate: {told}\n(2)"), "{line}");
    }
}
