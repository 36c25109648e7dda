//! Answers kept for the next who asks, within bounds of number and memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::answer::Answer;
use super::question::Question;
use crate::model::Moment;

const MOST_ENTRIES: usize = 10_000;

/// In bytes, as [`Answer::size`] estimates them.
const MOST_BYTES: usize = 16 * 1024 * 1024;

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
    answer: Arc<Answer>,
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
    Fresh(Arc<Answer>, Duration),
    /// It ran out, and servers did not answer a moment ago.
    Bridge(Arc<Answer>),
    /// It ran out: ask, and take this if nobody answers.
    Stale(Arc<Answer>),
    No,
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
        let Some(entry) = self.entries.get_mut(question) else { return Known::No };
        entry.is_used = true;
        let answer = entry.answer.clone();
        if now < entry.until {
            Known::Fresh(answer, now.saturating_duration_since(entry.since))
        } else if entry.answer.is_failure() || now >= entry.until + STALE {
            Known::No
        } else if now < entry.recheck {
            Known::Bridge(answer)
        } else {
            Known::Stale(answer)
        }
    }

    /// Keeps an answer in place of any that is there, if it may be kept at all. One that may not leaves what ran out before
    /// it, which still helps while nobody answers.
    pub(super) fn put(&mut self, question: &Question, answer: Arc<Answer>, now: Moment) {
        if answer.lifetime.is_zero() {
            return;
        }
        let size = answer.size() + 2 * size_of::<Question>() + size_of::<Entry>();
        let until = now + answer.lifetime;
        let entry = Entry { answer, since: now, until, recheck: until, size, is_used: false };
        self.bytes += size;
        match self.entries.get_mut(question) {
            Some(old) => self.bytes -= std::mem::replace(old, entry).size,
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
        let entry = self.entries.get_mut(question);
        let entry = entry.filter(|entry| !entry.answer.is_failure() && now < entry.until + STALE);
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
