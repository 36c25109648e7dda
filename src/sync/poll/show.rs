//! What is published: the roster that requests are judged by, and the devices as lists show them.
//!
//! Both are replaced whole at each change, and share with those before what they say of every member about whom nothing
//! changed: among ten thousand, the one that is proved costs each of the others a comparison.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::RosterTask;
use crate::identity::{Member, Roster};
use crate::model::{MemberId, MemberState};
use crate::store::{AtController, PinProof, StoredMember, StoredRoster};
use crate::sync::merge;
use crate::sync::order::DeviceView;

/// Who has not asked for so long is left out of the list of those who wait.
const AGED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What was made of each member last.
pub(super) type Shown = HashMap<MemberId, ShownMember>;

/// What was made of one member, and of what.
pub(super) struct ShownMember {
    known: StoredMember,
    beside: Beside,
    member: Arc<Member>,
    view: Arc<DeviceView>,
}

/// What a list shows of a device that is not kept with it as a member.
#[derive(PartialEq)]
struct Beside {
    own: bool,
    last_seen: Option<Timestamp>,
    physical: Option<String>,
    aged: bool,
    queued: Option<String>,
}

impl ShownMember {
    /// Whether the roster has nothing else to say of a member. An end is reckoned anew each time, because the wall clock may
    /// have been set.
    fn is_still(&self, known: &StoredMember) -> bool {
        known.profile.until.is_none() && self.known == *known
    }
}

impl RosterTask {
    /// Publishes what is known.
    pub(super) fn publish(&mut self) {
        let clock = (self.clock.now(), self.clock.instant());
        let mut shown = std::mem::take(&mut self.shown);
        let show = |known: &StoredMember| {
            let beside = self.beside(known, clock.0);
            let current = match shown.entry(known.id) {
                Entry::Occupied(last) if last.get().is_still(known) && last.get().beside == beside => {
                    last.into_mut()
                }
                entry => {
                    let member = Arc::new(merge::roster_member(known, clock));
                    let view = Arc::new(self.view(known, &beside));
                    entry.insert_entry(ShownMember { known: known.clone(), beside, member, view }).into_mut()
                }
            };
            current.view.clone()
        };
        self.devices.send_replace(self.known.members.iter().map(show).collect());
        if shown.len() > self.known.members.len() {
            let known: HashSet<MemberId> = self.known.members.iter().map(|member| member.id).collect();
            shown.retain(|id, _| known.contains(id));
        }
        self.shown = shown;
        if !self.known.members.is_empty() {
            self.roster.send_replace(Some(Arc::new(self.snapshot(&self.known))));
        }
    }

    /// The roster of what is known, or of what is to be.
    pub(super) fn snapshot(&self, known: &StoredRoster) -> Roster {
        let clock = (self.clock.now(), self.clock.instant());
        let member = |known: &StoredMember| match self.shown.get(&known.id) {
            Some(shown) if shown.is_still(known) => shown.member.clone(),
            _ => Arc::new(merge::roster_member(known, clock)),
        };
        Roster::new(
            self.network,
            known.members.iter().map(member),
            merge::hazards(known.public, &known.redirects, &known.members),
            known.taken,
            self.taken_at,
            self.limits.stale,
        )
    }

    pub(super) fn view_of(&self, member: &StoredMember, now: Timestamp) -> DeviceView {
        self.view(member, &self.beside(member, now))
    }

    fn beside(&self, member: &StoredMember, now: Timestamp) -> Beside {
        let presence = self.presence.get(&member.id).cloned().unwrap_or_default();
        // Where neither node nor controller tells whom it hears, the first knock is all that is known.
        let heard = presence.last_seen.unwrap_or(member.first_seen);
        let age = Duration::try_from(now.duration_since(heard)).unwrap_or_default();
        Beside {
            own: self.own() == Some(member.id),
            last_seen: presence.last_seen,
            physical: presence.physical,
            aged: member.state == MemberState::Pending && age > AGED,
            queued: self.still_to_tell(member.id),
        }
    }

    fn view(&self, member: &StoredMember, beside: &Beside) -> DeviceView {
        let derived = [member.id.rfc4193(self.network).into(), member.id.six_plane(self.network).into()];
        DeviceView {
            member: member.id,
            state: member.state,
            own: beside.own,
            name: member.profile.name.clone(),
            owner: member.profile.owner.clone(),
            groups: member.profile.groups.clone(),
            notes: member.profile.notes.clone(),
            until: member.profile.until,
            label: member.label.clone(),
            authorized: match member.at_controller {
                AtController::Authorized => Some(true),
                AtController::Unauthorized => Some(false),
                AtController::Gone => None,
            },
            first_seen: member.first_seen,
            last_seen: beside.last_seen,
            physical: beside.physical.clone(),
            version: member.version.clone(),
            addresses: member.assigned.iter().copied().chain(derived).collect(),
            identity: match (member.differs, member.proof) {
                (true, _) => "CHANGED: not the pinned one",
                (false, PinProof::Failed) => "not its own",
                (false, PinProof::Proven) => "proved and pinned",
                (false, PinProof::Unproven) if member.identity.is_none() => "not seen yet",
                (false, PinProof::Unproven) => "not proved yet",
            }
            .to_owned(),
            public_identity: member.identity.clone(),
            aged: beside.aged,
            queued: beside.queued.clone(),
        }
    }

    /// What the controller is still to be told of a member, and why it does not know yet.
    pub(super) fn still_to_tell(&self, member: MemberId) -> Option<String> {
        let intent = self.known.outbox.get(&member)?;
        let what = if intent.authorize { "authorise" } else { "deauthorise" };
        Some(match self.desk.trouble(member) {
            Some(why) => format!("{what} ({why})"),
            None => what.to_owned(),
        })
    }
}
