//! Orders carried out, and the controller told: what is intended is on disk first, then at the controller, then read back.
//!
//! Rights that shrink do not wait for either: they hold here from the moment the order is heard.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use tokio::time::Instant;

use super::RosterTask;
use super::syncs::Sync;
use crate::model::{MemberId, MemberState, Moment};
use crate::store::{Change, Intent, MembersError, StoredRoster};
use crate::sync::lifecycle::{self, Draft};
use crate::sync::order::{
    Actor, AtTheController, Changed, Difference, Done, Event, Order, OrderError, Profile, Reply, Request,
};
use crate::zerotier::ApiError;

/// How long a person waits for the controller before being told that it will be told later.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

/// Between two attempts to tell the controller the same thing: twice as long each time, up to a minute.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a member that was just let in is asked about until it has an address: without one it would be refused as if it
/// used somebody else's.
const ADDRESSED: Duration = Duration::from_secs(10);

/// One call to the controller, read back included, takes no longer.
const TELL: Duration = Duration::from_secs(20);

/// What is under way.
#[derive(Default)]
pub(super) struct Desk {
    pub telling: Option<BoxFuture<'static, Told>>,
    /// Of whom it was told last.
    told_of: Option<MemberId>,
    /// Attempts that failed.
    pub troubles: HashMap<MemberId, Trouble>,
    /// When the controller last showed that it knows what it was told.
    told: HashMap<MemberId, Moment>,
    pub waiting: Vec<Waiting>,
    /// Whom the controller let in a moment ago, and is still to give an address; until when that is waited for.
    pub unaddressed: HashMap<MemberId, Instant>,
    /// When to ask the controller about them again.
    pub look_again: Option<Instant>,
    /// Who asked how gateway and controller differ.
    pub syncs: Vec<Sync>,
    /// When to try again to write what the disk did not take.
    pub keep_again: Option<Instant>,
    /// How gateway and controller differed at the last look.
    pub plan: Vec<Difference>,
}

/// The controller's answer to one telling.
pub(super) struct Told {
    member: MemberId,
    pub authorize: bool,
    /// What it shows now, or why not, and when to come back if it says so.
    result: Result<Seen, (String, Option<Duration>)>,
}

/// What the controller showed when it was asked again.
#[derive(Default)]
struct Seen {
    authorized: bool,
    /// When its record was made.
    made: Option<Timestamp>,
}

pub(super) struct Trouble {
    pause: Duration,
    pub again: Instant,
    why: String,
}

/// Somebody who waits for the controller to know.
pub(super) struct Waiting {
    pub done: Done,
    pub open: HashSet<MemberId>,
    pub until: Instant,
    pub reply: Reply<Done>,
}

impl Desk {
    /// Whether the controller was told something of a member after it was asked about everything.
    pub fn was_told_after(&self, member: MemberId, asked: Moment) -> bool {
        self.told.get(&member).is_some_and(|&told| told >= asked)
    }

    pub fn trouble(&self, member: MemberId) -> Option<&str> {
        self.troubles.get(&member).map(|trouble| trouble.why.as_str())
    }

    /// Whom to tell about next: rights that shrink first, then the oldest; not those that failed a moment ago.
    fn next(&self, outbox: &BTreeMap<MemberId, Intent>, now: Instant) -> Option<(MemberId, bool)> {
        let ready = |id: &MemberId| self.troubles.get(id).is_none_or(|trouble| trouble.again <= now);
        let (id, intent) = outbox
            .iter()
            .filter(|(id, _)| ready(id))
            .min_by_key(|(_, intent)| (intent.authorize, intent.since))?;
        Some((*id, intent.authorize))
    }
}

impl RosterTask {
    pub(super) fn hear(&mut self, request: Request) {
        match request {
            Request::CarryOut { order, by, reply } => self.carry_out(&order, &by, reply),
            Request::History { member, reply } => {
                let history = self.store.history();
                // A long one must not keep a revocation waiting.
                tokio::task::spawn_blocking(move || {
                    let told = |error: MembersError| OrderError::too_early(error.to_string());
                    let changes = history.changes(member).map_err(told);
                    let _ = reply.send(changes.map(|changes| changes.into_iter().map(event).collect()));
                });
            }
        }
    }

