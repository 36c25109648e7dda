//! How much one member, and all of them, may ask.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::model::Moment;

/// What is enough for any household, and too little to hurt it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Queries a second from one member, over UDP and as many again over TCP. A page with many parts asks for dozens at once, and rarely.
    pub rate: u32,
    /// Queries that one member may send at once.
    pub burst: u32,
    /// Of those beyond, so many a second of one member get the word to come by TCP, where a real client is heard. Not more:
    /// the address may be borrowed, and its owner is not to be flooded with answers.
    pub truncated: u32,
    /// Refusals a second that one member is told and has recorded one by one; the others are counted.
    pub refusals: u32,
    /// TCP connections of one member, and of all.
    pub connections_of_member: u32,
    pub connections: u32,
    /// Queries of one connection that are being answered at a time.
    pub pipelined: usize,
    /// Bytes of answers that one connection has waiting for its device to take them. Room for one of the longest at least.
    pub queued: usize,
    /// How long a TCP connection may be without a whole query, and an answer on its way.
    pub idle: Duration,
    /// Queries of one member that others are being asked, and of all; so many by datagram and as many again by connection,
    /// for who borrows somebody's address must not use up what its owner proves to be asking.
    pub forwards_of_member: u32,
    pub forwards: u32,
    /// Datagrams of one socket that are looked at before anything else has its turn.
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rate: 200,
            burst: 1000,
            truncated: 10,
            refusals: 10,
            connections_of_member: 16,
            connections: 256,
            pipelined: 32,
            queued: 128 * 1024,
            idle: Duration::from_secs(10),
            forwards_of_member: 64,
            forwards: 256,
            batch: 64,
        }
    }
}

/// How fast each of many may go: one moment each, at which all that it used is paid for.
#[derive(Debug)]
pub struct Pace<K> {
    each: Duration,
    ahead: Duration,
    paid: HashMap<K, Moment>,
}

impl<K: Eq + Hash> Pace<K> {
    /// So many a second, and so many at once. No rate is no allowance.
    pub fn new(rate: u32, burst: u32) -> Self {
        let each = Duration::from_secs(1).checked_div(rate).unwrap_or(Duration::MAX);
        Self { each, ahead: each.saturating_mul(burst), paid: HashMap::new() }
    }

    /// Uses the pace for one more, and says how long to wait before that: nothing within the burst.
    pub fn wait(&mut self, who: K, now: Moment) -> Duration {
        let paid = self.paid.entry(who).or_insert(now);
        *paid = (*paid).max(now) + self.each;
        paid.saturating_duration_since(now).saturating_sub(self.ahead)
    }

    /// Whether one more is within the pace, which it then uses.
    pub fn allows(&mut self, who: K, now: Moment) -> bool {
        let paid = self.paid.entry(who).or_insert(now);
        let next = (*paid).max(now) + self.each;
        let within = next.saturating_duration_since(now) <= self.ahead;
        if within {
            *paid = next;
        }
        within
    }

    /// Forgets whoever owes nothing.
    pub fn tidy(&mut self, now: Moment) {
        self.paid.retain(|_, paid| *paid > now);
    }
}

/// How many of something each has at a time, and all together.
#[derive(Debug)]
pub struct Shares<K> {
    of_one: u32,
    of_all: u32,
    all: u32,
    each: HashMap<K, u32>,
}

impl<K: Eq + Hash + Copy> Shares<K> {
    pub fn new(of_one: u32, of_all: u32) -> Self {
        Self { of_one, of_all, all: 0, each: HashMap::new() }
    }

    /// Takes one more, if there is room. To be [given back](Self::give_back).
    pub fn take(&mut self, who: K) -> bool {
        let own = self.each.entry(who).or_default();
        let room = *own < self.of_one && self.all < self.of_all;
        if room {
            *own += 1;
            self.all += 1;
        } else if *own == 0 {
            self.each.remove(&who);
        }
        room
    }

    /// The same, if that leaves this one with no more than half of what is left for all: however many have all that they
    /// may, there is something left for whoever has nothing yet.
    pub fn take_modestly(&mut self, who: K) -> bool {
        let own = self.each.get(&who).copied().unwrap_or_default();
        let left = self.of_all.saturating_sub(self.all);
        (own == 0 || own < left / 2) && self.take(who)
    }

    pub fn give_back(&mut self, who: K) {
        self.all = self.all.saturating_sub(1);
        if let Some(own) = self.each.get_mut(&who) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.each.remove(&who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment::since_boot(60, 0) + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut pace = Pace::new(10, 3);
        let mut sent = |who, ms, times| (0..times).filter(|_| pace.allows(who, at(ms))).count();
        assert_eq!(sent("a", 0, 100), 3, "at once");
        assert_eq!(sent("b", 0, 100), 3, "each its own");
        assert_eq!(sent("a", 99, 100), 0);
        assert_eq!(sent("a", 100, 100), 1, "a tenth of a second later");
        assert_eq!(sent("a", 60_000, 100), 3, "no more is saved than a burst");
        pace.tidy(at(60_000));
        assert_eq!(pace.paid.len(), 1, "b owes nothing");
    }

    #[test]
    fn who_may_wait_waits_for_its_turn() {
        let mut pace = Pace::new(10, 2);
        let waits = [0, 0, 0, 500].map(|ms| pace.wait("a", at(ms)).as_millis());
        assert_eq!(waits, [0, 0, 100, 0]);
    }

    #[test]
    fn a_rate_of_none_lets_nobody() {
        assert!(!Pace::new(0, 0).allows("a", at(0)));
        assert!(!Pace::new(5, 0).allows("a", at(0)));
    }

    #[test]
    fn who_is_modest_leaves_something_for_the_next() {
        let mut shares = Shares::new(64, 192);
        let mut all_of =
            |who| std::iter::repeat_with(|| shares.take_modestly(who)).take_while(|taken| *taken).count();
        assert_eq!(["a", "b", "c", "d"].map(&mut all_of), [64, 43, 28, 19]);
        assert!((0..8).all(|who| all_of(["e", "f", "g", "h", "i", "j", "k", "l"][who]) > 0));
    }

    #[test]
    fn shares_end_at_ones_own_and_at_everybodys() {
        let mut shares = Shares::new(2, 3);
        let taken = ["a", "a", "a", "b", "b", "c"].map(|who| shares.take(who));
        assert_eq!(taken, [true, true, false, true, false, false]);
        shares.give_back("a");
        assert!(shares.take("c"));
        for who in ["a", "b", "c"] {
            shares.give_back(who);
        }
        assert!(shares.each.is_empty() && shares.all == 0);
    }
}
