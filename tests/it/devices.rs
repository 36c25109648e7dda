//! Devices from the first knock to the last: what a person orders, what the device meets, and what the controller is told.

mod crossing;
mod disk;
mod elsewhere;
mod faults;
mod killed;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ztgate::audit::Ending;
use ztgate::model::MemberState;
use ztgate::sync::{AtTheController, Edit, Order, Profile};

use crate::websockets::{chat, handshake};
use crate::world::orders::{edit, label, regroup, restore, revoke, suspend};
use crate::world::upstream::{radio, script};
use crate::world::wire::Closed;
use crate::world::{Live, SOON, Upstream, Wire, World, echo};

/// A live cut takes no longer.
const CUT: Duration = Duration::from_secs(2);

const GET: &str = "GET / HTTP/1.1\r\nHost: wiki.home.arpa\r\n\r\n";

/// A film that does not end, a block each few milliseconds.
fn film() -> Upstream {
    script(|mut served| async move {
        served.request().await;
        served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n").await;
        while served.wire.closed_within(Duration::from_millis(5)).await == Closed::Open {
            served.wire.send([7; 1000]).await;
        }
    })
}

fn home() -> World {
    let mut world = World::new().member("red-phone").member("laptop").pending("tablet");
    for (service, upstream) in [("wiki", echo()), ("films", film()), ("chat", chat()), ("radio", radio())] {
        world = world.service(service, upstream);
        for device in ["red-phone", "laptop", "family"] {
            world = world.allow(device, service);
        }
    }
    world
}

/// What a device has under way.
struct Streams {
    film: Wire,
    chat: Wire,
    idle: Wire,
}

impl Streams {
    async fn of(world: &Live, device: &str) -> Self {
        let from = world.from(device);
        let (mut film, mut chat, mut idle) = (from.open().await, from.open().await, from.open().await);
        film.send("GET / HTTP/1.1\r\nHost: films.home.arpa\r\n\r\n").await;
        assert_eq!(film.head().await.unwrap().status(), 200);
        chat.send(handshake(&[])).await;
        assert_eq!(chat.head().await.unwrap().status(), 101);
        idle.send(GET).await;
        from.reply(&mut idle, GET).await.is(200);
        let mut streams = Self { film, chat, idle };
        streams.go_on(world, device).await;
        streams
    }

    /// All of it still works.
    async fn go_on(&mut self, world: &Live, device: &str) {
        for _ in 0..3 {
            self.film.exactly(1000).await.expect("the film goes on");
        }
        self.chat.send("hello").await;
        assert_eq!(self.chat.exactly(5).await.as_deref(), Some(&b"hello"[..]));
        self.idle.send(GET).await;
        world.from(device).reply(&mut self.idle, GET).await.is(200);
    }

    /// All of it ends within the time that a cut may take.
    async fn end(mut self) {
        let begin = Instant::now();
        let all = async {
            while self.film.some().await.is_some() {}
            while self.chat.some().await.is_some() {}
            while self.idle.some().await.is_some() {}
        };
        tokio::time::timeout(CUT, all)
            .await
            .unwrap_or_else(|_| panic!("it ran on for {:?}", begin.elapsed()));
    }
}

#[tokio::test]
async fn a_device_knocks_and_one_order_lets_it_in() {
    let world = home().start().await;
    world.from("tablet").get("wiki", "/").await.refused("member-pending");
    let waits = world.device("tablet");
    assert_eq!((waits.state, waits.authorized), (MemberState::Pending, Some(false)));
    assert_eq!(waits.label.as_deref(), Some("tablet"));

    let profile = Profile {
        name: Some(label("tablet")),
        owner: Some(label("ida")),
        groups: vec![label("family")],
        ..Profile::default()
    };
    let done = world.order(Order::Admit { id: world.id("tablet"), profile, ahead: false }).await;
    let changed = &done.devices[0];
    assert_eq!((changed.state, &changed.controller), (MemberState::Active, &AtTheController::Authorized));
    assert_eq!(changed.gateway, ["pending -> active"]);

    let opened = world.from("tablet").get("wiki", "/").await.is(200);
    assert_eq!(opened.upstream_saw().get("x-ztgate-owner"), Some("ida"));
    world.settles("tablet", MemberState::Active).await;
    assert_eq!(world.told(), [("tablet", true)]);
    world.audit().reads(&["tablet refuse member-pending", "tablet allow wiki"]).await;
}

