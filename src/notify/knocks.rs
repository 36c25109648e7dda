//! How many knocks people are told of. Anybody on the internet can make identities and ask to join, so without a limit a
//! stranger could use up a phone's patience and a receiver's quota (ntfy.sh: docs.ntfy.sh/publish, "Limitations").

use std::time::Duration;

use crate::model::Moment;

/// Knocks told of at once.
const AT_ONCE: u32 = 20;
/// One more after each of these.
const EACH: Duration = Duration::from_secs(180);

/// What is left of the allowance.
#[derive(Debug, Default)]
pub(super) struct Knocks {
    /// When the whole allowance is back.
    whole_at: Option<Moment>,
}

impl Knocks {
    /// Whether this one may be told of.
    pub fn allow(&mut self, now: Moment) -> bool {
        let whole_at = self.whole_at.filter(|at| *at > now).unwrap_or(now);
        let allowed = whole_at.saturating_duration_since(now) <= EACH * (AT_ONCE - 1);
        if allowed {
            self.whole_at = Some(whole_at + EACH);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_at_once_and_then_one_each_three_minutes() {
        let mut knocks = Knocks::default();
        let start = Moment::since_boot(1000, 0);
        assert_eq!((0..100).filter(|_| knocks.allow(start)).count(), AT_ONCE as usize);
        assert!(!knocks.allow(start + (EACH - Duration::from_secs(1))));
        assert!(knocks.allow(start + EACH));
        assert!(!knocks.allow(start + EACH));
        let later = start + EACH * 1000;
        assert_eq!((0..100).filter(|_| knocks.allow(later)).count(), AT_ONCE as usize, "and no more");
    }
}
