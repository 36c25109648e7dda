//! Which certificate a handshake gets, by name, by clock and by CA.

use std::sync::Mutex;
use std::time::Duration;

use jiff::SignedDuration;

use super::*;
use crate::ca::pem;
use crate::model::{ManualClock, Moment};

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

/// A wall clock that can be set, on a machine that has run for a while.
struct Wall {
    now: Mutex<Timestamp>,
    uptime: Mutex<SignedDuration>,
}

impl Wall {
    fn pass(&self, hours: i64) {
        *self.now.lock().unwrap() += SignedDuration::from_hours(hours);
        *self.uptime.lock().unwrap() += SignedDuration::from_hours(hours);
    }

    fn set(&self, now: &str) {
        *self.now.lock().unwrap() = now.parse().unwrap();
    }
}

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    fn instant(&self) -> Moment {
        Moment::since_boot(self.uptime.lock().unwrap().as_secs(), 0)
    }
}

fn walled(made: &str, starts: &str, uptime: i64) -> (tempfile::TempDir, Arc<Wall>, Certificates) {
    let dir = tempfile::tempdir().unwrap();
    let zone = "home.arpa".parse().unwrap();
    Ca::open_or_create(dir.path(), &zone, made.parse().unwrap()).unwrap();
    let now = Mutex::new(starts.parse().unwrap());
    let uptime = Mutex::new(SignedDuration::from_hours(uptime));
    let clock = Arc::new(Wall { now, uptime });
    let ca = Ca::open_or_create(dir.path(), &zone, clock.now()).unwrap();
    let certificates = Certificates::issued(Arc::new(ca), NAMES, clock.clone()).unwrap();
    (dir, clock, certificates)
}

fn is_valid(key: &CertifiedKey, at: &str) -> bool {
    let facts = pem::facts(Path::new("leaf"), &key.cert[0]).unwrap();
    (facts.begins..facts.ends).contains(&at.parse().unwrap())
}

const MADE: &str = "2026-06-01T12:00:00Z";
const RIGHT: &str = "2026-11-01T12:00:00Z";

#[test]
fn a_leaf_is_replaced_as_it_ages_and_issued_once() {
    let (_dir, clock, certificates) = walled(MADE, RIGHT, 48);
    let first = certificates.get(Some(NAMES[0])).unwrap();
    clock.pass(59 * 24);
    assert!(Arc::ptr_eq(&first, &certificates.get(Some(NAMES[0])).unwrap()));
    clock.pass(2 * 24);
    let second = certificates.get(Some(NAMES[0])).unwrap();
    assert!(!Arc::ptr_eq(&first, &second) && is_valid(&second, "2027-03-30T00:00:00Z"));
    assert!(Arc::ptr_eq(&second, &certificates.get(Some(NAMES[0])).unwrap()));
}

/// Devices go by clocks of their own, which are right.
#[test]
fn a_clock_that_goes_wrong_costs_no_device_its_trust() {
    for wrong in [
        "1970-01-01T00:00:00Z",
        "2026-05-01T00:00:00Z",
        "2026-08-01T00:00:00Z",
        "2027-05-01T00:00:00Z",
        "2031-01-01T00:00:00Z",
        "2060-01-01T00:00:00Z",
    ] {
        let (_dir, clock, certificates) = walled(MADE, RIGHT, 48);
        certificates.get(Some(NAMES[0])).unwrap();
        clock.set(wrong);
        for name in NAMES.map(Some).into_iter().chain([None]) {
            let leaf = certificates.get(name).unwrap();
            assert!(is_valid(&leaf, RIGHT), "{wrong} {name:?}");
            assert!(Arc::ptr_eq(&leaf, &certificates.get(name).unwrap()), "{wrong}, issued once");
        }
        assert!(is_valid(&certificates.for_stranger(Some(NAMES[1])).unwrap(), RIGHT), "{wrong}");
        // It goes on wrong for so long that the leaves must be renewed.
        clock.pass(61 * 24);
        assert!(is_valid(&certificates.get(Some(NAMES[0])).unwrap(), "2027-01-01T12:00:00Z"), "{wrong}");
        clock.set("2027-01-01T12:00:00Z");
        assert!(certificates.doubt(clock.now()).is_none(), "{wrong}, and right again");
    }
}

#[test]
fn a_clock_that_is_set_right_leads_to_good_leaves_at_once() {
    for (wrong, uptime) in [
        ("1970-01-01T00:00:30Z", 0),
        ("2020-01-01T00:00:00Z", 72),
        // As one without a battery begins: when it was last shut down.
        ("2026-06-02T00:00:00Z", 0),
        ("2027-02-01T00:00:00Z", 72),
        ("2029-01-01T00:00:00Z", 0),
        ("2060-01-01T00:00:00Z", 72),
    ] {
        let (_dir, clock, certificates) = walled(MADE, wrong, uptime);
        certificates.get(Some(NAMES[0])).unwrap();
        clock.set(RIGHT);
        assert!(is_valid(&certificates.get(Some(NAMES[0])).unwrap(), RIGHT), "{wrong}");
        assert!(certificates.doubt(clock.now()).is_none(), "{wrong}");
    }
}

#[test]
fn a_clock_that_is_not_gone_by_is_told_of() {
    let (_dir, clock, certificates) = walled(MADE, RIGHT, 48);
    assert!(certificates.doubt(clock.now()).is_none());
    for (wrong, part) in
        [("1970-01-01T00:00:00Z", "begins at 2026-05-31"), ("2031-01-01T00:00:00Z", "restart")]
    {
        clock.set(wrong);
        let said = certificates.doubt(clock.now()).unwrap().to_string();
        assert!(said.contains(part) && said.contains("timedatectl"), "{said}");
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
