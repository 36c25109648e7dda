//! The lifecycle as tables.

use std::time::Duration;

use super::*;
use crate::config::SyncMode;
use crate::sync::order::Listed;
use crate::sync::plan::plan;
use crate::zerotier::{ControllerMember, ControllerView};

pub(super) const A: &str = "c4c8812898";
pub(super) const B: &str = "bcba17eef8";

pub(super) fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub(super) fn id(text: &str) -> MemberId {
    text.parse().unwrap()
}

pub(super) fn label(text: &str) -> Label {
    text.parse().unwrap()
}

pub(super) fn root() -> Actor {
    Actor::named("root")
}

pub(super) fn roster(members: Vec<StoredMember>) -> StoredRoster {
    StoredRoster {
        network: "5e02d9cb41c0ffee".parse().unwrap(),
        taken: now(),
        public: false,
        redirects: vec![],
        listed: true,
        members,
        outbox: std::collections::BTreeMap::new(),
    }
}

fn member(who: &str, state: MemberState, name: Option<&str>) -> StoredMember {
    let profile = Profile { name: name.map(label), ..Profile::default() };
    StoredMember { state, profile, ..StoredMember::unheard(id(who), now()) }
}

pub(super) fn config() -> Config {
    crate::config::from_text("network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n", &[]).unwrap()
}

/// The gateway's own member.
pub(super) fn own() -> Option<MemberId> {
    Some(id("5e02d9cb41"))
}

fn try_order(known: &StoredRoster, order: Order) -> Result<Draft, String> {
    draft(&order, known, &config(), own(), &root(), now()).map_err(|error| error.to_string())
}

fn admit(who: &str, name: Option<&str>) -> Order {
    let profile = Profile { name: name.map(label), ..Profile::default() };
    Order::Admit { id: id(who), profile, ahead: false }
}

#[test]
fn which_order_moves_whom() {
    use MemberState::{Active, Expired, Pending, Revoked, Suspended};
    let suspend = || Order::Suspend { who: "phone".into(), why: None };
    let revoke = || Order::Revoke { who: "phone".into(), why: None };
    let restore = || Order::Restore { who: "phone".into(), until: None };
    let admit = || admit(A, Some("phone"));
    // state, order -> state at once, and what the controller is to be told
    type Row<'a> = (MemberState, &'a dyn Fn() -> Order, Option<(MemberState, bool)>);
    let table: [Row<'_>; 20] = [
        (Pending, &admit, Some((Pending, true))),
        (Pending, &suspend, None),
        (Pending, &revoke, Some((Revoked, false))),
        (Pending, &restore, None),
        (Active, &admit, None),
        (Active, &suspend, Some((Suspended, false))),
        (Active, &revoke, Some((Revoked, false))),
        (Active, &restore, None),
        (Suspended, &admit, None),
        (Suspended, &revoke, Some((Revoked, false))),
        (Suspended, &restore, Some((Suspended, true))),
        (Expired, &admit, None),
        (Expired, &suspend, None),
        (Expired, &revoke, Some((Revoked, false))),
        (Expired, &restore, Some((Expired, true))),
        (Revoked, &admit, None),
        (Revoked, &suspend, None),
        (Revoked, &restore, Some((Revoked, true))),
        (Suspended, &suspend, Some((Suspended, false))),
        (Revoked, &revoke, Some((Revoked, false))),
    ];
    for (row, (from, order, expected)) in table.into_iter().enumerate() {
        let known = roster(vec![member(A, from, Some("phone"))]);
        let drafted = try_order(&known, order());
        let Some((state, authorize)) = expected else {
            assert!(drafted.unwrap_err().contains("phone is") || from == Pending, "row {row}");
            continue;
        };
        let draft = drafted.unwrap_or_else(|error| panic!("row {row}: {error}"));
        assert_eq!(draft.next.members[0].state, state, "row {row}");
        let repeated = from == state && !authorize;
        let told = draft.next.outbox.get(&id(A)).map(|intent| intent.authorize);
        assert_eq!(told, (!repeated).then_some(authorize), "row {row}");
        assert_eq!(draft.is_empty(), repeated, "row {row}: what repeats is no change");
        assert_eq!(draft.widens(), authorize, "row {row}");
    }
}

#[test]
fn the_gateway_does_not_put_itself_out() {
    let known = roster(vec![member("5e02d9cb41", MemberState::Active, Some("here"))]);
    for order in [
        Order::Revoke { who: "here".into(), why: None },
        Order::Suspend { who: "5e02d9cb41".into(), why: None },
        Order::Edit { who: "here".into(), edit: Edit::Until(Some(now() + Duration::from_secs(60))) },
        Order::Import {
            devices: vec![Listed {
                id: id("5e02d9cb41"),
                profile: Profile {
                    name: Some(label("here")),
                    until: Some(now() + Duration::from_secs(60)),
                    ..Profile::default()
                },
            }],
            dry_run: false,
        },
    ] {
        let error = try_order(&known, order).unwrap_err();
        assert!(error.contains("own member"), "{error}");
    }
    let mut view = ControllerView { members: vec![], ..crate::zerotier::examples::view() };
    view.members.push(ControllerMember { id: id("5e02d9cb41"), ..crate::zerotier::examples::member() });
    let known = roster(vec![member("5e02d9cb41", MemberState::Pending, None)]);
    assert_eq!(plan(&known, &view, &SyncMode::Enforce, own()), []);
}

