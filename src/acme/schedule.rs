//! When to ask for the next certificate. Pure: the task asks again and again, and a clock that jumps either way changes when,
//! never how often.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Certificates in any 24 hours. Let's Encrypt gives five a week for the same names
/// (letsencrypt.org/docs/rate-limits), and nothing that goes right needs more.
const MOST_A_DAY: usize = 5;
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Between a new name and the order: whoever adds one service often adds two.
const SETTLE: SignedDuration = SignedDuration::from_secs(10);

/// The first wait after a failure, and the longest. Let's Encrypt allows five failed validations of a name an hour.
const FIRST_WAIT: SignedDuration = SignedDuration::from_mins(5);
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(6);

/// What a server says is believed up to here.
const LONGEST_RETRY_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);

/// After a success nothing is due for so long, or for half of a shorter life: a certificate that is due as soon as it is there
/// tells of a clock that is weeks ahead. Let's Encrypt gives one every 34 hours for the same names in the long run.
const PEACE: SignedDuration = SignedDuration::from_hours(36);

/// A start asks again after this many failures' wait at most: somebody may have mended what was wrong. More would let a
/// gateway that restarts in a loop use up a server's limits.
const FAILURES_AFTER_START: u32 = 2;

/// The certificate that there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub begins: Timestamp,
    pub ends: Timestamp,
    /// Since when it lacks a name, or is another server's.
    pub lacking_since: Option<Timestamp>,
}

/// What happened so far; kept on disk.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Past {
    /// In a row.
    pub failures: u32,
    pub failed_at: Option<Timestamp>,
    /// Why the last one failed.
    pub why: Option<String>,
    /// The server wants to hear nothing before.
    pub not_before: Option<Timestamp>,
    /// When the last few were issued.
    #[serde(default)]
    pub issued: Vec<Timestamp>,
    /// The configuration that this is about: what another one failed at says nothing.
    #[serde(default)]
    pub about: String,
    /// The server that was asked.
    #[serde(default)]
    pub server: String,
}

impl Past {
    pub fn failed(&mut self, now: Timestamp, why: String, retry_after: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        self.failed_at = Some(now);
        self.why = Some(why);
        let wait = retry_after.and_then(|wait| SignedDuration::try_from(wait).ok());
        self.not_before = wait.map(|wait| later(now, wait.min(LONGEST_RETRY_AFTER)));
    }

    pub fn issued(&mut self, now: Timestamp) {
        let issued = std::mem::take(&mut self.issued);
        let (about, server) = (std::mem::take(&mut self.about), std::mem::take(&mut self.server));
        *self = Self { issued, about, server, ..Self::default() };
        self.issued.push(now);
        let old = self.issued.len().saturating_sub(MOST_A_DAY);
        self.issued.drain(..old);
    }

    /// Takes back what a clock told that was ahead: otherwise a wait that counts from there would never end.
    pub fn mend(&mut self, now: Timestamp) {
        self.failed_at = self.failed_at.map(|at| at.min(now));
        self.not_before = self.not_before.map(|at| at.min(later(now, LONGEST_RETRY_AFTER)));
        self.issued.iter_mut().for_each(|at| *at = (*at).min(now));
    }

    /// As a start, with this configuration, takes it. What the same server asked for it gets, whatever else was changed.
    pub fn at_start(mut self, server: &str, about: String) -> Self {
        if self.about != about {
            let not_before = self.not_before.filter(|_| self.server == server);
            let server = server.to_owned();
            self = Self { issued: self.issued, not_before, about, server, ..Self::default() };
        }
        self.failures = self.failures.min(FAILURES_AFTER_START);
        self
    }
}

/// Why a certificate is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// There is none.
    First,
    /// Two thirds of its life are over.
    Due,
    /// It lacks a name, or is another server's.
    Lacking,
    /// The last try failed.
    Again,
    /// There were many today.
    Enough,
}

/// When to ask next; now or before means now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When {
    pub at: Timestamp,
    pub reason: Reason,
}

