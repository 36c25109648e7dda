//! Refusals that repeat: told once at once, and then as a count.
//!
//! A television that waits for admission knocks many times a second. Its first refusal is recorded as it happens; its
//! repeats within [`WINDOW`] become one more record, written when the window ends, whose `count` says how many.
//! The counts of all records add up to what happened.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{DNS, Record, Verdict};
use crate::model::{MemberId, Moment, RefusalCode};

/// How long repeats of a refusal gather.
pub const WINDOW: Duration = Duration::from_secs(10);

/// How many different refusals gather at a time. Beyond that the oldest is written before its time, so that a flood of
/// ever new addresses costs neither memory nor a single count.
const MOST: usize = 4096;

/// Gathers repeated refusals. Pure: the time is told by the caller.
#[derive(Debug)]
pub struct Fold {
    open: HashMap<Key, Repeats>,
    /// The same keys by the end of their window; each key stands here exactly once.
    ends: VecDeque<(Moment, Key)>,
    most: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    who: Who,
    /// Whose address was used. One member that takes two others' is told twice, for either may ask who it was.
    claimed: Option<MemberId>,
    code: RefusalCode,
    service: Option<Arc<str>>,
    /// A device looks names up before it asks for pages, and calls are told apart: the one must not hide what the other was.
    call: Option<Arc<str>>,
    /// Of what a service did not answer it may have done the one and not the other.
    deed: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Member(MemberId),
    Address(IpAddr),
}

/// What came after the first; `None` as long as nothing did.
type Repeats = Option<Record>;

impl Default for Fold {
    fn default() -> Self {
        Self::holding(MOST)
    }
}

impl Fold {
    fn holding(most: usize) -> Self {
        Self { open: HashMap::new(), ends: VecDeque::new(), most }
    }

    /// Takes a record and gives back what is to be written now. Whatever was let in passes untouched.
    ///
    /// Call [`Fold::due`] first: a window ends only there.
    pub fn push(&mut self, record: Record, now: Moment, write: &mut impl FnMut(Record)) {
        let Verdict::Refuse(code) = record.verdict else { return write(record) };
        let who = record.member.map_or(Who::Address(record.address), Who::Member);
        let is_call = record.deed.is_some() || record.method.as_deref() == Some(DNS);
        let call = record.method.clone().filter(|_| is_call);
        let service = record.service.clone();
        let deed = record.deed.clone().filter(|_| code >= RefusalCode::GatewayBusy);
        let key = Key { who, claimed: record.claimed, code, service, call, deed };
        match self.open.get_mut(&key) {
            Some(Some(repeats)) => {
                repeats.count = repeats.count.saturating_add(record.count);
                repeats.received = repeats.received.saturating_add(record.received);
                repeats.sent = repeats.sent.saturating_add(record.sent);
            }
            Some(repeats @ None) => *repeats = Some(record),
            None => {
                if self.open.len() >= self.most
                    && let Some((_, oldest)) = self.ends.pop_front()
                    && let Some(repeats) = self.open.remove(&oldest).flatten()
                {
                    write(repeats);
                }
                self.open.insert(key.clone(), None);
                self.ends.push_back((now + WINDOW, key));
                write(record);
            }
        }
    }

    /// Gives back the repeats whose window has ended. What still repeats gathers on for another window.
    pub fn due(&mut self, now: Moment, write: &mut impl FnMut(Record)) {
        while self.ends.front().is_some_and(|(end, _)| *end <= now)
            && let Some((_, key)) = self.ends.pop_front()
        {
            if let Some(repeats) = self.open.get_mut(&key).and_then(Option::take) {
                write(repeats);
                self.ends.push_back((now + WINDOW, key));
            } else {
                self.open.remove(&key);
            }
        }
    }

    /// When [`Fold::due`] next has something to do.
    pub fn next_due(&self) -> Option<Moment> {
        self.ends.front().map(|(end, _)| *end)
    }

