//! A full disk, on a real filesystem that is small.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use ztgate::demo::standin::Fault;
use ztgate::store::Members;
use ztgate::sync::{Actor, AtTheController, Done, Order};

use super::killed::start;
use super::{Streams, home};
use crate::real::needs;
use crate::world::SOON;
use crate::world::orders::{regroup, revoke};

/// Set for the process alone that runs on the small disk.
const SMALL: &str = "ZTGATE_TEST_SMALL_DISK";

#[test]
fn a_revocation_holds_on_a_full_disk_and_is_kept_once_there_is_room() {
    run_on_a_small_disk("on_a_small_disk");
}

#[test]
fn a_revocation_on_a_full_disk_outlives_a_kill() {
    run_on_a_small_disk("killed_on_a_small_disk");
}

/// Runs a test of this file where temporary folders are on a few megabytes of tmpfs, in a mount namespace of its own.
fn run_on_a_small_disk(test: &str) {
    let Some(unshare) = needs("unshare") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(unshare);
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg(r#"mount -t tmpfs -o size=4m none "$0" && export TMPDIR="$0" && exec "$@""#)
        .args([folder.path(), &std::env::current_exe().unwrap()])
        .args(["--exact", &format!("devices::disk::{test}"), "--nocapture"])
        .env(SMALL, "1");
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stdout));
}

/// Only for a test above; by itself it does nothing.
#[tokio::test]
async fn on_a_small_disk() {
    if std::env::var_os(SMALL).is_none() {
        return;
    }
    let mut world = home().start().await;
    let phone = Streams::of(&world, "red-phone").await;
    let mut laptop = Streams::of(&world, "laptop").await;
    let ballast = world.folder().join("ballast");
    fill(&ballast);

    let done = world.order(revoke("red-phone")).await;
    assert!(done.notes.iter().any(|note| note.contains("a restart keeps it")), "{done:?}");
    phone.end().await;
    world.from("red-phone").is_soon_refused("wiki", "member-revoked").await;
    assert_eq!(world.told(), [("red-phone", false)]);
    laptop.go_on(&world, "laptop").await;

    // Whatever may open more waits for the disk.
    for more in [world.admission("tablet", &["family"]), regroup("laptop", &["family"], &[])] {
        let why = world.refuses(more).await;
        assert!(why.contains("nothing was changed"), "{why}");
    }
    world.from("tablet").get("wiki", "/").await.refused("member-pending");
    let id = world.id("red-phone").to_string();
    let on_disk = || {
        let db = rusqlite::Connection::open(world.state_dir().join("members.db")).unwrap();
        let sql = "SELECT state FROM members WHERE id = ?1";
        db.query_row(sql, [&id], |row| row.get::<_, String>(0)).unwrap()
    };
    assert_eq!(on_disk(), "active", "the disk was not full");

    // Nor does it wait for the controller to be there.
    world.controller_fails(Fault::Down);
    std::fs::remove_file(ballast).unwrap();
    let begin = Instant::now();
    while on_disk() != "revoked" {
        assert!(begin.elapsed() < SOON * 2, "there is room, and it is not kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.restart().await;
    world.from("red-phone").get("wiki", "/").await.refused("member-revoked");
    world.from("laptop").get("wiki", "/").await.is(200);

    // Where there is not room for all of the reserve none of it is taken.
    let (other, ballast) = (world.folder().join("other"), world.folder().join("ballast"));
    std::fs::create_dir(&other).unwrap();
    fill(&ballast);
    let ballast = std::fs::OpenOptions::new().write(true).open(ballast).unwrap();
    ballast.set_len(ballast.metadata().unwrap().len() - (900 << 10)).unwrap();
    Members::open(&other).unwrap();
    assert_eq!(std::fs::metadata(other.join("members.reserve")).unwrap().len(), 0);
}

/// Only for a test above; by itself it does nothing.
///
/// The controller is away and is still to be told of an admission; that is revoked while the disk is full, and the keeper of
/// devices is killed. Whatever comes next, the device is never authorised.
#[tokio::test]
async fn killed_on_a_small_disk() {
    if std::env::var_os(SMALL).is_none() {
        return;
    }
    for is_full_at_restart in [true, false] {
        let mut world = home().start().await;
        // Only children write to the store from here on.
        world.stop().await;
        let folder = world.folder().to_owned();
        let ballast = folder.join("ballast");
        let (admission, revocation) = (world.admission("tablet", &["family"]), revoke("tablet"));

        world.controller_fails(Fault::Down);
        let mut keeper = Keeper::start(&folder);
        let done = keeper.carries_out(&admission).await;
        assert!(matches!(done.devices[0].controller, AtTheController::Queued(_)), "{done:?}");
        fill(&ballast);
        let done = keeper.carries_out(&revocation).await;
        assert!(done.notes.iter().any(|note| note.contains("a restart keeps it")), "{done:?}");
        drop(keeper);
        let on_disk = || {
            let db = rusqlite::Connection::open(world.state_dir().join("members.db")).unwrap();
            let id = world.id("tablet").to_string();
            let sql =
                "SELECT state, (SELECT authorize FROM outbox WHERE member = id) FROM members WHERE id = ?1";
            let row =
                |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Option<bool>>(1)?));
            db.query_row(sql, [id], row).unwrap()
        };
        assert_eq!(on_disk(), ("pending".to_owned(), Some(true)), "the disk was not full");

        if !is_full_at_restart {
            std::fs::remove_file(&ballast).unwrap();
        }
        world.network().fail(None);
        let keeper = Keeper::start(&folder);
        is_soon("the controller is told", || world.told().contains(&("tablet", false))).await;
        if is_full_at_restart {
            drop(keeper);
            std::fs::remove_file(&ballast).unwrap();
        }
        let _keeper = Keeper::start(&folder);
        is_soon("all of it is on disk", || on_disk() == ("revoked".to_owned(), None)).await;
        assert!(world.told().iter().all(|(_, authorize)| !authorize), "{:?}", world.told());
        assert!(!world.network().change(|net| net.member(world.id("tablet")).unwrap().authorized));
    }
}

