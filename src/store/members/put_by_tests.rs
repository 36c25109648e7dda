//! What is put by, through kills, restarts and copies of the database.

use std::path::Path;

use super::super::tests::roster;
use super::*;
use crate::model::MemberState;
use crate::store::{Admitted, Intent, Look, StoredMember};

/// A store that was told of an admission to come, and then no more: nothing is written to its database.
fn full(folder: &Path) -> (Members, StoredRoster) {
    let (mut members, _) = Members::open(folder).unwrap();
    let roster = roster();
    members.save(&roster, &[]).unwrap();
    fill(&members, true);
    (members, roster)
}

fn fill(members: &Members, full: bool) {
    let sql = if full {
        "CREATE TRIGGER full BEFORE INSERT ON roster BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    } else {
        "DROP TRIGGER full"
    };
    members.connection.execute_batch(sql).unwrap();
}

fn loaded(folder: &Path) -> (Members, StoredRoster) {
    let (mut members, _) = Members::open(folder).unwrap();
    let roster = members.load(roster().network).unwrap().unwrap();
    (members, roster)
}

fn sent_away(mut roster: StoredRoster) -> (StoredRoster, Change) {
    let (time, id) = (roster.taken, roster.members[0].id);
    roster.members[0].state = MemberState::Revoked;
    roster.members[0].admitted = Some(Admitted::SentAway);
    roster.outbox.insert(id, Intent { authorize: false, since: time, who: "mum".into(), origin: None });
    let from = Some(MemberState::Pending);
    let (why, who) = ("lost".to_owned(), "mum".to_owned());
    (roster, Change { time, member: id, from, to: MemberState::Revoked, why, who, origin: None })
}

#[test]
fn what_the_database_does_not_take_is_put_by_and_found_by_every_start_until_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let (mut members, roster) = full(folder.path());
    let (known, change) = sent_away(roster.clone());
    let changes = [change];
    members.save(&known, &changes).unwrap_err();
    members.hold(&known, &changes).unwrap();
    drop(members);
    for _ in 0..2 {
        let (mut members, found) = loaded(folder.path());
        assert_eq!(found, known);
        assert_eq!(members.take_unkept().as_deref(), Some(&changes[..]));
    }
    let Look::Members(seen) = Members::look(folder.path(), known.network) else { panic!("nothing seen") };
    assert_eq!(seen[0].state, MemberState::Revoked);
    let (mut members, found) = loaded(folder.path());
    fill(&members, false);
    members.save(&found, &changes).unwrap();
    let (mut members, found) = loaded(folder.path());
    assert_eq!((found, members.take_unkept()), (known, None));
}

#[test]
fn what_was_put_by_is_void_once_the_database_has_it_whatever_comes_after() {
    let folder = tempfile::tempdir().unwrap();
    let (mut members, roster) = full(folder.path());
    let (known, _) = sent_away(roster.clone());
    members.hold(&known, &[]).unwrap();
    fill(&members, false);
    members.save(&known, &[]).unwrap();
    // Restored, in the same run and after another start.
    members.save(&roster, &[]).unwrap();
    let (mut members, found) = loaded(folder.path());
    assert_eq!(found, roster);
    // And the same again is put by again.
    members.hold(&known, &[]).unwrap();
    assert_eq!(loaded(folder.path()).1, known);
}

fn copy(from: &Path, to: &Path) {
    for file in ["members.db", "members.db-wal"] {
        let _ = std::fs::copy(from.join(file), to.join(file));
    }
    let _ = std::fs::remove_file(to.join("members.db-shm"));
}

#[test]
fn a_database_put_back_meets_nothing_that_a_later_one_had() {
    let (folder, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut members, roster) = full(folder.path());
    fill(&members, false);
    copy(folder.path(), backup.path());
    fill(&members, true);
    let (known, _) = sent_away(roster.clone());
    for _ in 0..3 {
        members.hold(&known, &[]).unwrap();
        fill(&members, false);
        members.save(&known, &[]).unwrap();
        assert_eq!(members.number, members.voided);
        members.save(&roster, &[]).unwrap();
        drop(members);
        copy(backup.path(), folder.path());
        let found;
        (members, found) = loaded(folder.path());
        assert_eq!(found, roster);
        fill(&members, true);
    }
}

/// A copy of an older version's, say.
#[test]
fn what_was_put_by_counts_once_for_a_database_that_has_no_number() {
    let folder = tempfile::tempdir().unwrap();
    let (mut members, roster) = full(folder.path());
    let (known, _) = sent_away(roster.clone());
    members.hold(&known, &[]).unwrap();
    members.connection.execute("DELETE FROM facts", []).unwrap();
    drop(members);
    for _ in 0..2 {
        assert_eq!(loaded(folder.path()).1, known);
    }
    let (mut members, found) = loaded(folder.path());
    fill(&members, false);
    members.save(&found, &[]).unwrap();
    members.save(&roster, &[]).unwrap();
    assert_eq!(loaded(folder.path()).1, roster);
}

#[test]
fn what_another_version_put_by_is_named_and_the_database_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut members, _) = full(folder.path());
    members.write_reserve(b"{}".to_vec()).unwrap();
    drop(members);
    let (mut members, _) = Members::open(folder.path()).unwrap();
    let error = members.load(roster().network).unwrap_err().to_string();
    assert!(error.contains("mv ") && !error.contains("members.db"), "{error}");
    assert!(error.ends_with("members.reserve.unread"), "{error}");
}

#[test]
fn what_was_put_by_beside_another_database_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut members, roster) = full(folder.path());
    members.hold(&sent_away(roster.clone()).0, &[]).unwrap();
    drop(members);
    for file in ["members.db", "members.db-wal", "members.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(file));
    }
    let (mut members, created) = Members::open(folder.path()).unwrap();
    assert!(created);
    members.save(&roster, &[]).unwrap();
    assert_eq!(loaded(folder.path()).1, roster);
}

/// A disk may tell of an error and have it all the same.
#[test]
fn what_was_put_by_and_called_failed_is_void_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let (mut members, roster) = full(folder.path());
    let (known, _) = sent_away(roster.clone());
    let before = members.number;
    members.hold(&known, &[]).unwrap();
    // As if the write had failed after it was done.
    (members.number, members.held) = (before + 2, None);
    fill(&members, false);
    members.save(&known, &[]).unwrap();
    members.save(&roster, &[]).unwrap();
    assert_eq!(loaded(folder.path()).1, roster);
}

#[test]
fn a_whole_house_is_put_by() {
    let folder = tempfile::tempdir().unwrap();
    let (mut members, _) = Members::open(folder.path()).unwrap();
    let mut roster = roster();
    let member = roster.members[1].clone();
    let ids = 0x10_0000_0000_u64..;
    roster.members = ids
        .take(1_500)
        .map(|id| StoredMember { id: format!("{id:010x}").parse().unwrap(), ..member.clone() })
        .collect();
    roster.outbox.clear();
    members.save(&roster, &[]).unwrap();
    fill(&members, true);
    for member in &mut roster.members {
        member.state = MemberState::Revoked;
        let intent = Intent { authorize: false, since: roster.taken, who: "mum".into(), origin: None };
        roster.outbox.insert(member.id, intent);
    }
    members.hold(&roster, &[]).unwrap();
    assert_eq!(loaded(folder.path()).1, roster);
}
