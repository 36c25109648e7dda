//! A person has gateway and controller brought in step: what that acknowledges, what is recorded of it, and what came of it.

use jiff::Timestamp;
use tokio::time::Instant;

use super::RosterTask;
use super::desk::{PATIENCE, Waiting};
use crate::model::{MemberId, MemberState, Moment};
use crate::store::Change;
use crate::sync::order::{Actor, AtTheController, Changed, Difference, Done, OrderError, Reply, Step};

/// Somebody who asked how gateway and controller differ.
pub(super) struct Sync {
    pub dry_run: bool,
    pub by: Actor,
    /// No answer to what was asked before then will do.
    pub since: Moment,
    pub reply: Reply<Done>,
}

impl RosterTask {
    /// Who has what came of a look believed, whatever it is. Nobody while there is no place for the record of that.
    pub(super) fn acknowledged_by(&self, asked: Moment) -> Option<Actor> {
        self.own()?;
        self.syncs_of(asked).next().map(|sync| sync.by.clone())
    }

    /// The records of those who had gateway and controller brought in step, in the history of this machine's own member.
    pub(super) fn records_of_syncs(
        &self,
        (now, asked): (Timestamp, Moment),
        plan: &[Difference],
        believed: &[String],
    ) -> Vec<Change> {
        let why = summary(plan, believed);
        let record = |sync: &Sync| {
            let Actor { who, origin } = sync.by.clone();
            let Some(member) = self.own() else {
                tracing::warn!(
                    "{why}, ordered by {who}; not recorded, for the node does not say which member it is"
                );
                return None;
            };
            let state = self.state_of(member);
            Some(Change { time: now, member, from: Some(state), to: state, why: why.clone(), who, origin })
        };
        self.syncs_of(asked).filter_map(record).collect()
    }

    /// Answers those who asked how gateway and controller differ, once what follows is done or cannot be yet.
    pub(super) fn answer_syncs(&mut self, asked: Moment) {
        let error = self.status.borrow().last_error.clone();
        for Sync { dry_run, reply, .. } in self.take_syncs(asked) {
            let mut done = Done { plan: self.desk.plan.clone(), ..Done::default() };
            if dry_run {
                let _ = reply.send(Ok(done));
                continue;
            }
            done.notes.extend(error.clone());
            done.devices = done.plan.iter().filter(|line| line.step != Step::Leave).map(untouched).collect();
            let open = done.devices.iter().map(|device| device.member);
            let open = open.filter(|member| self.known.outbox.contains_key(member)).collect();
            // A person who asks is not made to wait for a pause.
            self.desk.troubles.clear();
            self.desk.waiting.push(Waiting { done, open, until: Instant::now() + PATIENCE, reply });
        }
        self.answer_waiting();
    }

    /// Tells those who asked that there is no answer.
    pub(super) fn refuse_syncs(&mut self, asked: Moment, error: &str) {
        for Sync { dry_run, reply, .. } in self.take_syncs(asked) {
            if !dry_run {
                self.desk.troubles.clear();
            }
            let text = format!("the controller gives no good answer: {error}");
            let _ = reply.send(Err(OrderError::too_early(text)));
        }
    }

    fn take_syncs(&mut self, asked: Moment) -> Vec<Sync> {
        let (ready, later) =
            std::mem::take(&mut self.desk.syncs).into_iter().partition(|sync| sync.since <= asked);
        self.desk.syncs = later;
        ready
    }

    /// Those that an answer is for, and that are meant.
    fn syncs_of(&self, asked: Moment) -> impl Iterator<Item = &Sync> {
        self.desk.syncs.iter().filter(move |sync| sync.since <= asked && !sync.dry_run)
    }

    fn state_of(&self, member: MemberId) -> MemberState {
        let known = self.known.members.iter().find(|known| known.id == member);
        known.map_or(MemberState::Active, |known| known.state)
    }
}

/// A line of the plan before anything came of it.
fn untouched(line: &Difference) -> Changed {
    Changed {
        member: line.member,
        name: line.name.clone(),
        state: line.here,
        gateway: Vec::new(),
        controller: AtTheController::Nothing,
    }
}

fn summary(plan: &[Difference], believed: &[String]) -> String {
    let left = plan.iter().filter(|line| line.step == Step::Leave).count();
    let mut text = match (plan.len() - left, left) {
        (0, 0) => "sync: in step".to_owned(),
        (told, 0) => format!("sync: {told} to tell the controller"),
        (0, left) => format!("sync: {left} left as they are"),
        (told, left) => format!("sync: {told} to tell the controller, {left} left as they are"),
    };
    for what in believed {
        text.push_str("; acknowledged: ");
        text.push_str(what);
    }
    text
}
