//! What the task makes of whom somebody hears, and of which member it is itself.

use super::*;

/// Polls, with a node that says which member this machine is.
async fn node_says(task: &mut RosterTask, own: &str) {
    let mut answer = task.ask().await;
    answer.gateway = Some(id(own));
    task.take(answer);
}

/// Its node is away in all of these tests; here it spoke before.
#[tokio::test]
async fn a_restart_while_the_node_is_silent_puts_this_machine_out_no_more_than_before() {
    let world = World::new(&[(A, true), (B, true)]);
    let (mut task, _) = world.start();
    poll(&mut task).await;
    node_says(&mut task, A).await;
    drop(task);
    let (mut task, feed) = world.start();
    assert!(feed.devices.borrow().iter().all(|device| device.own == (device.member == id(A))));
    let refused = order(&mut task, revoke(A)).await.unwrap_err().to_string();
    assert!(refused.contains("own member"), "{refused}");
    // Nothing that wants certainty follows from what was true before.
    assert_eq!(task.gateway, None);
    // The node has another identity now.
    node_says(&mut task, B).await;
    order(&mut task, revoke(A)).await.unwrap();
    drop(task);
    let (mut task, _) = world.start();
    order(&mut task, revoke(B)).await.unwrap_err();
}

#[tokio::test]
async fn what_another_machine_s_clock_says_is_never_later_than_now() {
    let world = World::new(&[(A, true)]);
    let (mut task, feed) = world.start();
    poll(&mut task).await;
    for (said, seen) in
        [("2026-02-27T12:00:00Z", "2026-02-27T12:00:00Z"), ("2027-01-01T12:00:00Z", "2026-03-01T12:00:00Z")]
    {
        let mut answer = task.ask().await;
        let presence = Presence { last_seen: said.parse().ok(), physical: None };
        answer.heard = vec![(id(A), presence)];
        task.take(answer);
        assert_eq!(feed.devices.borrow()[0].last_seen, seen.parse().ok());
    }
}

#[tokio::test]
async fn who_waits_ages_by_when_it_was_heard_and_where_nobody_hears_by_its_first_knock() {
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    let world = World::new(&[(A, true), (B, false)]);
    let (mut task, feed) = world.start();
    let is_aged = || feed.devices.borrow().iter().find(|device| device.member == id(B)).unwrap().aged;
    poll(&mut task).await;
    world.clock.advance(week + Duration::from_secs(1));
    let mut answer = task.ask().await;
    let presence = Presence { last_seen: Some(world.clock.now()), physical: None };
    answer.heard = vec![(id(B), presence)];
    task.take(answer);
    assert!(!is_aged(), "it asks");
    world.clock.advance(week + Duration::from_secs(1));
    poll(&mut task).await;
    assert!(is_aged(), "it does not ask any more");
}

/// Somebody else writes to the database and does not end.
#[tokio::test]
async fn whom_the_controller_puts_out_waits_for_no_word_about_this_machine_to_be_written() {
    let world = World::new(&[(A, true), (B, true)]);
    let (mut task, feed) = world.start();
    poll(&mut task).await;
    world.says(&[(A, true), (B, false)]);
    let mut answer = task.ask().await;
    answer.gateway = Some(id(A));
    let writer = rusqlite::Connection::open(world.folder.path().join("members.db")).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let was_out = std::thread::scope(|scope| {
        let seen = scope.spawn(|| {
            let begun = std::time::Instant::now();
            let is_out = || state(&feed, B) == Some(MemberState::Revoked);
            while !is_out() && begun.elapsed() < Duration::from_secs(4) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let was_out = is_out();
            drop(writer);
            was_out
        });
        task.take(answer);
        seen.join().unwrap()
    });
    assert!(was_out, "it waits for the disk");
    assert_eq!(task.remembered, Some(id(A)));
}

#[tokio::test]
async fn nothing_is_kept_of_a_member_that_nobody_knows_any_more() {
    let world = World::new(&[(A, true), (B, false)]);
    let (mut task, _) = world.start();
    poll(&mut task).await;
    assert_eq!(task.shown.len(), 2);
    task.known.members.retain(|member| member.id == id(A));
    task.publish();
    assert_eq!(task.shown.keys().collect::<Vec<_>>(), [&id(A)]);
}
