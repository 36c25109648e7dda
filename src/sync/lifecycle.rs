//! The lifecycle as people move it: what an order makes of what is known. Pure.
//!
//! ```text
//! pending --admit--> active --expire, suspend, revoke--> expired, suspended, revoked --restore--> active
//! ```
//!
//! A right that shrinks holds from the moment it is drafted. A right that widens is drafted as an intent alone, and holds
//! once the controller has shown that it knows ([`granted`]).

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use crate::config::Config;
use crate::config::names::Bearer;
use crate::model::{Label, MemberId, MemberState};
use crate::store::{
    Admitted, AtController, Change, ChangeOrigin, Intent, PinProof, Profile, StoredMember, StoredRoster,
};

use super::expiry::notice_of;
use super::order::{Actor, Edit, Order, OrderError};
use super::profile::{differences, is_less};

/// What an order comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub next: StoredRoster,
    pub changes: Vec<Change>,
    /// The devices that it is about, and what changes here for each, for people to read.
    pub touched: Vec<(MemberId, Vec<String>)>,
    pub notes: Vec<String>,
    /// What is said of a device changes to something that may open more.
    gives: bool,
}

impl Draft {
    /// Whether it lets somebody in, or may open more to somebody who is; that waits for the disk.
    pub fn widens(&self) -> bool {
        let lets_in = |id| self.next.outbox.get(id).is_some_and(|intent: &Intent| intent.authorize);
        self.gives || self.touched.iter().any(|(id, _)| lets_in(id))
    }

    /// Whether it changes anything.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Drafts an order. [`Order::Sync`] drafts nothing. `own` is this machine's member, which nobody puts out from here: the
/// gateway would cut itself off.
///
/// # Errors
/// It cannot be carried out; the words tell what to type instead.
pub fn draft(
    order: &Order,
    known: &StoredRoster,
    config: &Config,
    own: Option<MemberId>,
    by: &Actor,
    now: Timestamp,
) -> Result<Draft, OrderError> {
    let mut desk = Desk::new(known, by, now);
    desk.own = own;
    match order {
        Order::Admit { id, profile, ahead } => desk.admit(*id, profile, *ahead)?,
        Order::Suspend { who, why } => desk.put_out(who, MemberState::Suspended, why.as_deref())?,
        Order::Revoke { who, why } => desk.put_out(who, MemberState::Revoked, why.as_deref())?,
        Order::Restore { who, until } => desk.restore(who, *until)?,
        Order::Edit { who, edit } => desk.edit(who, edit)?,
        Order::Import { devices, .. } => desk.import(devices)?,
        Order::Note { what } => desk.note(what)?,
        Order::Sync { .. } => {}
    }
    desk.names_are_one(config)?;
    Ok(desk.draft)
}

/// What follows once the controller has shown that it authorised a member for whom that was intended, by a record that was
/// made at `made`. `None` if nobody intends it any more.
pub fn granted(known: &StoredRoster, id: MemberId, made: Option<Timestamp>, now: Timestamp) -> Option<Draft> {
    let intent = known.outbox.get(&id).filter(|intent| intent.authorize)?.clone();
    let by = Actor { who: intent.who, origin: intent.origin };
    let mut desk = Desk::new(known, &by, now);
    desk.draft.next.outbox.remove(&id);
    let member = desk.member_mut(id)?;
    member.admitted = Some(Admitted::Ordered);
    member.at_controller = AtController::Authorized;
    // Of this record alone: one that was made again by the next look is not the one that was admitted.
    member.creation_time = made;
    let why = if member.state == MemberState::Pending { "admitted" } else { "restored" };
    desk.moved(id, MemberState::Active, why.to_owned());
    Some(desk.draft)
}

/// What follows once the controller has shown that it deauthorised a member.
pub fn taken_back(known: &StoredRoster, id: MemberId) -> Option<Draft> {
    let intent = known.outbox.get(&id).filter(|intent| !intent.authorize)?;
    let by = Actor { who: intent.who.clone(), origin: intent.origin.clone() };
    let mut desk = Desk::new(known, &by, intent.since);
    desk.draft.next.outbox.remove(&id);
    if let Some(member) = desk.member_mut(id)
        && member.at_controller == AtController::Authorized
    {
        member.at_controller = AtController::Unauthorized;
    }
    Some(desk.draft)
}

/// Expires every device whose time has come. `None` if there is none.
pub fn expire(known: &StoredRoster, own: Option<MemberId>, now: Timestamp) -> Option<Draft> {
    let is_in = |member: &StoredMember| member.state == MemberState::Active && own != Some(member.id);
    let is_to_be = |id: &MemberId| known.outbox.get(id).is_some_and(|intent| intent.authorize);
    let has_ended = |member: &&StoredMember| {
        (is_in(member) || is_to_be(&member.id)) && member.profile.until.is_some_and(|until| until <= now)
    };
    let ended: Vec<&StoredMember> = known.members.iter().filter(has_ended).collect();
    if ended.is_empty() {
        return None;
    }
    let by = Actor { who: "clock".to_owned(), origin: Some(ChangeOrigin::Clock) };
    let mut desk = Desk::new(known, &by, now);
    for member in ended {
        desk.intend(member.id, false);
        if is_in(member) {
            desk.moved(member.id, MemberState::Expired, "its time was up".to_owned());
        } else {
            desk.noted(member.id, member.state, "its time was up before it could be let in".to_owned());
        }
    }
    Some(desk.draft)
}

mod checks;
mod import;

/// A draft in the making.
struct Desk<'a> {
    draft: Draft,
    places: HashMap<MemberId, usize>,
    by: &'a Actor,
    now: Timestamp,
    own: Option<MemberId>,
}

