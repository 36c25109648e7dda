//! A gateway's keeper of devices that is killed (SIGKILL) in the middle of what was ordered, again and again.
//!
//! The child is this very test program, told by its environment to be one. It notes each order in a file before it asks
//! and after it is told that it is done, which a kill does not take back.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use ztgate::config::{self, Config};
use ztgate::demo::standin::WriteFault;
use ztgate::linux::clock::SystemClock;
use ztgate::model::{MemberId, MemberState};
use ztgate::store::{AtController, Members, StoredRoster};
use ztgate::sync::{self, Actor, AtTheController, Order, RosterFeed};

use super::home;
use crate::world::SOON;
use crate::world::orders::{restore, revoke, suspend};

/// Where the child works; set for it alone.
const FOLDER: &str = "ZTGATE_TEST_KILLED_IN";
const CHILD: &str = "devices::killed::the_child";
const ROUNDS: u32 = 20;

/// What the child orders, over and over.
fn orders() -> [Order; 6] {
    [
        revoke("red-phone"),
        suspend("laptop"),
        restore("red-phone"),
        restore("laptop"),
        suspend("red-phone"),
        restore("red-phone"),
    ]
}

/// Whom an order is about, and where it leaves that one.
fn outcome(order: &Order) -> (&str, MemberState) {
    match order {
        Order::Revoke { who, .. } => (who, MemberState::Revoked),
        Order::Suspend { who, .. } => (who, MemberState::Suspended),
        Order::Restore { who, .. } => (who, MemberState::Active),
        other => unreachable!("{other:?} is not among them"),
    }
}

fn load(folder: &Path) -> Arc<Config> {
    Arc::new(config::load(&folder.join("ztgate.toml")).unwrap())
}

/// Begins to keep the devices of a folder.
pub(super) fn start(folder: &Path) -> (RosterFeed, tokio::task::JoinHandle<()>) {
    let (task, feed) =
        sync::start(watch::Sender::new(load(folder)).subscribe(), Arc::new(SystemClock)).unwrap();
    (feed, tokio::spawn(task.run()))
}

/// Only for [`a_kill_at_any_moment_loses_nothing`]; by itself it does nothing.
#[tokio::test]
async fn the_child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut notes = OpenOptions::new().append(true).create(true).open(folder.join("notes")).unwrap();
    let (feed, _task) = start(&folder);
    // Where the last one was killed.
    let done = Notes::read(&folder).orders;
    for number in done.. {
        let order = orders()[number % orders().len()].clone();
        notes.write_all(b"ask\n").unwrap();
        let answer = feed.orders.carry_out(order, Actor::named("mum")).await;
        let word = match answer.as_ref().map(|done| &done.devices[0].controller) {
            Ok(AtTheController::Queued(_)) => "queued",
            Ok(_) => "done",
            Err(_) => "refused",
        };
        notes.write_all(format!("{word}\n").as_bytes()).unwrap();
    }
}

/// What the children noted: how many orders were asked for, and what came of each.
struct Notes {
    orders: usize,
    answers: Vec<Option<String>>,
}

impl Notes {
    fn read(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("notes")).unwrap_or_default();
        let mut answers: Vec<Option<String>> = Vec::new();
        for line in text.lines() {
            match (line, answers.last_mut()) {
                ("ask", _) => answers.push(None),
                (word, Some(last)) => *last = Some(word.to_owned()),
                (word, None) => panic!("{word} before any order"),
            }
        }
        Self { orders: answers.len(), answers }
    }

    /// Where a device may stand: where the last order about it that was answered left it, or one after that, which the
    /// kill may have met before or after it was on disk.
    fn may_be(&self, device: &str) -> Vec<MemberState> {
        let mut may = vec![MemberState::Active];
        let orders = orders();
        for (answer, order) in self.answers.iter().zip(orders.iter().cycle()) {
            let (who, state) = outcome(order);
            if who == device {
                match answer.as_deref() {
                    Some("done") => may = vec![state],
                    // Illegal where the one before it was lost.
                    Some("refused") => {}
                    _ => may.push(state),
                }
            }
        }
        may
    }
}

