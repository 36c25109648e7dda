//! The task that tells the controller: when a person orders it, and from then on when addresses or configuration change,
//! and every ten minutes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::decide::{Facts, Standing, Step, step, wanted};
use super::memory::Memory;
use crate::config::Config;
use crate::model::Clock;
use crate::overlay::Overlay;
use crate::sync::{Actor, Order, OrderError, Orders};
use crate::zerotier::{ApiError, Controller, NetworkDns};

/// Between looks. Settings are edited by hand, and the addresses' own changes are told.
const EVERY: Duration = Duration::from_secs(600);

/// After a failure, and twice as long after each further one, up to [`EVERY`].
const AFTER_FAILURE: Duration = Duration::from_secs(15);

/// Addresses come one by one when the device comes up, and their listeners a moment later.
const SETTLE: Duration = Duration::from_secs(2);

/// How long a person waits for the controller's word.
const PATIENCE: Duration = Duration::from_secs(8);

/// Who rewrites what is ours when no person asks.
const ITSELF: &str = "ztgate";

/// What `status` says about the setting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushStatus {
    pub standing: Standing,
    pub wanted: Option<NetworkDns>,
    /// What the controller has, as it was last seen.
    pub found: Option<NetworkDns>,
    pub checked: Option<Timestamp>,
    /// What has been wrong, and since when.
    pub error: Option<Fault>,
}

/// Something that has been wrong for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub since: Timestamp,
    pub why: String,
}

/// How it stands right now, for a person to decide on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    pub facts: Facts,
    /// What members should be told, or why there is nothing.
    pub wanted: Result<NetworkDns, String>,
    /// What the controller has them told, or why that is not known.
    pub found: Result<NetworkDns, String>,
    /// Whether the gateway keeps it.
    pub kept: bool,
    /// Whether the gateway wrote what is there.
    pub ours: bool,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What the controller has now.
    pub found: NetworkDns,
    /// What else to know.
    pub notes: Vec<String>,
}

/// What is asked of the task.
#[derive(Debug)]
pub enum Request {
    Look(oneshot::Sender<Look>),
    /// Tells the controller, and keeps it told.
    Push {
        /// What the person was shown as being there.
        shown: NetworkDns,
        /// What the person said yes to.
        agreed: NetworkDns,
        by: Actor,
        reply: Reply,
    },
    /// Keeps it no longer, and has members told nothing if `clear` and what is there is ours.
    Stop {
        clear: bool,
        by: Actor,
        reply: Reply,
    },
}

type Reply = oneshot::Sender<Result<Outcome, OrderError>>;

/// The way to the task.
#[derive(Clone, Debug)]
pub struct Pusher(mpsc::Sender<Request>);

impl Pusher {
    /// A way to the task, and the task's end of it.
    pub fn channel() -> (Self, mpsc::Receiver<Request>) {
        let (to, from) = mpsc::channel(16);
        (Self(to), from)
    }

    /// # Errors
    /// The gateway is stopping.
    pub async fn look(&self) -> Result<Look, OrderError> {
        self.ask(Request::Look).await
    }

    /// Tells the controller what was agreed to, if that is still what is wanted and the controller still has what was
    /// shown, and keeps it told from now on.
    ///
    /// # Errors
    /// It was not done, in words for the terminal.
    pub async fn push(
        &self,
        shown: NetworkDns,
        agreed: NetworkDns,
        by: Actor,
    ) -> Result<Outcome, OrderError> {
        self.ask(|reply| Request::Push { shown, agreed, by, reply }).await?
    }

