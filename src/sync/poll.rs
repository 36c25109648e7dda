//! The task that keeps the roster: it asks the controller, merges, keeps the outcome, and publishes it whole.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::merge::{self, Alarm, Merged};
use crate::config::{self, Config, Device};
use crate::identity::Roster;
use crate::identity::proof::{Prover, Verdict};
use crate::model::{Clock, MemberId, Moment, NetworkId};
use crate::store::{Change, Members, MembersError, PinProof, StoredRoster};
use crate::zerotier::{CentralController, Controller, ControllerView, LocalController, NodeClient, UrlError};

/// An unchanged roster's time goes to disk this often, so a restart may find it older by as much.
const TOUCH: Duration = Duration::from_secs(60);

/// Over one whole view. Each call in it has its own limit; a view without the list of full records is many calls.
const VIEW_DEADLINE: Duration = Duration::from_secs(60);

/// How often a controller is asked, and how old its word may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub poll: Duration,
    /// The age beyond which nobody is let in on the roster's word.
    pub stale: Duration,
}

impl Limits {
    /// The controller in the local node: every 5 s; 15 min.
    pub const LOCAL: Self = Self { poll: Duration::from_secs(5), stale: Duration::from_secs(15 * 60) };
    /// ZeroTier Central: every 30 s; 24 h, for an internet outage must not stop what is at home.
    pub const CENTRAL: Self =
        Self { poll: Duration::from_secs(30), stale: Duration::from_secs(24 * 60 * 60) };

    /// A node on another machine: every 5 s; 24 h, for the same reason.
    pub const REMOTE: Self = Self { poll: Self::LOCAL.poll, stale: Self::CENTRAL.stale };

    pub fn of(kind: &config::Controller) -> Self {
        match kind {
            config::Controller::Local => Self::LOCAL,
            config::Controller::Remote { .. } => Self::REMOTE,
            config::Controller::Central { .. } => Self::CENTRAL,
        }
    }
}

/// The client of the controller that the config names.
///
/// # Errors
/// Its URL is none, or would carry the token in the clear to another machine.
pub fn controller(config: &Config, node: &NodeClient) -> Result<Arc<dyn Controller>, UrlError> {
    Ok(match &config.controller {
        config::Controller::Local => Arc::new(LocalController::new(node.clone(), config.network)),
        config::Controller::Remote { url, token_file } => {
            Arc::new(LocalController::remote(url, token_file, config.network)?)
        }
        config::Controller::Central { url, token_file } => {
            Arc::new(CentralController::new(url, token_file, config.network)?)
        }
    })
}

/// How the last polls went, for `ztgate status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncStatus {
    /// `local` or `central`.
    pub source: &'static str,
    /// When the controller last gave a whole answer; also from before this start.
    pub last_ok: Option<Timestamp>,
    /// What is wrong since then; `None` while all is well.
    pub last_error: Option<String>,
    pub members: usize,
}

/// What others hold of the task.
#[derive(Clone, Debug)]
pub struct RosterFeed {
    /// `None` until there is one: from disk at once, otherwise after the first good answer.
    pub roster: watch::Receiver<Option<Arc<Roster>>>,
    pub status: watch::Receiver<SyncStatus>,
    /// `notify_one` asks for a poll now.
    pub poll_now: Arc<Notify>,
}

/// Keeps the roster. The one writer of the members' store.
///
/// It writes to disk where it runs, so it wants a thread that serves no requests.
pub struct RosterTask {
    controller: Arc<dyn Controller>,
    node: NodeClient,
    config: watch::Receiver<Arc<Config>>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    store: Members,
    prover: Prover,
    network: NetworkId,
    /// The gateway's own ID, once its node has told it.
    gateway: Option<MemberId>,
    known: StoredRoster,
    /// No roster was ever kept: whoever is authorised is adopted.
    first_start: bool,
    /// When `known` was taken, on the clock that nobody can set.
    taken_at: Moment,
    /// When the store last took anything.
    kept_at: Moment,
    /// What the store refused to take: the log's part, and that there is anything at all.
    unkept: Option<Vec<Change>>,
    roster: watch::Sender<Option<Arc<Roster>>>,
    status: watch::Sender<SyncStatus>,
    poll_now: Arc<Notify>,
}

/// What one poll brought.
struct Answer {
    gateway: Option<MemberId>,
    /// When it was asked for, so that the roster is never taken for younger than it is.
    asked: (Timestamp, Moment),
    view: Result<ControllerView, String>,
}

