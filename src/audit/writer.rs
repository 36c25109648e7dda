//! The one thread that writes the log: gathers batches, commits them in groups, and never takes the gateway down.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;

use super::entry::{row_of, row_of_gap};
use super::fold::Fold;
use super::quota::{Quota, Share};
use super::{Gap, Record, Recorder};
use crate::model::{Clock, Moment};
use crate::store::{AuditKeep, AuditWriter, StoreError};

/// How long a record waits at most for others to share its commit (beside the 100 ms in its own thread).
const GROUP: Duration = Duration::from_millis(500);

/// A transaction of this many rows is committed before its time.
const GROUP_ROWS: usize = 16_384;

/// Rows converted at a time; a multiple of the largest statement.
const STEP: usize = 256;

/// Batches on their way to the writer.
const CHANNEL: usize = 16;

/// The most records that wait while nothing can be written; further ones are counted and dropped.
const MOST_PENDING: usize = 65_536;

/// How long to wait after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// How often a lasting failure is told.
const COMPLAIN: Duration = Duration::from_secs(60);

/// How often to look for something to delete.
const TRIM: Duration = Duration::from_secs(60);

/// Chunks deleted at a time, of 4096 records each.
const TRIM_CHUNKS: usize = 8;

/// How much of the past the log keeps. The oldest records go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub age: Duration,
    /// The most bytes that the log may take on disk, give or take some megabytes.
    pub bytes: u64,
    /// How much of it one member may fill.
    pub share: Share,
}

impl Default for Retention {
    /// 400 days, so that last year's Christmas can be compared, and 2 GiB, with each member's [`Share::of`] that.
    fn default() -> Self {
        let bytes = 2 << 30;
        Self { age: Duration::from_secs(400 * 24 * 3600), bytes, share: Share::of(bytes) }
    }
}

/// How the log is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditStats {
    /// Records committed since the start.
    pub written: u64,
    /// What could not be kept since the start; the log itself says when.
    pub lost: u64,
    pub last_commit: Option<Timestamp>,
    /// What keeps the log from being written now; `None` as long as all is well.
    pub last_error: Option<Arc<str>>,
}

/// A view of the running log's state.
#[derive(Clone, Debug)]
pub struct AuditGauge(Arc<Shared>);

impl AuditGauge {
    pub fn read(&self) -> AuditStats {
        let shared = &self.0;
        let last_commit = shared.last_commit.load(Ordering::Relaxed);
        AuditStats {
            written: shared.written.load(Ordering::Relaxed),
            lost: shared.lost.load(Ordering::Relaxed),
            last_commit: (last_commit != 0).then(|| Timestamp::from_microsecond(last_commit).ok()).flatten(),
            last_error: shared.last_error.load_full().map(|text| Arc::from(text.as_str())),
        }
    }
}