    /// Gives back all that has gathered, for the end.
    pub fn drain(&mut self, write: &mut impl FnMut(Record)) {
        for (_, key) in self.ends.drain(..) {
            if let Some(repeats) = self.open.remove(&key).flatten() {
                write(repeats);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::examples::{allowed, refused};

    /// A fold with a stopped clock, and what it wrote as `service code ×count`.
    struct Bench {
        fold: Fold,
        now: Moment,
        wrote: Vec<Record>,
    }

    impl Bench {
        fn new(most: usize) -> Self {
            Self { fold: Fold::holding(most), now: Moment::since_boot(60, 0), wrote: Vec::new() }
        }

        fn push(&mut self, record: Record) {
            self.fold.push(record, self.now, &mut |r| self.wrote.push(r));
        }

        fn pass(&mut self, seconds: u64) {
            self.now = self.now + Duration::from_secs(seconds);
            self.fold.due(self.now, &mut |r| self.wrote.push(r));
        }

        fn counts(&mut self) -> Vec<u32> {
            std::mem::take(&mut self.wrote).iter().map(|r| r.count).collect()
        }
    }

    #[test]
    fn the_first_is_told_at_once_and_its_repeats_as_one_count() {
        let mut bench = Bench::new(MOST);
        for _ in 0..5 {
            bench.push(refused("new-tv", RefusalCode::MemberPending));
        }
        assert_eq!(bench.counts(), [1]);
        bench.pass(9);
        assert_eq!(bench.counts(), [0u32; 0]);
        bench.pass(1);
        assert_eq!(bench.counts(), [4]);
        // It goes on within the next window, and then falls silent.
        bench.push(refused("new-tv", RefusalCode::MemberPending));
        bench.pass(10);
        assert_eq!(bench.counts(), [1]);
        bench.pass(10);
        assert_eq!(bench.counts(), [0u32; 0]);
        assert_eq!((bench.fold.next_due(), bench.fold.open.len()), (None, 0));
    }

    #[test]
    fn what_differs_in_person_claim_code_or_service_stays_apart_and_what_is_let_in_is_never_folded() {
        let mut bench = Bench::new(MOST);
        let pending = refused("new-tv", RefusalCode::MemberPending);
        bench.push(pending.clone());
        bench.push(refused("new-tv", RefusalCode::NoRule));
        bench.push(Record { member: "bcba17eef8".parse().ok(), ..pending.clone() });
        bench.push(Record { member: None, ..pending.clone() });
        bench.push(Record { service: Some("wiki".into()), ..pending.clone() });
        bench.push(Record { claimed: "bcba17eef8".parse().ok(), ..pending.clone() });
        bench.push(Record { deed: Some("tried a".into()), ..pending.clone() });
        for deed in ["asked to add a, no answer", "asked to add b, no answer"] {
            bench.push(Record { deed: Some(deed.into()), ..refused("new-tv", RefusalCode::UpstreamDown) });
        }
        bench.push(allowed("red-phone"));
        bench.push(allowed("red-phone"));
        assert_eq!(bench.counts(), [1; 11]);
        bench.push(Record { deed: Some("tried b".into()), ..pending.clone() });
        bench.push(Record { path: Some("/other".into()), ..pending });
        assert_eq!(bench.counts(), [0u32; 0]);
    }

    #[test]
    fn a_flood_of_strangers_takes_bounded_memory_and_loses_no_count() {
        let mut bench = Bench::new(8);
        for i in 0..1000u32 {
            let stranger = Record {
                member: None,
                address: IpAddr::from(i.to_be_bytes()),
                ..refused("x", RefusalCode::UnknownMember)
            };
            bench.push(stranger.clone());
            bench.push(stranger.clone());
            bench.push(stranger);
            assert!(bench.fold.open.len() <= 8 && bench.fold.ends.len() == bench.fold.open.len());
        }
        let (fold, wrote) = (&mut bench.fold, &mut bench.wrote);
        fold.drain(&mut |r| wrote.push(r));
        assert_eq!(bench.counts().iter().sum::<u32>(), 3000);
    }
}