#[test]
fn an_id_that_was_mistyped_is_caught() {
    let known = roster(vec![member(A, MemberState::Pending, None)]);
    let error = try_order(&known, admit("c4c8812889", Some("phone"))).unwrap_err();
    assert!(error.contains("did you mean c4c8812898?") && error.contains("--ahead"), "{error}");
    let ahead = Order::Admit {
        id: id(B),
        profile: Profile { name: Some(label("tablet")), ..Profile::default() },
        ahead: true,
    };
    let draft = try_order(&known, ahead).unwrap();
    assert_eq!((draft.next.members.len(), draft.next.outbox[&id(B)].authorize), (2, true));
}

#[test]
fn a_label_is_a_suggestion_and_no_name() {
    let mut waits = member(A, MemberState::Pending, None);
    let error = try_order(&roster(vec![waits.clone()]), admit(A, None)).unwrap_err();
    assert_eq!(error, "c4c8812898 needs a name: ztgate admit c4c8812898 --name NAME");
    waits.label = Some("Red-Phone".into());
    let error = try_order(&roster(vec![waits]), admit(A, None)).unwrap_err();
    assert_eq!(error, "c4c8812898 needs a name: ztgate admit c4c8812898 --name red-phone");
}

#[test]
fn an_end_that_was_set_outlives_a_suspension() {
    let sunday = now() + Duration::from_secs(3 * 24 * 3600);
    let mut guest = member(A, MemberState::Suspended, Some("guest"));
    guest.profile.until = Some(sunday);
    let restore = |until| Order::Restore { who: "guest".into(), until };
    let draft = try_order(&roster(vec![guest.clone()]), restore(None)).unwrap();
    assert_eq!(draft.next.members[0].profile.until, Some(sunday));
    assert!(draft.touched[0].1.iter().any(|told| told.contains("expires 2026-03-04T12:00:00Z")), "{draft:?}");

    guest.state = MemberState::Expired;
    guest.profile.until = Some(now());
    let error = try_order(&roster(vec![guest.clone()]), restore(None)).unwrap_err();
    assert!(error.contains("--for 24h"), "{error}");
    assert!(try_order(&roster(vec![guest.clone()]), restore(Some(sunday))).is_ok());
    let never = Order::Edit { who: "guest".into(), edit: Edit::Until(None) };
    let for_good = try_order(&roster(vec![guest]), never).unwrap().next;
    assert!(try_order(&for_good, restore(None)).is_ok());
}

#[test]
fn whose_time_is_up_while_the_controller_is_away_is_not_let_in_at_all() {
    let known = roster(vec![member(A, MemberState::Pending, None)]);
    let until = now() + Duration::from_secs(60);
    let profile = Profile { name: Some(label("guest")), until: Some(until), ..Profile::default() };
    let queued = try_order(&known, Order::Admit { id: id(A), profile, ahead: false }).unwrap().next;
    assert_eq!(crate::sync::expiry::next_moment(&queued, own()), Some(until));
    assert_eq!(expire(&queued, own(), now()), None);
    let expired = expire(&queued, own(), until).unwrap();
    assert!(!expired.next.outbox[&id(A)].authorize);
    assert_eq!(expired.next.members[0].state, MemberState::Pending);
    assert!(!expired.widens());
}

#[test]
fn whoever_is_to_be_let_in_can_be_kept_out_and_the_answer_says_so() {
    let known = roster(vec![member(A, MemberState::Revoked, Some("phone"))]);
    let queued = try_order(&known, Order::Restore { who: "phone".into(), until: None }).unwrap().next;
    let draft = try_order(&queued, Order::Revoke { who: "phone".into(), why: None }).unwrap();
    assert_eq!(draft.touched, [(id(A), vec!["stays revoked".to_owned()])]);
    assert!(!draft.next.outbox[&id(A)].authorize);
    assert!(!draft.widens());
}

#[test]
fn the_gateways_own_end_is_never_due() {
    let mut here = member("5e02d9cb41", MemberState::Active, Some("here"));
    (here.profile.until, here.notice) = (Some(now()), Some(now()));
    let known = roster(vec![here]);
    assert_eq!(crate::sync::expiry::next_moment(&known, own()), None);
    assert!(!crate::sync::expiry::is_due_notice(&known.members[0], own(), now()));
    assert_eq!(expire(&known, own(), now()), None);
}

