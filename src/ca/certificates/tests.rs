//! Which certificate a handshake gets, by name, by clock and by CA.

use std::time::Duration;

use jiff::SignedDuration;

use super::*;
use crate::ca::pem;
use crate::model::ManualClock;

const NAMES: [&str; 2] = ["wiki.home.arpa", "nas.home.arpa"];

fn world() -> (tempfile::TempDir, Arc<ManualClock>, Certificates) {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at("2026-11-01T12:00:00Z".parse().unwrap()));
    let ca = Ca::open_or_create(dir.path(), &"home.arpa".parse().unwrap(), clock.now()).unwrap();
    let certificates = Certificates::issued(Arc::new(ca), NAMES, clock.clone()).unwrap();
    (dir, clock, certificates)
}

fn name_in(key: &CertifiedKey) -> String {
    pem::facts(Path::new("leaf"), &key.cert[0]).unwrap().subject
}

#[test]
fn each_known_name_gets_its_own_and_all_else_the_gateways() {
    let (_dir, _clock, certificates) = world();
    for (asked, got) in [
        (Some("wiki.home.arpa"), "wiki.home.arpa"),
        (Some("nas.home.arpa"), "nas.home.arpa"),
        (Some("gate.home.arpa"), "gate.home.arpa"),
        (Some("other.home.arpa"), "gate.home.arpa"),
        (Some("example.org"), "gate.home.arpa"),
        (None, "gate.home.arpa"),
    ] {
        assert_eq!(name_in(&certificates.get(asked).unwrap()), got, "{asked:?}");
    }
    let twice = [certificates.get(Some(NAMES[0])).unwrap(), certificates.get(Some(NAMES[0])).unwrap()];
    assert!(Arc::ptr_eq(&twice[0], &twice[1]), "issued once");
}

#[test]
fn a_stranger_finds_every_name_in_the_zone_alike() {
    let (_dir, clock, certificates) = world();
    certificates.get(Some(NAMES[0])).unwrap();
    clock.advance(Duration::from_secs(60));
    let dates = |name| {
        let key = certificates.for_stranger(Some(name)).unwrap();
        assert_eq!(name_in(&key), name);
        pem::facts(Path::new("leaf"), &key.cert[0]).map(|facts| (facts.begins, facts.ends)).unwrap()
    };
    let [used, unused, gate, unknown] =
        [NAMES[0], NAMES[1], "gate.home.arpa", "no-such.home.arpa"].map(dates);
    assert_eq!([used, unused, gate], [unknown; 3]);
    for outside in [None, Some("example.org"), Some("wikihome.arpa")] {
        assert_eq!(name_in(&certificates.for_stranger(outside).unwrap()), "gate.home.arpa", "{outside:?}");
    }
}

#[test]
fn a_leaf_is_served_while_it_is_young_whichever_way_the_clock_went() {
    let (_dir, _clock, certificates) = world();
    let Source::Issued { ca, .. } = &certificates.source else { panic!("{certificates:?}") };
    let made: Timestamp = "2026-11-01T12:00:00Z".parse().unwrap();
    for (hours, kept) in [
        (0, true),
        (59 * 24, true),
        (61 * 24, false),
        (400 * 24, false),
        // The clock was ahead: that a certificate begins a day early covers so much.
        (-23, true),
        (-25, false),
        (-300 * 24, false),
    ] {
        let slot = Slot::default();
        let at = |now| slot.get(ca, &ManualClock::at(now), || NAMES[0].to_owned()).unwrap();
        let now = made + SignedDuration::from_hours(hours);
        let (first, then) = (at(made), at(now));
        assert_eq!(Arc::ptr_eq(&first, &then), kept, "{hours} h later");
        assert!(Arc::ptr_eq(&then, &at(now)), "{hours} h later, issued once");
        let facts = pem::facts(Path::new("leaf"), &then.cert[0]).unwrap();
        assert!(facts.begins <= now && now < facts.ends, "{hours} h later");
    }
}

#[test]
fn new_names_leave_the_others_their_leaves() {
    let (_dir, _clock, first) = world();
    let [wiki, nas] = NAMES.map(|name| first.get(Some(name)).unwrap());
    let fewer = first.renamed([NAMES[1]]).unwrap();
    assert!(Arc::ptr_eq(&nas, &fewer.get(Some(NAMES[1])).unwrap()));
    assert_eq!(name_in(&fewer.get(Some(NAMES[0])).unwrap()), "gate.home.arpa", "no longer configured");
    let again = fewer.renamed(NAMES).unwrap();
    assert!(!Arc::ptr_eq(&wiki, &again.get(Some(NAMES[0])).unwrap()), "what went is forgotten");
}

#[test]
fn a_rotated_intermediate_signs_at_the_next_handshake_and_an_old_one_keeps_its_leaves() {
    let (dir, clock, first) = world();
    let reopened = || Ca::reopen(dir.path(), &"home.arpa".parse().unwrap(), clock.now()).unwrap();
    let leaf = first.get(Some(NAMES[0])).unwrap();
    let same = first.by(reopened(), NAMES).unwrap();
    assert!(Arc::ptr_eq(&leaf, &same.get(Some(NAMES[0])).unwrap()));

    let crate::ca::RootKeyFile::Open(key) = crate::ca::RootKeyFile::read(dir.path(), None).unwrap() else {
        unreachable!()
    };
    crate::ca::rotate(dir.path(), key, clock.now()).unwrap();
    let rotated = same.by(reopened(), NAMES).unwrap();
    let new = rotated.get(Some(NAMES[0])).unwrap();
    assert_eq!(new.cert[1], *rotated.authority().unwrap().intermediate());
    assert_ne!(new.cert[1], leaf.cert[1]);
}

#[test]
fn a_name_outside_the_zone_is_refused() {
    let (_dir, _clock, first) = world();
    let refused = first.renamed(["nas.example.org"]);
    assert!(matches!(refused, Err(CaError::OutsideZone { .. })));
}
