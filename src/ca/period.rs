//! Which time it may be: what the clock on the wall says, held against how long the machine has run.
//!
//! Leaves are issued by this. A clock that is set while the gateway runs was wrong before or is wrong now, and devices go by
//! clocks of their own: so a leaf is made for both times, where one certificate can cover both.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};

use super::mint::{self, Span};
use super::{Ca, CaError};
use crate::model::{Clock, Moment};

/// What NTP moves is no jump.
const SLACK: SignedDuration = SignedDuration::from_mins(30);

/// So far apart may two times be that one leaf is good at both: with its life it stays below the 397 days that every platform
/// bears.
const WIDEST: SignedDuration = SignedDuration::from_hours(300 * 24);

/// Clocks are set right soon after the machine starts: many a small machine starts with the time of its last shutdown, or
/// with 1970. One that went on steadily for longer and then jumps is not believed.
const SETTING: Duration = Duration::from_secs(24 * 60 * 60);

/// The time that it may be, kept by when the machine started: this moves only if the clock on the wall is set.
#[derive(Debug, Default)]
pub(super) struct Period(ArcSwapOption<Start>);

/// When the machine may have started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Start {
    low: Timestamp,
    high: Timestamp,
}

impl Start {
    fn at(start: Timestamp) -> Self {
        Self {
            low: start.saturating_sub(SLACK).unwrap_or(start),
            high: start.saturating_add(SLACK).unwrap_or(start),
        }
    }

    fn has(&self, start: Timestamp) -> bool {
        (self.low..=self.high).contains(&start)
    }

    fn with(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    fn width(&self) -> SignedDuration {
        self.high.duration_since(self.low)
    }

    /// What time it may be once the machine has run for so long.
    fn after(&self, uptime: SignedDuration) -> Span {
        let at = |start: Timestamp| start.saturating_add(uptime).unwrap_or(start);
        Span { low: at(self.low), high: at(self.high) }
    }
}

impl Period {
    /// The time that it may be now, for leaves of this CA.
    pub fn now(&self, ca: &Ca, clock: &dyn Clock) -> Span {
        let (now, uptime) = read(clock);
        let before = self.0.load();
        let start = next(before.as_deref(), now, uptime, &|time| ca.void(time).is_none());
        if before.as_deref() != Some(&start) {
            self.0.store(Some(Arc::new(start)));
        }
        ca.clamped(start.after(uptime))
    }

    /// Why leaves are not issued by the clock on the wall, if they are not.
    pub fn doubt(&self, ca: &Ca, clock: &dyn Clock) -> Option<CaError> {
        let (now, uptime) = read(clock);
        ca.void(now).or_else(|| {
            let kept = **self.0.load().as_ref()?;
            let start = next(Some(&kept), now, uptime, &|time| ca.void(time).is_none());
            let known = kept.after(uptime).high;
            (!start.has(began(now, uptime))).then_some(CaError::Jumped { now, known })
        })
    }
}

fn read(clock: &dyn Clock) -> (Timestamp, SignedDuration) {
    let uptime = clock.instant().saturating_duration_since(Moment::since_boot(0, 0));
    (clock.now(), SignedDuration::try_from(uptime).unwrap_or(SignedDuration::MAX))
}

fn began(now: Timestamp, uptime: SignedDuration) -> Timestamp {
    now.saturating_sub(uptime).unwrap_or(Timestamp::MIN)
}

/// When the machine may have started, by what was known and what the clock says. A time is plausible if the CA is not void then.
fn next(
    before: Option<&Start>,
    now: Timestamp,
    uptime: SignedDuration,
    is_plausible: &dyn Fn(Timestamp) -> bool,
) -> Start {
    let (began, says) = (began(now, uptime), Start::at(began(now, uptime)));
    let Some(before) = before else { return says };
    if before.has(began) || !is_plausible(now) {
        return *before;
    }
    let known = before.after(uptime);
    let both = before.with(says);
    if !is_plausible(known.low) && !is_plausible(known.high) {
        says
    } else if both.width() <= WIDEST {
        both
    } else if uptime.unsigned_abs() < SETTING {
        says
    } else {
        *before
    }
}

/// Whether a leaf that was made for one span does for another.
pub(super) fn suits(made: Span, now: Span) -> bool {
    let days = |life: Duration| SignedDuration::try_from(life).unwrap_or(SignedDuration::MAX);
    let begins = made.low.saturating_sub(days(mint::BACKDATED)).unwrap_or(Timestamp::MIN);
    let renewed = made.high.saturating_add(days(mint::LEAF_LIFE * 2 / 3)).unwrap_or(Timestamp::MAX);
    begins <= now.low && now.high < renewed
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn at(day: &str) -> Timestamp {
        format!("{day}T12:00:00Z").parse().unwrap()
    }

    #[test]
    fn a_jump_is_believed_by_what_can_be_known() {
        let is_plausible = |time| (at("2026-01-01")..at("2036-01-01")).contains(&time);
        let hours = SignedDuration::from_hours;
        let later = |day: &str| at(day);
        for (what, known, says, uptime, low, high) in [
            ("steady", "2026-11-23", "2026-11-23", hours(90), "2026-11-23", "2026-11-23"),
            (
                "wrong at the start, then right",
                "1970-01-01",
                "2026-11-23",
                hours(90),
                "2026-11-23",
                "2026-11-23",
            ),
            ("right, then reset", "2026-11-23", "2020-01-01", hours(1), "2026-11-23", "2026-11-23"),
            ("right, then beyond all", "2026-11-23", "2040-01-01", hours(1), "2026-11-23", "2026-11-23"),
            ("some months ahead", "2026-11-23", "2027-05-01", hours(90), "2026-11-23", "2027-05-01"),
            ("some months back", "2027-05-01", "2026-11-23", hours(90), "2026-11-23", "2027-05-01"),
            ("set soon after the start", "2026-11-23", "2028-11-23", hours(1), "2028-11-23", "2028-11-23"),
            (
                "years ahead, out of the blue",
                "2026-11-23",
                "2031-11-23",
                hours(90),
                "2026-11-23",
                "2026-11-23",
            ),
            (
                "years back, out of the blue",
                "2031-11-23",
                "2026-11-23",
                hours(90),
                "2031-11-23",
                "2031-11-23",
            ),
        ] {
            let before = Start::at(began(later(known), uptime));
            let start = next(Some(&before), at(says), uptime, &is_plausible);
            let expected = Start { low: at(low) - uptime - SLACK, high: at(high) - uptime + SLACK };
            assert_eq!(start, expected, "{what}");
        }
    }

    #[test]
    fn a_leaf_suits_while_it_is_young_at_every_time_that_it_may_be() {
        let made = Span { low: at("2026-11-01"), high: at("2026-12-01") };
        for (from, to, fine) in [(0, 0, true), (29, 59, true), (31, 61, false), (-1, 0, true), (-2, 0, false)]
        {
            let now = Span { low: made.low + DAY * from, high: made.high + DAY * to };
            assert_eq!(suits(made, now), fine, "{from} {to}");
        }
    }
}
