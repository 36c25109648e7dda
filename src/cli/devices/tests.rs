//! Lists and screens as people see them.

use jiff::Zoned;

use super::*;
use crate::cli::style::Style;
use crate::model::MemberState::{Active, Expired, Pending, Revoked};
use crate::sync::{Caller, ChangeOrigin, Event};

pub fn now() -> Zoned {
    "2026-11-23T15:00:00+01:00[Europe/Berlin]".parse().unwrap()
}

pub fn event(
    time: &str,
    id: &str,
    from: Option<MemberState>,
    to: MemberState,
    why: &str,
    who: &str,
) -> Event {
    Event {
        time: time.parse().unwrap(),
        member: id.parse().unwrap(),
        from,
        to,
        why: why.to_owned(),
        who: who.to_owned(),
        origin: None,
    }
}

fn device(id: &str, name: &str, state: MemberState) -> DeviceView {
    DeviceView {
        member: id.parse().unwrap(),
        own: false,
        state,
        name: name.parse().ok(),
        owner: None,
        groups: Vec::new(),
        notes: None,
        until: None,
        label: None,
        authorized: Some(state == Active),
        first_seen: "2026-07-20T13:00:07Z".parse().unwrap(),
        last_seen: None,
        physical: None,
        version: None,
        addresses: Vec::new(),
        identity: "proved".to_owned(),
        public_identity: None,
        aged: false,
        queued: None,
    }
}

/// A home: a phone, a tablet, a guest whose time is over, a lost phone, one without a name, and two that wait.
pub fn devices() -> Vec<DeviceView> {
    let labels = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let at = |text: &str| text.parse().ok();
    vec![
        DeviceView {
            owner: "mum".parse().ok(),
            groups: labels(&["family"]),
            notes: Some("the red one".to_owned()),
            last_seen: at("2026-11-23T13:59:50Z"),
            label: Some("Mum's phone\u{202e}".to_owned()),
            physical: Some("192.168.1.20/9993".to_owned()),
            version: Some("1.14.1".to_owned()),
            addresses: ["10.147.17.5", "fd5e:2d9:cb41:c0ff:ee99:93c4:c881:2898"]
                .map(|a| a.parse().unwrap())
                .to_vec(),
            public_identity: Some("c4c8812898:0:abcdef".to_owned()),
            ..device("c4c8812898", "red-phone", Active)
        },
        DeviceView {
            owner: "tim".parse().ok(),
            groups: labels(&["family", "kids"]),
            until: at("2026-11-24T17:00:00Z"),
            last_seen: at("2026-11-22T20:00:00Z"),
            addresses: vec!["10.147.17.6".parse().unwrap()],
            ..device("a000000002", "kids-tablet", Active)
        },
        DeviceView { until: at("2026-11-22T17:00:00Z"), ..device("a000000003", "guest-laptop", Expired) },
        DeviceView {
            queued: Some("deauthorise".to_owned()),
            authorized: Some(true),
            ..device("a000000004", "old-phone", Revoked)
        },
        DeviceView { label: Some("printer".to_owned()), ..device("a000000005", "", Active) },
        DeviceView {
            label: Some("New TV".to_owned()),
            first_seen: "2026-11-23T13:57:00Z".parse().unwrap(),
            physical: Some("192.168.1.77/9993".to_owned()),
            version: Some("1.14.1".to_owned()),
            ..device("a000000006", "", Pending)
        },
        DeviceView {
            label: Some("red phone".to_owned()),
            authorized: Some(true),
            aged: true,
            ..device("a000000007", "", Pending)
        },
    ]
}

fn chosen<'a>(devices: &'a [DeviceView], args: &ListArgs) -> Vec<&'a DeviceView> {
    devices.iter().filter(|device| args.chooses(device)).collect()
}

fn table(args: &ListArgs, width: Option<usize>) -> String {
    let devices = devices();
    list::render(&chosen(&devices, args), now().timestamp(), width, Style::PLAIN)
}