impl<'a> Desk<'a> {
    fn new(known: &StoredRoster, by: &'a Actor, now: Timestamp) -> Self {
        let places = known.members.iter().enumerate().map(|(place, member)| (member.id, place)).collect();
        let draft = Draft {
            next: known.clone(),
            changes: Vec::new(),
            touched: Vec::new(),
            notes: Vec::new(),
            gives: false,
        };
        Self { draft, places, by, now, own: None }
    }

    fn member(&self, id: MemberId) -> Option<&StoredMember> {
        self.draft.next.members.get(*self.places.get(&id)?)
    }

    fn member_mut(&mut self, id: MemberId) -> Option<&mut StoredMember> {
        self.draft.next.members.get_mut(*self.places.get(&id)?)
    }

    fn admit(&mut self, id: MemberId, profile: &Profile, ahead: bool) -> Result<(), OrderError> {
        let Some(member) = self.member(id) else {
            if !ahead {
                return Err(self.not_waiting(id));
            }
            let member = StoredMember::unheard(id, self.now);
            self.places.insert(id, self.draft.next.members.len());
            self.draft.next.members.push(member);
            return self.let_in(id, profile);
        };
        let called = called(member);
        match member.state {
            MemberState::Pending => self.let_in(id, profile),
            MemberState::Active => Err(OrderError::declined(format!(
                "{called} is active already; to change what is said of it: ztgate devices rename, owner, groups, expire or \
                 note {called}"
            ))),
            state => Err(OrderError::declined(format!(
                "{called} is {state}; to let it in again: ztgate restore {called}"
            ))),
        }
    }

    /// Gives a device that waits its profile, and intends to have it authorised.
    fn let_in(&mut self, id: MemberId, profile: &Profile) -> Result<(), OrderError> {
        self.is_in_future(profile.until)?;
        let Some(member) = self.member(id) else { return Ok(()) };
        if member.differs || member.proof == PinProof::Failed {
            return Err(OrderError::declined(format!(
                "the public identity that the controller shows for {id} is not its own; it is not let in"
            )));
        }
        let mut profile = profile.clone();
        // One that was in before keeps what is not said anew, its end above all.
        let before = &member.profile;
        profile.name = profile.name.or_else(|| before.name.clone());
        profile.owner = profile.owner.or_else(|| before.owner.clone());
        profile.notes = profile.notes.or_else(|| before.notes.clone());
        profile.until = profile.until.or(before.until.filter(|until| *until > self.now));
        if profile.groups.is_empty() {
            profile.groups.clone_from(&before.groups);
        }
        if profile.name.is_none() {
            // Suggested only: whoever writes labels at the controller must not choose who bears which name.
            let name = Label::suggested(member.label.as_deref().unwrap_or_default());
            let is_free = |name: &Label| {
                self.draft.next.members.iter().all(|other| other.profile.name.as_ref() != Some(name))
            };
            let name = name.filter(is_free).map_or_else(|| "NAME".to_owned(), |name| name.to_string());
            return Err(OrderError::declined(format!("{id} needs a name: ztgate admit {id} --name {name}")));
        }
        self.says_no_more_than_it_may(id, &mut profile)?;
        let notice = notice_of(profile.until, self.now);
        if let Some(member) = self.member_mut(id) {
            member.profile = profile;
            member.notice = notice;
        }
        self.intend(id, true);
        let (from, why) = (self.member(id).map(|member| member.state), "to be admitted".to_owned());
        self.noted(id, from.unwrap_or(MemberState::Pending), why);
        Ok(())
    }

