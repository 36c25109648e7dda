//! The task, step by step: no timers, a clock that stands, a controller that says what it is told to.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::FutureExt;

use super::*;
use crate::config::Device;
use crate::identity::IdentityProof;
use crate::model::ManualClock;
use crate::sync::order::{Actor, AtTheController, Done, Edit, Order, OrderError, Profile};
use crate::zerotier::{ApiError, ControllerMember, ControllerView, NetworkDns, Proposal, examples};

#[path = "poll_disk_tests.rs"]
mod disk;

#[path = "poll_heard_tests.rs"]
mod heard;

#[path = "poll_sync_tests.rs"]
mod syncs;

const NETWORK: &str = "5e02d9cb41c0ffee";
const A: &str = "c4c8812898:0:203ee6338341519b07a30250ac1b5d0199417a7d94db550f8187e908dc8e3019ebff0c8010ce10c249475d06ae4799a3fc61a74192c25b231c7085428a1dfe5d";
const B: &str = "bcba17eef8:0:8c2888311abc576d0a7917d2e0eee8a64cd1c34c293c7881ee31a19dd1390602391c969577ce48d7044e53bf00a268cd799e6a4693bed01b6a2cbce3453a8763";

fn id(identity: &str) -> MemberId {
    identity.split(':').next().unwrap().parse().unwrap()
}

/// Says what the test put there, and what it was told since; nothing there is an empty list. Takes nothing while it is
/// away.
#[derive(Default)]
struct Told(Mutex<Vec<(&'static str, bool)>>, AtomicBool);

impl Controller for Told {
    fn name(&self) -> &'static str {
        "local"
    }

    fn view(&self) -> BoxFuture<'_, Result<ControllerView, ApiError>> {
        let members: Vec<_> = self.0.lock().unwrap().iter().map(|&(who, yes)| member(who, yes)).collect();
        let network = NETWORK.parse().unwrap();
        let view = ControllerView { network, members, public: false, forwards: vec![] };
        let answer = if view.members.is_empty() { Err(ApiError::NoMembers) } else { Ok(view) };
        futures_util::future::ready(answer).boxed()
    }

    fn set_authorized(&self, id: MemberId, yes: bool) -> BoxFuture<'_, Result<ControllerMember, ApiError>> {
        let mut members = self.0.lock().unwrap();
        let answer = match members.iter_mut().find(|(who, _)| self::id(who) == id) {
            _ if self.1.load(Ordering::Relaxed) => Err(ApiError::NoController),
            Some(known) => {
                known.1 = yes;
                Ok(member(known.0, yes))
            }
            None => Ok(ControllerMember { id, identity: None, ..member(A, yes) }),
        };
        futures_util::future::ready(answer).boxed()
    }

    fn propose(&self) -> BoxFuture<'_, Result<Vec<Proposal>, ApiError>> {
        unreachable!()
    }

    fn apply<'a>(&'a self, _: &'a Proposal) -> BoxFuture<'a, Result<(), ApiError>> {
        unreachable!()
    }

    fn dns(&self) -> BoxFuture<'_, Result<NetworkDns, ApiError>> {
        unreachable!()
    }

    fn set_dns<'a>(&'a self, _: &'a NetworkDns, _: &'a NetworkDns) -> BoxFuture<'a, Result<(), ApiError>> {
        unreachable!()
    }
}

fn member(identity: &str, authorized: bool) -> ControllerMember {
    ControllerMember {
        id: id(identity),
        authorized,
        identity: Some(identity.to_owned()),
        ..examples::member()
    }
}

fn config(devices: Vec<Device>) -> Arc<Config> {
    let text = format!("network = \"{NETWORK}\"\nzone = \"home.arpa\"\nstate_dir = \"/nonexistent\"\n");
    let config = crate::config::from_text(&text, &[]).unwrap();
    Arc::new(Config { devices, ..config })
}

struct World {
    controller: Arc<Told>,
    clock: Arc<ManualClock>,
    config: watch::Sender<Arc<Config>>,
    folder: tempfile::TempDir,
}