/// When to ask for the next certificate, by a [`Past`] that was mended. `jitter` is between 0 and 1 and stays the same until something was asked, so that
/// many gateways do not ask together.
pub(super) fn next(life: Option<&Life>, past: &Past, jitter: f64, now: Timestamp) -> When {
    let mut when = match life {
        None => When { at: now, reason: Reason::First },
        Some(life) => match life.lacking_since {
            Some(since) => {
                let wait = SETTLE + part(SETTLE, jitter);
                When { at: later(since, wait), reason: Reason::Lacking }
            }
            None => {
                let whole = life.ends.duration_since(life.begins);
                let due = later(life.begins, whole * 2 / 3 + part(whole / 30, jitter));
                let rested = past.issued.last().map(|at| later(*at, PEACE.min(whole / 2)));
                When { at: rested.map_or(due, |rested| due.max(rested)), reason: Reason::Due }
            }
        },
    };
    let mut not_before = |at: Timestamp, reason: Reason| {
        if at > when.at.max(now) {
            when = When { at, reason };
        }
    };
    if let Some(failed) = past.failed_at.filter(|_| past.failures > 0) {
        not_before(later(failed, backoff(past.failures, jitter)), Reason::Again);
    }
    if let Some(said) = past.not_before {
        not_before(said, Reason::Again);
    }
    let today = past.issued.iter().filter(|at| now.duration_since(**at) < DAY);
    if today.clone().count() >= MOST_A_DAY
        && let Some(oldest) = today.min()
    {
        not_before(later(*oldest, DAY), Reason::Enough);
    }
    when
}

/// How long records get until the server is asked to look at them. At first none: the server that was changed shows them
/// already. After failures more, since it may have asked another one, which copies from the first.
pub(super) fn settle(past: &Past) -> Duration {
    match past.failures {
        0 => Duration::ZERO,
        1 => Duration::from_secs(30),
        _ => Duration::from_secs(120),
    }
}

/// Three times as long after each failure, and up to a quarter more by chance.
fn backoff(failures: u32, jitter: f64) -> SignedDuration {
    let grown = 3i32.checked_pow(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    let wait = FIRST_WAIT.checked_mul(grown).map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT));
    wait + part(wait / 4, jitter)
}

