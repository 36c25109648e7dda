//! The merge as tables: what was known, what the controller says, what follows.

use super::*;
use crate::zerotier::examples;

const A: &str = "c4c8812898";
const B: &str = "bcba17eef8";

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn seen(id: &str, authorized: bool) -> ControllerMember {
    ControllerMember {
        id: id.parse().unwrap(),
        authorized,
        identity: Some(format!("{id}:0:key")),
        label: Some(format!("label of {id}")),
        ..examples::member()
    }
}

fn view(members: Vec<ControllerMember>) -> ControllerView {
    ControllerView { members, ..examples::view() }
}

fn device(id: &str) -> Device {
    Device {
        name: "phone".parse().unwrap(),
        id: id.parse().unwrap(),
        owner: Some("mum".parse().unwrap()),
        groups: vec!["family".parse().unwrap()],
        until: None,
        notes: None,
        line: 1,
    }
}

const ASK: &SyncMode = &SyncMode::Ask;

/// The merge of an ordinary look, with nothing being told meanwhile.
fn look(members: Vec<ControllerMember>, known: &[StoredMember]) -> Merged {
    look_as(members, known, ASK, false)
}

fn look_as(
    members: Vec<ControllerMember>,
    known: &[StoredMember],
    mode: &SyncMode,
    first_start: bool,
) -> Merged {
    merge(&view(members), known, Ruling { first_start, mode, shielded: &|_| false, now: now() })
}

fn roster(known: &[StoredMember]) -> Vec<Member> {
    known.iter().map(|member| roster_member(member, (now(), Moment::since_boot(60, 0)))).collect()
}

/// A, in a state that it could have come to.
fn known(state: MemberState, once_active: bool) -> StoredMember {
    let mut member = look(vec![seen(A, true)], &[]).members.remove(0);
    member.state = state;
    member.admitted = once_active.then_some(Admitted::Adopted);
    member
}

#[derive(Clone, Copy)]
enum Says {
    Yes,
    No,
    /// It is not in the list.
    Nothing,
}

#[test]
fn what_follows_from_the_controllers_word() {
    use MemberState::{Active, Expired, Pending, Revoked, Suspended};
    use Says::{No, Nothing, Yes};
    let follow = &SyncMode::Follow { group: "guests".parse().unwrap() };
    let enforce = &SyncMode::Enforce;
    let new = None;
    let pending = Some((Pending, false));
    let pending_again = Some((Pending, true));
    let active = Some((Active, true));
    let revoked = Some((Revoked, true));
    let table = [
        // known before, the controller says, mode, first start -> state
        (new, Yes, ASK, true, Active),
        (new, Yes, ASK, false, Pending),
        (new, Yes, follow, false, Active),
        (new, Yes, enforce, false, Pending),
        (new, No, ASK, true, Pending),
        (new, No, follow, false, Pending),
        (pending, Yes, ASK, false, Pending),
        (pending, Yes, ASK, true, Active),
        (pending, Yes, follow, false, Active),
        (pending, No, ASK, false, Pending),
        (pending, Nothing, ASK, false, Pending),
        (pending_again, Yes, ASK, false, Pending),
        (pending_again, Yes, follow, false, Pending),
        (pending_again, No, ASK, false, Revoked),
        (pending_again, Nothing, ASK, false, Revoked),
        (active, Yes, ASK, false, Active),
        (active, No, ASK, false, Revoked),
        (active, No, follow, false, Revoked),
        (active, No, enforce, false, Revoked),
        (active, Nothing, ASK, false, Active),
        (revoked, Yes, ASK, false, Pending),
        (revoked, Yes, follow, false, Pending),
        (revoked, No, ASK, false, Revoked),
        (revoked, Nothing, ASK, false, Revoked),
        (Some((Suspended, true)), Yes, ASK, false, Suspended),
        (Some((Suspended, true)), No, ASK, false, Suspended),
        (Some((Expired, true)), Yes, follow, false, Expired),
        (Some((Expired, true)), Nothing, ASK, false, Expired),
    ];
    for (row, (before, says, mode, first_start, state)) in table.into_iter().enumerate() {
        let stored: Vec<_> = before.map(|(state, once)| known(state, once)).into_iter().collect();
        let mut members = vec![seen(B, false)];
        match says {
            Yes => members.push(seen(A, true)),
            No => members.push(seen(A, false)),
            Nothing => {}
        }
        let merged = look_as(members, &stored, mode, first_start);
        let a = merged.members.iter().find(|member| member.id == A.parse().unwrap()).unwrap();
        assert_eq!(a.state, state, "row {row}");
        let moved = merged.changes.iter().any(|change| change.member == A.parse().unwrap());
        assert_eq!(moved, before.map(|(state, _)| state) != Some(state), "row {row}");
    }
}

