//! Answers kept for the next who asks, within bounds of number and memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::answer::{Answer, Packed};
use super::question::Question;
use crate::model::Moment;

const MOST_ENTRIES: usize = 10_000;

/// In bytes, with what keeping an entry takes.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// What an entry takes beside its answer: itself, its question with a name of 255 bytes, and its places in both lists.
const OVERHEAD: usize = size_of::<Entry>() + size_of::<Question>() + 512;

/// How long after its end an answer still helps while nobody answers (RFC 8767 allows days; an outage of an hour is
/// bridged, and a name that moved meanwhile is found soon after).
const STALE: Duration = Duration::from_secs(3_600);

/// While a stale answer is given, servers are asked again so often (RFC 8767, section 5).
const RECHECK: Duration = Duration::from_secs(30);

/// What is known already. Time is given to it, and it never goes back ([`Moment`]).
///
/// When it is full, the oldest goes that nobody asked for again: a flood of names that are asked for once pushes out
/// itself, and hardly what devices live on.
pub(super) struct Cache {
    entries: HashMap<Arc<Question>, Entry>,
    /// Each key once, in the order of arrival or of the last mercy.
    order: VecDeque<Arc<Question>>,
    bytes: usize,
    most: Bounds,
}

#[derive(Clone, Copy)]
struct Bounds {
    entries: usize,
    bytes: usize,
}

struct Entry {
    answer: Packed,
    is_failure: bool,
    since: Moment,
    until: Moment,
    /// A stale answer is given without asking anybody until then.
    recheck: Moment,
    size: usize,
    is_used: bool,
}

/// What the cache knows about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// So old.
    Fresh(Answer, Duration),
    /// It ran out, and servers did not answer a moment ago.
    Bridge(Answer),
    /// It ran out: ask, and take this if nobody answers.
    Stale(Answer),
    No,
}

impl Entry {
    /// Whether it is better than nothing, though it ran out.
    fn helps(&self, now: Moment) -> bool {
        !self.is_failure && now < self.until + STALE
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::bound_by(Bounds { entries: MOST_ENTRIES, bytes: MOST_BYTES })
    }
}

