//! DNS under the real dnsperf: what a device may ask, and what becomes of the rest.

use std::process::Command;

use ztgate::dns::Limits;

use crate::real::needs;
use crate::world::{Live, World, echo};

/// What dnsperf says at its end.
#[derive(Debug, PartialEq)]
struct Told {
    sent: u64,
    answered: u64,
    lost: u64,
    codes: String,
}

/// A hundred queries at a time, each waited for as long as any stub resolver does.
const PATIENTLY: [&str; 4] = ["-q", "100", "-t", "5"];
/// All at once, for those that are not answered would be waited for.
const AT_ONCE: [&str; 4] = ["-q", "1000", "-t", "1"];

/// Has a device ask for a name of the zone so often, as fast as dnsperf can; `None` after a line that says that there is no
/// dnsperf.
async fn asks(world: &Live, device: &str, times: u64, by: &str, how: [&str; 4]) -> Option<Told> {
    let mut dnsperf = Command::new(needs("dnsperf")?);
    let names = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&names, "wiki.home.arpa A\n").unwrap();
    let (port, times, source) =
        (world.dns_port().to_string(), times.to_string(), world.from(device).source.to_string());
    dnsperf.args(["-s", "127.0.0.1", "-p", &port, "-a", &source, "-m", by, "-n", &times]).args(how);
    dnsperf.args(["-O", "suppress=timeout", "-d"]).arg(names.path());
    // The gateway runs on this test's own thread, too.
    let output = tokio::task::spawn_blocking(move || dnsperf.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |label: &str| {
        let found = text.lines().find_map(|line| line.trim_start().strip_prefix(label));
        found.unwrap_or_else(|| panic!("no {label} in {text}")).trim().to_owned()
    };
    let count = |label| line(label).split(' ').next().unwrap().parse().unwrap();
    Some(Told {
        sent: count("Queries sent:"),
        answered: count("Queries completed:"),
        lost: count("Queries lost:"),
        codes: line("Response codes:"),
    })
}

fn home() -> World {
    World::new()
        .member("red-phone")
        .member("laptop")
        .pending("new-tv")
        .service("wiki", echo())
        .allow("red-phone", "wiki")
        .dns("forward = []")
}

fn all(times: u64) -> Option<Told> {
    Some(Told { sent: times, answered: times, lost: 0, codes: format!("NOERROR {times} (100.00%)") })
}

/// As the shipped limits are.
#[tokio::test]
async fn what_a_household_asks_at_once_is_all_answered() {
    let world = home().start().await;
    for by in ["udp", "tcp"] {
        let Some(told) = asks(&world, "red-phone", 400, by, PATIENTLY).await else { return };
        assert_eq!(Some(told), all(400), "{by}");
    }
    let counts = world.gateway().status().dns.counts;
    assert_eq!((counts.answered, counts.over_limit), (800, 0), "{counts:?}");
}

#[tokio::test]
async fn beyond_its_pace_a_device_hears_nothing_and_others_are_answered_at_once() {
    let limits = |limits: &mut Limits| (limits.rate, limits.burst, limits.truncated) = (1, 100, 3);
    let world = home().dns_limits(limits).start().await;
    let Some(told) = asks(&world, "red-phone", 400, "udp", AT_ONCE).await else { return };
    let counts = world.gateway().status().dns.counts;
    assert_eq!(counts.answered + counts.over_limit, 400, "each was looked at: {counts:?}");
    assert!((100..110).contains(&counts.answered), "{counts:?}");
    // Some are told to come by TCP.
    let truncated = told.answered - counts.answered;
    assert!((3..30).contains(&truncated), "{told:?} {counts:?}");
    assert_eq!(told.lost, 400 - told.answered);

    assert_eq!(asks(&world, "laptop", 80, "udp", PATIENTLY).await, all(80));
    assert_eq!(
        asks(&world, "red-phone", 80, "tcp", PATIENTLY).await,
        all(80),
        "whom a SYN proves has a pace of its own"
    );
    let over = world.audit().record(|record| record.verdict.as_str() == "gateway-busy").await;
    assert_eq!(over.claimed, Some(world.id("red-phone")));
}

#[tokio::test]
async fn who_is_not_let_in_is_refused_a_few_times_and_then_hears_nothing() {
    let limits = |limits: &mut Limits| limits.refusals = 5;
    let world = home().dns_limits(limits).start().await;
    let Some(told) = asks(&world, "new-tv", 400, "udp", AT_ONCE).await else { return };
    assert!((5..50).contains(&told.answered), "{told:?}");
    assert_eq!(told.codes, format!("REFUSED {} (100.00%)", told.answered));
    assert_eq!(world.gateway().status().dns.counts.refused, 400);
    assert_eq!(asks(&world, "red-phone", 80, "udp", PATIENTLY).await, all(80));
}