#[test]
fn a_member_that_two_lists_lack_was_deleted_and_one_list_may_be_wrong() {
    let once = look(vec![seen(B, true)], &[known(MemberState::Active, true)]);
    let twice = look(vec![seen(B, true)], &once.members);
    let state = |merged: &Merged| merged.members[1].state;
    assert_eq!((state(&once), state(&twice)), (MemberState::Active, MemberState::Revoked));
    let back = look(vec![seen(A, true), seen(B, true)], &once.members);
    assert_eq!((state(&back), back.changes.len()), (MemberState::Active, 0));
}

#[test]
fn a_record_that_was_made_again_is_not_the_one_that_was_admitted() {
    use MemberState::{Active, Pending};
    // When the answers say that the record was made, one look after the other, and where the member stands then.
    for (looks, state) in [
        (vec![Some(7), Some(7)], Active),
        (vec![Some(7), Some(8)], Pending),
        (vec![Some(7), Some(6)], Pending),
        (vec![None, Some(8)], Active),
        (vec![Some(7), None, Some(7)], Active),
        (vec![Some(7), None, Some(8)], Pending),
    ] {
        let made = |second: &Option<i64>| second.map(|second| Timestamp::from_second(second).unwrap());
        let members = looks.iter().fold(vec![known(Active, true)], |stored, second| {
            look(vec![ControllerMember { creation_time: made(second), ..seen(A, true) }], &stored).members
        });
        assert_eq!(members[0].state, state, "{looks:?}");
    }
}

#[test]
fn nothing_follows_from_an_answer_that_may_be_older_than_what_we_told() {
    let stored = [known(MemberState::Active, true)];
    let late = merge(
        &view(vec![seen(A, false)]),
        &stored,
        Ruling { first_start: false, mode: ASK, shielded: &|id| id == A.parse().unwrap(), now: now() },
    );
    assert_eq!(
        (late.members[0].state, late.members[0].at_controller),
        (MemberState::Active, AtController::Authorized)
    );
    assert_eq!(late.changes, []);
}

#[test]
fn who_is_followed_is_in_the_default_group_unless_it_has_groups() {
    let follow = SyncMode::Follow { group: "guests".parse().unwrap() };
    let merged = look_as(vec![seen(A, true)], &[], &follow, false);
    assert_eq!(merged.members[0].profile.groups, ["guests".parse().unwrap()]);
}

#[test]
fn an_old_device_list_names_those_that_have_no_name_and_admits_nobody() {
    let mut members = look(vec![seen(A, true), seen(B, true)], &[]).members;
    take_list(&mut members, &[device(A)], now());
    let [b, a] = &roster(&members)[..] else { panic!("{members:?}") };
    assert_eq!(a.device.as_ref().map(|name| name.as_str()), Some("phone"));
    assert_eq!(a.owner.as_ref().map(|name| name.as_str()), Some("mum"));
    assert_eq!((a.state, b.state), (MemberState::Pending, MemberState::Pending));
    assert_eq!((&b.device, b.label.as_deref()), (&None, Some("label of bcba17eef8")));
    members[1].profile.name = "tablet".parse().ok();
    take_list(&mut members, &[device(A)], now());
    assert_eq!(members[1].profile.name, "tablet".parse().ok());
}

