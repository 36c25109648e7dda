//! Telling people: what happened goes to a webhook and to ntfy, is tried until it arrives, and survives a restart.
//!
//! Each receiver has a task, a queue and a folder of its own, so that one that is down keeps nothing from the other. A
//! delivery is at least once: a crash between the receiver's answer and our note of it sends it again, under the same id.

mod event;
mod knocks;
mod queue;
mod spool;
mod status;
mod target;
mod timing;
mod worker;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::model::Clock;

pub use event::{Event, Subject, What};
pub use status::{Failure, NotifyStatus, TargetStatus};
pub use target::{Answer, Target, TargetKind};

use timing::Timing;
use worker::Worker;

/// Events between a sender and the spool, which takes them in milliseconds.
const ON_THE_WAY: usize = 256;

/// Takes events from anywhere in the gateway.
#[derive(Clone)]
pub struct Notifier {
    receivers: [mpsc::Sender<Arc<Event>>; 2],
    status: watch::Sender<NotifyStatus>,
}

impl Notifier {
    /// A notifier, and the task behind it; nothing is sent until that runs.
    ///
    /// Whom to tell is read from `config` each time it changes; a change also tries at once what waits. What waits is kept
    /// in `STATE_DIR/notify`. A receiver that is taken out of the configuration takes what waited for it along.
    ///
    /// The task ends when every `Notifier` is gone and what they sent is on disk; to drop it earlier loses only what was
    /// sent in the last moment.
    pub fn start(
        config: watch::Receiver<Arc<Config>>,
        state_dir: &Path,
        clock: Arc<dyn Clock>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        Self::start_timed(config, state_dir, clock, Timing::default())
    }

    fn start_timed(
        config: watch::Receiver<Arc<Config>>,
        state_dir: &Path,
        clock: Arc<dyn Clock>,
        timing: Timing,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let status = watch::Sender::new(NotifyStatus::default());
        let worker = |kind: TargetKind| {
            let (to, events) = mpsc::channel(ON_THE_WAY);
            let folder = state_dir.join("notify").join(kind.as_str());
            (to, Worker::new(kind, config.clone(), events, &folder, clock.clone(), timing, status.clone()))
        };
        let (to_webhook, webhook) = worker(TargetKind::Webhook);
        let (to_ntfy, ntfy) = worker(TargetKind::Ntfy);
        let task = async {
            tokio::join!(webhook.run(), ntfy.run());
        };
        (Self { receivers: [to_webhook, to_ntfy], status }, task)
    }

    /// Hands an event to whoever is to be told of its kind. Never waits: what comes faster than the disk takes it is
    /// dropped and counted.
    pub fn send(&self, event: Event) {
        let event = Arc::new(event);
        for receiver in &self.receivers {
            if let Err(mpsc::error::TrySendError::Full(_)) = receiver.try_send(event.clone()) {
                self.status.send_modify(|status| status.overrun += 1);
            }
        }
    }

    /// How the receivers stand.
    pub fn status(&self) -> watch::Receiver<NotifyStatus> {
        self.status.subscribe()
    }
}

#[cfg(test)]
mod tests;