    fn put_out(&mut self, who: &str, to: MemberState, why: Option<&str>) -> Result<(), OrderError> {
        let id = self.find(who)?;
        if self.own == Some(id) {
            return Err(self.is_own(id));
        }
        let Some(member) = self.member(id) else { return Ok(()) };
        let (called, from) = (called(member), member.state);
        // Whoever knocks and is not wanted can be sent away for good.
        let legal = to == MemberState::Revoked || from == MemberState::Active || from == to;
        let is_to_be_let_in = self.draft.next.outbox.get(&id).is_some_and(|intent| intent.authorize);
        if from == to && !is_to_be_let_in {
            self.draft.touched.push((id, Vec::new()));
            return Ok(());
        }
        if !legal {
            let mut why = format!("{called} is {from}, and only an active device can be {to}");
            if is_to_be_let_in {
                why = format!("{why}; so that it is not let in after all: ztgate revoke {called}");
            }
            return Err(OrderError::declined(why));
        }
        self.intend(id, false);
        if let Some(member) = self.member_mut(id) {
            // Whom somebody sends away is let in by an order alone, also where the controller is followed.
            member.admitted.get_or_insert(Admitted::SentAway);
        }
        self.moved(id, to, why.map_or_else(|| to.to_string(), one_line));
        Ok(())
    }

    fn restore(&mut self, who: &str, until: Option<Timestamp>) -> Result<(), OrderError> {
        self.is_in_future(until)?;
        let id = self.find(who)?;
        let (own, now) = (self.own, self.now);
        let Some(member) = self.member_mut(id) else { return Ok(()) };
        let (called, state) = (called(member), member.state);
        match state {
            MemberState::Active => return Err(OrderError::declined(format!("{called} is active already"))),
            MemberState::Pending => {
                let name = member.profile.name.as_ref().map_or("NAME", Label::as_str);
                return Err(OrderError::declined(format!(
                    "{called} waits to be admitted: ztgate admit {id} --name {name}"
                )));
            }
            MemberState::Expired | MemberState::Suspended | MemberState::Revoked => {}
        }
        if member.profile.name.is_none() && member.admitted == Some(Admitted::SentAway) {
            return Err(OrderError::declined(format!(
                "{called} was sent away before it had a name; give it one first: ztgate devices rename {called} NAME"
            )));
        }
        // An end that was set stays set until somebody says otherwise.
        let until = until.or(member.profile.until);
        if until.is_some_and(|until| until <= now) {
            return Err(OrderError::declined(format!(
                "the time of {called} is up; say when it ends now: ztgate restore {called} --for 24h, or let it stay: \
                 ztgate devices expire {called} --never, and then ztgate restore {called}"
            )));
        }
        if until.is_some() && own == Some(id) {
            return Err(self.is_own(id));
        }
        if member.differs || member.proof == PinProof::Failed {
            return Err(OrderError::declined(format!(
                "the controller shows another public identity for {called} than the pinned one; it is not let in"
            )));
        }
        let kept = until.filter(|_| member.profile.until == until);
        member.profile.until = until;
        member.notice = notice_of(until, now);
        self.intend(id, true);
        self.noted(id, state, "to be restored".to_owned());
        if let Some(until) = kept {
            self.tell(id, format!("expires {until:.0}, as before"));
        }
        Ok(())
    }

