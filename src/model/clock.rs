//! Time, as a seam, so that staleness and expiry can be told without waiting.

use std::ops::Add;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

/// Tells the time: on the wall, for records and expiry, and since the machine started, for ages that a changed wall
/// clock must not stretch. The machine's own is `linux::clock::SystemClock`.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;
    fn instant(&self) -> Moment;
}

/// A point in time on a clock that nobody can set and that goes on while the machine sleeps, to the nanosecond.
///
/// [`std::time::Instant`] stands still in suspend (CLOCK_MONOTONIC), so by it a roster would be as fresh after a night
/// with the lid closed as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

impl Moment {
    /// The moment this long after the machine started.
    pub const fn since_boot(seconds: i64, nanoseconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
    }

    /// The time since an earlier moment; zero if that one is the later.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The moment so long before this one, which may lie before the machine's start.
    pub fn before(self, ago: Duration) -> Self {
        Self(self.0.saturating_sub(nanoseconds(ago)))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(by)))
    }
}

/// An `i64` holds 292 years of them.
fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock {
    wall: Timestamp,
    passed_ms: AtomicU64,
}

impl ManualClock {
    pub fn at(wall: Timestamp) -> Self {
        Self { wall, passed_ms: AtomicU64::new(0) }
    }

    pub fn advance(&self, by: Duration) {
        self.passed_ms.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }

    fn passed(&self) -> Duration {
        Duration::from_millis(self.passed_ms.load(Ordering::Relaxed))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.wall + self.passed()
    }

    fn instant(&self) -> Moment {
        Moment::since_boot(60, 0) + self.passed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_reach_back_beyond_the_start_and_never_wrap() {
        let (boot, later) = (Moment::since_boot(0, 0), Moment::since_boot(1, 500));
        let day = Duration::from_secs(86_400);
        assert_eq!(later.saturating_duration_since(boot), Duration::new(1, 500));
        assert_eq!(boot.saturating_duration_since(later), Duration::ZERO);
        assert_eq!(boot.saturating_duration_since(boot.before(day)), day);
        assert_eq!(boot.before(day) + day, boot);
        assert!(boot + Duration::MAX > later && boot.before(Duration::MAX) < boot);
    }
}
