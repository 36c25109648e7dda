//! One receiver's task: takes events, keeps them on disk, delivers them one after the other.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::config::{Config, NotifyEvent};
use crate::model::Clock;

use super::knocks::Knocks;
use super::queue::Queue;
use super::spool::Spool;
use super::timing::Timing;
use super::{Answer, Event, Failure, NotifyStatus, Target, TargetKind, TargetStatus};

pub(super) struct Worker {
    kind: TargetKind,
    config: watch::Receiver<Arc<Config>>,
    events: mpsc::Receiver<Arc<Event>>,
    spool: Spool,
    clock: Arc<dyn Clock>,
    timing: Timing,
    status: watch::Sender<NotifyStatus>,

    /// `None` where none is configured.
    target: Option<Target>,
    wanted: Vec<NotifyEvent>,
    queue: Queue,
    /// The next delivery's.
    number: u64,
    knocks: Knocks,
    /// In a row.
    failures: u32,
    tried: Instant,
    not_before: Instant,
    /// Whether the last event could not be written to disk.
    disk_fails: bool,
}

type Try = Pin<Box<dyn Future<Output = (u64, Answer)> + Send>>;

impl Worker {
    pub fn new(
        kind: TargetKind,
        config: watch::Receiver<Arc<Config>>,
        events: mpsc::Receiver<Arc<Event>>,
        folder: &Path,
        clock: Arc<dyn Clock>,
        timing: Timing,
        status: watch::Sender<NotifyStatus>,
    ) -> Self {
        let now = Instant::now();
        Self {
            kind,
            config,
            events,
            spool: Spool::at(folder),
            clock,
            timing,
            status,
            target: None,
            wanted: Vec::new(),
            queue: Queue::default(),
            number: 1,
            knocks: Knocks::default(),
            failures: 0,
            tried: now,
            not_before: now,
            disk_fails: false,
        }
    }

    /// Runs until every sender is gone and what they sent is on disk.
    pub async fn run(mut self) {
        self.load().await;
        self.configure().await;
        let mut trying: Option<Try> = None;
        let mut config_lives = true;
        loop {
            if trying.is_none() {
                trying = self.next_try();
            }
            let due = self.due().filter(|_| trying.is_none());
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.take(event).await,
                    None => return,
                },
                changed = self.config.changed(), if config_lives => match changed {
                    Ok(()) => self.configure().await,
                    Err(_) => config_lives = false,
                },
                (number, answer) = outcome(&mut trying) => {
                    trying = None;
                    self.settle(number, answer).await;
                }
                () = tokio::time::sleep_until(due.unwrap_or(self.tried)), if due.is_some() => {}
            }
        }
    }

    /// What an earlier run left. Nothing of it that is wrong keeps the gateway from running.
    async fn load(&mut self) {
        let spool = self.spool.clone();
        match blocking(move || spool.load()).await {
            Ok(found) => {
                for (number, event) in found.events {
                    self.number = self.number.max(number.saturating_add(1));
                    self.enqueue(number, Arc::new(event)).await;
                }
                if found.broken > 0 {
                    tracing::warn!(
                        "{}: {} broken files in the spool are put aside",
                        self.name(),
                        found.broken
                    );
                }
            }
            Err(error) => {
                tracing::warn!(
                    "{}: the spool cannot be read: {error}; what waits there stays until the next start",
                    self.name()
                );
                // Beyond the numbers of an earlier start, so that nothing of it is overwritten.
                self.number = u64::try_from(self.clock.now().as_millisecond()).unwrap_or(self.number);
            }
        }
    }

    /// Takes the configuration as it is now. Any change is a reason to try at once: it may be the mend.
    async fn configure(&mut self) {
        let config = self.config.borrow_and_update().clone();
        self.target = Target::of(self.kind, &config.notify);
        self.wanted.clone_from(&config.notify.events);
        self.failures = 0;
        self.not_before = Instant::now();
        if self.target.is_none() {
            let waiting: Vec<u64> = self.queue.clear().iter().map(|waiting| waiting.number).collect();
            if !waiting.is_empty() {
                let count = waiting.len();
                tracing::warn!("{} is not configured any more; {count} deliveries are dropped", self.name());
                self.forget(waiting).await;
            }
        }
        let url = self.target.as_ref().map(|target| target.url().to_string());
        self.status.send_modify(|status| {
            let status = status.of(self.kind);
            *status = url.map(|url| TargetStatus { url, ..status.take().unwrap_or_default() });
        });
        self.tell(|_| ());
    }

    async fn take(&mut self, event: Arc<Event>) {
        let wanted = event.what.kind().is_none_or(|kind| self.wanted.contains(&kind));
        if self.target.is_none() || !wanted {
            return;
        }
        if event.what.kind() == Some(NotifyEvent::DevicePending) && !self.knocks.allow(self.clock.instant()) {
            self.tell(|status| status.held_back += 1);
            return;
        }
        let number = self.number;
        self.number += 1;
        let (spool, kept) = (self.spool.clone(), event.clone());
        let written = blocking(move || spool.put(number, &kept)).await;
        if let (Err(error), false) = (&written, self.disk_fails) {
            tracing::warn!(
                "{}: the spool cannot be written: {error}; a restart would lose what waits",
                self.name()
            );
        }
        self.disk_fails = written.is_err();
        self.enqueue(number, event).await;
        // News deserves a try soon, however long the wait had grown; a flood of it no more than the least wait allows.
        self.not_before = self.not_before.min(self.tried + self.timing.base);
    }

    async fn enqueue(&mut self, number: u64, event: Arc<Event>) {
        if let Some(dropped) = self.queue.push(number, event) {
            self.tell(|status| {
                status.dropped += 1;
                if status.dropped.is_power_of_two() {
                    tracing::warn!("too many notifications wait; {} were dropped so far", status.dropped);
                }
            });
            self.forget(vec![dropped.number]).await;
        }
        self.tell(|_| ());
    }

    fn due(&self) -> Option<Instant> {
        self.queue.next().filter(|_| self.target.is_some()).map(|_| self.not_before)
    }

    fn next_try(&mut self) -> Option<Try> {
        self.due().filter(|due| *due <= Instant::now())?;
        let (target, waiting) = (self.target.clone()?, self.queue.next()?.clone());
        self.tried = Instant::now();
        let (now, timing) = (self.clock.now(), self.timing);
        Some(Box::pin(
            async move { (waiting.number, target.deliver_within(&waiting.event, now, &timing).await) },
        ))
    }

    /// Draws the consequences of one try.
    async fn settle(&mut self, number: u64, answer: Answer) {
        let now = self.clock.now();
        let age = self.queue.get(number).map(|waiting| age(waiting.event.time, now));
        let why = match answer {
            Answer::Delivered(_) | Answer::Gone => {
                if self.failures > 0 {
                    tracing::info!("{} answers again", self.name());
                }
                self.failures = 0;
                self.not_before = Instant::now();
                self.queue.remove(number);
                self.forget(vec![number]).await;
                let gone = answer == Answer::Gone;
                if gone {
                    tracing::warn!("{}: {answer}; it is not sent again", self.name());
                }
                self.tell(|status| {
                    if gone {
                        status.given_up += 1;
                    } else {
                        status.delivered += 1;
                        status.last_delivered = Some(now);
                        status.last_error = None;
                    }
                });
                return;
            }
            Answer::Refused(why) => {
                self.queue.refused(number);
                why
            }
            Answer::Down(why) => why,
        };
        self.failures = self.failures.saturating_add(1);
        self.not_before = Instant::now() + self.timing.wait(self.failures, random());
        if self.failures == 1 {
            tracing::warn!("{}: {why}; it is tried again until it arrives", self.name());
        }
        let too_old = age.is_some_and(|age| age >= self.timing.give_up);
        if too_old && self.queue.remove(number) {
            let hours = self.timing.give_up.as_secs() / 3600;
            tracing::warn!("{}: a notification is given up after {hours} hours: {why}", self.name());
            self.forget(vec![number]).await;
        }
        let times = self.failures;
        self.tell(|status| {
            status.given_up += u64::from(too_old);
            status.last_error = Some(Failure { time: now, why, times });
        });
    }

    async fn forget(&self, numbers: Vec<u64>) {
        let spool = self.spool.clone();
        if let Err(error) = blocking(move || spool.remove(&numbers)).await {
            tracing::warn!("{}: {error}; a restart may deliver something again", self.name());
        }
    }

    /// Changes what the status says of this receiver, if there is one, and brings its queue's length up to date.
    fn tell(&self, change: impl FnOnce(&mut TargetStatus)) {
        let queued = self.queue.len();
        self.status.send_modify(|status| {
            if let Some(status) = status.of(self.kind) {
                change(status);
                status.queued = queued;
            }
        });
    }

    /// For people; without what may be a secret.
    fn name(&self) -> String {
        let kind = self.kind.as_str();
        self.target.as_ref().map_or_else(|| kind.to_owned(), |target| format!("{kind} {}", target.url()))
    }
}

