//! The task on a disk that takes nothing.

use super::*;

/// Makes every write to the store fail, as a full disk would, until undone.
pub(super) fn break_store(folder: &Path, broken: bool) {
    let connection = rusqlite::Connection::open(folder.join("members.db")).unwrap();
    let change = if broken {
        "CREATE TRIGGER full BEFORE INSERT ON roster BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    } else {
        "DROP TRIGGER full"
    };
    connection.execute_batch(change).unwrap();
}

#[tokio::test]
async fn a_full_disk_stops_admission_but_no_revocation_and_loses_no_log() {
    let world = World::new(&[(A, true), (B, false)]);
    let (mut task, feed) = world.start();
    poll(&mut task).await;
    break_store(world.folder.path(), true);
    let refused = order(&mut task, admit(B)).await.unwrap_err().to_string();
    assert!(refused.contains("disk full") && refused.contains("nothing was changed"), "{refused}");
    let done = order(&mut task, revoke(A)).await.unwrap();
    assert_eq!(done.devices[0].state, MemberState::Revoked);
    assert_eq!(state(&feed, A), Some(MemberState::Revoked));
    assert_eq!(
        world.controller.0.lock().unwrap()[..],
        [(A, false), (B, false)],
        "the controller hears of it all the same"
    );

    break_store(world.folder.path(), false);
    poll(&mut task).await;
    drop(task);
    assert_eq!(world.log(), ["c4c8812898 active", "bcba17eef8 pending", "c4c8812898 revoked"]);
    assert_eq!(state(&world.start().1, A), Some(MemberState::Revoked));
}

#[tokio::test]
async fn a_revocation_that_could_not_be_kept_is_kept_later() {
    let world = World::new(&[(A, true), (B, true)]);
    let (mut task, _) = world.start();
    poll(&mut task).await;
    break_store(world.folder.path(), true);
    world.says(&[(A, false), (B, true)]);
    poll(&mut task).await;
    break_store(world.folder.path(), false);
    poll(&mut task).await;
    drop(task);
    assert_eq!(state(&world.start().1, A), Some(MemberState::Revoked));
    assert_eq!(world.log().last().unwrap(), "c4c8812898 revoked");
}