struct Killed(Child);

impl Killed {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", CHILD, "--test-threads=1"]).env(FOLDER, folder);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // SIGKILL (std::process::Child::kill).
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn on_disk(folder: &Path) -> StoredRoster {
    let (mut store, created) = Members::open(&folder.join("state")).unwrap();
    assert!(!created, "the store is gone");
    store.load(load(folder).network).unwrap().expect("the roster is gone")
}

/// Milliseconds that look like chance and are the same each time.
fn moments() -> impl Iterator<Item = Duration> {
    let mut seed: u64 = 0x5e02_d9cb;
    std::iter::repeat_with(move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_micros((seed >> 33) % 40_000)
    })
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_nothing() {
    let mut world = home().start().await;
    // The store knows the devices from here on, and only the child writes to it.
    world.stop().await;
    let ids: HashMap<&str, MemberId> =
        ["red-phone", "laptop", "tablet"].map(|name| (name, world.id(name))).into();
    let folder = world.folder().to_owned();
    let (mut orders, mut interrupted) = (0, 0);
    for (round, moment) in (0..ROUNDS).zip(moments()) {
        // Slow enough that a kill often meets a write on its way: done, and not yet answered.
        let slow = (round % 2 == 0).then_some(WriteFault::Slow(Duration::from_millis(5)));
        world.network().fail_writes(slow);
        let child = Killed::start(&folder);
        let begin = Instant::now();
        while Notes::read(&folder).orders < orders + 1 + round as usize % 4 {
            let answers = || Notes::read(&folder).answers;
            assert!(begin.elapsed() < SOON * 4, "round {round}: nothing is ordered after {:?}", answers());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(moment).await;
        drop(child);

        let notes = Notes::read(&folder);
        orders = notes.orders;
        interrupted += usize::from(notes.answers.last().is_some_and(Option::is_none));
        let kept = on_disk(&folder);
        for device in ["red-phone", "laptop"] {
            let member = kept.members.iter().find(|member| member.id == ids[device]).unwrap();
            let may = notes.may_be(device);
            assert!(may.contains(&member.state), "round {round}: {device} is {}, not {may:?}", member.state);
            // Who is in is authorised, or somebody took that back elsewhere, and nobody did.
            let authorized = world.network().change(|net| net.member(member.id).unwrap().authorized);
            let is_on_the_way = kept.outbox.contains_key(&member.id);
            let is_in_step = authorized == (member.state == MemberState::Active);
            assert!(is_in_step || is_on_the_way, "round {round}: {device} is {} there", member.state);
        }
    }
    world.network().fail_writes(None);

    // What is still to be told is told, and then all agree.
    let (feed, task) = start(&folder);
    let begin = Instant::now();
    let settled = || feed.devices.borrow().iter().all(|device| device.queued.is_none());
    while feed.status.borrow().members == 0 || !settled() {
        assert!(begin.elapsed() < SOON * 2, "it does not converge: {:#?}", feed.devices.borrow());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let look = feed.orders.carry_out(Order::Sync { dry_run: true }, Actor::named("mum")).await.unwrap();
    assert_eq!(look.plan, []);
    task.abort();
    let (kept, notes) = (on_disk(&folder), Notes::read(&folder));
    for device in ["red-phone", "laptop"] {
        let member = kept.members.iter().find(|member| member.id == ids[device]).unwrap();
        assert!(notes.may_be(device).contains(&member.state), "{device} is {}", member.state);
        let active = member.state == MemberState::Active;
        assert_eq!(member.at_controller == AtController::Authorized, active, "{device}");
    }
    // Nobody ordered anything about the tablet.
    assert!(world.told().iter().all(|(name, _)| *name != "tablet"), "{:?}", world.told());
    eprintln!("{orders} orders, {interrupted} of {ROUNDS} kills in the middle of one");
    assert!(interrupted > 0, "no kill met an order");
}
