//! The task that keeps the roster: it asks the controller, merges, keeps the outcome, and publishes it whole.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{Notify, broadcast, mpsc, watch};

use super::feed::{self, Limits, News, RosterFeed, SyncStatus};
use super::forget;
use super::merge::{self, Alarm, Merged, Ruling};
use super::order::{DeviceView, Orders, Request};
use super::plan;

use crate::config::{Config, SyncMode};
use crate::identity::Roster;
use crate::identity::proof::Prover;
use crate::model::{Clock, MemberId, MemberState, Moment, NetworkId};
use crate::store::{Change, Intent, Members, MembersError, Presence, Profile, StoredRoster};
use crate::zerotier::{Controller, NodeClient};

mod ask;
mod desk;
mod due;
mod guards;
mod proofs;
mod show;
mod syncs;

use ask::Answer;
use desk::Desk;
use show::Shown;

/// An unchanged roster's time goes to disk this often, so a restart may find it older by as much.
const TOUCH: Duration = Duration::from_secs(60);

/// A store that was in step longer ago may come from a backup.
const OLD_STORE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Over one whole view. Each call in it has its own limit; a view without the list of full records is many calls.
const VIEW_DEADLINE: Duration = Duration::from_secs(60);

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
    /// The gateway's own ID, once its node has told it since this start.
    gateway: Option<MemberId>,
    /// The same, as the store has it from before: what it shields is shielded, and nothing that wants certainty is founded on it.
    remembered: Option<MemberId>,
    known: StoredRoster,
    /// No roster was ever kept: whoever is authorised is adopted.
    first_start: bool,
    /// It was last in step so long ago that it may be a backup: `enforce` waits for a person.
    is_old_store: bool,
    /// The controller gives no good answer.
    is_lost: bool,
    /// When `known` was taken, on the clock that nobody can set.
    taken_at: Moment,
    /// When it last took who was heard, and that nothing else had changed.
    touched_at: Moment,
    /// What the store refused to take: the log's part, and that there is anything at all.
    unkept: Option<Vec<Change>>,
    roster: watch::Sender<Option<Arc<Roster>>>,
    status: watch::Sender<SyncStatus>,
    devices: watch::Sender<Arc<[Arc<DeviceView>]>>,
    shown: Shown,
    naming: watch::Sender<Arc<[(MemberId, Profile)]>>,
    news: broadcast::Sender<News>,
    requests: mpsc::Receiver<Request>,
    poll_now: Arc<Notify>,
    /// When and where members were last heard, and whether the store knows.
    presence: HashMap<MemberId, Presence>,
    desk: Desk,
}