#[test]
fn a_guest_whose_time_is_up_does_not_spoil_a_list() {
    let listed = |who: &str, name: &str, until| Listed {
        id: id(who),
        profile: Profile { name: Some(label(name)), until, ..Profile::default() },
    };
    let devices = vec![listed(A, "guest", Some(now())), listed(B, "tablet", None)];
    let draft = try_order(&roster(vec![]), Order::Import { devices, dry_run: false }).unwrap();
    assert_eq!(draft.next.outbox.keys().collect::<Vec<_>>(), [&id(B)]);
    assert_eq!(draft.notes, ["guest is passed over: its time was up at 2026-03-01T12:00:00Z"]);
}

#[test]
fn who_is_admitted_again_keeps_what_is_not_said_anew() {
    let sunday = now() + Duration::from_secs(3 * 24 * 3600);
    let mut guest = member(A, MemberState::Pending, Some("guest"));
    guest.profile = Profile { owner: Some(label("mum")), until: Some(sunday), ..guest.profile };
    let draft = try_order(&roster(vec![guest.clone()]), admit(A, Some("aunt"))).unwrap();
    let profile = Profile { name: Some(label("aunt")), ..guest.profile };
    assert_eq!(draft.next.members[0].profile, profile);
}

#[test]
fn what_could_not_be_exported_is_not_kept() {
    let known = roster(vec![member(A, MemberState::Active, Some("phone"))]);
    for notes in ["two\nlines".to_owned(), "x".repeat(501)] {
        let order = Order::Edit { who: "phone".into(), edit: Edit::Notes(Some(notes)) };
        assert!(try_order(&known, order).unwrap_err().contains("the note"));
    }
}

#[test]
fn one_name_means_one_thing() {
    let mut phone = member(A, MemberState::Active, Some("phone"));
    phone.profile.owner = Some(label("mum"));
    phone.profile.groups = vec![label("family")];
    let known = roster(vec![phone, member(B, MemberState::Pending, None)]);
    let edit = |edit| Order::Edit { who: "phone".into(), edit };
    for (order, word) in [
        (admit(B, Some("phone")), "the name of device"),
        (admit(B, Some("mum")), "it is the owner"),
        (admit(B, Some("family")), "it is a group"),
        (edit(Edit::Owner(Some(label("family")))), "it is this device's owner"),
        (edit(Edit::Owner(Some(label("phone")))), "one name means one thing"),
        (edit(Edit::Groups { add: vec![label("mum")], remove: vec![] }), "it is this device's owner"),
        (edit(Edit::Rename(label("mum"))), "it is this device's own name"),
    ] {
        let error = try_order(&known, order.clone()).unwrap_err();
        assert!(error.contains(word), "{order:?}: {error}");
    }
    let swapped = edit(Edit::Groups { add: vec![label("kids")], remove: vec![label("family")] });
    let draft = try_order(&known, swapped).unwrap();
    assert_eq!(draft.next.members[0].profile.groups, [label("kids")]);
    assert_eq!(draft.touched[0].1, ["groups family -> kids"]);
}

#[test]
fn a_device_whose_identity_is_not_its_own_is_not_let_in() {
    let changed = StoredMember { differs: true, ..member(A, MemberState::Revoked, Some("phone")) };
    let error = try_order(&roster(vec![changed]), Order::Restore { who: "phone".into(), until: None });
    assert!(error.unwrap_err().contains("another public identity"));
    let forged = StoredMember { proof: PinProof::Failed, ..member(B, MemberState::Pending, None) };
    assert!(try_order(&roster(vec![forged]), admit(B, Some("tablet"))).unwrap_err().contains("not its own"));
}

#[test]
fn a_list_names_admits_and_restores_nobody() {
    let known = roster(vec![
        member(A, MemberState::Active, Some("phone")),
        member(B, MemberState::Revoked, Some("tablet")),
    ]);
    let listed = |who: &str, name: &str| Listed {
        id: id(who),
        profile: Profile { name: Some(label(name)), ..Profile::default() },
    };
    // Names may change hands within one list.
    let devices = vec![listed(A, "tablet"), listed(B, "phone"), listed("00deadbeef", "tv")];
    let draft = try_order(&known, Order::Import { devices, dry_run: false }).unwrap();
    let states: Vec<_> = draft.next.members.iter().map(|member| (called(member), member.state)).collect();
    assert_eq!(
        states,
        [
            ("tablet".into(), MemberState::Active),
            ("phone".into(), MemberState::Revoked),
            ("tv".into(), MemberState::Pending),
        ]
    );
    assert_eq!(draft.next.outbox.keys().collect::<Vec<_>>(), [&id("00deadbeef")]);
    assert_eq!(draft.notes, ["phone stays revoked; to let it in again: ztgate restore phone"]);
}
