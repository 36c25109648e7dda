//! What waits for one receiver, and which comes next. Pure.

use std::sync::Arc;

use crate::config::NotifyEvent;

use super::Event;

/// What waits at most; beyond it one is dropped.
pub(super) const MOST: usize = 1000;

/// So many refusals let the others pass: a receiver may choke on one delivery and be fine with the rest.
const PATIENCE: u32 = 3;

#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// Its place in time, and its name in the spool.
    pub number: u64,
    pub event: Arc<Event>,
    /// How often the receiver answered, or broke off, without taking it.
    pub refusals: u32,
}

/// Ordered by number.
#[derive(Debug, Default)]
pub(super) struct Queue(Vec<Waiting>);

impl Queue {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the newest, and gives back what has to go for it: the oldest knock, for a stranger can cause any number of
    /// them, or else the oldest of all.
    pub fn push(&mut self, number: u64, event: Arc<Event>) -> Option<Waiting> {
        self.0.push(Waiting { number, event, refusals: 0 });
        if self.0.len() <= MOST {
            return None;
        }
        let knock = |waiting: &Waiting| waiting.event.what.kind() == Some(NotifyEvent::DevicePending);
        let oldest = self.0.iter().position(knock).unwrap_or(0);
        Some(self.0.remove(oldest))
    }

    /// The oldest, but those behind that were refused often.
    pub fn next(&self) -> Option<&Waiting> {
        self.0.iter().min_by_key(|waiting| (waiting.refusals / PATIENCE, waiting.number))
    }

    pub fn get(&self, number: u64) -> Option<&Waiting> {
        self.0.iter().find(|waiting| waiting.number == number)
    }

    pub fn refused(&mut self, number: u64) {
        if let Some(waiting) = self.0.iter_mut().find(|waiting| waiting.number == number) {
            waiting.refusals += 1;
        }
    }

    /// Takes one out; false if it is gone already.
    pub fn remove(&mut self, number: u64) -> bool {
        let before = self.0.len();
        self.0.retain(|waiting| waiting.number != number);
        self.0.len() < before
    }

    /// Takes everything out.
    pub fn clear(&mut self) -> Vec<Waiting> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::What;
    use super::*;

    fn event(what: What) -> Arc<Event> {
        let time = "2026-11-23T18:00:00Z".parse().unwrap();
        Arc::new(Event::new("5e02d9cb41c0ffee".parse().unwrap(), time, what))
    }

    fn knock() -> Arc<Event> {
        event(What::DevicePending {
            member: "bcba17eef8".parse().unwrap(),
            label: None,
            first_seen: None,
            version: None,
            physical_address: None,
        })
    }

    fn next(queue: &Queue) -> u64 {
        queue.next().unwrap().number
    }

    #[test]
    fn one_that_is_refused_often_lets_the_others_pass() {
        let mut queue = Queue::default();
        for number in 1..=2 {
            assert!(queue.push(number, event(What::ControllerBack)).is_none());
        }
        for _ in 0..PATIENCE {
            assert_eq!(next(&queue), 1, "the order holds at first");
            queue.refused(1);
        }
        assert_eq!(next(&queue), 2);
        for _ in 0..PATIENCE {
            queue.refused(2);
        }
        assert_eq!(next(&queue), 1, "all are refused alike, so the order holds");
        assert!(queue.remove(1) && !queue.remove(1));
        assert_eq!((next(&queue), queue.clear().len(), queue.len()), (2, 1, 0));
    }

    #[test]
    fn a_flood_of_knocks_pushes_out_knocks_only() {
        let mut queue = Queue::default();
        queue.push(0, event(What::ControllerBack));
        for number in 1..MOST as u64 {
            assert!(queue.push(number, knock()).is_none());
        }
        assert_eq!(queue.push(5000, knock()).unwrap().number, 1);
        assert_eq!(queue.push(5001, event(What::ControllerBack)).unwrap().number, 2);
        assert_eq!((next(&queue), queue.len()), (0, MOST));

        let mut queue = Queue::default();
        for number in 0..MOST as u64 {
            queue.push(number, event(What::ControllerBack));
        }
        assert_eq!(queue.push(5000, event(What::ControllerBack)).unwrap().number, 0);
        assert_eq!(queue.push(5001, knock()).unwrap().number, 5001);
    }
}
