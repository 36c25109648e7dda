//! What is due by the clock: ends and notices of them, and what the disk did not take.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::RosterTask;
use crate::model::MemberId;
use crate::sync::feed::News;
use crate::sync::{expiry, lifecycle};

/// What the disk did not take is tried again this often.
const KEEP_AGAIN: Duration = Duration::from_secs(2);

/// Ends are looked at this often at least, for the wall clock may be set.
const LOOK: Duration = Duration::from_secs(30);

/// Between two looks for an address.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

impl RosterTask {
    /// Tries again to write what the disk did not take. That is not left to the next good answer of a controller which may
    /// be away.
    pub(super) fn keep_late(&mut self) {
        let now = Instant::now();
        match self.desk.keep_again {
            // Whom a first start adopts must not be lost to a store that says it was no first start.
            _ if self.unkept.is_none() || self.first_start => self.desk.keep_again = None,
            Some(again) if again > now => {}
            None => self.desk.keep_again = Some(now + KEEP_AGAIN),
            Some(_) => {
                self.desk.keep_again = Some(now + KEEP_AGAIN);
                let next = self.known.clone();
                if self.write(&next, &[]).is_ok() {
                    tracing::info!("what was not on disk yet is now");
                }
            }
        }
    }

    /// Expires those whose time has come, and gives notice of those whose time comes soon.
    pub(super) fn expire(&mut self) {
        let now = self.clock.now();
        if let Some(draft) = lifecycle::expire(&self.known, self.own(), now) {
            // It is no widening, so it holds whatever the disk says.
            let _ = self.put_in_force(&draft);
        }
        let due: Vec<MemberId> = self
            .known
            .members
            .iter()
            .filter(|member| expiry::is_due_notice(member, self.own(), now))
            .map(|m| m.id)
            .collect();
        if due.is_empty() {
            return;
        }
        let before = self.known.clone();
        for id in due {
            if let Some(member) = self.known.members.iter_mut().find(|member| member.id == id) {
                member.notice = None;
            }
            if let Some(member) = self.known.members.iter().find(|member| member.id == id) {
                let view = Box::new(self.view_of(member, now));
                tracing::info!(device = %lifecycle::called(member), "expires soon");
                let _ = self.news.send(News::ExpiresSoon(view));
            }
        }
        let _ = self.write_over(&before, &[]);
    }

    /// After a look at the controller: whether to look again soon, because somebody has no address yet.
    pub(super) fn look_again_for_addresses(&mut self) {
        let now = Instant::now();
        let known = &self.known;
        self.desk.unaddressed.retain(|id, until| {
            let member = known.members.iter().find(|member| member.id == *id);
            *until > now && member.is_some_and(|member| member.assigned.is_empty())
        });
        self.desk.look_again = (!self.desk.unaddressed.is_empty()).then(|| now + LOOK_AGAIN);
    }

    /// Asks the controller again, if it is time.
    pub(super) fn look_if_due(&mut self) {
        if self.desk.look_again.is_some_and(|again| again <= Instant::now()) {
            self.desk.look_again = None;
            self.poll_now.notify_one();
        }
    }

    /// How long nothing is due.
    pub(super) fn until_due(&self) -> Duration {
        let (wall, now) = (self.clock.now(), Instant::now());
        let from_wall = |at: Timestamp| Duration::try_from(at.duration_since(wall)).unwrap_or_default();
        let ends = expiry::next_moment(&self.known, self.own()).map(from_wall);
        let waits = self.desk.waiting.iter().map(|waiting| waiting.until.saturating_duration_since(now));
        let tells = self
            .known
            .outbox
            .keys()
            .filter(|_| self.desk.telling.is_none())
            .filter_map(|id| self.desk.troubles.get(id))
            .map(|trouble| trouble.again.saturating_duration_since(now));
        let keeps = self.desk.keep_again.map(|again| again.saturating_duration_since(now));
        let looks = self.desk.look_again.map(|again| again.saturating_duration_since(now));
        ends.into_iter().chain(waits).chain(tells).chain(keeps).chain(looks).min().unwrap_or(LOOK).min(LOOK)
    }
}