impl RosterTask {
    /// Loads the roster that was kept last and publishes it with its age.
    ///
    /// # Errors
    /// The store holds another network's members or cannot be read.
    pub fn new(
        controller: Arc<dyn Controller>,
        node: NodeClient,
        store: Members,
        prover: Prover,
        config: watch::Receiver<Arc<Config>>,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Result<(Self, RosterFeed), MembersError> {
        let network = config.borrow().network;
        let loaded = store.load(network)?;
        let (now, instant) = (clock.now(), clock.instant());
        let first_start = loaded.is_none();
        let known = loaded.unwrap_or(StoredRoster {
            network,
            taken: now,
            public: false,
            redirects: Vec::new(),
            members: Vec::new(),
        });
        let taken_at = taken_at(known.taken, now, instant, limits.stale);
        let status = SyncStatus {
            source: controller.name(),
            last_ok: (!first_start).then_some(known.taken),
            last_error: None,
            members: known.members.len(),
        };
        let (roster, status, poll_now) =
            (watch::Sender::new(None), watch::Sender::new(status), Arc::new(Notify::new()));
        let feed =
            RosterFeed { roster: roster.subscribe(), status: status.subscribe(), poll_now: poll_now.clone() };
        let task = Self {
            controller,
            node,
            config,
            clock,
            limits,
            store,
            prover,
            network,
            gateway: None,
            known,
            first_start,
            taken_at,
            kept_at: instant,
            unkept: None,
            roster,
            status,
            poll_now,
        };
        task.publish();
        task.prove_open();
        Ok((task, feed))
    }

    /// Runs until dropped.
    pub async fn run(mut self) {
        let mut asking = Some(self.ask());
        let mut config_lives = true;
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        loop {
            tokio::select! {
                answer = pending_if_none(&mut asking) => {
                    asking = None;
                    timer.as_mut().reset(tokio::time::Instant::now() + self.limits.poll);
                    self.take(answer);
                }
                () = &mut timer, if asking.is_none() => asking = Some(self.ask()),
                () = self.poll_now.notified(), if asking.is_none() => asking = Some(self.ask()),
                changed = self.config.changed(), if config_lives => match changed {
                    Ok(()) => self.reconfigure(),
                    Err(_) => config_lives = false,
                },
                verdict = self.prover.next() => self.judge(verdict),
            }
        }
    }

    /// Asks the node who we are and the controller for everything.
    fn ask(&self) -> BoxFuture<'static, Answer> {
        let (controller, node) = (self.controller.clone(), self.node.clone());
        let asked = (self.clock.now(), self.clock.instant());
        async move {
            let view = tokio::time::timeout(VIEW_DEADLINE, controller.view());
            let (status, view) = tokio::join!(node.status(), view);
            let gateway = status.ok().map(|status| status.address);
            let view = match view {
                Ok(view) => view.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no whole answer within {} s", VIEW_DEADLINE.as_secs())),
            };
            Answer { gateway, asked, view }
        }
        .boxed()
    }

    /// Makes an answer the new roster; an odd one changes nothing but the status.
    fn take(&mut self, answer: Answer) {
        self.gateway = answer.gateway.or(self.gateway);
        let view = match answer.view {
            Ok(view) if view.network == self.network => view,
            Ok(view) => {
                return self.fail(format!("the controller's answer is about network {}", view.network));
            }
            Err(error) => return self.fail(error),
        };
        let config = self.config.borrow().clone();
        let (wall, instant) = answer.asked;
        let merged = merge::merge(&view, &self.known.members, &config.devices, self.first_start, wall);
        let redirects = merge::redirects(&view, self.gateway);
        let next = StoredRoster {
            network: self.network,
            taken: wall,
            public: view.public,
            redirects,
            members: Vec::new(),
        };
        self.taken_at = instant;
        let error = self.adopt(next, merged);
        let status = SyncStatus {
            source: self.controller.name(),
            last_ok: Some(self.known.taken),
            last_error: error,
            members: self.known.members.len(),
        };
        let before = self.status.send_replace(status);
        if before.last_error.is_some() && self.status.borrow().last_error.is_none() {
            tracing::info!("members synced again");
        }
    }

    /// The files changed: names, owners and who is admitted.
    fn reconfigure(&mut self) {
        let config = self.config.borrow_and_update().clone();
        if self.first_start {
            // Nothing to admit yet, and adoption is for the first answer.
            return self.publish();
        }
        let merged = merge::readmit(&self.known.members, &config.devices, self.clock.now());
        let next = StoredRoster { members: Vec::new(), ..self.known.clone() };
        if let Some(error) = self.adopt(next, merged) {
            self.fail(error);
        }
    }

