//! The keeper on a clock that the test sets: when it looks, when it asks, and what it serves meanwhile.
//!
//! There is no name server to prove the zone with, so asking fails at once, and that it asked can be told.

use std::sync::Mutex;

use super::*;
use crate::acme::examples::{Day, bundle_of};
use crate::acme::{bundle, kept};
use crate::ca::{Ca, Certificates};
use crate::linux::files;
use crate::model::Moment;

const ASKED: &str = "there is no [nameserver] any more";
const DIRECTORY: &str = "https://acme.example/directory";

/// A wall clock that can be set either way.
struct Wall(Mutex<Timestamp>);

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn instant(&self) -> Moment {
        Moment::since_boot(60, 0)
    }
}

fn at(text: &str) -> Timestamp {
    format!("{text}Z").parse().unwrap()
}

/// A state folder, and a keeper that runs on it.
struct House {
    dir: tempfile::TempDir,
    clock: Arc<Wall>,
    config: watch::Sender<Arc<Config>>,
    certificates: Arc<CurrentCertificates>,
    told: Option<watch::Receiver<AcmeStatus>>,
}

impl House {
    fn new(now: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(Wall(Mutex::new(at(now))));
        let config = config(&dir, DIRECTORY, &[]);
        let ca = Ca::open_or_create(dir.path(), &config.zone, clock.now()).unwrap();
        let certificates = Certificates::issued(Arc::new(ca), ["gate.home.arpa"], clock.clone()).unwrap();
        Folder::of(dir.path()).make().unwrap();
        Self {
            dir,
            clock,
            config: watch::Sender::new(Arc::new(config)),
            certificates: CurrentCertificates::new(certificates),
            told: None,
        }
    }

    /// A certificate for these names and these days, from the server with that directory.
    fn keep(&self, directory: &str, names: &[&str], from: Day, until: Day) {
        let text = bundle_of(directory, names, from, until);
        files::replace(&bundle(self.dir.path()), text.as_bytes(), 0o600).unwrap();
    }

    /// What happened before the start.
    fn past(&self, past: &Past) {
        Folder::of(self.dir.path()).write_past(past).unwrap();
    }

    fn start(&mut self) {
        if let Some(kept) = kept(&self.config.borrow(), self.clock.now()) {
            self.certificates.replace(kept);
        }
        let (keeper, told) =
            Keeper::new(self.config.subscribe(), self.certificates.clone(), self.clock.clone());
        tokio::spawn(keeper.run());
        self.told = Some(told);
    }

    fn set_clock(&self, now: &str) {
        *self.clock.0.lock().unwrap() = at(now);
    }

    fn reload(&self, directory: &str, services: &[&str]) {
        self.config.send_replace(Arc::new(config(&self.dir, directory, services)));
    }

    /// What it says once it has looked at everything there is.
    async fn says(&self) -> AcmeStatus {
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.told.as_ref().unwrap().borrow().clone()
    }

    fn serves_its_own(&self) -> bool {
        self.certificates.load().ends().is_some()
    }
}

fn config(dir: &tempfile::TempDir, directory: &str, services: &[&str]) -> Config {
    let mut text = format!(
        "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\nstate_dir = \"{}\"\n\
         [tls]\nacme = \"{directory}\"\nnames = \"each\"\n[nameserver]\nhook = \"/bin/false\"\n",
        dir.path().display()
    );
    for service in services {
        text.push_str(&format!("[service.{service}]\nupstream = \"http://127.0.0.1:8080\"\n"));
    }
    Config { nameserver: None, ..crate::config::from_text(&text, &[]).unwrap() }
}

fn why(status: &AcmeStatus) -> Option<&str> {
    status.last_error.as_ref().map(|failure| failure.why.as_str())
}