#[test]
fn who_is_enrolled_as_wide_as_it_takes() {
    insta::assert_snapshot!(table(&ListArgs::default(), None), @r"
    name          owner  groups       state    expires   last seen  member      addresses       queued
    red-phone     mum    family       active             now        c4c8812898  10.147.17.5 +1
    kids-tablet   tim    family,kids  active   in 27 h   18 h ago   a000000002  10.147.17.6
    guest-laptop                      expired  21 h ago             a000000003
    old-phone                         revoked                       a000000004                  deauthorise
    (printer)                         active                        a000000005
    ");
}

#[test]
fn who_is_enrolled_on_a_terminal_of_80() {
    let eighty = table(&ListArgs { state: vec![Active], ..ListArgs::default() }, Some(80));
    insta::assert_snapshot!(eighty, @r"
    name         owner  groups       state   expires  last seen  member
    red-phone    mum    family       active           now        c4c8812898
    kids-tablet  tim    family,kids  active  in 27 h  18 h ago   a000000002
    (printer)                        active                      a000000005
    ");
    assert!(eighty.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn who_waits_with_what_to_type() {
    let devices = devices();
    let args = ListArgs { pending: true, all: true, ..ListArgs::default() };
    let waiting = chosen(&devices, &args);
    let text = pending::render(&waiting, &devices, now().timestamp(), None, Style::PLAIN);
    insta::assert_snapshot!(text, @r"
    member      label      first seen    version  from               controller
    a000000006  New TV     3 min ago     1.14.1   192.168.1.77/9993  not authorised
      ztgate admit a000000006 --name new-tv
    a000000007  red phone  126 days ago                              authorised
      ztgate admit a000000007 --name NAME
    ");
}

#[test]
fn long_labels_give_way_on_a_terminal_of_80() {
    let label = Some("the television in the living room, upstairs".to_owned());
    let devices: Vec<_> =
        devices().into_iter().map(|device| DeviceView { label: label.clone(), ..device }).collect();
    let waiting = chosen(&devices, &ListArgs { pending: true, ..ListArgs::default() });
    let text = pending::render(&waiting, &devices, now().timestamp(), Some(80), Style::PLAIN);
    insta::assert_snapshot!(text, @r"
    member      label         first seen  version  from               controller
    a000000006  the televis…  3 min ago   1.14.1   192.168.1.77/9993  not authorised
      ztgate admit a000000006 --name the-television-in-the-living-room-upstairs
    ");
}

#[test]
fn lists_say_whom_they_leave_out() {
    let devices = devices();
    let said = |args: &ListArgs| args.left_out(&devices, chosen(&devices, args).len());
    let pending = ListArgs { pending: true, ..ListArgs::default() };
    let suspended = ListArgs { state: vec![MemberState::Suspended], ..ListArgs::default() };
    for (args, words) in [
        (ListArgs::default(), Some("waiting to be admitted: 1; ztgate devices --pending")),
        (pending, Some("1 more have not asked for a week: ztgate devices --pending --all")),
        (ListArgs { pending: true, all: true, ..ListArgs::default() }, None),
        (suspended, Some("no such devices")),
    ] {
        assert_eq!(said(&args).as_deref(), words, "{args:?}");
    }
    for (pending, words) in [(true, "nobody waits"), (false, "no devices yet")] {
        let nobody = ListArgs { pending, ..ListArgs::default() }.left_out(&[], 0);
        assert_eq!(nobody.as_deref(), Some(words));
    }
}

#[test]
fn everything_about_one() {
    let devices = devices();
    let events = [
        event("2026-07-20T13:00:07Z", "c4c8812898", None, Pending, "knocked", "ztgate"),
        event("2026-11-20T13:05:00Z", "c4c8812898", Some(Pending), Active, "admitted as red-phone", "root"),
        Event {
            origin: Some(ChangeOrigin::Socket(Caller {
                login: Some("mum".to_owned()),
                terminal: Some("pts/3".to_owned()),
                claimed_ssh: "192.168.1.20".parse().ok(),
            })),
            ..event("2026-11-21T08:00:00Z", "c4c8812898", Some(Active), Active, "owner mum", "root")
        },
    ];
    insta::assert_snapshot!(show::render(&devices[0], &events, &now(), Style::PLAIN), @r"
    name         red-phone
    member       c4c8812898
    state        active
    owner        mum
    groups       family
    note         the red one
    label        Mum's phone?
    controller   authorised
    first seen   2026-07-20 15:00:07 CEST (126 days ago)
    last seen    2026-11-23 14:59:50 CET (10 s ago)
    speaks from  192.168.1.20/9993
    version      1.14.1
    addresses    10.147.17.5  fd5e:2d9:cb41:c0ff:ee99:93c4:c881:2898
    identity     proved
    public key   c4c8812898:0:abcdef

    2026-07-20 15:00:07 CEST  pending            ztgate                                                   knocked
    2026-11-20 14:05:00 CET   pending -> active  root                                                     admitted as red-phone
    2026-11-21 09:00:00 CET   active             root    pts/3, says login mum, by SSH from 192.168.1.20  owner mum
    ");
    insta::assert_snapshot!(show::render(&devices[3], &[], &now(), Style::PLAIN), @r"
    name        old-phone
    member      a000000004
    state       revoked
    controller  authorised
    to tell it  deauthorise
    first seen  2026-07-20 15:00:07 CEST (126 days ago)
    identity    proved
    next        ztgate restore old-phone
    ");
}

#[test]
fn devices_are_found_by_name_id_and_address() {
    let devices = devices();
    let name = |who: &str| find(&devices, who).map(called);
    for (who, is) in [
        ("red-phone", Ok("red-phone")),
        ("c4c8812898", Ok("red-phone")),
        ("10.147.17.6", Ok("kids-tablet")),
        ("rd-phone", Err("no device rd-phone here; did you mean red-phone?")),
        ("a00000002", Err("no device a00000002 here; did you mean a000000002?")),
        ("fridge", Err("no device fridge here; see ztgate devices")),
    ] {
        assert_eq!(name(who), is.map(str::to_owned).map_err(str::to_owned), "{who}");
    }
}