impl World {
    fn new(says: &[(&'static str, bool)]) -> Self {
        let controller = Arc::new(Told(Mutex::new(says.to_vec()), AtomicBool::new(false)));
        let clock = Arc::new(ManualClock::at("2026-03-01T12:00:00Z".parse().unwrap()));
        Self {
            controller,
            clock,
            config: watch::Sender::new(config(vec![])),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn says(&self, members: &[(&'static str, bool)]) {
        *self.controller.0.lock().unwrap() = members.to_vec();
    }

    /// A gateway's start on what is on disk.
    fn start(&self) -> (RosterTask, RosterFeed) {
        self.start_at(self.clock.clone())
    }

    fn start_at(&self, clock: Arc<dyn Clock>) -> (RosterTask, RosterFeed) {
        let node = NodeClient::new("http://127.0.0.1:1", self.folder.path().join("no-token")).unwrap();
        let (store, _) = Members::open(self.folder.path()).unwrap();
        let (prover, config) = (Prover::start().unwrap(), self.config.subscribe());
        RosterTask::new(self.controller.clone(), node, store, prover, config, clock, Limits::LOCAL).unwrap()
    }

    fn log(&self) -> Vec<String> {
        let (store, _) = Members::open(self.folder.path()).unwrap();
        let told = |c: Change| format!("{} {}", c.member, c.to);
        store.history().changes(None).unwrap().into_iter().map(told).collect()
    }
}

async fn poll(task: &mut RosterTask) {
    let answer = task.ask().await;
    task.take(answer);
}

fn state(feed: &RosterFeed, identity: &str) -> Option<MemberState> {
    Some(feed.roster.borrow().as_ref()?.get(id(identity))?.state)
}

fn admit(identity: &str) -> Order {
    let profile = Profile { name: "tablet".parse().ok(), ..Profile::default() };
    Order::Admit { id: id(identity), profile, ahead: false }
}

fn revoke(identity: &str) -> Order {
    Order::Revoke { who: id(identity).to_string(), why: None }
}

/// Has an order carried out, and what it makes the controller hear told once.
async fn order(task: &mut RosterTask, order: Order) -> Result<Done, OrderError> {
    let (reply, answer) = tokio::sync::oneshot::channel();
    task.hear(Request::CarryOut { order, by: Actor::named("root"), reply });
    task.tell_next();
    if let Some(telling) = task.desk.telling.take() {
        let told = telling.await;
        task.told(told);
    }
    tokio::time::timeout(Duration::from_secs(5), answer).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_first_answer_adopts_and_later_ones_do_not() {
    let world = World::new(&[(A, true)]);
    let (mut task, feed) = world.start();
    assert!(feed.roster.borrow().is_none());
    poll(&mut task).await;
    world.says(&[(A, true), (B, true)]);
    poll(&mut task).await;
    assert_eq!(state(&feed, A), Some(MemberState::Active));
    assert_eq!(state(&feed, B), Some(MemberState::Pending));
    assert_eq!(world.log(), ["c4c8812898 active", "bcba17eef8 pending"]);
}

#[tokio::test]
async fn odd_answers_use_up_no_first_start() {
    let world = World::new(&[]);
    let (mut task, feed) = world.start();
    poll(&mut task).await;
    assert!(feed.status.borrow().last_error.as_deref().unwrap().contains("empty"));
    drop(task);

    world.says(&[(A, true)]);
    let (mut task, feed) = world.start();
    poll(&mut task).await;
    assert_eq!(state(&feed, A), Some(MemberState::Active));
    assert_eq!(feed.status.borrow().last_error, None);
}

#[tokio::test]
async fn an_odd_answer_changes_nothing_and_the_roster_grows_stale() {
    let world = World::new(&[(A, true)]);
    let (mut task, feed) = world.start();
    poll(&mut task).await;
    let before = feed.roster.borrow().clone().unwrap();
    world.says(&[]);
    world.clock.advance(Limits::LOCAL.stale);
    poll(&mut task).await;
    let after = feed.roster.borrow().clone().unwrap();
    assert!(Arc::ptr_eq(&before, &after));
    assert!(!after.is_stale(world.clock.instant()));
    world.clock.advance(Duration::from_secs(1));
    assert!(after.is_stale(world.clock.instant()));
    assert_eq!(feed.status.borrow().last_ok, Some(after.taken));
}

#[tokio::test]
async fn a_restart_begins_with_what_was_kept_and_its_age() {
    let world = World::new(&[(A, true), (B, false)]);
    let (mut task, _) = world.start();
    poll(&mut task).await;
    drop(task);
    world.clock.advance(Duration::from_secs(600));
    let (_task, feed) = world.start();
    let roster = feed.roster.borrow().clone().unwrap();
    assert_eq!(roster.age(world.clock.instant()), Duration::from_secs(600));
    assert_eq!(state(&feed, A), Some(MemberState::Active));
    assert_eq!(feed.status.borrow().last_ok, Some(roster.taken));
}

#[tokio::test]
async fn a_kept_roster_from_the_future_is_stale() {
    let world = World::new(&[(A, true)]);
    let (mut task, _) = world.start();
    poll(&mut task).await;
    drop(task);
    let earlier = Arc::new(ManualClock::at("2026-03-01T11:59:00Z".parse().unwrap()));
    let (_task, feed) = world.start_at(earlier.clone());
    assert!(feed.roster.borrow().clone().unwrap().is_stale(earlier.instant()));
}

#[tokio::test]
async fn an_unchanged_roster_s_time_reaches_the_disk_within_a_minute() {
    let world = World::new(&[(A, true)]);
    let (mut task, _) = world.start();
    let kept = |world: &World| {
        let (mut store, _) = Members::open(world.folder.path()).unwrap();
        store.load(NETWORK.parse().unwrap()).unwrap().unwrap().taken
    };
    poll(&mut task).await;
    let first = kept(&world);
    world.clock.advance(Duration::from_secs(59));
    poll(&mut task).await;
    assert_eq!(kept(&world), first);
    world.clock.advance(Duration::from_secs(1));
    poll(&mut task).await;
    assert_eq!(kept(&world), world.clock.now());
}

#[tokio::test]
async fn a_revoked_member_stays_revoked_over_a_restart() {
    let world = World::new(&[(A, true), (B, true)]);
    let (mut task, _) = world.start();
    poll(&mut task).await;
    world.says(&[(B, true)]);
    poll(&mut task).await;
    poll(&mut task).await;
    drop(task);
    let (mut task, feed) = world.start();
    assert_eq!(state(&feed, A), Some(MemberState::Revoked));
    world.says(&[(A, true), (B, true)]);
    poll(&mut task).await;
    assert_eq!(state(&feed, A), Some(MemberState::Pending));
}

#[tokio::test]
async fn identities_are_proved_once_and_the_proof_outlives_a_restart() {
    let world = World::new(&[(A, true)]);
    let (mut task, feed) = world.start();
    poll(&mut task).await;
    let proof = |feed: &RosterFeed| feed.roster.borrow().as_ref().unwrap().get(id(A)).unwrap().proof;
    assert_eq!(proof(&feed), IdentityProof::Unproven);
    let verdict = tokio::time::timeout(Duration::from_secs(30), task.prover.next()).await.unwrap();
    task.judge(verdict);
    assert_eq!(proof(&feed), IdentityProof::Proven);
    poll(&mut task).await;
    drop(task);
    let (mut task, feed) = world.start();
    assert_eq!(proof(&feed), IdentityProof::Proven);
    assert_eq!(merge::to_prove(&task.known.members), []);
    assert_eq!(task.prover.try_next(), None);
}

#[tokio::test]
async fn who_is_admitted_is_in_once_disk_and_controller_know() {
    let world = World::new(&[(A, true), (B, false)]);
    let (mut task, feed) = world.start();
    poll(&mut task).await;
    let done = order(&mut task, admit(B)).await.unwrap();
    assert_eq!(done.devices[0].gateway, ["pending -> active"]);
    assert_eq!(done.devices[0].controller, AtTheController::Authorized);
    assert_eq!(state(&feed, B), Some(MemberState::Active));
    assert_eq!(world.controller.0.lock().unwrap()[1], (B, true));
    let roster = feed.roster.borrow().clone().unwrap();
    assert_eq!(roster.get(id(B)).unwrap().device, "tablet".parse().ok());
    drop(task);
    assert_eq!(state(&world.start().1, B), Some(MemberState::Active));
}

#[tokio::test]
async fn while_the_controller_is_away_a_revocation_holds_and_an_admission_waits() {
    let world = World::new(&[(A, true), (B, false)]);
    let (mut task, feed) = world.start();
    poll(&mut task).await;
    world.controller.1.store(true, Ordering::Relaxed);
    for (asked, who) in [(revoke(A), A), (admit(B), B)] {
        let done = order(&mut task, asked).await.unwrap();
        assert!(matches!(done.devices[0].controller, AtTheController::Queued(_)), "{done:?}");
        assert_ne!(state(&feed, who), Some(MemberState::Active));
    }
    // Its views still come, and say what it was never told: nothing follows from that.
    poll(&mut task).await;
    assert_eq!((state(&feed, A), state(&feed, B)), (Some(MemberState::Revoked), Some(MemberState::Pending)));
    drop(task);

    world.controller.1.store(false, Ordering::Relaxed);
    let (mut task, feed) = world.start();
    assert_eq!(task.known.outbox.len(), 2, "what it is to be told outlives a restart");
    for _ in 0..2 {
        task.tell_next();
        let told = task.desk.telling.take().unwrap().await;
        task.told(told);
    }
    assert_eq!(world.controller.0.lock().unwrap()[..], [(A, false), (B, true)]);
    assert_eq!((state(&feed, A), state(&feed, B)), (Some(MemberState::Revoked), Some(MemberState::Active)));
    poll(&mut task).await;
    assert_eq!(task.desk.plan, []);
}

#[tokio::test]
async fn an_answer_that_was_on_its_way_takes_nothing_back() {
    let world = World::new(&[(A, true), (B, false)]);
    let (mut task, feed) = world.start();
    poll(&mut task).await;
    let late = task.ask().await;
    order(&mut task, admit(B)).await.unwrap();
    task.take(late);
    assert_eq!(state(&feed, B), Some(MemberState::Active));
}

#[tokio::test]
async fn enforce_puts_strangers_out_and_no_house_off_its_network() {
    const C: &str = "00deadbeef:0:key";
    const D: &str = "00deadbee0:0:key";
    let world = World::new(&[(A, true)]);
    let (mut task, _) = world.start();
    poll(&mut task).await;
    task.gateway = Some(id(A));
    let enforce = Config { sync: SyncMode::Enforce, ..(*config(vec![])).clone() };
    world.config.send_replace(Arc::new(enforce));
    task.reconfigure();
    world.says(&[(A, true), (B, true)]);
    poll(&mut task).await;
    assert_eq!(
        task.known.outbox.keys().collect::<Vec<_>>(),
        [&id(B)],
        "one that somebody else let in is put out"
    );

    task.known.outbox.clear();
    world.says(&[(A, true), (B, true), (C, true), (D, true)]);
    poll(&mut task).await;
    assert!(task.known.outbox.is_empty(), "three of four would be an old store's mistake");
    let (reply, _answer) = tokio::sync::oneshot::channel();
    task.hear(Request::CarryOut { order: Order::Sync { dry_run: false }, by: Actor::named("root"), reply });
    poll(&mut task).await;
    assert_eq!(task.known.outbox.len(), 3, "unless a person says so");
    assert!(task.known.outbox.values().all(|intent| intent.who == "root"), "whose doing it then is");
    let record = task.store.history().changes(Some(id(A))).unwrap().pop().unwrap();
    assert_eq!(
        (record.who.as_str(), record.why.as_str()),
        (
            "root",
            "sync: 3 to tell the controller; acknowledged: sync = \"enforce\" would put out 3 of 4 members"
        )
    );
}

#[tokio::test]
async fn a_guest_s_time_ends_at_the_second_it_says() {
    let world = World::new(&[(A, true), (B, false)]);
    let (mut task, feed) = world.start();
    let mut news = task.news.subscribe();
    poll(&mut task).await;
    let until = world.clock.now() + Duration::from_secs(3600);
    let profile = Profile { name: "guest".parse().ok(), until: Some(until), ..Profile::default() };
    order(&mut task, Order::Admit { id: id(B), profile, ahead: false }).await.unwrap();
    let is_notice = |news: News| matches!(news, News::ExpiresSoon(view) if view.member == id(B));
    task.expire();
    assert!(
        !std::iter::from_fn(|| news.try_recv().ok()).any(is_notice),
        "an hour is no news when it was just said"
    );
    world.clock.advance(Duration::from_secs(50 * 60));
    task.expire();
    assert!(std::iter::from_fn(|| news.try_recv().ok()).any(is_notice));

    world.clock.advance(Duration::from_secs(599));
    task.expire();
    assert_eq!(state(&feed, B), Some(MemberState::Active));
    let before = feed.roster.borrow().clone().unwrap();
    world.clock.advance(Duration::from_secs(1));
    assert!(
        before.get(id(B)).unwrap().has_ended(world.clock.instant()),
        "the request's path knows by itself"
    );
    task.expire();
    assert_eq!(state(&feed, B), Some(MemberState::Expired));
    assert_eq!(world.log().last().unwrap(), "bcba17eef8 expired");
}

#[tokio::test(start_paused = true)]
async fn it_polls_by_itself_and_when_asked() {
    let world = World::new(&[(A, true)]);
    let (task, mut feed) = world.start();
    let running = tokio::spawn(task.run());
    feed.roster.wait_for(Option::is_some).await.unwrap();
    world.says(&[(A, false)]);
    let began = tokio::time::Instant::now();
    feed.poll_now.notify_one();
    let revoked = |roster: &Option<Arc<Roster>>| {
        roster.as_ref().unwrap().get(id(A)).unwrap().state == MemberState::Revoked
    };
    feed.roster.wait_for(revoked).await.unwrap();
    assert!(began.elapsed() < Limits::LOCAL.poll);
    world.says(&[(A, false), (B, false)]);
    feed.roster.wait_for(|roster| roster.as_ref().unwrap().len() == 2).await.unwrap();
    assert!(began.elapsed() <= Limits::LOCAL.poll * 2);
    running.abort();
}