#[tokio::test(start_paused = true)]
async fn while_none_is_served_the_kept_one_is_looked_at_each_minute() {
    let mut house = House::new("2026-11-01T12:00:00");
    house.keep(DIRECTORY, &["example.org"], (2026, 11, 10), (2027, 2, 8));
    house.start();
    let status = house.says().await;
    assert!(why(&status).is_some_and(|why| why.contains(ASKED)), "{status:?}");
    assert!(!house.serves_its_own());
    assert!(status.unusable.is_some_and(|why| why.contains("other names")));

    // Put back from a backup, say. Nobody watches that file, and the next try is minutes away.
    house.keep(DIRECTORY, &["gate.home.arpa"], (2026, 11, 10), (2027, 2, 8));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(house.serves_its_own());
    assert_eq!(house.says().await.unusable, None);
    // Two thirds of its life later.
    let next = house.says().await.next.unwrap();
    assert!((at("2027-01-09T00:00:00")..at("2027-01-13T00:00:00")).contains(&next), "{next}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asked_for_peace_has_it_from_new_names_too() {
    let mut house = House::new("2026-11-01T12:00:00");
    let not_before = at("2026-11-01T14:00:00");
    house.past(&Past {
        failures: 1,
        failed_at: Some(at("2026-11-01T12:00:00")),
        not_before: Some(not_before),
        server: DIRECTORY.to_owned(),
        ..Past::default()
    });
    house.start();
    assert_eq!((house.says().await.next, why(&house.says().await)), (Some(not_before), None));
    house.reload(DIRECTORY, &["wiki"]);
    let status = house.says().await;
    assert_eq!((status.next, why(&status), status.names.len()), (Some(not_before), None, 2));

    house.reload("https://another.example/directory", &["wiki"]);
    let status = house.says().await;
    assert!(why(&status).is_some_and(|why| why.contains(ASKED)), "another server said nothing: {status:?}");
}

#[tokio::test(start_paused = true)]
async fn other_names_are_not_kept_waiting_by_what_the_ones_before_failed_at() {
    let mut house = House::new("2026-11-01T12:00:00");
    house.start();
    let first = house.says().await;
    assert!(why(&first).is_some_and(|why| why.contains(ASKED)), "{first:?}");
    house.set_clock("2026-11-01T12:01:00");
    house.reload(DIRECTORY, &["wiki"]);
    let again = house.says().await.last_error.unwrap();
    assert_eq!(again.at, at("2026-11-01T12:01:00"), "asked for at once, and not after five minutes");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_holds_nothing_up_once_it_is_right() {
    let mut house = House::new("2040-01-01T00:00:00");
    house.keep(DIRECTORY, &["gate.home.arpa"], (2026, 10, 1), (2026, 12, 30));
    house.start();
    let status = house.says().await;
    assert!(why(&status).is_some_and(|why| why.contains(ASKED)) && house.serves_its_own(), "{status:?}");
    house.set_clock("2026-11-01T12:00:00");
    tokio::time::sleep(Duration::from_secs(61)).await;
    let next = house.says().await.next.unwrap();
    assert!((at("2026-11-29T00:00:00")..at("2026-12-05T00:00:00")).contains(&next), "{next}");
    assert!(house.serves_its_own());

    // A name that was found missing by the clock of tomorrow is missing since now.
    house.set_clock("2026-11-02T12:00:00");
    house.reload(DIRECTORY, &["wiki"]);
    let soon = |now: Timestamp, next: Timestamp| (10..=20).contains(&next.duration_since(now).as_secs());
    let next = house.says().await.next.unwrap();
    assert!(soon(at("2026-11-02T12:00:00"), next), "{next}");
    house.set_clock("2026-11-01T12:00:05");
    house.reload(DIRECTORY, &["wiki"]);
    let next = house.says().await.next.unwrap();
    assert!(soon(at("2026-11-01T12:00:05"), next), "{next}");
}

#[tokio::test(start_paused = true)]
async fn what_ended_goes_on_serving_while_the_next_is_asked_for() {
    let mut house = House::new("2026-11-01T12:00:00");
    house.keep(DIRECTORY, &["gate.home.arpa"], (2026, 10, 1), (2026, 12, 30));
    house.start();
    house.says().await;
    let served = house.certificates.load().fingerprint().unwrap();
    // Far ahead, or half a year without an answer.
    house.set_clock("2027-06-01T00:00:00");
    house.reload(DIRECTORY, &[]);
    let status = house.says().await;
    assert!(why(&status).is_some_and(|why| why.contains(ASKED)), "{status:?}");
    assert_eq!(house.certificates.load().fingerprint(), Some(served));
}

#[tokio::test(start_paused = true)]
async fn a_bundle_from_another_server_serves_until_there_is_one_from_this() {
    let mut house = House::new("2026-11-01T12:00:00");
    house.keep("https://staging.example/directory", &["gate.home.arpa"], (2026, 10, 1), (2026, 12, 30));
    house.start();
    let next = house.says().await.next.unwrap();
    assert!(
        house.serves_its_own() && next.duration_since(at("2026-11-01T12:00:00")).as_secs() <= 20,
        "{next}"
    );
}

/// What cannot be served is no reason not to start: the private CA stands in. What the clock alone calls void is served.
#[test]
fn what_is_whole_is_taken_from_the_disk_whatever_the_clock_says() {
    let house = House::new("2026-11-01T12:00:00");
    let (config, now) = (house.config.borrow().clone(), house.clock.now());
    assert!(matches!(read_kept(&config, now), Ok(None)), "before the first one");
    const GATE: &[&str] = &["gate.home.arpa"];
    type Put<'a> = &'a dyn Fn();
    let half = || {
        house.keep(DIRECTORY, GATE, (2026, 10, 1), (2026, 12, 30));
        let whole = std::fs::read(bundle(house.dir.path())).unwrap();
        files::replace(&bundle(house.dir.path()), &whole[..whole.len() / 3], 0o600).unwrap();
    };
    let exposed = || {
        house.keep(DIRECTORY, GATE, (2026, 10, 1), (2026, 12, 30));
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(bundle(house.dir.path()), open).unwrap();
    };
    for (begins, ends, part) in [
        ((2026, 10, 1), (2026, 10, 30), "ended at 2026-10-30"),
        ((2026, 12, 1), (2026, 12, 30), "begins at 2026-12-01"),
    ] {
        house.keep(DIRECTORY, GATE, begins, ends);
        let void = kept(&config, now).expect(part).doubt(now).unwrap().to_string();
        assert!(void.contains(part), "{void}");
    }
    let cases: [(&str, Put<'_>); 3] = [
        ("other names", &|| house.keep(DIRECTORY, &["example.org"], (2026, 10, 1), (2026, 12, 30))),
        ("no certificate", &half),
        ("may be read by others", &exposed),
    ];
    for (part, put) in cases {
        put();
        let why = read_kept(&config, now).unwrap_err().to_string();
        assert!(why.contains(part) && kept(&config, now).is_none(), "{part}: {why}");
    }
    house.keep(DIRECTORY, GATE, (2026, 10, 1), (2026, 12, 30));
    assert!(kept(&config, now).is_some());
}