async fn is_soon(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < SOON * 2, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const FOLDER: &str = "ZTGATE_TEST_KEPT_IN";
const SAYS: &str = "the keeper says: ";

/// Only for [`killed_on_a_small_disk`]: carries out the orders that it reads, a line each; by itself it does nothing.
#[tokio::test]
async fn the_keeper() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (feed, _task) = start(Path::new(&folder));
    let (lines, mut orders) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            lines.send(line.unwrap()).unwrap();
        }
    });
    while let Some(order) = orders.recv().await {
        let order = serde_json::from_str(&order).unwrap();
        let done = feed.orders.carry_out(order, Actor::named("mum")).await.unwrap();
        println!("\n{SAYS}{}", serde_json::to_string(&done).unwrap());
    }
    std::future::pending::<()>().await;
}

/// A process that keeps the devices, and dies by SIGKILL.
struct Keeper {
    process: Child,
    says: Option<Lines<BufReader<ChildStdout>>>,
}

impl Keeper {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "devices::disk::the_keeper", "--nocapture"]).env(FOLDER, folder);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let says = process.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        Self { process, says }
    }

    async fn carries_out(&mut self, order: &Order) -> Done {
        writeln!(self.process.stdin.as_mut().unwrap(), "{}", serde_json::to_string(order).unwrap()).unwrap();
        let mut says = self.says.take().unwrap();
        // The stand-ins answer on this thread.
        let (said, says) = tokio::task::spawn_blocking(move || {
            let said = says.find_map(|line| Some(line.unwrap().strip_prefix(SAYS)?.to_owned()));
            (said.expect("the keeper has ended"), says)
        })
        .await
        .unwrap();
        self.says = Some(says);
        serde_json::from_str(&said).unwrap()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // SIGKILL (std::process::Child::kill).
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Takes all the room there is.
fn fill(file: &Path) {
    let mut file = std::fs::File::create(file).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
}
