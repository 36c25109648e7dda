//! Each member's share of the log, so that one device that asks a million things cannot push out what others did.
//!
//! The log forgets its oldest rows when it is full, so whoever writes fastest decides how far back it reaches. A member may
//! write [`Share::at_once`] bytes of rows, which grow back by [`Share::a_day`]. Beyond that its records are summed up by
//! service and verdict: nothing goes uncounted, and what is lost is the single paths and times of the flood. Sums are paid
//! from the same share and wait for it if need be, so no choice of requests writes more.
//!
//! The last quarter of a share is kept for what was done: a page that asks each second how a download goes must not use up
//! the room for who added it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::{Record, Verdict};
use crate::model::{MemberId, Moment, RefusalCode};

/// How many bytes of rows one member may have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The most at a time, after a day or more of calm.
    pub at_once: u64,
    /// What grows back in a day.
    pub a_day: u64,
}

impl Share {
    /// The share of one member in a log of so many bytes: a 64th at once and a 256th a day, so that it takes one member
    /// eight months to roll the log, and ten of them together three weeks. Of 2 GiB that is a quarter of a million
    /// records at once and 60,000 a day, each day: more than a person's browsing, less than a page left open that asks
    /// each second, whose requests after some days read as one line a minute.
    pub const fn of(bytes: u64) -> Self {
        Self { at_once: bytes / 64, a_day: bytes / 256 }
    }

    /// What is left for deeds when nothing is left for the rest.
    fn for_deeds(self) -> f64 {
        self.at_once as f64 / 4.0
    }

    /// None is ever used up; for measuring what records cost.
    pub const UNLIMITED: Self = Self { at_once: u64::MAX, a_day: u64::MAX };
}

/// How long a sum gathers at least.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// The most members with a share of their own at a time. There are never as many; those beyond share one, with the
/// connections that no member is known for.
const MOST: usize = 4096;

/// What a row takes beside its texts: the row's own number, times, IDs and counters.
const ROW: usize = 96;

/// Stands for paths that differ, as for what is redacted.
const MANY: &str = "…";

/// Keeps members to their shares. Pure: the time is told by the caller.
#[derive(Debug)]
pub(super) struct Quota {
    share: Share,
    purses: HashMap<Option<MemberId>, Purse>,
}

/// What one member has left.
#[derive(Debug)]
struct Purse {
    /// Sums may cost more than there is, and leave less than zero.
    bytes: f64,
    counted: Moment,
    /// Not empty from the first record that did not fit until the sums are written. Deeds apart from the rest.
    sums: BTreeMap<(Option<Arc<str>>, &'static str, bool), Record>,
    /// When the sums are due, if they can be paid.
    due: Moment,
}

impl Quota {
    pub fn new(share: Share) -> Self {
        Self { share, purses: HashMap::new() }
    }

    /// Takes a record and gives it back if it is to be written as it is.
    pub fn push(&mut self, record: Record, now: Moment, write: &mut impl FnMut(Record)) {
        let known = self.purses.len() < MOST || self.purses.contains_key(&record.member);
        let whose = record.member.filter(|_| known);
        let share = self.share;
        let purse = self.purses.entry(whose).or_insert_with(|| Purse::full(share, now));
        purse.earn(share, now);
        let price = price(&record);
        let may_be_written = match is_deed(&record) {
            true => purse.bytes >= price,
            false => purse.sums.is_empty() && purse.bytes >= price + share.for_deeds(),
        };
        if may_be_written {
            purse.bytes -= price;
            write(record);
        } else {
            purse.sum_up(record, now);
        }
    }

    /// Gives back the sums that are due, and forgets who has a whole share again.
    pub fn due(&mut self, now: Moment, write: &mut impl FnMut(Record)) {
        let share = self.share;
        self.purses.retain(|_, purse| {
            purse.earn(share, now);
            if now >= purse.due && purse.bytes >= share.for_deeds() {
                purse.pay_out(write);
            }
            !purse.sums.is_empty() || purse.bytes < share.at_once as f64
        });
    }

    /// Whether [`Quota::due`] has something to give back sooner or later.
    pub fn is_waiting(&self) -> bool {
        self.purses.values().any(|purse| !purse.sums.is_empty())
    }

    /// Gives back all that has gathered, for the end.
    pub fn drain(&mut self, write: &mut impl FnMut(Record)) {
        for purse in self.purses.values_mut() {
            purse.pay_out(write);
        }
    }
}

impl Purse {
    fn full(share: Share, now: Moment) -> Self {
        Self { bytes: share.at_once as f64, counted: now, sums: BTreeMap::new(), due: now }
    }