#[tokio::test]
async fn what_may_open_more_waits_for_the_disk_and_what_opens_less_does_not() {
    let world = World::new(&[(A, true)]);
    let (mut task, feed) = world.start();
    poll(&mut task).await;
    let regroup = |add: &[&str], remove: &[&str]| {
        let labels = |words: &[&str]| words.iter().map(|word| word.parse().unwrap()).collect();
        let edit = Edit::Groups { add: labels(add), remove: labels(remove) };
        Order::Edit { who: id(A).to_string(), edit }
    };
    let groups = |feed: &RosterFeed| {
        feed.devices.borrow()[0].groups.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    order(&mut task, regroup(&["family", "music"], &[])).await.unwrap();
    break_store(world.folder.path(), true);
    let refused = order(&mut task, regroup(&["admins"], &[])).await.unwrap_err().to_string();
    assert!(refused.contains("nothing was changed"), "{refused}");
    assert_eq!(groups(&feed), ["family", "music"]);
    let done = order(&mut task, regroup(&[], &["family"])).await.unwrap();
    assert!(done.notes[0].contains("not in the database yet"), "{done:?}");
    assert_eq!(groups(&feed), ["music"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_disk_did_not_take_is_kept_later_though_the_controller_is_away() {
    let world = World::new(&[(A, true)]);
    let (mut task, _) = world.start();
    poll(&mut task).await;
    world.controller.1.store(true, Ordering::Relaxed);
    break_store(world.folder.path(), true);
    order(&mut task, revoke(A)).await.unwrap();
    break_store(world.folder.path(), false);
    task.keep_late();
    assert!(task.until_due() <= Duration::from_secs(5));
    tokio::time::advance(Duration::from_secs(5)).await;
    task.keep_late();
    drop(task);
    assert_eq!(state(&world.start().1, A), Some(MemberState::Revoked));
}

/// A start on a disk that is still full, or has room again by then.
#[tokio::test]
async fn an_admission_still_to_come_that_was_taken_back_on_a_full_disk_never_comes() {
    for is_still_full in [true, false] {
        let world = World::new(&[(A, true), (B, false)]);
        let (mut task, _) = world.start();
        poll(&mut task).await;
        world.controller.1.store(true, Ordering::Relaxed);
        order(&mut task, admit(B)).await.unwrap();
        break_store(world.folder.path(), true);
        let done = order(&mut task, revoke(B)).await.unwrap();
        assert!(done.notes[0].contains("a restart keeps it"), "{done:?}");
        drop(task);
        if !is_still_full {
            break_store(world.folder.path(), false);
        }
        world.controller.1.store(false, Ordering::Relaxed);
        let (mut task, feed) = world.start();
        assert_eq!(state(&feed, B), Some(MemberState::Revoked));
        task.tell_next();
        let told = task.desk.telling.take().unwrap().await;
        assert!(!told.authorize);
        task.told(told);
        poll(&mut task).await;
        assert_eq!(state(&feed, B), Some(MemberState::Revoked));
        assert_eq!(world.controller.0.lock().unwrap()[..], [(A, true), (B, false)]);
        if is_still_full {
            break_store(world.folder.path(), false);
            poll(&mut task).await;
        }
        drop(task);
        assert_eq!(world.log()[2..], ["bcba17eef8 pending", "bcba17eef8 revoked"], "{is_still_full}");
    }
}

/// What the controller says and what time brings, as well as what people order.
#[tokio::test]
async fn whoever_is_put_out_on_a_full_disk_stays_out() {
    let world = World::new(&[(A, true), (B, true)]);
    let (mut task, _) = world.start();
    poll(&mut task).await;
    let until = world.clock.now() + Duration::from_secs(60);
    let ends = Order::Edit { who: id(B).to_string(), edit: Edit::Until(Some(until)) };
    order(&mut task, ends).await.unwrap();
    break_store(world.folder.path(), true);
    world.says(&[(A, false), (B, true)]);
    poll(&mut task).await;
    world.clock.advance(Duration::from_secs(61));
    task.expire();
    drop(task);
    let (_, feed) = world.start();
    assert_eq!(state(&feed, A), Some(MemberState::Revoked));
    assert_eq!(state(&feed, B), Some(MemberState::Expired));
}

#[tokio::test]
async fn a_record_of_something_else_survives_a_full_disk_too() {
    let world = World::new(&[(A, true)]);
    let (mut task, _) = world.start();
    task.gateway = Some(id(A));
    poll(&mut task).await;
    break_store(world.folder.path(), true);
    let done = order(&mut task, Order::Note { what: "doctor --fix: private on".to_owned() }).await.unwrap();
    assert!(done.notes[0].contains("a restart keeps it"), "{done:?}");
    drop(task);
    let (mut task, _) = world.start();
    break_store(world.folder.path(), false);
    poll(&mut task).await;
    let changes = task.store.history().changes(None).unwrap();
    assert!(changes.last().unwrap().why.contains("private on"), "{changes:?}");
}

#[tokio::test]
async fn what_was_kept_is_kept_though_who_was_heard_is_not() {
    let world = World::new(&[(A, true)]);
    let (mut task, feed) = world.start();
    poll(&mut task).await;
    let connection = rusqlite::Connection::open(world.folder.path().join("members.db")).unwrap();
    let trigger = "CREATE TRIGGER deaf BEFORE UPDATE ON roster BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    connection.execute_batch(trigger).unwrap();
    world.says(&[(A, true), (B, false)]);
    world.clock.advance(TOUCH);
    poll(&mut task).await;
    assert_eq!(feed.status.borrow().last_error, None);
    connection.execute_batch("DROP TRIGGER deaf").unwrap();
    world.clock.advance(TOUCH);
    poll(&mut task).await;
    drop(task);
    assert_eq!(world.log(), ["c4c8812898 active", "bcba17eef8 pending"]);
}

/// The controller is away at the next start, so nobody else says that something is wrong.
#[tokio::test]
async fn an_alarm_on_a_full_disk_still_rings_after_a_restart() {
    const OTHER: &str = "c4c8812898:0:other";
    let world = World::new(&[(A, true), (B, true)]);
    let (mut task, _) = world.start();
    poll(&mut task).await;
    break_store(world.folder.path(), true);
    let mut answer = task.ask().await;
    let view = answer.view.as_mut().unwrap();
    view.public = true;
    let seen = view.members.iter_mut().find(|member| member.id == id(A)).unwrap();
    seen.identity = Some(OTHER.to_owned());
    task.take(answer);
    drop(task);
    let (_, feed) = world.start();
    let roster = feed.roster.borrow().clone().unwrap();
    assert_eq!(roster.get(id(A)).unwrap().proof, IdentityProof::Changed);
    assert_eq!(roster.hazards[..], [crate::identity::Hazard::Public]);
}
