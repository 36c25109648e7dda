//! A full disk, on a real filesystem that is small.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ztgate::demo::standin::Fault;

use super::{Streams, home};
use crate::real::needs;
use crate::world::SOON;
use crate::world::orders::{regroup, revoke};

/// Set for the process alone that runs on the small disk.
const SMALL: &str = "ZTGATE_TEST_SMALL_DISK";

/// Runs [`on_a_small_disk`] where temporary folders are on a few megabytes of tmpfs, in a mount namespace of its own.
#[test]
fn a_revocation_holds_on_a_full_disk_and_is_kept_once_there_is_room() {
    let Some(unshare) = needs("unshare") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(unshare);
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg(r#"mount -t tmpfs -o size=4m none "$0" && export TMPDIR="$0" && exec "$@""#)
        .args([folder.path(), &std::env::current_exe().unwrap()])
        .args(["--exact", "devices::disk::on_a_small_disk", "--nocapture"])
        .env(SMALL, "1");
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stdout));
}

/// Only for the test above; by itself it does nothing.
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
    assert!(done.notes.iter().any(|note| note.contains("not on disk yet")), "{done:?}");
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
}

/// Takes all the room there is.
fn fill(file: &Path) {
    let mut file = std::fs::File::create(file).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
}
