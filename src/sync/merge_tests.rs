//! The merge as tables: what was known, what the controller says, what follows.

use super::*;

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
        assigned: vec![],
        active_bridge: false,
        creation_time: None,
        revision: None,
        version: None,
        last_seen: None,
    }
}

fn view(members: Vec<ControllerMember>) -> ControllerView {
    ControllerView { network: "5e02d9cb41c0ffee".parse().unwrap(), members, public: false, forwards: vec![] }
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

/// A, in a state that it could have come to.
fn known(state: MemberState, once_active: bool) -> StoredMember {
    let mut member = merge(&view(vec![seen(A, true)]), &[], &[], false, now()).members.remove(0);
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
fn the_lifecycle() {
    use MemberState::{Active, Expired, Pending, Revoked, Suspended};
    use Says::{No, Nothing, Yes};
    let new = None;
    let pending = Some((Pending, false));
    let pending_again = Some((Pending, true));
    let table = [
        // known before, controller says, listed, first start -> state (None: forgotten)
        (new, Yes, false, true, Some(Active)),
        (new, Yes, false, false, Some(Pending)),
        (new, Yes, true, false, Some(Active)),
        (new, No, false, true, Some(Pending)),
        (new, No, true, true, Some(Pending)),
        (pending, Yes, false, false, Some(Pending)),
        (pending, Yes, true, false, Some(Active)),
        (pending, Yes, false, true, Some(Active)),
        (pending, No, true, false, Some(Pending)),
        (pending, Nothing, false, false, None),
        (pending_again, Yes, false, false, Some(Pending)),
        (pending_again, No, false, false, Some(Revoked)),
        (pending_again, Nothing, false, false, Some(Revoked)),
        (Some((Active, true)), Yes, false, false, Some(Active)),
        (Some((Active, true)), No, true, false, Some(Revoked)),
        (Some((Active, true)), Nothing, true, false, Some(Revoked)),
        (Some((Revoked, true)), Yes, false, false, Some(Pending)),
        (Some((Revoked, true)), Yes, true, false, Some(Active)),
        (Some((Revoked, true)), No, true, false, Some(Revoked)),
        (Some((Revoked, true)), Nothing, true, false, Some(Revoked)),
        (Some((Suspended, true)), Yes, true, false, Some(Suspended)),
        (Some((Suspended, true)), No, true, false, Some(Revoked)),
        (Some((Expired, true)), Yes, true, false, Some(Expired)),
    ];
    for (row, (before, says, listed, first_start, state)) in table.into_iter().enumerate() {
        let stored: Vec<_> = before.map(|(state, once)| known(state, once)).into_iter().collect();
        let mut members = vec![seen(B, false)];
        match says {
            Yes => members.push(seen(A, true)),
            No => members.push(seen(A, false)),
            Nothing => {}
        }
        let devices: Vec<_> = listed.then(|| device(A)).into_iter().collect();
        let merged = merge(&view(members), &stored, &devices, first_start, now());
        let a = merged.members.iter().find(|member| member.id == A.parse().unwrap());
        assert_eq!(a.map(|a| a.state), state, "row {row}");
        let moved = merged.changes.iter().any(|change| change.member == A.parse().unwrap());
        assert_eq!(moved, state.is_some() && before.map(|(state, _)| state) != state, "row {row}");
    }
}

#[test]
fn a_name_comes_from_the_device_list_and_a_label_from_the_controller() {
    let merged = merge(&view(vec![seen(A, true), seen(B, true)]), &[], &[device(A)], true, now());
    let roster = roster_members(&merged.members, &[device(A)]);
    let [b, a] = &roster[..] else { panic!("{roster:?}") };
    assert_eq!(a.device.as_ref().map(|name| name.as_str()), Some("phone"));
    assert_eq!(a.owner.as_ref().map(|name| name.as_str()), Some("mum"));
    assert_eq!((b.state, &b.device, &b.owner, b.groups.len()), (MemberState::Active, &None, &None, 0));
    assert_eq!(b.label.as_deref(), Some("label of bcba17eef8"));
}

#[test]
fn a_pinned_identity_does_not_move_and_alarms_once() {
    let mut stored = known(MemberState::Active, true);
    stored.proof = PinProof::Proven;
    let mut other = seen(A, true);
    other.identity = Some(format!("{A}:0:other"));

    let first = merge(&view(vec![other.clone()]), &[stored], &[], false, now());
    assert!(matches!(first.alarms[..], [Alarm::OtherIdentity { .. }]), "{:?}", first.alarms);
    assert_eq!(roster_members(&first.members, &[])[0].proof, IdentityProof::Changed);
    assert_eq!(first.members[0].identity.as_deref(), Some("c4c8812898:0:key"));

    let again = merge(&view(vec![other]), &first.members, &[], false, now());
    assert_eq!((again.alarms.len(), &again.members), (0, &first.members));

    let healed = merge(&view(vec![seen(A, true)]), &again.members, &[], false, now());
    assert_eq!(roster_members(&healed.members, &[])[0].proof, IdentityProof::Proven);
}

#[test]
fn an_identity_that_vanishes_keeps_the_pin() {
    let mut stored = known(MemberState::Active, true);
    stored.proof = PinProof::Proven;
    let bare = ControllerMember { identity: None, ..seen(A, true) };
    let merged = merge(&view(vec![bare]), &[stored.clone()], &[], false, now());
    assert_eq!((&merged.members[0].identity, merged.members[0].proof), (&stored.identity, PinProof::Proven));
}

#[test]
fn a_pin_that_does_not_hash_gives_way_to_another() {
    let stored = StoredMember { proof: PinProof::Failed, ..known(MemberState::Active, true) };
    assert_eq!(roster_members(std::slice::from_ref(&stored), &[])[0].proof, IdentityProof::Changed);
    let other = ControllerMember { identity: Some(format!("{A}:0:right")), ..seen(A, true) };
    let merged = merge(&view(vec![other]), &[stored], &[], false, now());
    assert_eq!(to_prove(&merged.members), [(A.parse().unwrap(), "c4c8812898:0:right")]);
}

#[test]
fn active_members_are_proved_first_and_members_without_identity_not_at_all() {
    let never_seen = ControllerMember { identity: None, ..seen("00deadbeef", true) };
    let merged =
        merge(&view(vec![seen(B, false), never_seen, seen(A, true)]), &[], &[device(A)], false, now());
    let order: Vec<_> = to_prove(&merged.members).iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(order, [A, B]);
}

#[test]
fn hazards_are_told() {
    let gateway = "5e02d9cb41".parse().ok();
    let forward = |to: &str| crate::zerotier::Forward { rule: format!("tee to {to}"), to: to.parse().ok() };
    let mut unsafe_view = view(vec![ControllerMember { active_bridge: true, ..seen(B, false) }]);
    unsafe_view.forwards = vec![forward("5e02d9cb41"), forward(A)];
    let members = merge(&unsafe_view, &[], &[], true, now()).members;
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
    let merged = merge(&view(vec![seen(A, false), seen(B, true)]), &stored, &[device(B)], false, now());
    let held = merged.without_new_rights(&stored);
    let states: Vec<_> = held.members.iter().map(|member| member.state).collect();
    assert_eq!(states, [MemberState::Pending, MemberState::Revoked]);
    assert_eq!(held.members[0].admitted, None);
    assert_eq!(held.changes.len(), 1);
}

#[test]
fn a_new_line_in_the_device_list_admits_at_once_and_its_absence_revokes_nobody() {
    let waiting = [known(MemberState::Pending, false)];
    assert_eq!(readmit(&waiting, &[device(A)], now()).members[0].state, MemberState::Active);
    let active = [known(MemberState::Active, true)];
    assert_eq!(readmit(&active, &[], now()).changes, []);
}