    fn carry_out(&mut self, order: &Order, by: &Actor, reply: Reply<Done>) {
        if let Order::Sync { dry_run } = *order {
            self.desk.syncs.push(Sync { dry_run, by: by.clone(), since: self.clock.instant(), reply });
            self.poll_now.notify_one();
            return;
        }
        // Held until the names are told: a new configuration is either looked at here, or looks at them itself.
        let config = self.config.borrow();
        let drafted = if self.first_start {
            let why =
                "the gateway has not heard from the controller yet; `ztgate status` tells what it waits for";
            Err(OrderError::too_early(why))
        } else {
            lifecycle::draft(order, &self.known, &config, self.own(), by, self.clock.now())
        };
        let draft = match drafted {
            Ok(draft) => draft,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        if matches!(order, Order::Import { dry_run: true, .. }) {
            let _ = reply.send(Ok(self.would_be_done(&draft)));
            return;
        }
        if draft.is_empty() {
            let _ = reply.send(Ok(self.done(&draft)));
            return;
        }
        self.naming.send_replace(names_of(&draft));
        drop(config);
        let mut done = self.done(&draft);
        let open = self.to_tell_anew(&draft);
        let in_force = self.put_in_force(&draft);
        self.naming.send_replace(Arc::default());
        match in_force {
            Ok(not_kept) => done.notes.extend(not_kept),
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        }
        for id in &open {
            // A person who asks is not made to wait for a pause.
            self.desk.troubles.remove(id);
        }
        let waiting = Waiting { done, open, until: Instant::now() + PATIENCE, reply };
        self.desk.waiting.push(waiting);
        self.answer_waiting();
    }

    /// Makes a draft what holds. One that lets somebody in is on disk before anything else; of any other only its record
    /// waits for the disk, and what is told then is to be passed on.
    pub(super) fn put_in_force(&mut self, draft: &Draft) -> Result<Option<String>, OrderError> {
        let widens = draft.widens();
        if widens {
            self.write(&draft.next, &draft.changes).map_err(|error| {
                OrderError::declined(format!(
                    "{error}; nobody gets more rights until it can be written, and nothing was changed"
                ))
            })?;
        }
        let before = std::mem::replace(&mut self.known, draft.next.clone());
        self.publish();
        let mut not_kept = None;
        if !widens && let Err(told) = self.write_over(&before, &draft.changes) {
            tracing::error!("{told}");
            not_kept = Some(told);
        }
        self.spread(&draft.changes);
        Ok(not_kept)
    }

    /// Writes what is known over what was; it is no widening. The error tells whether a restart would forget it.
    pub(super) fn write_over(&mut self, before: &StoredRoster, changes: &[Change]) -> Result<(), String> {
        let next = self.known.clone();
        if next == *before && changes.is_empty() {
            return Ok(());
        }
        self.write(&next, changes).map_err(|error| {
            self.unkept.get_or_insert_default().extend_from_slice(changes);
            match self.hold() {
                Ok(()) => format!(
                    "it holds, and a restart keeps it, but it is not in the database yet: {error}; it is written as soon as \
                     that is possible"
                ),
                Err(worse) => format!(
                    "it holds, but is not on disk yet, and a restart would forget it: {error}; nor could it be put by: \
                     {worse}; it is written as soon as that is possible"
                ),
            }
        })
    }

    /// Puts by what the database did not take, as far as it takes something from somebody.
    pub(super) fn hold(&mut self) -> Result<(), MembersError> {
        self.store.hold(&self.known, self.unkept.as_deref().unwrap_or_default())
    }

    pub(super) fn write(&mut self, next: &StoredRoster, changes: &[Change]) -> Result<(), String> {
        let mut all = self.unkept.clone().unwrap_or_default();
        all.extend_from_slice(changes);
        self.store.save(next, &all).map_err(|error| error.to_string())?;
        self.unkept = None;
        Ok(())
    }

    /// The devices of which a draft has something new to tell the controller. What it is to be told of the others, nobody
    /// who asks for something else waits for.
    fn to_tell_anew(&self, draft: &Draft) -> HashSet<MemberId> {
        let touched = draft.touched.iter().map(|(id, _)| *id);
        touched.filter(|id| draft.next.outbox.get(id) != self.known.outbox.get(id)).collect()
    }

    fn done(&self, draft: &Draft) -> Done {
        let anew = self.to_tell_anew(draft);
        let changed = |(id, told): &(MemberId, Vec<String>)| {
            let member = draft.next.members.iter().find(|member| member.id == *id);
            Changed {
                member: *id,
                name: member.and_then(|member| member.profile.name.clone()),
                state: member.map_or(MemberState::Pending, |member| member.state),
                gateway: told.clone(),
                controller: match self.still_to_tell(*id).filter(|_| !anew.contains(id)) {
                    Some(what) => AtTheController::Queued(what),
                    None => AtTheController::Nothing,
                },
            }
        };
        Done {
            devices: draft.touched.iter().map(changed).collect(),
            plan: Vec::new(),
            notes: draft.notes.clone(),
        }
    }

    /// What would come of a draft if all goes well.
    fn would_be_done(&self, draft: &Draft) -> Done {
        let mut done = self.done(draft);
        let anew = self.to_tell_anew(draft);
        for device in done.devices.iter_mut().filter(|device| anew.contains(&device.member)) {
            let authorize = draft.next.outbox.get(&device.member).is_some_and(|intent| intent.authorize);
            device.controller =
                if authorize { AtTheController::Authorized } else { AtTheController::Deauthorized };
        }
        done.notes.push("a dry run: nothing was changed".to_owned());
        done
    }

    /// Begins to tell the controller the next thing, if there is one and nothing is being told.
    pub(super) fn tell_next(&mut self) {
        if self.desk.telling.is_some() {
            return;
        }
        let Some((member, authorize)) = self.desk.next(&self.known.outbox, Instant::now()) else { return };
        let controller = self.controller.clone();
        self.desk.told_of = Some(member);
        self.desk.telling = Some(
            async move {
                let told = tokio::time::timeout(TELL, controller.set_authorized(member, authorize)).await;
                let result = match told {
                    Ok(Ok(seen)) => Ok(Seen { authorized: seen.authorized, made: seen.creation_time }),
                    // Whom it does not know it does not authorise.
                    Ok(Err(ApiError::UnknownMember(..))) if !authorize => Ok(Seen::default()),
                    Ok(Err(error)) => Err((error.to_string(), error.retry_after())),
                    Err(_) => {
                        let why = format!(
                            "no answer within {} s; it may have done it all the same",
                            TELL.as_secs()
                        );
                        Err((why, None))
                    }
                };
                Told { member, authorize, result }
            }
            .boxed(),
        );
    }

    /// The controller answered, or did not.
    pub(super) fn told(&mut self, told: Told) {
        let Told { member, authorize, result } = told;
        // Somebody may want something else by now; then this said nothing.
        let still = self.known.outbox.get(&member).is_some_and(|intent| intent.authorize == authorize);
        self.desk.told.insert(member, self.clock.instant());
        if !still {
            return;
        }
        match result {
            Ok(Seen { authorized, made }) if authorized == authorize => {
                self.desk.troubles.remove(&member);
                self.knows(member, authorize, made);
            }
            Ok(_) => self.trouble(member, "it shows another word than it was given".to_owned(), None),
            Err((why, again)) => self.trouble(member, why, again),
        }
    }

    /// The controller has shown that it knows.
    fn knows(&mut self, member: MemberId, authorize: bool, made: Option<Timestamp>) {
        let draft = if authorize {
            let now = self.clock.now();
            let Some(draft) = lifecycle::granted(&self.known, member, made, now) else { return };
            if let Err(error) = self.write(&draft.next, &draft.changes) {
                // The intent stays on disk, so nothing is lost: it is told again.
                return self.trouble(member, error, None);
            }
            self.known = draft.next.clone();
            draft
        } else {
            let Some(draft) = lifecycle::taken_back(&self.known, member) else { return };
            let before = std::mem::replace(&mut self.known, draft.next.clone());
            // Should the disk not take it, the next start finds it so at the controller.
            let _ = self.write_over(&before, &[]);
            draft
        };
        self.publish();
        self.spread(&draft.changes);
        // Its address is assigned after the answer.
        self.poll_now.notify_one();
        if authorize {
            self.desk.unaddressed.insert(member, Instant::now() + ADDRESSED);
        }
        for waiting in self.desk.waiting.iter_mut().filter(|waiting| waiting.open.contains(&member)) {
            waiting.open.remove(&member);
            if let Some(changed) = waiting.done.devices.iter_mut().find(|changed| changed.member == member) {
                changed.controller =
                    if authorize { AtTheController::Authorized } else { AtTheController::Deauthorized };
                let moved = draft.changes.iter().find(|change| change.member == member);
                if let Some(Change { from: Some(from), to, .. }) = moved {
                    let told = format!("{from} -> {to}");
                    match changed.gateway.first_mut() {
                        Some(first) => *first = told,
                        None => changed.gateway.push(told),
                    }
                    changed.state = *to;
                }
            }
        }
        self.answer_waiting();
    }

    fn trouble(&mut self, member: MemberId, why: String, again: Option<Duration>) {
        let pause =
            self.desk.troubles.get(&member).map_or(FIRST_PAUSE, |last| (last.pause * 2).min(LONGEST_PAUSE));
        let pause = pause.max(again.unwrap_or_default());
        if self.desk.trouble(member) != Some(why.as_str()) {
            tracing::warn!(%member, "the controller could not be told yet: {why}");
        }
        for waiting in &mut self.desk.waiting {
            if waiting.open.remove(&member)
                && let Some(changed) =
                    waiting.done.devices.iter_mut().find(|changed| changed.member == member)
            {
                changed.controller = AtTheController::Queued(why.clone());
            }
        }
        self.desk.troubles.insert(member, Trouble { pause, again: Instant::now() + pause, why });
        self.publish();
        self.answer_waiting();
    }

    /// Answers those for whom nothing is open any more.
    pub(super) fn answer_waiting(&mut self) {
        let (ready, open) =
            std::mem::take(&mut self.desk.waiting).into_iter().partition(|waiting| waiting.open.is_empty());
        self.desk.waiting = open;
        let ready: Vec<Waiting> = ready;
        for waiting in ready {
            let _ = waiting.reply.send(Ok(waiting.done));
        }
    }

    /// Answers those who have waited long enough.
    pub(super) fn give_up_waiting(&mut self) {
        let now = Instant::now();
        let asked = self.desk.told_of.filter(|_| self.desk.telling.is_some());
        for waiting in self.desk.waiting.iter_mut().filter(|waiting| waiting.until <= now) {
            for member in std::mem::take(&mut waiting.open) {
                if let Some(changed) =
                    waiting.done.devices.iter_mut().find(|changed| changed.member == member)
                {
                    let why = if asked == Some(member) {
                        "it has not answered yet"
                    } else {
                        "others are told first"
                    };
                    changed.controller = AtTheController::Queued(why.to_owned());
                }
            }
        }
        self.answer_waiting();
    }
}

/// What the devices of a draft are to be called.
fn names_of(draft: &Draft) -> Arc<[(MemberId, Profile)]> {
    let touched: HashSet<MemberId> = draft.touched.iter().map(|(id, _)| *id).collect();
    let members = draft.next.members.iter().filter(|member| touched.contains(&member.id));
    members.map(|member| (member.id, member.profile.clone())).collect()
}

fn event(change: Change) -> Event {
    let Change { time, member, from, to, why, who, origin } = change;
    Event { time, member, from, to, why, who, origin }
}