impl RosterTask {
    /// Loads the roster that was kept last and publishes it with its age.
    ///
    /// # Errors
    /// The store holds another network's members or cannot be read.
    pub fn new(
        controller: Arc<dyn Controller>,
        node: NodeClient,
        mut store: Members,
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
            listed: false,
            members: Vec::new(),
            outbox: BTreeMap::new(),
        });
        let taken_at = taken_at(known.taken, now, instant, limits.stale);
        let is_old_store =
            Duration::try_from(now.duration_since(known.taken)).is_ok_and(|age| age > OLD_STORE);
        let status = SyncStatus {
            source: controller.name(),
            last_ok: (!first_start).then_some(known.taken),
            last_error: None,
            members: known.members.len(),
            queued: known.outbox.len(),
            ..SyncStatus::default()
        };
        let (roster, status, poll_now) =
            (watch::Sender::new(None), watch::Sender::new(status), Arc::new(Notify::new()));
        let (devices, naming) = (watch::Sender::new(Arc::default()), watch::Sender::new(Arc::default()));
        let news = broadcast::Sender::new(1024);
        let (orders, requests) = Orders::channel();
        let feed = RosterFeed {
            roster: roster.subscribe(),
            status: status.subscribe(),
            devices: devices.subscribe(),
            naming: naming.subscribe(),
            orders,
            news: news.clone(),
            poll_now: poll_now.clone(),
        };
        let mut task = Self {
            controller,
            node,
            config,
            clock,
            limits,
            prover,
            network,
            gateway: None,
            remembered: store.own()?,
            known,
            first_start,
            is_old_store,
            is_lost: false,
            taken_at,
            touched_at: instant,
            unkept: store.take_unkept(),
            roster,
            status,
            devices,
            shown: Shown::default(),
            naming,
            news,
            requests,
            poll_now,
            presence: store.presence()?,
            store,
            desk: Desk::default(),
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
            self.expire();
            self.tell_next();
            self.keep_late();
            let due = tokio::time::sleep(self.until_due());
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
                Some(request) = self.requests.recv() => self.hear(request),
                told = pending_if_none(&mut self.desk.telling) => {
                    self.desk.telling = None;
                    self.told(told);
                }
                () = due => {
                    self.give_up_waiting();
                    self.look_if_due();
                }
            }
        }
    }

    /// Makes an answer the new roster; an odd one changes nothing but the status.
    fn take(&mut self, mut answer: Answer) {
        self.gateway = answer.gateway.or(self.gateway);
        let mut view = match answer.view {
            Ok(view) if view.network == self.network => view,
            Ok(view) => {
                let error = format!("the controller's answer is about network {}", view.network);
                return self.fail(answer.asked.1, error);
            }
            Err(error) => return self.fail(answer.asked.1, error),
        };
        for member in view.members.iter_mut().filter(|member| member.version.is_none()) {
            member.version = answer.versions.remove(&member.id);
        }
        let config = self.config.borrow().clone();
        let (wall, instant) = answer.asked;
        let listed: HashSet<MemberId> = view.members.iter().map(|member| member.id).collect();
        for (id, presence) in answer.heard.into_iter().filter(|(id, _)| listed.contains(id)) {
            let known = self.presence.entry(id).or_default();
            // By another machine's clock it may be later than now.
            known.last_seen = presence.last_seen.map(|heard| heard.min(wall)).max(known.last_seen);
            known.physical = presence.physical.or(known.physical.take());
        }
        let mut believed = Vec::new();
        if let Some(lack) = self.lacks_too_many(&listed) {
            if self.acknowledged_by(instant).is_none() {
                let error = format!("{lack}, which is not believed; if they were deleted there: ztgate sync");
                return self.fail(instant, error);
            }
            believed.push(lack);
        }
        let shielded =
            |id: MemberId| self.known.outbox.contains_key(&id) || self.desk.was_told_after(id, instant);
        let ruling =
            Ruling { first_start: self.first_start, mode: &config.sync, shielded: &shielded, now: wall };
        let mut merged = merge::merge(&view, &self.known.members, ruling);
        for change in &mut merged.changes {
            change.origin = Some(feed::origin(&config));
        }
        if !self.known.listed {
            merge::take_list(&mut merged.members, &config.devices, wall);
            let left = config.devices.iter().filter(|device| !listed.contains(&device.id)).count();
            if left > 0 {
                tracing::warn!(
                    "{left} in policy/devices.toml are not on the network yet; to admit them ahead: \
                     ztgate devices import policy/devices.toml"
                );
            }
        }
        for id in forget::strangers(&mut merged.members, &self.known.members, &self.known.outbox, wall) {
            self.presence.remove(&id);
        }
        let mut next = StoredRoster {
            network: self.network,
            taken: wall,
            public: view.public,
            redirects: merge::redirects(&view, self.gateway),
            listed: true,
            members: merged.members.clone(),
            outbox: self.known.outbox.clone(),
        };
        let mut plan = plan::plan(&next, &view, &config.sync, self.own());
        // What the controller was told since it was asked is no difference any more, unless it did not take it.
        plan.retain(|line| {
            next.outbox.contains_key(&line.member) || !self.desk.was_told_after(line.member, instant)
        });
        if config.sync == SyncMode::Enforce {
            let (put_out, acknowledged) = self.enforce(&plan, &view, &next.outbox, answer.asked);
            believed.extend(acknowledged);
            merged.changes.extend(put_out.iter().filter_map(|(id, intent)| {
                let state = merged.members.iter().find(|member| member.id == *id)?.state;
                let why = "authorised by somebody else; to be deauthorised".to_owned();
                let Intent { who, origin, .. } = intent.clone();
                Some(Change { time: wall, member: *id, from: Some(state), to: state, why, who, origin })
            }));
            next.outbox.extend(put_out);
            self.leave_what_waits(&mut plan, &next.outbox);
        }
        merged.changes.extend(self.records_of_syncs(answer.asked, &plan, &believed));
        self.taken_at = instant;
        let error = self.adopt(next, merged);
        self.keep_own();
        self.desk.plan = plan;
        let status = SyncStatus {
            source: self.controller.name(),
            last_ok: Some(self.known.taken),
            last_error: error,
            members: self.known.members.len(),
            pending: self.known.members.iter().filter(|m| m.state == MemberState::Pending).count(),
            queued: self.known.outbox.len(),
            differences: self.desk.plan.iter().filter(|d| !self.known.outbox.contains_key(&d.member)).count(),
        };
        let before = self.status.send_replace(status);
        if before.last_error.is_some() && self.status.borrow().last_error.is_none() {
            tracing::info!("members synced again");
        }
        if std::mem::replace(&mut self.is_lost, false) {
            let _ = self.news.send(News::ControllerBack);
        }
        self.look_again_for_addresses();
        self.answer_syncs(instant);
    }

    /// The files changed.
    fn reconfigure(&mut self) {
        self.config.borrow_and_update();
        self.publish();
    }

    /// Keeps what a merge made, publishes it, and has new identities proved. Returns what the store had against it.
    fn adopt(&mut self, mut next: StoredRoster, merged: Merged) -> Option<String> {
        for alarm in &merged.alarms {
            self.sound(alarm);
        }
        next.members = merged.members.clone();
        let mut changes = merged.changes.clone();
        if merged.shrinks() {
            // Whoever is out is out before the disk has heard of it.
            let held = merged.clone().without_new_rights(&self.known.members);
            let out = StoredRoster { members: held.members, ..next.clone() };
            self.roster.send_replace(Some(Arc::new(self.snapshot(&out))));
        }
        let error = match self.keep(&next, &merged.changes) {
            Ok(()) => {
                self.first_start = false;
                self.unkept = None;
                None
            }
            Err(error) => {
                next.listed = self.known.listed;
                let held = merged.without_new_rights(&self.known.members);
                next.members = held.members;
                changes.clone_from(&held.changes);
                self.unkept.get_or_insert_default().extend(held.changes);
                Some(format!("{error}; nobody new is let in until it can be written"))
            }
        };
        let before = std::mem::replace(&mut self.known, next);
        if self.unkept.is_some()
            && let Err(error) = self.hold()
        {
            tracing::error!("a restart would forget who is out now: {error}");
        }
        let queued: HashSet<_> = merge::to_prove(&before.members).into_iter().collect();
        for (id, identity) in merge::to_prove(&self.known.members) {
            if !queued.contains(&(id, identity)) {
                self.prover.submit(id, identity);
            }
        }
        self.publish();
        if !before.members.is_empty() {
            self.spread(&changes);
        }
        error
    }

    /// Tells what happened to whoever listens.
    fn spread(&self, changes: &[Change]) {
        let now = self.clock.now();
        for change in changes {
            if let Some(member) = self.known.members.iter().find(|member| member.id == change.member) {
                let view = Box::new(self.view_of(member, now));
                let _ = self.news.send(News::Changed(change.clone(), view));
            }
        }
    }

    /// Writes what changed; of an unchanged roster only the time, and that not each time.
    fn keep(&mut self, next: &StoredRoster, changes: &[Change]) -> Result<(), MembersError> {
        let same = StoredRoster { taken: self.known.taken, ..next.clone() } == self.known;
        let now = self.clock.instant();
        if !same || !changes.is_empty() || self.first_start || self.unkept.is_some() {
            let mut all = self.unkept.clone().unwrap_or_default();
            all.extend_from_slice(changes);
            self.store.save(next, &all)?;
        }
        if now.saturating_duration_since(self.touched_at) >= TOUCH {
            self.touched_at = now;
            // What it changes gives and takes no right, so it makes no failure of what was kept.
            if let Err(error) = self.store.touch(next.taken, self.presence.iter()) {
                tracing::warn!("when members were heard is not kept for now: {error}");
            }
        }
        Ok(())
    }

    fn fail(&mut self, asked: Moment, error: String) {
        let before = self.status.borrow().last_error.clone();
        if before.as_deref() != Some(error.as_str()) {
            tracing::warn!("members not synced: {error}");
        }
        if !std::mem::replace(&mut self.is_lost, true) {
            let _ = self.news.send(News::ControllerLost(error.clone()));
        }
        self.refuse_syncs(asked, &error);
        self.status.send_modify(|status| status.last_error = Some(error));
        self.keep_own();
    }

    fn sound(&self, alarm: &Alarm) {
        tracing::error!("{alarm}");
        let _ = self.news.send(News::Alarm(alarm.to_string(), alarm.member()));
    }
}

/// When a roster read from disk was taken, on the clock that nobody can set. An age that cannot be (the wall clock was
/// set back) counts as beyond the limit.
fn taken_at(taken: Timestamp, now: Timestamp, instant: Moment, limit: Duration) -> Moment {
    let stale = limit + Duration::from_secs(1);
    let age = Duration::try_from(now.duration_since(taken)).unwrap_or(stale);
    instant.before(age)
}

/// The answer, once there is one; never, while nothing is asked.
async fn pending_if_none<T>(asking: &mut Option<BoxFuture<'static, T>>) -> T {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "poll_tests.rs"]
mod tests;