#[test]
fn a_pinned_identity_does_not_move_and_alarms_once() {
    let mut stored = known(MemberState::Active, true);
    stored.proof = PinProof::Proven;
    let mut other = seen(A, true);
    other.identity = Some(format!("{A}:0:other"));

    let first = look(vec![other.clone()], &[stored]);
    assert!(matches!(first.alarms[..], [Alarm::OtherIdentity { .. }]), "{:?}", first.alarms);
    assert_eq!(roster(&first.members)[0].proof, IdentityProof::Changed);
    assert_eq!(first.members[0].identity.as_deref(), Some("c4c8812898:0:key"));

    let again = look(vec![other], &first.members);
    assert_eq!((again.alarms.len(), &again.members), (0, &first.members));

    let healed = look(vec![seen(A, true)], &again.members);
    assert_eq!(roster(&healed.members)[0].proof, IdentityProof::Proven);
}

#[test]
fn an_identity_that_vanishes_keeps_the_pin() {
    let mut stored = known(MemberState::Active, true);
    stored.proof = PinProof::Proven;
    let bare = ControllerMember { identity: None, ..seen(A, true) };
    let merged = look(vec![bare], &[stored.clone()]);
    assert_eq!((&merged.members[0].identity, merged.members[0].proof), (&stored.identity, PinProof::Proven));
}

#[test]
fn a_pin_that_does_not_hash_gives_way_to_another() {
    let stored = StoredMember { proof: PinProof::Failed, ..known(MemberState::Active, true) };
    assert_eq!(roster(std::slice::from_ref(&stored))[0].proof, IdentityProof::Changed);
    let other = ControllerMember { identity: Some(format!("{A}:0:right")), ..seen(A, true) };
    let merged = look(vec![other], &[stored]);
    assert_eq!(to_prove(&merged.members), [(A.parse().unwrap(), "c4c8812898:0:right")]);
}

#[test]
fn active_members_are_proved_first_and_members_without_identity_not_at_all() {
    let never_seen = ControllerMember { identity: None, ..seen("00deadbeef", true) };
    let merged = look(vec![seen(B, false), never_seen, seen(A, true)], &[]);
    let order: Vec<_> = to_prove(&merged.members).iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(order, [A, B]);
}

#[test]
fn hazards_are_told() {
    let gateway = "5e02d9cb41".parse().ok();
    let forward = |to: &str| crate::zerotier::Forward { rule: format!("tee to {to}"), to: to.parse().ok() };
    let mut unsafe_view = view(vec![ControllerMember { active_bridge: true, ..seen(B, false) }]);
    unsafe_view.forwards = vec![forward("5e02d9cb41"), forward(A)];
    let ruling = Ruling { first_start: true, mode: ASK, shielded: &|_| false, now: now() };
    let members = merge(&unsafe_view, &[], ruling).members;
    assert_eq!(redirects(&unsafe_view, gateway), ["tee to 5e02d9cb41"]);
    assert_eq!(redirects(&unsafe_view, None).len(), 2);
    assert_eq!(
        hazards(true, &redirects(&unsafe_view, gateway), &members),
        [
            Hazard::Redirect { rule: "tee to 5e02d9cb41".into() },
            Hazard::ActiveBridge { member: B.parse().unwrap() },
            Hazard::Public,
        ]
    );
}

#[test]
fn what_cannot_be_kept_widens_nothing_but_still_shrinks() {
    let stored = [known(MemberState::Active, true)];
    let follow = SyncMode::Follow { group: "guests".parse().unwrap() };
    let held =
        look_as(vec![seen(A, false), seen(B, true)], &stored, &follow, false).without_new_rights(&stored);
    let states: Vec<_> = held.members.iter().map(|member| member.state).collect();
    assert_eq!(states, [MemberState::Pending, MemberState::Revoked]);
    assert_eq!(held.members[0].admitted, None);
    assert_eq!(held.changes.len(), 1);
}
