//! How long a receiver may take, and how long to wait before asking it again.

use std::time::Duration;

/// The times of one receiver.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// From looking up its address to the head of its answer.
    pub deadline: Duration,
    /// The least time between a failure and the next try.
    pub base: Duration,
    /// The most.
    pub longest: Duration,
    /// A delivery that fails when it is older than this is given up.
    pub give_up: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            base: Duration::from_secs(5),
            longest: Duration::from_secs(3600),
            give_up: Duration::from_secs(24 * 3600),
        }
    }
}

impl Timing {
    /// The wait after so many failures in a row: twice as long each time, and anywhere in the upper half of that, so that
    /// receivers that came back are not met by everybody at once. `random` is any number.
    pub fn wait(&self, failures: u32, random: u16) -> Duration {
        let doubled = 2u32.checked_pow(failures).unwrap_or(u32::MAX);
        let whole = self.base.saturating_mul(doubled).min(self.longest);
        whole / 2 + whole / 2 * u32::from(random) / u32::from(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_five_seconds_to_an_hour() {
        let timing = Timing::default();
        let seconds = |failures, random| timing.wait(failures, random).as_secs_f32().round() as u32;
        let table: Vec<_> =
            (1..=12).map(|failures| (seconds(failures, 0), seconds(failures, u16::MAX))).collect();
        let rising = [(5, 10), (10, 20), (20, 40), (40, 80), (80, 160), (160, 320), (320, 640), (640, 1280)];
        assert_eq!(table[..8], rising);
        assert_eq!(table[8..], [(1280, 2560), (1800, 3600), (1800, 3600), (1800, 3600)]);
        assert_eq!(timing.wait(u32::MAX, u16::MAX), timing.longest);
    }
}
