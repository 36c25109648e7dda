//! Time, as a seam, so that staleness and expiry can be told without waiting.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Tells the time: on the wall, for records and expiry, and since an arbitrary point, for ages that a changed wall
/// clock must not stretch.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;
    fn instant(&self) -> Instant;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock {
    wall: Timestamp,
    origin: Instant,
    passed_ms: AtomicU64,
}

impl ManualClock {
    pub fn at(wall: Timestamp) -> Self {
        Self { wall, origin: Instant::now(), passed_ms: AtomicU64::new(0) }
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

    fn instant(&self) -> Instant {
        self.origin + self.passed()
    }
}