    /// Keeps what a merge made, publishes it, and has new identities proved. Returns what the store had against it.
    fn adopt(&mut self, mut next: StoredRoster, merged: Merged) -> Option<String> {
        for alarm in &merged.alarms {
            sound(alarm);
        }
        next.members = merged.members.clone();
        let error = match self.keep(&next, &merged.changes) {
            Ok(()) => {
                self.first_start = false;
                self.unkept = None;
                None
            }
            Err(error) => {
                let held = merged.without_new_rights(&self.known.members);
                next.members = held.members;
                self.unkept.get_or_insert_default().extend(held.changes);
                Some(format!("{error}; nobody new is let in until it can be written"))
            }
        };
        let before = std::mem::replace(&mut self.known, next);
        let queued: HashSet<_> = merge::to_prove(&before.members).into_iter().collect();
        for (id, identity) in merge::to_prove(&self.known.members) {
            if !queued.contains(&(id, identity)) {
                self.prover.submit(id, identity);
            }
        }
        self.publish();
        error
    }

    /// Writes what changed; of an unchanged roster only the time, and that not each time.
    fn keep(&mut self, next: &StoredRoster, changes: &[Change]) -> Result<(), MembersError> {
        let same = StoredRoster { taken: self.known.taken, ..next.clone() } == self.known;
        let now = self.clock.instant();
        if !same || self.first_start || self.unkept.is_some() {
            let mut all = self.unkept.clone().unwrap_or_default();
            all.extend_from_slice(changes);
            self.store.save(next, &all)?;
        } else if now.saturating_duration_since(self.kept_at) < TOUCH {
            return Ok(());
        } else {
            self.store.touch(next.taken)?;
        }
        self.kept_at = now;
        Ok(())
    }

    /// Takes the prover's verdicts, as many as there are.
    fn judge(&mut self, first: Verdict) {
        let mut verdicts = vec![first];
        while let Some(verdict) = self.prover.try_next() {
            verdicts.push(verdict);
        }
        let mut proofs = Vec::new();
        for verdict in &verdicts {
            let pinned = self.known.members.iter_mut().find(|member| member.id == verdict.id);
            let Some(member) = pinned.filter(|m| m.identity.as_ref() == Some(&verdict.identity)) else {
                continue;
            };
            member.proof = if verdict.result.is_ok() { PinProof::Proven } else { PinProof::Failed };
            if let Err(why) = verdict.result {
                sound(&Alarm::NotItsIdentity { member: verdict.id, why: why.to_string() });
            }
            proofs.push((member.id, verdict.identity.as_str(), member.proof));
        }
        if let Err(error) = self.store.save_proofs(&proofs) {
            tracing::warn!(%error, "a proof could not be kept; it will be made again after the next start");
        }
        self.publish();
    }

    fn prove_open(&self) {
        for (id, identity) in merge::to_prove(&self.known.members) {
            self.prover.submit(id, identity);
        }
    }

    fn fail(&self, error: String) {
        let news = self.status.borrow().last_error.as_deref() != Some(error.as_str());
        if news {
            tracing::warn!("members not synced: {error}");
        }
        self.status.send_modify(|status| status.last_error = Some(error));
    }

    fn publish(&self) {
        if self.known.members.is_empty() {
            return;
        }
        let config = self.config.borrow().clone();
        self.roster.send_replace(Some(Arc::new(self.snapshot(&config.devices))));
    }

    fn snapshot(&self, devices: &[Device]) -> Roster {
        let known = &self.known;
        Roster::new(
            self.network,
            merge::roster_members(&known.members, devices),
            merge::hazards(known.public, &known.redirects, &known.members),
            known.taken,
            self.taken_at,
            self.limits.stale,
        )
    }
}

fn sound(alarm: &Alarm) {
    tracing::error!("{alarm}");
}

/// When a roster read from disk was taken, on the clock that nobody can set. An age that cannot be (the wall clock was
/// set back) counts as beyond the limit.
fn taken_at(taken: Timestamp, now: Timestamp, instant: Moment, limit: Duration) -> Moment {
    let stale = limit + Duration::from_secs(1);
    let age = Duration::try_from(now.duration_since(taken)).unwrap_or(stale);
    instant.before(age)
}

/// The answer, once there is one; never, while nothing is asked.
async fn pending_if_none(asking: &mut Option<BoxFuture<'static, Answer>>) -> Answer {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "poll_tests.rs"]
mod tests;