/// The running log.
#[derive(Debug)]
pub struct Auditor {
    to: SyncSender<Message>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Auditor {
    /// Opens the log and starts its thread.
    ///
    /// # Errors
    /// The file cannot be opened or made, or the thread not be started. Later failures never reach the caller: they are
    /// in [`Auditor::stats`], and what they cost is counted in the log.
    pub fn start(file: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        Self::start_keeping(file, clock, Retention::default())
    }

    /// As [`Auditor::start`], with another retention.
    ///
    /// # Errors
    /// As [`Auditor::start`].
    pub fn start_keeping(file: &Path, clock: Arc<dyn Clock>, keep: Retention) -> Result<Self, StoreError> {
        let store = AuditWriter::open(file)?;
        let (to, from) = sync_channel(CHANNEL);
        let shared = Arc::new(Shared::default());
        let now = Instant::now();
        let writer = Writer {
            store,
            clock,
            keep,
            shared: shared.clone(),
            fold: Fold::default(),
            quota: Quota::new(keep.share),
            pending: Vec::new(),
            appended: 0,
            gap: None,
            commit_at: None,
            retry_at: None,
            complain_at: now,
            trim_at: now,
        };
        let thread = std::thread::Builder::new()
            .name("ztgate-audit".to_owned())
            .spawn(move || writer.run(&from))
            .map_err(|source| StoreError::File { file: file.to_owned(), source })?;
        Ok(Self { to, shared, thread: Some(thread) })
    }

    /// A way into the log for one worker thread.
    pub fn recorder(&self) -> Recorder {
        Recorder::new(self.to.clone(), self.shared.clone())
    }

    pub fn stats(&self) -> AuditStats {
        self.gauge().read()
    }

    /// Tells how the log is doing without holding the log itself.
    pub fn gauge(&self) -> AuditGauge {
        AuditGauge(self.shared.clone())
    }

    /// Writes and commits what has been handed over, and ends the thread. Drop the recorders first: what they hold
    /// after this is lost, and counted.
    pub fn shutdown(mut self) -> AuditStats {
        self.stop();
        self.stats()
    }

    fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A thread that is gone has already stopped.
            let _ = self.to.send(Message::Stop);
            let _ = thread.join();
        }
    }
}

impl Drop for Auditor {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What one thread gathered.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub records: Vec<Record>,
    /// What it could not keep.
    pub lost: Option<Gap>,
}

#[derive(Debug)]
pub(super) enum Message {
    Batch(Batch),
    Stop,
}

#[derive(Debug, Default)]
pub(super) struct Shared {
    written: AtomicU64,
    pub lost: AtomicU64,
    /// Microseconds since 1970; 0 before the first.
    last_commit: AtomicI64,
    last_error: ArcSwapOption<String>,
}

struct Writer {
    store: AuditWriter,
    clock: Arc<dyn Clock>,
    keep: Retention,
    shared: Arc<Shared>,
    fold: Fold,
    quota: Quota,
    /// What is not committed yet, so that a failed transaction can be tried again.
    pending: Vec<Record>,
    /// How many of them the open transaction holds.
    appended: usize,
    gap: Option<Gap>,
    commit_at: Option<Instant>,
    retry_at: Option<Instant>,
    complain_at: Instant,
    trim_at: Instant,
}

