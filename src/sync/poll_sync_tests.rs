//! What a person sees and leaves behind who brings gateway and controller in step, and from where orders come.

use super::*;
use crate::store::Caller;
use crate::sync::{AtTheController, ChangeOrigin, Step};

const C: &str = "00deadbeef:0:key";
const D: &str = "00deadbee0:0:key";

/// A world whose gateway has member A, at its first look.
async fn world(members: &[(&'static str, bool)]) -> (World, RosterTask) {
    let world = World::new(members);
    let (mut task, _) = world.start();
    task.gateway = Some(id(A));
    poll(&mut task).await;
    (world, task)
}

/// Has gateway and controller brought in step, and tells the controller all that there is to tell.
async fn sync(task: &mut RosterTask, dry_run: bool) -> Result<Done, OrderError> {
    let (reply, answer) = tokio::sync::oneshot::channel();
    task.hear(Request::CarryOut { order: Order::Sync { dry_run }, by: Actor::named("mum"), reply });
    poll(task).await;
    loop {
        task.tell_next();
        let Some(telling) = task.desk.telling.take() else { break };
        let told = telling.await;
        task.told(told);
    }
    tokio::time::timeout(Duration::from_secs(5), answer).await.unwrap().unwrap()
}

/// The gateway's own history, as who and why.
fn records(task: &RosterTask) -> Vec<(String, String)> {
    let changes = task.store.history().changes(Some(id(A))).unwrap();
    let synced = changes.into_iter().filter(|change| change.why.starts_with("sync: "));
    synced.map(|change| (change.who, change.why)).collect()
}

fn record(why: &str) -> (String, String) {
    ("mum".to_owned(), why.to_owned())
}

#[tokio::test]
async fn a_sync_waits_for_what_it_started_and_is_recorded() {
    let (world, mut task) = world(&[(A, true), (B, false)]).await;
    world.controller.1.store(true, Ordering::Relaxed);
    order(&mut task, admit(B)).await.unwrap();

    let dry = sync(&mut task, true).await.unwrap();
    assert_eq!((dry.plan.len(), dry.devices.len()), (1, 0));
    assert!(task.desk.trouble(id(B)).is_some(), "looking ends no pause");
    assert_eq!(records(&task), []);

    let away = sync(&mut task, false).await.unwrap();
    assert_eq!(away.plan[0].step, Step::Authorize);
    assert!(matches!(&away.devices[0].controller, AtTheController::Queued(_)), "{away:?}");
    world.controller.1.store(false, Ordering::Relaxed);
    let back = sync(&mut task, false).await.unwrap();
    assert_eq!(back.devices[0].controller, AtTheController::Authorized);
    assert_eq!(back.devices[0].state, MemberState::Active);
    assert_eq!(sync(&mut task, false).await.unwrap().plan, []);
    let told = record("sync: 1 to tell the controller");
    assert_eq!(records(&task), [told.clone(), told, record("sync: in step")]);
}

#[tokio::test]
async fn a_list_that_lacks_many_is_believed_in_somebodys_name() {
    let (world, mut task) = world(&[(A, true), (B, true), (C, true), (D, true)]).await;
    world.says(&[(A, true)]);
    poll(&mut task).await;
    assert!(task.status.borrow().last_error.as_deref().unwrap().ends_with("ztgate sync"));
    let dry = sync(&mut task, true).await.unwrap_err().to_string();
    assert!(dry.contains("lacks 3 of 4 active members"), "{dry}");

    let done = sync(&mut task, false).await.unwrap();
    assert!(done.plan.iter().all(|line| line.step == Step::Leave) && done.plan.len() == 3, "{done:?}");
    let acknowledged = "sync: 3 left as they are; acknowledged: its list lacks 3 of 4 active members at once";
    assert_eq!(records(&task), [record(acknowledged)]);
}

/// An answer that was on its way before somebody ordered a sync is not what they acknowledge.
#[tokio::test]
async fn an_older_answer_is_acknowledged_by_nobody() {
    let (world, mut task) = world(&[(A, true), (B, true), (C, true), (D, true)]).await;
    world.says(&[(A, true)]);
    let older = task.ask().await;
    world.clock.advance(Duration::from_secs(1));
    let (reply, mut answer) = tokio::sync::oneshot::channel();
    task.hear(Request::CarryOut { order: Order::Sync { dry_run: false }, by: Actor::named("mum"), reply });
    task.take(older);
    assert!(task.status.borrow().last_error.is_some());
    assert!(answer.try_recv().is_err(), "the next one is asked for");
    assert_eq!(records(&task), []);
}

#[tokio::test]
async fn what_a_full_disk_did_not_take_of_a_sync_is_written_later() {
    let (world, mut task) = world(&[(A, true)]).await;
    super::disk::break_store(world.folder.path(), true);
    let done = sync(&mut task, false).await.unwrap();
    assert!(done.notes[0].contains("disk full"), "{done:?}");
    assert_eq!(records(&task), []);
    super::disk::break_store(world.folder.path(), false);
    poll(&mut task).await;
    assert_eq!(records(&task), [record("sync: in step")]);
}

#[tokio::test]
async fn an_edit_waits_for_nothing_that_is_queued() {
    let (world, mut task) = world(&[(A, true), (B, false)]).await;
    world.controller.1.store(true, Ordering::Relaxed);
    order(&mut task, admit(B)).await.unwrap();
    for edit in [Edit::Notes(Some("the old one".to_owned())), Edit::Notes(Some("the old one".to_owned()))] {
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        let edit = Order::Edit { who: "tablet".to_owned(), edit };
        task.hear(Request::CarryOut { order: edit, by: Actor::named("mum"), reply });
        let done = answer.try_recv().unwrap().unwrap();
        let AtTheController::Queued(what) = &done.devices[0].controller else { panic!("{done:?}") };
        assert!(what.starts_with("authorise ("), "{what}");
    }
}

#[tokio::test]
async fn every_record_says_from_where() {
    let (world, mut task) = world(&[(A, true), (B, false), (C, true)]).await;
    let terminal = ChangeOrigin::Socket(Caller { terminal: Some("pts/3".to_owned()), ..Caller::default() });
    let by = Actor { who: "mum".to_owned(), origin: Some(terminal.clone()) };
    let profile = Profile {
        name: "guest".parse().ok(),
        until: Some(world.clock.now() + Duration::from_secs(60)),
        ..Profile::default()
    };
    let (reply, _answer) = tokio::sync::oneshot::channel();
    task.hear(Request::CarryOut { order: Order::Admit { id: id(B), profile, ahead: false }, by, reply });
    drop(task);

    // The controller hears of it after a restart.
    let (mut task, _) = world.start();
    task.tell_next();
    let told = task.desk.telling.take().unwrap().await;
    task.told(told);
    world.clock.advance(Duration::from_secs(61));
    task.expire();
    world.says(&[(A, true), (B, false), (C, false)]);
    poll(&mut task).await;
    let from = |who: &str| -> Vec<_> {
        let changes = task.store.history().changes(Some(id(who))).unwrap();
        changes.into_iter().map(|change| change.origin.unwrap()).collect()
    };
    let controller = ChangeOrigin::Controller { controller: "local".to_owned(), url: None };
    assert_eq!(from(B), [controller.clone(), terminal.clone(), terminal, ChangeOrigin::Clock]);
    assert_eq!(from(C), [controller.clone(), controller]);
}

#[tokio::test]
async fn a_dry_run_of_an_import_says_what_it_would_do_and_does_nothing() {
    let (world, mut task) = world(&[(A, true), (B, false)]).await;
    let profile = Profile { name: "tablet".parse().ok(), ..Profile::default() };
    let devices = vec![crate::sync::Listed { id: id(B), profile }];
    let before = task.known.clone();
    let done = order(&mut task, Order::Import { devices, dry_run: true }).await.unwrap();
    assert_eq!(done.devices[0].controller, AtTheController::Authorized);
    assert_eq!(done.notes.last().unwrap(), "a dry run: nothing was changed");
    assert_eq!(task.known, before);
    assert_eq!(world.controller.0.lock().unwrap()[..], [(A, true), (B, false)]);
}

/// `enforce` wants to be certain of which member it is itself, and a restart only remembers it until the node speaks.
#[tokio::test]
async fn what_enforce_waits_with_is_left_and_recorded_so() {
    let (world, mut task) = world(&[(A, true)]).await;
    drop(task);
    world.config.send_modify(|config| Arc::make_mut(config).sync = SyncMode::Enforce);
    world.says(&[(A, true), (B, true)]);
    (task, _) = world.start();
    for dry_run in [true, false] {
        let done = sync(&mut task, dry_run).await.unwrap();
        assert_eq!((done.plan[0].step, done.devices.len()), (Step::Leave, 0), "{done:?}");
        assert!(done.plan[0].why.contains("waits until this machine's node says"), "{done:?}");
        assert_eq!(task.status.borrow().differences, 1);
    }
    assert_eq!(records(&task), [record("sync: 1 left as they are")]);

    task.gateway = Some(id(A));
    let done = sync(&mut task, false).await.unwrap();
    assert_eq!(done.devices[0].controller, AtTheController::Deauthorized);
    assert_eq!(records(&task)[1], record("sync: 1 to tell the controller"));
}