fn part(whole: SignedDuration, jitter: f64) -> SignedDuration {
    SignedDuration::from_millis((whole.as_millis() as f64 * jitter.clamp(0.0, 1.0)) as i64)
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("{text}Z").parse().unwrap()
    }

    const NOW: &str = "2026-11-23T12:00:00";

    fn life(begins: &str, ends: &str) -> Life {
        Life { begins: at(begins), ends: at(ends), lacking_since: None }
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
        let ninety = life("2026-10-01T00:00:00", "2026-12-30T00:00:00");
        for (jitter, expected) in [(0.0, "2026-11-30T00:00:00"), (1.0, "2026-12-03T00:00:00")] {
            let when = next(Some(&ninety), &Past::default(), jitter, at(NOW));
            assert_eq!(when, When { at: at(expected), reason: Reason::Due });
        }
        let six_days = life("2026-11-20T00:00:00", "2026-11-26T00:00:00");
        let when = next(Some(&six_days), &Past::default(), 0.0, at(NOW));
        assert_eq!(when.at, at("2026-11-24T00:00:00"));
    }

    #[test]
    fn none_is_asked_for_now_and_new_names_soon() {
        assert_eq!(next(None, &Past::default(), 0.5, at(NOW)), When { at: at(NOW), reason: Reason::First });
        let mut known = life("2026-11-01T00:00:00", "2027-01-30T00:00:00");
        known.lacking_since = Some(at(NOW));
        // Asked again and again, it stays the same moment.
        for now in [NOW, "2026-11-23T12:00:09", "2026-11-23T13:00:00"] {
            let when = next(Some(&known), &Past::default(), 1.0, at(now));
            assert_eq!(when, When { at: at("2026-11-23T12:00:20"), reason: Reason::Lacking }, "{now}");
        }
    }

    #[test]
    fn failures_wait_from_minutes_to_hours() {
        let mut past = Past::default();
        let waits: Vec<i64> = (1..=7)
            .map(|_| {
                past.failed(at(NOW), "no".into(), None);
                next(None, &past, 0.0, at(NOW)).at.duration_since(at(NOW)).as_mins()
            })
            .collect();
        assert_eq!(waits, [5, 15, 45, 135, 360, 360, 360]);
        assert_eq!(next(None, &past, 1.0, at(NOW)).at, at("2026-11-23T19:30:00"));
        past.failures = u32::MAX;
        assert_eq!(next(None, &past, 0.0, at(NOW)).at, at("2026-11-23T18:00:00"));
        let past = past.at_start("", String::new());
        assert_eq!(next(None, &past, 0.0, at(NOW)).at, at("2026-11-23T12:15:00"), "after a start");
        let other = past.at_start("", "other names".into());
        assert_eq!(next(None, &other, 0.0, at(NOW)).at, at(NOW), "another configuration");
    }

    #[test]
    fn name_servers_get_longer_after_failures() {
        let mut past = Past::default();
        let waits = [0, 1, 2, 3].map(|_| {
            let wait = settle(&past).as_secs();
            past.failed(at(NOW), "NXDOMAIN".into(), None);
            wait
        });
        assert_eq!(waits, [0, 30, 120, 120]);
    }

    #[test]
    fn a_server_that_wants_peace_gets_it_for_a_week_at_most() {
        for (said, expected) in [
            (Duration::from_secs(3600), "2026-11-23T13:00:00"),
            (Duration::from_secs(60), "2026-11-23T12:05:00"),
            (Duration::MAX, "2026-11-23T12:05:00"),
            (Duration::from_secs(400 * 24 * 3600), "2026-11-30T12:00:00"),
        ] {
            let mut past = Past::default();
            past.failed(at(NOW), "rateLimited".into(), Some(said));
            let when = next(None, &past, 0.0, at(NOW));
            assert_eq!(when, When { at: at(expected), reason: Reason::Again }, "{said:?}");
            // It outlives a restart, too.
            assert_eq!(next(None, &past.clone().at_start("", String::new()), 0.0, at(NOW)).at, at(expected));
            // And other names, but no other server.
            let said_so = past.not_before.unwrap_or(at(NOW));
            let names = past.clone().at_start("", "other names".into());
            assert_eq!(next(None, &names, 0.0, at(NOW)).at, said_so);
            let server = past.at_start("another", "another".into());
            assert_eq!(next(None, &server, 0.0, at(NOW)).at, at(NOW));
        }
    }

    #[test]
    fn what_is_due_as_soon_as_it_is_there_is_not_asked_for_in_a_row() {
        // Issued today, as the server's clock has it; ours is 70 days ahead.
        let ninety = life("2026-09-14T12:00:00", "2026-12-13T12:00:00");
        let hour = life("2026-11-23T11:00:00", "2026-11-23T12:30:00");
        let new_name = Life { lacking_since: Some(at(NOW)), ..ninety };
        for (what, life, issued, expected) in [
            ("just issued", ninety, NOW, "2026-11-25T00:00:00"),
            ("issued in time", ninety, "2026-09-14T13:00:00", "2026-11-13T12:00:00"),
            ("one of an hour and a half", hour, "2026-11-23T11:20:00", "2026-11-23T12:05:00"),
            ("one that lacks a name", new_name, NOW, "2026-11-23T12:00:10"),
        ] {
            let mut past = Past::default();
            past.issued(at(issued));
            assert_eq!(next(Some(&life), &past, 0.0, at(NOW)).at, at(expected), "{what}");
        }
    }

    #[test]
    fn five_certificates_a_day_are_enough() {
        let mut past = Past::default();
        for hour in 6..12 {
            past.issued(at(&format!("2026-11-23T{hour:02}:00:00")));
        }
        let when = next(None, &past, 0.0, at(NOW));
        assert_eq!(when, When { at: at("2026-11-24T07:00:00"), reason: Reason::Enough });
        assert_eq!(past.issued.len(), MOST_A_DAY);
    }

    #[test]
    fn a_clock_that_jumps_causes_no_storm() {
        let known = life("2026-11-01T00:00:00", "2027-01-30T00:00:00");
        // Back before it began: it waits for its time.
        let when = next(Some(&known), &Past::default(), 0.0, at("2001-01-01T00:00:00"));
        assert_eq!(when.at, at("2026-12-31T00:00:00"));
        // Far ahead: it is asked for at once, and what comes is not valid by that clock; so it waits ever longer.
        let ahead = at("2040-01-01T00:00:00");
        let mut past = Past::default();
        assert!(next(Some(&known), &past, 0.0, ahead).at <= ahead);
        past.failed(ahead, "ended already".into(), None);
        assert_eq!(next(Some(&known), &past, 0.0, ahead).at, at("2040-01-01T00:05:00"));
        // Right again: the failure of the future does not keep it for years.
        let right = at("2027-01-15T00:00:00");
        past.mend(right);
        for minute in [0, 4] {
            let now = right + SignedDuration::from_mins(minute);
            past.mend(now);
            assert_eq!(next(Some(&known), &past, 0.0, now).at, at("2027-01-15T00:05:00"));
        }
        let mut issued = Past::default();
        (0..5).for_each(|_| issued.issued(ahead));
        issued.mend(right);
        assert_eq!(next(None, &issued, 0.0, right).at, at("2027-01-16T00:00:00"));
    }
}
