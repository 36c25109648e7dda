//! A whole list of devices taken over.

use std::collections::BTreeSet;

use crate::model::{Label, MemberId, MemberState};
use crate::sync::order::{Listed, OrderError};

use super::{Desk, called};

impl Desk<'_> {
    pub(super) fn import(&mut self, devices: &[Listed]) -> Result<(), OrderError> {
        for Listed { id, profile } in devices {
            if let (Some(until), Some(name)) =
                (profile.until.filter(|until| *until <= self.now), &profile.name)
            {
                // A list kept in git outlives its guests; one of them is no reason to take nobody.
                self.draft.notes.push(format!("{name} is passed over: its time was up at {until:.0}"));
                continue;
            }
            match self.member(*id).map(|member| (member.state, called(member))) {
                None => self.admit(*id, profile, true)?,
                Some((MemberState::Pending, _)) => self.let_in(*id, profile)?,
                Some((MemberState::Active, _)) => {
                    let mut profile = profile.clone();
                    self.says_no_more_than_it_may(*id, &mut profile)?;
                    self.rewrite(*id, profile);
                }
                Some((state, _)) => {
                    let mut profile = profile.clone();
                    self.says_no_more_than_it_may(*id, &mut profile)?;
                    self.rewrite(*id, profile.clone());
                    let name = profile.name.as_ref().map_or_else(|| id.to_string(), Label::to_string);
                    let note = format!("{name} stays {state}; to let it in again: ztgate restore {name}");
                    self.draft.notes.push(note);
                }
            }
        }
        let listed: BTreeSet<MemberId> = devices.iter().map(|device| device.id).collect();
        let named = self.draft.next.members.iter().filter(|member| member.profile.name.is_some());
        let others = named.filter(|member| !listed.contains(&member.id)).count();
        if others > 0 {
            self.draft.notes.push(format!("{others} more that the list does not name stay as they are"));
        }
        Ok(())
    }
}
