//! Whether an order can be meant, and what to type instead.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::config::names::Names;
use crate::config::{Config, devices};
use crate::model::{Label, MemberId, MemberState, nearest};
use crate::store::{Profile, StoredMember};
use crate::sync::order::OrderError;

use super::{Desk, bearer};

impl Desk<'_> {
    pub(super) fn not_waiting(&self, id: MemberId) -> OrderError {
        let waits = |member: &&StoredMember| member.state == MemberState::Pending;
        let waiting = self.draft.next.members.iter().filter(waits).map(|member| member.id.to_string());
        let waiting: Vec<String> = waiting.collect();
        let hint = match nearest(&id.to_string(), waiting.iter().map(String::as_str)) {
            Some(other) => format!("did you mean {other}?"),
            None => "ztgate devices --pending lists who does.".to_owned(),
        };
        OrderError::declined(format!(
            "{id} does not wait here; {hint} To admit it before it knocks, add --ahead"
        ))
    }

    /// Holds a profile to what a list of devices can say, so that each one that is kept can be exported and read back.
    pub(super) fn says_no_more_than_it_may(
        &self,
        id: MemberId,
        profile: &mut Profile,
    ) -> Result<(), OrderError> {
        if profile.until.is_some() && self.own == Some(id) {
            return Err(self.is_own(id));
        }
        if let Some(notes) = &profile.notes {
            profile.notes =
                devices::notes(notes).map_err(|error| OrderError::declined(format!("the note: {error}")))?;
        }
        Ok(())
    }

    pub(super) fn is_own(&self, id: MemberId) -> OrderError {
        OrderError::declined(format!(
            "{id} is this gateway's own member; without it nobody reaches the gateway. To take it off the network: \
             zerotier-cli leave {}",
            self.draft.next.network
        ))
    }

    pub(super) fn is_in_future(&self, until: Option<Timestamp>) -> Result<(), OrderError> {
        match until {
            Some(until) if until <= self.now => Err(OrderError::declined(format!(
                "{until:.0} has passed already; say when it ends: --for 24h"
            ))),
            _ => Ok(()),
        }
    }

    /// The member that a person means.
    pub(super) fn find(&self, who: &str) -> Result<MemberId, OrderError> {
        if let Ok(id) = who.parse::<MemberId>()
            && self.places.contains_key(&id)
        {
            return Ok(id);
        }
        let members = &self.draft.next.members;
        let named =
            |member: &&StoredMember| member.profile.name.as_ref().is_some_and(|name| name.as_str() == who);
        if let Some(member) = members.iter().find(named) {
            return Ok(member.id);
        }
        let names = members.iter().filter_map(|member| member.profile.name.as_ref());
        let words = names.map(Label::to_string).chain(members.iter().map(|member| member.id.to_string()));
        let words: Vec<String> = words.collect();
        let hint = match nearest(who, words.iter().map(String::as_str)) {
            Some(word) => format!("; did you mean {word}?"),
            None => ": ztgate devices lists them".to_owned(),
        };
        Err(OrderError::declined(format!("no device {who} here{hint}")))
    }

    /// Holds that one name means one thing, for all that the draft says.
    pub(super) fn names_are_one(&self, config: &Config) -> Result<(), OrderError> {
        let touched: BTreeSet<MemberId> = self.draft.touched.iter().map(|(id, _)| *id).collect();
        let (drafted, others): (Vec<&StoredMember>, Vec<_>) =
            self.draft.next.members.iter().partition(|member| touched.contains(&member.id));
        let mut names = Names::of(config, others.into_iter().map(bearer));
        for member in drafted {
            names.check_device(&bearer(member)).map_err(|error| OrderError::declined(error.to_string()))?;
            names.add(&bearer(member));
        }
        Ok(())
    }
}