    fn edit(&mut self, who: &str, edit: &Edit) -> Result<(), OrderError> {
        let id = self.find(who)?;
        let Some(member) = self.member(id) else { return Ok(()) };
        let (state, mut profile) = (member.state, member.profile.clone());
        match edit {
            Edit::Rename(name) => profile.name = Some(name.clone()),
            Edit::Owner(owner) => profile.owner.clone_from(owner),
            Edit::Groups { add, remove } => {
                if let Some(absent) = remove.iter().find(|group| !profile.groups.contains(group)) {
                    return Err(OrderError::declined(format!(
                        "{} is not in the group {absent}",
                        called(member)
                    )));
                }
                let groups = profile.groups.iter().chain(add).filter(|group| !remove.contains(group));
                profile.groups = groups.cloned().collect::<BTreeSet<_>>().into_iter().collect();
            }
            Edit::Until(until) => {
                if state == MemberState::Expired && until.is_some() {
                    let name = called(member);
                    return Err(OrderError::declined(format!(
                        "{name} has expired: ztgate restore {name} --for 24h"
                    )));
                }
                self.is_in_future(*until)?;
                profile.until = *until;
            }
            Edit::Notes(notes) => profile.notes.clone_from(notes),
        }
        self.says_no_more_than_it_may(id, &mut profile)?;
        self.rewrite(id, profile);
        Ok(())
    }

    /// What concerns the network stands in the history of this machine's own member.
    fn note(&mut self, what: &str) -> Result<(), OrderError> {
        let unknown = "the gateway does not know its own member yet; see ztgate status";
        let id = self.own.ok_or_else(|| OrderError::too_early(unknown))?;
        let state = self.member(id).map_or(MemberState::Active, |member| member.state);
        self.noted(id, state, one_line(what));
        Ok(())
    }

    /// Puts a profile in another's place, and tells the differences.
    fn rewrite(&mut self, id: MemberId, profile: Profile) {
        let notice = notice_of(profile.until, self.now);
        let Some(member) = self.member_mut(id) else { return };
        let old = std::mem::replace(&mut member.profile, profile.clone());
        let state = member.state;
        if old.until != profile.until {
            member.notice = notice;
        }
        self.draft.gives |= !is_less(&old, &profile);
        let differences = differences(&old, &profile);
        for difference in &differences {
            self.noted(id, state, difference.clone());
        }
        if differences.is_empty() {
            self.draft.touched.push((id, Vec::new()));
        }
    }

    /// Records what changes about a device without its state.
    fn noted(&mut self, id: MemberId, state: MemberState, why: String) {
        self.record(id, Some(state), state, why.clone());
        self.tell(id, why);
    }

    fn moved(&mut self, id: MemberId, to: MemberState, why: String) {
        let Some(member) = self.member_mut(id) else { return };
        let from = std::mem::replace(&mut member.state, to);
        // Whom an order is about is told of, also where all that it does is take back what was still to come.
        self.tell(id, if from == to { format!("stays {to}") } else { format!("{from} -> {to}") });
        self.record(id, Some(from), to, why);
    }

    fn record(&mut self, member: MemberId, from: Option<MemberState>, to: MemberState, why: String) {
        let Actor { who, origin } = self.by.clone();
        self.draft.changes.push(Change { time: self.now, member, from, to, why, who, origin });
    }

    fn tell(&mut self, id: MemberId, what: String) {
        match self.draft.touched.iter_mut().find(|(touched, _)| *touched == id) {
            Some((_, told)) => told.push(what),
            None => self.draft.touched.push((id, vec![what])),
        }
    }

    fn intend(&mut self, id: MemberId, authorize: bool) {
        let Actor { who, origin } = self.by.clone();
        let intent = Intent { authorize, since: self.now, who, origin };
        self.draft.next.outbox.insert(id, intent);
    }
}

/// A member with the names that it brings into use.
pub fn bearer(member: &StoredMember) -> Bearer<'_> {
    let Profile { name, owner, groups, .. } = &member.profile;
    Bearer { id: member.id, name: name.as_ref(), owner: owner.as_ref(), groups }
}

/// A text for the log: one line of it, and no more than a person reads.
fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

/// How people call a member.
pub fn called(member: &StoredMember) -> String {
    member.profile.name.as_ref().map_or_else(|| member.id.to_string(), Label::to_string)
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "lifecycle_world_tests.rs"]
mod world;
