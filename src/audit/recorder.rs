//! A worker thread's end of the log: never blocks, never locks.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SendError, SyncSender, TrySendError};

use super::writer::{Batch, Message, Shared};
use super::{Gap, Record};

/// A batch of this many is handed over without waiting for the next flush.
const FULL_BATCH: usize = 4096;

/// The most records that a thread holds while the writer cannot keep up; further ones are counted and dropped.
const MOST_HELD: usize = 8192;

/// Takes records from one thread. Made by [`super::Auditor::recorder`], then moved into its thread.
///
/// Records wait in the thread's own memory until [`Recorder::flush`], which the thread calls every 100 ms. Dropping it
/// waits until the writer has room for the rest.
#[derive(Debug)]
pub struct Recorder {
    held: RefCell<Batch>,
    to: SyncSender<Message>,
    shared: Arc<Shared>,
    _one_thread: PhantomData<Cell<()>>,
}

impl Recorder {
    pub(super) fn new(to: SyncSender<Message>, shared: Arc<Shared>) -> Self {
        Self { held: RefCell::default(), to, shared, _one_thread: PhantomData }
    }

    /// Takes a record. What cannot be kept is counted, and the count becomes part of the log.
    pub fn push(&self, record: Record) {
        let mut held = self.held.borrow_mut();
        if held.records.len() >= MOST_HELD {
            self.shared.lost.fetch_add(u64::from(record.count), Ordering::Relaxed);
            Gap::add(&mut held.lost, &record);
            return;
        }
        held.records.push(record);
        if held.records.len().is_multiple_of(FULL_BATCH) {
            self.hand_over(&mut held);
        }
    }

    /// Hands what has gathered to the writer, if the writer has room for it; otherwise it stays for the next time.
    pub fn flush(&self) {
        self.hand_over(&mut self.held.borrow_mut());
    }

    fn hand_over(&self, held: &mut Batch) {
        if held.records.is_empty() && held.lost.is_none() {
            return;
        }
        // About as many will come until the next time.
        let next = Vec::with_capacity(held.records.len().min(FULL_BATCH));
        let batch = Batch { records: std::mem::replace(&mut held.records, next), lost: held.lost.take() };
        match self.to.try_send(Message::Batch(batch)) {
            Ok(()) => {}
            Err(TrySendError::Full(Message::Batch(batch))) => *held = batch,
            Err(TrySendError::Disconnected(Message::Batch(batch))) => self.count_as_lost(&batch),
            // Only batches are sent from here.
            Err(_) => {}
        }
    }

    /// The writer has shut down: nothing can be kept any more, only counted.
    fn count_as_lost(&self, batch: &Batch) {
        let lost = batch.records.iter().map(|record| u64::from(record.count)).sum();
        self.shared.lost.fetch_add(lost, Ordering::Relaxed);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let rest = self.held.take();
        if rest.records.is_empty() && rest.lost.is_none() {
            return;
        }
        if let Err(SendError(Message::Batch(rest))) = self.to.send(Message::Batch(rest)) {
            self.count_as_lost(&rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::audit::examples::allowed;

    #[test]
    fn a_full_channel_costs_memory_up_to_a_bound_and_then_a_count() {
        let (to, from) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let recorder = Recorder::new(to, shared.clone());
        recorder.push(allowed("first"));
        recorder.flush();
        for _ in 0..MOST_HELD + 5 {
            recorder.push(allowed("phone"));
        }
        assert_eq!(shared.lost.load(Ordering::Relaxed), 5);
        let Message::Batch(first) = from.recv().unwrap() else { panic!() };
        assert_eq!((first.records.len(), first.lost), (1, None));
        recorder.flush();
        let Message::Batch(rest) = from.recv().unwrap() else { panic!() };
        assert_eq!((rest.records.len(), rest.lost.unwrap().lost), (MOST_HELD, 5));
        recorder.flush();
        assert!(from.try_recv().is_err(), "nothing is handed over twice");
    }

    #[test]
    fn the_last_records_wait_for_room() {
        let (to, from) = sync_channel(1);
        let recorder = Recorder::new(to, Arc::new(Shared::default()));
        recorder.push(allowed("first"));
        recorder.flush();
        recorder.push(allowed("last"));
        std::thread::scope(|threads| {
            threads.spawn(move || drop(recorder));
            for device in ["first", "last"] {
                let Message::Batch(batch) = from.recv().unwrap() else { panic!() };
                assert_eq!(batch.records, [allowed(device)]);
            }
        });
    }

    #[test]
    fn records_after_the_end_are_counted() {
        let (to, from) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let recorder = Recorder::new(to, shared.clone());
        drop(from);
        recorder.push(allowed("phone"));
        drop(recorder);
        assert_eq!(shared.lost.load(Ordering::Relaxed), 1);
    }
}