impl Writer {
    fn run(mut self, from: &Receiver<Message>) {
        loop {
            match from.recv_timeout(self.pause()) {
                Ok(Message::Batch(batch)) => self.take(batch),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
            self.work(Instant::now());
        }
        for message in from.try_iter() {
            if let Message::Batch(batch) = message {
                self.take(batch);
            }
        }
        self.finish();
    }

    /// How long nothing has to be done.
    fn pause(&self) -> Duration {
        let now = Instant::now();
        // While something waits to be committed, trimming waits for that.
        let next = self.retry_at.or(self.commit_at).unwrap_or(self.trim_at);
        let pause = next.saturating_duration_since(now);
        // They go by a clock that a test may have stopped.
        let gathers = self.fold.next_due().is_some() || self.quota.is_waiting();
        if gathers { pause.min(Duration::from_secs(1)) } else { pause }
    }

    fn take(&mut self, batch: Batch) {
        if let Some(lost) = batch.lost {
            Gap::join(&mut self.gap, lost);
        }
        let now = self.clock.instant();
        self.gathered(now);
        let Self { fold, quota, pending, gap, shared, .. } = self;
        let mut keep = |record| quota.push(record, now, &mut |record| keep(pending, gap, shared, record));
        for record in batch.records {
            fold.push(record, now, &mut keep);
        }
    }

    /// Takes out of fold and quota what has waited there long enough.
    fn gathered(&mut self, now: Moment) {
        let Self { fold, quota, pending, gap, shared, .. } = self;
        let mut keep = |record| keep(pending, gap, shared, record);
        fold.due(now, &mut |record| quota.push(record, now, &mut keep));
        quota.due(now, &mut keep);
    }

    fn work(&mut self, now: Instant) {
        self.gathered(self.clock.instant());
        if self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        self.retry_at = None;
        let done = self.append().and_then(|()| {
            if self.pending.is_empty() && self.gap.is_none() {
                return Ok(());
            }
            let commit_at = *self.commit_at.get_or_insert(now + GROUP);
            if now >= commit_at || self.appended >= GROUP_ROWS { self.commit() } else { Ok(()) }
        });
        // Between commits, never inside one.
        let done = match done {
            Ok(()) if now >= self.trim_at && self.pending.is_empty() => self.trim(now),
            done => done,
        };
        if let Err(error) = done {
            self.failed(&error, now);
        }
    }

    fn append(&mut self) -> Result<(), StoreError> {
        for records in self.pending[self.appended..].chunks(STEP) {
            let rows: Vec<_> = records.iter().map(row_of).collect();
            self.store.append(&rows)?;
            self.appended += rows.len();
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        if let Some(gap) = &self.gap {
            self.store.append(&[row_of_gap(gap)])?;
        }
        self.store.commit()?;
        self.shared.written.fetch_add(self.pending.len() as u64, Ordering::Relaxed);
        self.shared.last_commit.store(self.clock.now().as_microsecond(), Ordering::Relaxed);
        self.recovered();
        self.pending.clear();
        self.pending.shrink_to(GROUP_ROWS);
        self.appended = 0;
        self.gap = None;
        self.commit_at = None;
        Ok(())
    }

    fn trim(&mut self, now: Instant) -> Result<(), StoreError> {
        let age = i64::try_from(self.keep.age.as_micros()).unwrap_or(i64::MAX);
        let since = self.clock.now().as_microsecond().saturating_sub(age);
        self.trim_at = now + TRIM;
        for _ in 0..TRIM_CHUNKS {
            if !self.store.trim(AuditKeep { since, bytes: self.keep.bytes })? {
                self.recovered();
                return Ok(());
            }
        }
        // There is more; but records come first.
        self.trim_at = now + GROUP;
        Ok(())
    }

    fn recovered(&self) {
        if self.shared.last_error.load().is_some() {
            self.shared.last_error.store(None);
            tracing::info!("the audit log can be written again");
        }
    }

    fn failed(&mut self, error: &StoreError, now: Instant) {
        self.appended = 0;
        self.retry_at = Some(now + RETRY);
        if now >= self.complain_at {
            self.complain_at = now + COMPLAIN;
            let (waiting, lost) = (self.pending.len(), self.shared.lost.load(Ordering::Relaxed));
            tracing::error!(%error, waiting, lost, "the audit log cannot be written; the gateway goes on, trying again");
        }
        self.shared.last_error.store(Some(Arc::new(error.to_string())));
    }

    fn finish(&mut self) {
        let now = self.clock.instant();
        let Self { fold, quota, pending, gap, shared, .. } = self;
        let mut keep = |record| keep(pending, gap, shared, record);
        fold.drain(&mut |record| quota.push(record, now, &mut keep));
        quota.drain(&mut keep);
        if self.pending.is_empty() && self.gap.is_none() {
            return;
        }
        if let Err(error) = self.append().and_then(|()| self.commit()) {
            let lost = self.pending.iter().map(|record| u64::from(record.count)).sum();
            self.shared.lost.fetch_add(lost, Ordering::Relaxed);
            self.shared.last_error.store(Some(Arc::new(error.to_string())));
            tracing::error!(%error, lost, "the audit log could not be written at the end");
        }
    }
}

fn keep(pending: &mut Vec<Record>, gap: &mut Option<Gap>, shared: &Shared, record: Record) {
    if pending.len() < MOST_PENDING {
        pending.push(record);
    } else {
        shared.lost.fetch_add(u64::from(record.count), Ordering::Relaxed);
        Gap::add(gap, &record);
    }
}