/// Cuts the phone off in one way, while it and the laptop have all kinds of streams under way.
async fn cuts(cut: impl AsyncFnOnce(&Live), code: &str, told: &[(&str, bool)]) {
    let world = home().start().await;
    let phone = Streams::of(&world, "red-phone").await;
    let mut laptop = Streams::of(&world, "laptop").await;

    cut(&world).await;
    phone.end().await;
    world.from("red-phone").is_soon_refused("wiki", code).await;
    laptop.go_on(&world, "laptop").await;

    for service in ["films", "chat"] {
        let phone = world.id("red-phone");
        let is_it = |record: &ztgate::audit::Record| {
            record.member == Some(phone) && record.service.as_deref() == Some(service)
        };
        let record = world.audit().record(is_it).await;
        assert_eq!(record.ended, Some(Ending::Cut), "{service}, {code}");
    }
    let begin = Instant::now();
    while world.told() != told {
        assert!(begin.elapsed() < SOON, "the controller was told {:?}", world.told());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_revoked_device_loses_all_it_has_under_way() {
    let cut = async |world: &Live| drop(world.order(revoke("red-phone")).await);
    cuts(cut, "member-revoked", &[("red-phone", false)]).await;
}

#[tokio::test]
async fn a_suspended_device_loses_all_it_has_under_way() {
    let cut = async |world: &Live| drop(world.order(suspend("red-phone")).await);
    cuts(cut, "member-suspended", &[("red-phone", false)]).await;
}

#[tokio::test]
async fn a_guest_loses_all_it_has_under_way_at_the_second_it_says() {
    let cut = async |world: &Live| {
        let until = jiff::Timestamp::now() + Duration::from_millis(700);
        world.order(edit("red-phone", Edit::Until(Some(until)))).await;
        world.from("red-phone").get("wiki", "/").await.is(200);
        let left = until.duration_since(jiff::Timestamp::now());
        tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
    };
    cuts(cut, "member-expired", &[("red-phone", false)]).await;
}

#[tokio::test]
async fn a_device_that_is_put_out_at_the_controller_loses_all_it_has_under_way() {
    cuts(async |world: &Live| world.revoke("red-phone").await, "member-revoked", &[]).await;
}

/// A controller that hangs delays nothing of a revocation.
#[tokio::test]
async fn a_revocation_does_not_wait_for_the_controller() {
    let world = home().start().await;
    let phone = Streams::of(&world, "red-phone").await;
    world.controller_fails(ztgate::demo::standin::Fault::Hang);
    let ordered = tokio::spawn(world.order(revoke("red-phone")));
    phone.end().await;
    assert!(!ordered.is_finished(), "the controller has not answered");
    assert_eq!(world.told(), []);
    ordered.abort();
}

#[tokio::test]
async fn rights_that_shrink_end_just_the_streams_they_opened() {
    let world = World::new()
        .member("red-phone")
        .service("films", film())
        .service("radio", radio())
        .allow("family", "films")
        .allow("music", "radio")
        .start()
        .await;
    world.order(regroup("red-phone", &["family", "music"], &[])).await;
    let phone = world.from("red-phone");
    let (mut film, mut radio) = (phone.open().await, phone.open().await);
    for (wire, name) in [(&mut film, "films"), (&mut radio, "radio")] {
        wire.send(format!("GET / HTTP/1.1\r\nHost: {name}.home.arpa\r\n\r\n")).await;
        assert_eq!(wire.head().await.unwrap().status(), 200, "{name}");
    }
    assert_eq!(radio.chunk().await.unwrap(), b"on");

    world.order(regroup("red-phone", &[], &["family"])).await;
    tokio::time::timeout(CUT, async { while film.some().await.is_some() {} }).await.expect("the film ran on");
    assert_eq!(radio.closed_within(CUT).await, Closed::Open);
    phone.get("films", "/").await.refused("no-rule");
    assert_eq!(world.told(), [], "the controller knows nothing of groups");
}

#[tokio::test]
async fn what_was_put_out_is_let_in_again_by_order() {
    let world = home().start().await;
    for (put_out, code) in [(suspend("laptop"), "member-suspended"), (revoke("laptop"), "member-revoked")] {
        world.order(put_out).await;
        world.from("laptop").is_soon_refused("wiki", code).await;
        let done = world.order(restore("laptop")).await;
        assert_eq!(done.devices[0].controller, AtTheController::Authorized);
        world.from("laptop").get("wiki", "/").await.is(200);
    }
    assert_eq!(world.told(), [("laptop", false), ("laptop", true), ("laptop", false), ("laptop", true)]);
}

#[tokio::test]
async fn an_order_that_cannot_be_says_why_and_changes_nothing() {
    let world = home().stranger("nobody").start().await;
    world.order(revoke("laptop")).await;
    world.settles("laptop", MemberState::Revoked).await;
    world.look().await.unwrap();
    let (devices, writes) = (world.devices(), world.network().writes());

    let tablet = world.id("tablet").to_string();
    let past = jiff::Timestamp::now() - Duration::from_secs(1);
    let named = |device: &str, name: &str| {
        let profile = Profile { name: Some(label(name)), ..Profile::default() };
        Order::Admit { id: world.id(device), profile, ahead: false }
    };
    for (order, why) in [
        (world.admission("red-phone", &[]), "is active already"),
        (world.admission("laptop", &[]), "ztgate restore laptop"),
        (world.admission("nobody", &[]), "--ahead"),
        (named("tablet", "red-phone"), "red-phone"),
        (restore("red-phone"), "is active already"),
        (restore(&tablet), "ztgate admit"),
        (suspend("laptop"), "only an active device"),
        (suspend(&tablet), "only an active device"),
        (suspend("red-fone"), "did you mean red-phone?"),
        (revoke("somebody-else"), "ztgate devices"),
        (edit("red-phone", Edit::Until(Some(past))), "has passed already"),
        (edit("red-phone", Edit::Rename(label("laptop"))), "laptop"),
        (regroup("red-phone", &[], &["family"]), "is not in the group family"),
    ] {
        let asked = format!("{order:?}");
        let told = world.refuses(order).await;
        assert!(told.contains(why), "{asked}: {told}");
    }
    assert_eq!(world.devices(), devices);
    assert_eq!(world.network().writes(), writes);
}

#[tokio::test]
async fn an_order_is_told_once_to_whoever_wants_to_know() {
    let (came, mut deliveries) = tokio::sync::mpsc::channel(16);
    let receiver = script(move |mut served| {
        let came = came.clone();
        async move {
            while let Some(head) = served.request().await {
                let body = served.wire.body(&head).await.unwrap();
                came.send(serde_json::from_slice(&body).unwrap()).await.unwrap();
                served.wire.send("HTTP/1.1 204 No Content\r\n\r\n").await;
            }
        }
    });
    let receiver = crate::world::upstream::RunningUpstream::start(&receiver);
    let world = home();
    crate::world::secret_file(world.folder(), "webhook.secret", "s3cret");
    let lines = format!(
        "[notify]\nwebhook = \"http://127.0.0.1:{}/\"\nsecret_file = \"webhook.secret\"\n",
        receiver.port()
    );
    let world = world.gateway_lines(&lines).start().await;
    world.admit("tablet", &["family"]).await;
    world.order(suspend("tablet")).await;
    world.order(restore("tablet")).await;
    world.order(revoke("red-phone")).await;
    for (event, device) in [
        ("device-admitted", "tablet"),
        ("device-suspended", "tablet"),
        ("device-restored", "tablet"),
        ("device-revoked", "red-phone"),
    ] {
        let told: serde_json::Value =
            tokio::time::timeout(SOON, deliveries.recv()).await.expect("nobody was told").unwrap();
        assert_eq!((told["event"].as_str(), told["device"].as_str()), (Some(event), Some(device)), "{told}");
    }
    // Nothing comes twice: what followed would be next.
    world.order(suspend("laptop")).await;
    let told: serde_json::Value = tokio::time::timeout(SOON, deliveries.recv()).await.unwrap().unwrap();
    assert_eq!((told["event"].as_str(), told["device"].as_str()), (Some("device-suspended"), Some("laptop")));
}

#[tokio::test]
async fn whom_a_change_is_not_about_the_next_roster_shares_with_the_last() {
    let world = home().start().await;
    let member = |device: &str| world.roster().get(world.id(device)).unwrap().clone();
    let (phone, laptop) = (member("red-phone"), member("laptop"));
    world.order(regroup("laptop", &["family"], &[])).await;
    assert!(Arc::ptr_eq(&phone, &member("red-phone")), "made anew, and nothing about it changed");
    assert_eq!(member("laptop").groups, [label("family")]);
    assert_ne!(member("laptop"), laptop);
}
