//! The network's DNS setting: pushed by an order at the admin socket, then kept in step, and never against anybody.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ztgate::admin::{self, AdminError, PushOrder};
use ztgate::demo::standin::{Fault, WriteFault};
use ztgate::push::{Look, Outcome, Standing};
use ztgate::zerotier::NetworkDns;

use crate::world::{Live, SOON, World};

const FILE: &str = "dns-push.json";

async fn home() -> Live {
    World::new().member("red-phone").dns("").start().await
}

impl Live {
    async fn look_at_push(&self) -> Look {
        admin::get(&admin::socket(&self.state_dir()), "/dns/push").await.unwrap()
    }

    async fn look_until_wanted_is_other_than(&self, before: &Look) {
        let begin = Instant::now();
        while self.look_at_push().await.wanted == before.wanted {
            assert!(begin.elapsed() < SOON * 4, "still {before:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn push_order(&self, order: PushOrder) -> Result<Outcome, AdminError> {
        admin::order(&admin::socket(&self.state_dir()), "/dns/push", &order, None).await
    }

    /// As a person who says yes to what is shown.
    async fn push(&self) -> Outcome {
        let look = self.look_at_push().await;
        let order = PushOrder::Push { shown: look.found.unwrap(), agreed: look.wanted.unwrap() };
        self.push_order(order).await.unwrap()
    }

    /// What the controller has members told.
    fn told_dns(&self) -> Value {
        self.network().change(|net| net.dns.clone())
    }

    async fn dns_becomes(&self, wanted: &Value) {
        self.until(&format!("{wanted}"), || self.told_dns() == *wanted).await;
    }

    async fn stands(&self, standing: Standing) {
        self.until(&format!("{standing:?}"), || self.gateway().status().push.standing == standing).await;
    }

    async fn until(&self, what: &str, done: impl Fn() -> bool) {
        let begin = Instant::now();
        while !done() {
            let status = self.gateway().status().push;
            assert!(begin.elapsed() < SOON * 4, "no {what}: {} and {status:#?}", self.told_dns());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What is remembered on disk.
    fn kept(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.state_dir().join(FILE)).unwrap()).unwrap()
    }

    fn network_writes(&self) -> usize {
        self.network().writes().iter().filter(|write| !write.path.contains("/member/")).count()
    }
}

fn at(servers: &[&str]) -> Value {
    json!({"domain": "home.arpa", "servers": servers})
}

/// The order of a person who saw nothing there, and these servers to come.
fn onto_nothing(servers: &[&str]) -> PushOrder {
    let servers = servers.iter().map(|server| server.parse().unwrap()).collect();
    let agreed = NetworkDns { domain: "home.arpa".to_owned(), servers, odd: Vec::new() };
    PushOrder::Push { shown: NetworkDns::default(), agreed }
}

/// What was recorded about the setting, and by whom, without whom it was.
async fn records(world: &Live) -> Vec<String> {
    let history: Vec<ztgate::sync::Event> =
        admin::get(&admin::socket(&world.state_dir()), "/devices/history").await.unwrap();
    let about = history.into_iter().filter(|event| event.why.contains("DNS setting"));
    about
        .map(|event| format!("{}{}", if event.who == "ztgate" { "itself: " } else { "" }, event.why))
        .collect()
}

#[tokio::test]
async fn after_one_yes_the_controller_follows_the_gateways_addresses() {
    let world = home().await;
    let look = world.look_at_push().await;
    assert_eq!((look.found, look.kept, look.ours), (Ok(NetworkDns::default()), false, false));
    // Without it nothing is told, whatever changes.
    world.overlay_has(&["127.0.0.1", "127.0.0.2"]);
    world.stands(Standing::Off).await;
    assert_eq!(world.network_writes(), 0);

    let done = world.push().await;
    assert_eq!(done.notes, [""; 0]);
    assert_eq!(world.told_dns(), at(&["127.0.0.1", "127.0.0.2"]));
    world.overlay_has(&["127.0.0.3"]);
    world.dns_becomes(&at(&["127.0.0.3"])).await;
    world.stands(Standing::InStep).await;
    assert_eq!(world.network_writes(), 2);

    // The device goes away, and what is there stays for its return.
    world.overlay_has(&[]);
    world
        .until("word of it", || matches!(world.gateway().status().push.standing, Standing::Blocked(_)))
        .await;
    assert_eq!(world.told_dns(), at(&["127.0.0.3"]));

    let off = world.push_order(PushOrder::Stop { clear: true }).await.unwrap();
    assert_eq!(off.found, NetworkDns::default());
    assert_eq!(world.told_dns(), json!({"domain": "", "servers": []}));
    world.overlay_has(&["127.0.0.1"]);
    assert!(!world.look_at_push().await.kept);
    assert_eq!(
        records(&world).await,
        [
            "the network's DNS setting: nothing -> home.arpa at 127.0.0.1 127.0.0.2",
            "itself: the network's DNS setting: home.arpa at 127.0.0.1 127.0.0.2 -> home.arpa at 127.0.0.3",
            "the network's DNS setting: home.arpa at 127.0.0.3 -> nothing",
        ]
    );
}

#[tokio::test]
async fn what_somebody_else_set_is_left_alone_until_a_person_says_yes() {
    let mut world = home().await;
    world.push().await;
    let theirs = json!({"domain": "example.org", "servers": ["10.0.0.9"]});
    world.network().change(|net| net.dns = theirs.clone());
    world.overlay_has(&["127.0.0.2"]);
    world.stands(Standing::Foreign).await;
    assert_eq!(world.told_dns(), theirs);
    world.restart().await;
    world.stands(Standing::Foreign).await;
    assert_eq!((world.told_dns(), world.network_writes()), (theirs.clone(), 1));

    // What is not what the person was shown is not replaced either.
    let stale = world.push_order(onto_nothing(&["127.0.0.1"])).await.unwrap_err();
    assert!(
        matches!(&stale, AdminError::Declined(why) if why.contains("changed at the controller")),
        "{stale}"
    );
    // And `--off` clears only what is ours.
    let off = world.push_order(PushOrder::Stop { clear: true }).await.unwrap();
    assert!(off.notes[0].contains("stays"), "{off:?}");
    assert_eq!((world.told_dns(), world.network_writes()), (theirs, 1));

    world.push().await;
    assert_eq!(world.told_dns(), at(&["127.0.0.1"]));
}

#[tokio::test]
async fn what_changed_after_it_was_shown_is_not_told_in_its_place() {
    let world = home().await;
    let look = world.look_at_push().await;
    world.overlay_has(&["127.0.0.2"]);
    world.look_until_wanted_is_other_than(&look).await;
    let order = PushOrder::Push { shown: look.found.unwrap(), agreed: look.wanted.unwrap() };
    let no = world.push_order(order).await.unwrap_err();
    assert!(matches!(&no, AdminError::Declined(why) if why.contains("home.arpa at 127.0.0.2 now")), "{no}");
    assert!(!world.look_at_push().await.kept);
    assert_eq!(world.network_writes(), 0);
}

/// A home whose controller was told of 127.0.0.1, and whose gateway was stopped before it heard how that ended.
async fn stopped_while_it_tells() -> Live {
    let mut world = home().await;
    world.network().fail_writes(Some(WriteFault::Slow(SOON * 10)));
    let socket = admin::socket(&world.state_dir());
    let asking = tokio::spawn(async move {
        let order = onto_nothing(&["127.0.0.1"]);
        admin::order::<Outcome>(&socket, "/dns/push", &order, None).await
    });
    world.dns_becomes(&at(&["127.0.0.1"])).await;
    world.stop().await;
    asking.await.unwrap().unwrap_err();
    world
}

#[tokio::test]
async fn a_kill_between_telling_and_remembering_forgets_nothing() {
    let mut world = stopped_while_it_tells().await;
    let kept = world.kept();
    assert_eq!((&kept["ours"], &kept["writing"]["servers"]), (&Value::Null, &json!(["127.0.0.1"])));

    world.network().fail_writes(None);
    world.restart().await;
    world.overlay_has(&["127.0.0.2"]);
    world.dns_becomes(&at(&["127.0.0.2"])).await;
}

#[tokio::test]
async fn two_writes_of_unknown_end_leave_what_is_there_ours() {
    let mut world = stopped_while_it_tells().await;

    // Two whose connection is lost, and nobody can say whether they were heard: none was.
    world.network().fail_writes(Some(WriteFault::Down));
    world.restart().await;
    for other in ["127.0.0.2", "127.0.0.3"] {
        let before = world.network_writes();
        world.overlay_has(&[other]);
        world.until("another try", || world.network_writes() > before).await;
        let unsure = |world: &Live| world.kept()["writing"]["servers"] == json!([other]);
        world.until("a note of it", || unsure(&world)).await;
    }
    assert_eq!(world.told_dns(), at(&["127.0.0.1"]));
    world.network().fail_writes(None);
    world.overlay_has(&["127.0.0.4"]);
    world.dns_becomes(&at(&["127.0.0.4"])).await;
    world.until("a note of its end", || world.kept()["writing"].is_null()).await;
    assert_eq!(world.kept()["ours"]["servers"], json!(["127.0.0.4"]));
}

#[tokio::test]
async fn where_it_cannot_be_done_nothing_is_changed_and_the_reason_said() {
    let world = home().await;
    world.network().fail_writes(Some(WriteFault::Ignored));
    let no = world.push_order(onto_nothing(&["127.0.0.1"])).await.unwrap_err();
    assert!(matches!(&no, AdminError::Declined(why) if why.contains("nothing there where")), "{no}");
    assert!(!world.look_at_push().await.kept, "a push that failed is not kept");
    world.network().fail_writes(None);

    world.controller_fails(Fault::Down);
    let away = world.push_order(onto_nothing(&["127.0.0.1"])).await.unwrap_err();
    assert!(matches!(away, AdminError::Refused(_)), "{away}");
    assert!(world.look_at_push().await.found.is_err());
    world.network().fail(None);
    assert_eq!(world.told_dns(), json!([]));
}

#[tokio::test]
async fn a_gateway_without_dns_pushes_nothing() {
    let world = World::new().member("red-phone").start().await;
    let no = world.push_order(onto_nothing(&["127.0.0.1"])).await.unwrap_err();
    assert!(matches!(&no, AdminError::Declined(why) if why.contains("DNS is off here")), "{no}");
    assert_eq!(world.network_writes(), 0);
}