impl Cache {
    fn bound_by(most: Bounds) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), bytes: 0, most }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&mut self, question: &Question, now: Moment) -> Known {
        self.look(question, now).unwrap_or(Known::No)
    }

    /// The bytes of an answer that has not run out, without the question that goes with it.
    pub(super) fn fresh_size(&self, question: &Question, now: Moment) -> Option<usize> {
        let entry = self.entries.get(question).filter(|entry| now < entry.until)?;
        Some(entry.answer.size())
    }

    fn look(&mut self, question: &Question, now: Moment) -> Option<Known> {
        let entry = self.entries.get_mut(question)?;
        entry.is_used = true;
        if now < entry.until {
            return Some(Known::Fresh(entry.answer.unpack()?, now.saturating_duration_since(entry.since)));
        }
        if !entry.helps(now) {
            return None;
        }
        let answer = entry.answer.unpack()?;
        Some(if now < entry.recheck { Known::Bridge(answer) } else { Known::Stale(answer) })
    }

    /// Keeps an answer in place of any that is there, if it may be kept at all. One that may not leaves what ran out before
    /// it, which still helps while nobody answers.
    pub(super) fn put(&mut self, question: &Question, answer: &Answer, now: Moment) {
        if answer.lifetime.is_zero() {
            return;
        }
        let Some(packed) = answer.pack() else { return };
        let size = packed.size() + OVERHEAD;
        let until = now + answer.lifetime;
        let is_failure = answer.is_failure();
        let entry =
            Entry { answer: packed, is_failure, since: now, until, recheck: until, size, is_used: false };
        self.bytes += size;
        match self.entries.get_mut(question) {
            // It was asked for again, or there would be nothing to replace it with.
            Some(old) => self.bytes -= std::mem::replace(old, Entry { is_used: true, ..entry }).size,
            None => {
                let key = Arc::new(question.clone());
                self.entries.insert(key.clone(), entry);
                self.order.push_back(key);
            }
        }
        self.shrink();
    }

    /// Has the answer that ran out given without asking for a while, because nobody answered just now. Whether there is one.
    pub(super) fn bridge(&mut self, question: &Question, now: Moment) -> bool {
        let entry = self.entries.get_mut(question).filter(|entry| entry.helps(now));
        entry.map(|entry| entry.recheck = now + RECHECK).is_some()
    }

    fn shrink(&mut self) {
        while self.entries.len() > self.most.entries || self.bytes > self.most.bytes {
            let Some(oldest) = self.order.pop_front() else { break };
            match self.entries.get_mut(&oldest) {
                Some(entry) if entry.is_used => {
                    entry.is_used = false;
                    self.order.push_back(oldest);
                }
                Some(entry) => {
                    self.bytes -= entry.size;
                    self.entries.remove(&oldest);
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::forward::question::tests::question;
    use crate::dns::forward::rebind::House;
    use hickory_proto::op::{Message, OpCode};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{RData, Record, RecordType};

    fn asked(name: &str) -> Question {
        question(&format!("{name}."), RecordType::A)
    }

    fn answer(name: &str, ttl: u32) -> Answer {
        let mut message = Message::response(0, OpCode::Query);
        let address = RData::A(A([9, 9, 9, 9].into()));
        message.add_answer(Record::from_rdata(asked(name).name, ttl, address));
        Answer::new(&asked(name), message, &House::new(&[]))
    }

    fn at(seconds: i64) -> Moment {
        Moment::since_boot(seconds, 0)
    }

    #[test]
    fn an_answer_is_fresh_then_stale_then_gone() {
        let (mut cache, kept) = (Cache::default(), answer("wiki", 60));
        let wiki = asked("wiki");
        assert_eq!(cache.get(&wiki, at(0)), Known::No);
        assert!(!cache.bridge(&wiki, at(0)));
        cache.put(&wiki, &kept, at(100));
        assert_eq!(cache.get(&wiki, at(159)), Known::Fresh(kept.clone(), Duration::from_secs(59)));
        let size = kept.pack().unwrap().size();
        assert_eq!((cache.fresh_size(&wiki, at(159)), cache.fresh_size(&wiki, at(160))), (Some(size), None));
        assert_eq!(cache.get(&wiki, at(160)), Known::Stale(kept.clone()));
        assert!(cache.bridge(&wiki, at(160)), "nobody answered");
        assert_eq!(cache.get(&wiki, at(189)), Known::Bridge(kept.clone()));
        assert_eq!(cache.get(&wiki, at(190)), Known::Stale(kept.clone()));
        assert_eq!(cache.get(&wiki, at(160 + 3_599)), Known::Stale(kept));
        assert_eq!(cache.get(&wiki, at(160 + 3_600)), Known::No);
        assert!(!cache.bridge(&wiki, at(160 + 3_600)), "too old to help");
    }

    #[test]
    fn a_failure_is_short_and_never_stale() {
        let (mut cache, failure, wiki) = (Cache::default(), Answer::failure(), asked("wiki"));
        cache.put(&wiki, &failure, at(100));
        assert_eq!(cache.get(&wiki, at(101)), Known::Fresh(failure, Duration::from_secs(1)));
        assert_eq!(cache.get(&wiki, at(102)), Known::No);
        assert!(!cache.bridge(&wiki, at(102)));
    }

    #[test]
    fn what_may_not_be_kept_leaves_what_was() {
        let (mut cache, wiki, old) = (Cache::default(), asked("wiki"), answer("wiki", 60));
        cache.put(&wiki, &answer("wiki", 0), at(0));
        assert_eq!(cache.len(), 0);
        cache.put(&wiki, &old, at(0));
        cache.put(&wiki, &answer("wiki", 0), at(60));
        assert_eq!(cache.get(&wiki, at(60)), Known::Stale(old));
    }

    #[test]
    fn questions_differ_by_type_and_by_what_the_client_can() {
        let (mut cache, wiki) = (Cache::default(), asked("wiki"));
        cache.put(&wiki, &answer("wiki", 60), at(0));
        for other in [
            Question { kind: RecordType::AAAA, ..wiki.clone() },
            Question { dnssec_ok: true, ..wiki.clone() },
            Question { checking_disabled: true, ..wiki.clone() },
        ] {
            assert_eq!(cache.get(&other, at(1)), Known::No, "{other:?}");
        }
    }

    #[test]
    fn a_flood_of_names_pushes_out_itself() {
        let mut cache = Cache::bound_by(Bounds { entries: 10, bytes: MOST_BYTES });
        for round in 0..100 {
            cache.put(&asked("wiki"), &answer("wiki", 60), at(0));
            let flood = format!("f{round}");
            cache.put(&asked(&flood), &answer(&flood, 60), at(0));
            assert_ne!(cache.get(&asked("wiki"), at(1)), Known::No, "round {round}");
        }
        assert_eq!((cache.len(), cache.order.len()), (10, 10));
        assert_ne!(cache.get(&asked("f99"), at(1)), Known::No, "the last one is there");
        assert_eq!(cache.get(&asked("f80"), at(1)), Known::No, "older ones are not");
    }

    #[test]
    fn large_answers_are_bound_by_memory() {
        let size = {
            let mut cache = Cache::default();
            cache.put(&asked("n10"), &answer("n10", 60), at(0));
            cache.bytes
        };
        let mut cache = Cache::bound_by(Bounds { entries: MOST_ENTRIES, bytes: 5 * size });
        for n in 10..60 {
            let name = format!("n{n}");
            cache.put(&asked(&name), &answer(&name, 60), at(0));
            cache.put(&asked(&name), &answer(&name, 30), at(0));
            assert!(cache.bytes <= 5 * size);
        }
        assert_eq!((cache.len(), cache.bytes), (5, 5 * size));
    }
}