/// How it came out; for ever, while nothing is tried.
async fn outcome(trying: &mut Option<Try>) -> (u64, Answer) {
    match trying {
        Some(trying) => trying.await,
        None => std::future::pending().await,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

/// Zero for what seems to be of the future: a clock was set back.
fn age(then: Timestamp, now: Timestamp) -> std::time::Duration {
    std::time::Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// Only to spread tries, so that it need not be there.
fn random() -> u16 {
    let mut bytes = [0; 2];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u16::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::from_text;
    use crate::model::ManualClock;
    use crate::notify::What;

    const NOON: &str = "2026-11-23T12:00:00Z";

    #[tokio::test]
    async fn news_is_tried_soon_however_long_the_wait_had_grown() {
        let folder = tempfile::tempdir().unwrap();
        let text = "network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n[notify]\n\
                    ntfy = \"http://127.0.0.1:9/topic\"\n";
        let config = Arc::new(from_text(text, &[]).unwrap());
        let network = config.network;
        let (_keep, config) = watch::channel(config);
        let (_to, events) = mpsc::channel(1);
        let clock = Arc::new(ManualClock::at(NOON.parse().unwrap()));
        let status = watch::Sender::new(NotifyStatus::default());
        let timing = Timing::default();
        let mut worker = Worker::new(TargetKind::Ntfy, config, events, folder.path(), clock, timing, status);
        worker.load().await;
        worker.configure().await;
        let hour = Duration::from_secs(3600);
        (worker.tried, worker.not_before) = (Instant::now(), Instant::now() + hour);
        worker.take(Arc::new(Event::new(network, NOON.parse().unwrap(), What::ControllerBack))).await;
        assert_eq!(worker.due(), Some(worker.tried + timing.base), "and no sooner: news may come in floods");
        assert!(worker.next_try().is_none());
    }

    #[test]
    fn an_event_of_the_future_is_not_old() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(age(at(NOON), at("2026-11-24T12:00:00Z")), Duration::from_secs(86_400));
        assert_eq!(age(at("2027-01-01T00:00:00Z"), at(NOON)), Duration::ZERO);
    }
}
