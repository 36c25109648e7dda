//! Whose address is served.

use super::*;
use crate::identity::IdentityProof;

#[test]
fn only_active_members_are_served_and_strangers_hear_nothing() {
    let home = home();
    for (source, expected) in [
        ("10.147.20.2", PHONE),
        (PHONE_RFC4193, PHONE),
        ("fc1f:c226:25c4:c881:2898::1", PHONE),
        // The first of its 6PLANE addresses is pinned, and no other: somebody else could hear the answer.
        ("fc1f:c226:25c4:c881:2898:1:2:3", "address-not-yours as c4c8812898"),
        ("10.147.20.3", "member-pending as bcba17eef8"),
        ("10.147.20.1", "no-proof as 5e02d9cb41"),
        ("10.147.20.9", "silence"),
        ("fd5e:2d9:cb41:c0ff:ee99:9311:1111:1111", "silence"),
        ("fe80::1", "silence"),
        ("::ffff:10.147.20.2", "silence"),
        ("127.0.0.1", "silence"),
    ] {
        assert_eq!(home.serves(source), expected, "{source}");
    }
}

#[test]
fn without_pins_all_that_zerotier_gives_a_member_is_its_own() {
    let home = Home { pinned: false, ..home() };
    assert_eq!(home.serves("fc1f:c226:25c4:c881:2898:1:2:3"), PHONE);
}

#[test]
fn dns_lets_nobody_in_whom_the_data_path_refuses() {
    let refused = |change: &dyn Fn(&mut Home)| {
        let mut home = home();
        change(&mut home);
        home.serves("10.147.20.2")
    };
    for (state, code) in [
        (MemberState::Pending, "member-pending"),
        (MemberState::Revoked, "member-revoked"),
        (MemberState::Suspended, "member-suspended"),
        (MemberState::Expired, "member-expired"),
    ] {
        assert_eq!(refused(&|home| home.members[1].state = state), format!("{code} as {PHONE}"));
    }
    let as_phone = |code: &str| format!("{code} as {PHONE}");
    assert_eq!(refused(&|home| home.members[1].until = Some(now())), as_phone("member-expired"));
    assert_eq!(refused(&|home| home.members[1].proof = IdentityProof::Changed), as_phone("identity-changed"));
    assert_eq!(
        refused(&|home| home.members[1].proof = IdentityProof::Unproven),
        as_phone("identity-unproven")
    );
    assert_eq!(refused(&|home| home.members[1].active_bridge = true), as_phone("no-proof"));
    assert_eq!(refused(&|home| home.hazards.push(Hazard::Public)), as_phone("network-unsafe"));
    assert_eq!(refused(&|home| home.age = Duration::from_secs(901)), as_phone("roster-stale"));
    let given_to_both = |home: &mut Home| home.members[2].assigned = vec!["10.147.20.2".parse().unwrap()];
    assert_eq!(refused(&given_to_both), PHONE, "who is not let in shuts nobody out");
    let shared = refused(&|home| {
        given_to_both(home);
        home.members[2].state = MemberState::Active;
    });
    assert_eq!(shared, format!("address-not-yours as {TV}"), "given to two, it names neither");
}