    /// Keeps it no longer.
    ///
    /// # Errors
    /// As [`Pusher::push`].
    pub async fn stop(&self, clear: bool, by: Actor) -> Result<Outcome, OrderError> {
        self.ask(|reply| Request::Stop { clear, by, reply }).await?
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, OrderError> {
        let gone = || OrderError::too_early("the gateway is stopping; try again once it runs: ztgate status");
        let (reply, answer) = oneshot::channel();
        self.0.send(request(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

/// Keeps the setting. The one writer of what is remembered about it.
pub struct Keeper {
    pub controller: Arc<dyn Controller>,
    pub state_dir: PathBuf,
    /// What is so at this moment.
    pub facts: Arc<dyn Fn() -> Facts + Send + Sync>,
    pub overlay: watch::Receiver<Overlay>,
    pub config: watch::Receiver<Arc<Config>>,
    /// Where changes are recorded.
    pub orders: Orders,
    /// Told when a socket of DNS could not be had, or could after all.
    pub sockets: Arc<Notify>,
    pub clock: Arc<dyn Clock>,
    pub status: watch::Sender<PushStatus>,
    pub requests: mpsc::Receiver<Request>,
}

impl Keeper {
    /// Runs until everybody who may ask is gone.
    pub async fn run(mut self) {
        let mut memory = match Memory::load(&self.state_dir) {
            Ok(memory) => memory,
            Err(error) => {
                tracing::warn!("{error}; until then the network's DNS setting is left alone");
                self.fault(Some(error.to_string()));
                Memory::default()
            }
        };
        let mut failures = 0u32;
        // Once at a start that is settled, for the addresses may have changed meanwhile.
        let mut next = Instant::now() + SETTLE;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => {
                    let pause = match self.pass(&mut memory).await {
                        Ok(()) => {
                            failures = 0;
                            EVERY
                        }
                        Err(()) => {
                            failures = failures.saturating_add(1);
                            let doubled = 2u32.saturating_pow(failures - 1);
                            AFTER_FAILURE.saturating_mul(doubled).min(EVERY)
                        }
                    };
                    next = Instant::now() + pause;
                }
                request = self.requests.recv() => {
                    let Some(request) = request else { return };
                    self.answer(request, &mut memory).await;
                }
                Ok(()) = self.overlay.changed() => next = Instant::now() + SETTLE,
                Ok(()) = self.config.changed() => next = Instant::now() + SETTLE,
                () = self.sockets.notified() => next = Instant::now() + SETTLE,
            }
        }
    }

    /// One look at the controller, and what it leads to.
    async fn pass(&self, memory: &mut Memory) -> Result<(), ()> {
        if !memory.kept {
            self.status.send_if_modified(|status| {
                let differs = status.standing != Standing::Off;
                status.standing = Standing::Off;
                differs
            });
            return Ok(());
        }
        let outcome = self.look_and_write(memory).await;
        self.fault(outcome.as_ref().err().cloned());
        outcome.map_err(drop)
    }

    async fn look_and_write(&self, memory: &mut Memory) -> Result<(), String> {
        let found = self.controller.dns().await.map_err(|error| error.to_string())?;
        let wanted = wanted(&(self.facts)());
        match step(memory, &wanted, &found) {
            Step::Rest(standing) => {
                if standing == Standing::Foreign && self.status.borrow().standing != Standing::Foreign {
                    tracing::warn!(
                        "somebody set the network's DNS to {found}; it is left alone. To set it to {}: ztgate dns push",
                        wanted.as_ref().map(ToString::to_string).unwrap_or_default()
                    );
                }
                if let Some(settled) = memory.settled(&found).filter(|_| standing == Standing::InStep) {
                    *memory = settled;
                    self.save_or_warn(memory).await;
                }
                self.show(standing, wanted.ok(), found);
                Ok(())
            }
            Step::Write(wanted) => {
                self.write(memory, &found, &wanted).await.map_err(|error| error.to_string())?;
                tracing::info!("members are told of DNS: {wanted} (was {found})");
                if let Some(note) = self.record(&found, &wanted, Actor::named(ITSELF)).await {
                    tracing::warn!("{note}");
                }
                self.show(Standing::InStep, Some(wanted.clone()), wanted);
                Ok(())
            }
        }
    }

    /// Tells the controller, between a note that it is being told and one that it was.
    async fn write(
        &self,
        memory: &mut Memory,
        found: &NetworkDns,
        wanted: &NetworkDns,
    ) -> Result<(), WriteError> {
        let before = memory.clone();
        let noted = before.telling(found, wanted);
        self.save(&noted).await.map_err(WriteError::NotNoted)?;
        *memory = noted;
        match self.controller.set_dns(found, wanted).await {
            Ok(()) => {
                *memory = Memory { kept: true, ours: Some(wanted.clone()), writing: None };
                // What is on disk says that it was being written, which is enough to know it again.
                self.save_or_warn(memory).await;
                Ok(())
            }
            Err(error @ ApiError::Unsure { .. }) => Err(WriteError::Controller(error)),
            Err(error) => {
                *memory = before;
                self.save_or_warn(memory).await;
                Err(WriteError::Controller(error))
            }
        }
    }

    async fn answer(&self, request: Request, memory: &mut Memory) {
        match request {
            Request::Look(reply) => {
                let look = self.look(memory).await;
                let _ = reply.send(look);
            }
            Request::Push { shown, agreed, by, reply } => {
                let outcome = self.push(memory, shown, &agreed, by).await;
                let _ = reply.send(outcome);
            }
            Request::Stop { clear, by, reply } => {
                let outcome = self.stop(memory, clear, by).await;
                let _ = reply.send(outcome);
            }
        }
    }

    async fn found(&self) -> Result<NetworkDns, String> {
        match tokio::time::timeout(PATIENCE, self.controller.dns()).await {
            Ok(found) => found.map_err(|error| error.to_string()),
            Err(_) => Err("the controller does not answer; see: ztgate status".to_owned()),
        }
    }

    async fn look(&self, memory: &Memory) -> Look {
        let facts = (self.facts)();
        let found = self.found().await;
        let ours = found.as_ref().is_ok_and(|found| memory.owns(found));
        Look { wanted: wanted(&facts).map_err(|why| why.to_string()), facts, found, kept: memory.kept, ours }
    }

    async fn push(
        &self,
        memory: &mut Memory,
        shown: NetworkDns,
        agreed: &NetworkDns,
        by: Actor,
    ) -> Result<Outcome, OrderError> {
        let wanted = wanted(&(self.facts)()).map_err(|why| OrderError::declined(why.to_string()))?;
        if !wanted.says_same(agreed) {
            let text = format!(
                "what devices should be told has changed meanwhile: it is {wanted} now, and you said yes to {agreed}; \
                 nothing was changed. Look again: ztgate dns push"
            );
            return Err(OrderError::declined(text));
        }
        self.write(memory, &shown, &wanted).await.map_err(OrderError::from)?;
        self.fault(None);
        self.show(Standing::InStep, Some(wanted.clone()), wanted.clone());
        let notes = self.record(&shown, &wanted, by).await.into_iter().collect();
        Ok(Outcome { found: wanted, notes })
    }

    async fn stop(&self, memory: &mut Memory, clear: bool, by: Actor) -> Result<Outcome, OrderError> {
        let stopped = Memory { kept: false, ..memory.clone() };
        // First, so that nothing puts back what is taken away next.
        self.save(&stopped).await.map_err(OrderError::declined)?;
        *memory = stopped;
        self.status.send_replace(PushStatus::default());
        let found = self.found().await;
        let (before, after) = match (clear, found) {
            (false, found) => {
                let stays = found.unwrap_or_default();
                (stays.clone(), stays)
            }
            (true, Err(why)) => {
                let text = format!(
                    "it is kept no longer, but what is there could not be cleared ({why}); type: ztgate dns push --off"
                );
                return Err(OrderError::too_early(text));
            }
            (true, Ok(found)) if memory.owns(&found) => {
                let none = NetworkDns::default();
                let cleared = self.controller.set_dns(&found, &none).await;
                cleared.map_err(|error| OrderError::from(WriteError::Controller(error)))?;
                *memory = Memory::default();
                self.save_or_warn(memory).await;
                (found, none)
            }
            (true, Ok(found)) => (found.clone(), found),
        };
        let mut notes: Vec<String> = Vec::new();
        if clear && !after.is_empty() {
            notes.push(format!("{after} was not written by this gateway, and stays"));
        }
        notes.extend(self.record(&before, &after, by).await);
        Ok(Outcome { found: after, notes })
    }

    /// Puts a change into the control log; what to know if that failed.
    async fn record(&self, before: &NetworkDns, after: &NetworkDns, by: Actor) -> Option<String> {
        let what = if before.says_same(after) {
            format!("the network's DNS setting is kept no longer, and stays: {after}")
        } else {
            format!("the network's DNS setting: {before} -> {after}")
        };
        let noted = self.orders.carry_out(Order::Note { what }, by).await;
        noted.err().map(|error| format!("done, but not in the gateway's control log: {error}"))
    }

    async fn save(&self, memory: &Memory) -> Result<(), String> {
        let (memory, folder) = (memory.clone(), self.state_dir.clone());
        // A disk may hang, and other tasks share this thread.
        match tokio::task::spawn_blocking(move || memory.save(&folder)).await {
            Ok(saved) => saved.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn save_or_warn(&self, memory: &Memory) {
        if let Err(error) = self.save(memory).await {
            tracing::warn!("{error}");
        }
    }

    fn show(&self, standing: Standing, wanted: Option<NetworkDns>, found: NetworkDns) {
        let checked = Some(self.clock.now());
        self.status.send_modify(|status| {
            let error = status.error.take();
            *status = PushStatus { standing, wanted, found: Some(found), checked, error };
        });
    }

    /// Keeps since when something is wrong, and says it once.
    fn fault(&self, why: Option<String>) {
        let now = self.clock.now();
        self.status.send_modify(|status| {
            let Some(why) = why else {
                status.error = None;
                return;
            };
            if status.standing == Standing::Off {
                status.standing = Standing::Unknown;
            }
            if status.error.as_ref().is_none_or(|known| known.why != why) {
                tracing::warn!("the network's DNS setting: {why}");
                let since = status.error.as_ref().map_or(now, |known| known.since);
                status.error = Some(Fault { since, why });
            }
        });
    }
}

/// Why the controller was not told, or is not known to have been.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("{0}; nothing was changed")]
    NotNoted(String),
    #[error(transparent)]
    Controller(ApiError),
}

impl From<WriteError> for OrderError {
    fn from(error: WriteError) -> Self {
        let is_no =
            matches!(error, WriteError::Controller(ApiError::Changed { .. } | ApiError::NotTaken { .. }));
        if is_no { Self::declined(error.to_string()) } else { Self::too_early(error.to_string()) }
    }
}
