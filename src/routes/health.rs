//! Whether a service's upstream answers, as the requests themselves find out.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Since when an upstream has not answered. One word, shared by all threads without a lock.
#[derive(Debug, Default)]
pub struct Health {
    /// Milliseconds since the Unix epoch; 0 while it answers.
    down_since: AtomicI64,
}

impl Health {
    /// Notes a failure to reach it; the first one counts.
    pub fn failed(&self, now: Timestamp) {
        let now = now.as_millisecond().max(1);
        let _ = self.down_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub fn answered(&self) {
        if self.down_since.load(Ordering::Relaxed) != 0 {
            self.down_since.store(0, Ordering::Relaxed);
        }
    }

    pub fn down_since(&self) -> Option<Timestamp> {
        match self.down_since.load(Ordering::Relaxed) {
            0 => None,
            ms => Timestamp::from_millisecond(ms).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_dates_the_outage_until_an_answer_ends_it() {
        let health = Health::default();
        let at = |s| Timestamp::from_second(s).unwrap();
        assert_eq!(health.down_since(), None);
        health.failed(at(100));
        health.failed(at(200));
        assert_eq!(health.down_since(), Some(at(100)));
        health.answered();
        assert_eq!(health.down_since(), None);
    }
}