    fn earn(&mut self, share: Share, now: Moment) {
        let days = now.saturating_duration_since(self.counted).as_secs_f64() / 86_400.0;
        self.bytes = (self.bytes + days * share.a_day as f64).min(share.at_once as f64);
        self.counted = self.counted.max(now);
    }

    fn sum_up(&mut self, record: Record, now: Moment) {
        if self.sums.is_empty() {
            self.due = now + WINDOW;
        }
        let key = (record.service.clone(), record.verdict.as_str(), is_deed(&record));
        match self.sums.get_mut(&key) {
            Some(sum) => add(sum, record),
            None => drop(self.sums.insert(key, record)),
        }
    }

    fn pay_out(&mut self, write: &mut impl FnMut(Record)) {
        for sum in std::mem::take(&mut self.sums).into_values() {
            self.bytes -= price(&sum);
            write(sum);
        }
    }
}

/// Adds a record to a sum of the same service and verdict, which keeps what they have in common, and its first one's time and address.
fn add(sum: &mut Record, record: Record) {
    fn keep_common<T: PartialEq>(of_all: &mut Option<T>, of_one: &Option<T>) {
        if of_all != of_one {
            *of_all = None;
        }
    }
    debug_assert_eq!(sum.verdict.as_str(), record.verdict.as_str());
    sum.count = sum.count.saturating_add(record.count);
    sum.received = sum.received.saturating_add(record.received);
    sum.sent = sum.sent.saturating_add(record.sent);
    sum.micros = sum.micros.saturating_add(record.micros);
    sum.at = sum.at.min(record.at);
    if sum.path != record.path {
        sum.path = Some(MANY.into());
    }
    if sum.deed != record.deed {
        sum.deed = Some(MANY.into());
    }
    sum.request = None;
    keep_common(&mut sum.member, &record.member);
    keep_common(&mut sum.claimed, &record.claimed);
    keep_common(&mut sum.device, &record.device);
    keep_common(&mut sum.owner, &record.owner);
    keep_common(&mut sum.host, &record.host);
    keep_common(&mut sum.method, &record.method);
    keep_common(&mut sum.rule, &record.rule);
    keep_common(&mut sum.status, &record.status);
    keep_common(&mut sum.ended, &record.ended);
}

/// Whether something was done, or may have been where the service did not say. What was only tried costs nothing to repeat.
fn is_deed(record: &Record) -> bool {
    let may_be_done = match record.verdict {
        Verdict::Allow => true,
        Verdict::Refuse(code) => matches!(code, RefusalCode::UpstreamDown | RefusalCode::UpstreamSlow),
    };
    may_be_done && record.deed.is_some()
}

/// About what a record takes in the file, in bytes. Names are stored once and cost nothing more.
pub(super) fn price(record: &Record) -> f64 {
    let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
    let method = record.method.as_ref().map_or(0, |method| method.len());
    (ROW + method + text(&record.host) + text(&record.path) + text(&record.deed)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::examples::{allowed, refused};

    /// Ten records of [`allowed`] at once, beside what is kept for deeds, and as many a day.
    fn share() -> Share {
        let ten = 10 * price(&allowed("a")) as u64;
        Share { at_once: ten.div_ceil(3) * 4, a_day: ten }
    }

    fn deed(text: &str) -> Record {
        Record { method: Some("aria2.addUri".into()), deed: Some(text.into()), ..allowed("tablet") }
    }

    struct Bench {
        quota: Quota,
        now: Moment,
        wrote: Vec<Record>,
    }

    impl Bench {
        fn new() -> Self {
            Self { quota: Quota::new(share()), now: Moment::since_boot(60, 0), wrote: Vec::new() }
        }

        fn push(&mut self, times: usize, record: &Record) {
            for _ in 0..times {
                self.quota.push(record.clone(), self.now, &mut |r| self.wrote.push(r));
            }
        }

        fn pass(&mut self, time: Duration) {
            self.now = self.now + time;
            self.quota.due(self.now, &mut |r| self.wrote.push(r));
        }

        fn counts(&mut self) -> Vec<u32> {
            std::mem::take(&mut self.wrote).iter().map(|record| record.count).collect()
        }
    }

    fn of(member: &str, record: Record) -> Record {
        Record { member: member.parse().ok(), ..record }
    }

    #[test]
    fn a_flood_is_summed_up_and_others_are_not_touched() {
        let mut bench = Bench::new();
        let flood = allowed("tablet");
        bench.push(1010, &flood);
        assert_eq!(bench.counts(), [1; 10]);
        bench.push(10, &of("bcba17eef8", allowed("phone")));
        assert_eq!(bench.counts(), [1; 10], "another member has its own share");
        bench.push(5, &Record { service: Some("wiki".into()), ..flood.clone() });
        bench.push(7, &refused("tablet", RefusalCode::NoRule));
        bench.pass(WINDOW - Duration::from_secs(1));
        assert_eq!(bench.counts(), [0; 0], "sums gather for a minute");
        bench.pass(Duration::from_secs(1));
        assert_eq!(bench.counts(), [1000, 7, 5], "one for each service and verdict");
        assert!(!bench.quota.is_waiting());
    }

    #[test]
    fn what_was_done_is_told_beside_a_flood_of_questions() {
        let mut bench = Bench::new();
        bench.push(1000, &allowed("tablet"));
        assert_eq!(bench.counts(), [1; 10]);
        bench.push(1, &deed("added https://example.org/a.iso as 2089b05ecca3d829"));
        bench.push(
            1,
            &Record { verdict: Verdict::Refuse(RefusalCode::UpstreamSlow), ..deed("asked to add b") },
        );
        assert_eq!(bench.counts(), [1; 2], "while the questions still gather");
        bench.push(5, &Record { verdict: Verdict::Refuse(RefusalCode::NoRule), ..deed("tried aria2.pause") });
        assert_eq!(bench.counts(), [0; 0], "what was not done waits with the rest");
    }

    #[test]
    fn a_flood_of_deeds_is_summed_up_too_and_says_so() {
        let mut bench = Bench::new();
        for n in 0..100 {
            bench.push(1, &deed(&format!("added https://example.org/{n}")));
        }
        bench.push(1, &allowed("tablet"));
        let written = bench.counts().len() as u32;
        bench.pass(Duration::from_secs(86_400));
        let told: Vec<(u32, Option<&str>)> =
            bench.wrote.iter().map(|record| (record.count, record.deed.as_deref())).collect();
        assert!((5..15).contains(&written), "{written}");
        assert_eq!(told, [(1, None), (100 - written, Some(MANY))]);
    }

    #[test]
    fn a_sum_keeps_what_its_records_have_in_common() {
        let mut bench = Bench::new();
        let first = allowed("tablet");
        bench.push(11, &first);
        bench.wrote.clear();
        let other = Record { path: Some("/other".into()), status: Some(404), ..first.clone() };
        bench.push(1, &other);
        bench.pass(WINDOW);
        let expected = Record {
            path: Some(MANY.into()),
            status: None,
            request: None,
            count: 2,
            sent: 2 * first.sent,
            micros: 2 * first.micros,
            ..first
        };
        assert_eq!(bench.wrote, [expected]);
    }

    #[test]
    fn no_choice_of_requests_writes_more_than_the_share() {
        let mut bench = Bench::new();
        let mut pushed = 0;
        // Ten days of ever new services and verdicts, the most rows that sums can be.
        for minute in 0..14_400 {
            for (n, code) in RefusalCode::ALL.iter().enumerate() {
                let service = format!("service-{}", (minute + n) % 7);
                bench.push(1, &Record { service: Some(service.into()), ..refused("tablet", *code) });
                pushed += 1;
            }
            bench.pass(Duration::from_secs(60));
        }
        bench.quota.drain(&mut |record| bench.wrote.push(record));
        let written = bench.wrote.iter().map(price).sum::<f64>();
        // One window's sums may be owed at the end, and one is given back by `drain`.
        let (share, window) = (share(), 7.0 * RefusalCode::ALL.len() as f64 * price(&allowed("a")));
        let most = share.at_once as f64 + 10.0 * share.a_day as f64 + 2.0 * window;
        assert!(written <= most, "{written} of {most}");
        assert_eq!(bench.counts().iter().sum::<u32>(), pushed, "and nothing goes uncounted");
    }

    #[test]
    fn a_share_grows_back_and_a_whole_one_is_forgotten() {
        let mut bench = Bench::new();
        bench.push(10, &allowed("tablet"));
        bench.pass(Duration::from_secs(8640));
        bench.counts();
        bench.push(2, &allowed("tablet"));
        assert_eq!(bench.counts(), [1], "a tenth of a day, a tenth of the share");
        bench.pass(Duration::from_secs(2 * 86_400));
        assert_eq!(bench.counts(), [1]);
        bench.pass(Duration::from_secs(2 * 86_400));
        assert!(bench.quota.purses.is_empty());
    }

    #[test]
    fn those_of_whom_no_member_is_known_share_one() {
        let mut bench = Bench::new();
        for last in 0..20 {
            let address = std::net::IpAddr::from([10, 0, 0, last]);
            bench.push(1, &Record { member: None, address, ..refused("-", RefusalCode::NoProof) });
        }
        assert!(bench.counts().len() <= 10);
        bench.pass(WINDOW);
        assert_eq!(bench.counts().len(), 1);
    }
}
