//! What the task makes of whom somebody hears, and of which member it is itself.

use super::*;

/// Its node is away in all of these tests; here it spoke before.
#[tokio::test]
async fn a_restart_while_the_node_is_silent_puts_this_machine_out_no_more_than_before() {
    let world = World::new(&[(A, true), (B, true)]);
    let (mut task, _) = world.start();
    poll(&mut task).await;
    task.learn_own(Some(id(A)));
    drop(task);
    let (mut task, feed) = world.start();
    assert!(feed.devices.borrow().iter().all(|device| device.own == (device.member == id(A))));
    let refused = order(&mut task, revoke(A)).await.unwrap_err().to_string();
    assert!(refused.contains("own member"), "{refused}");
    // Nothing that wants certainty follows from what was true before.
    assert_eq!(task.gateway, None);
    // The node has another identity now.
    task.learn_own(Some(id(B)));
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
