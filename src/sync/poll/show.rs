//! What is known of a device, as lists show it.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::MemberState;
use crate::store::{AtController, PinProof, StoredMember};

use super::RosterTask;
use crate::sync::order::DeviceView;

/// Who has not asked for so long is left out of the list of those who wait.
const AGED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl RosterTask {
    pub(super) fn view_of(&self, member: &StoredMember, now: Timestamp) -> DeviceView {
        let presence = self.presence.get(&member.id).cloned().unwrap_or_default();
        // Where neither node nor controller tells whom it hears, the first knock is all that is known.
        let heard = presence.last_seen.unwrap_or(member.first_seen);
        let age = Duration::try_from(now.duration_since(heard)).unwrap_or_default();
        let network = self.network;
        let derived = [member.id.rfc4193(network).into(), member.id.six_plane(network).into()];
        DeviceView {
            member: member.id,
            state: member.state,
            own: self.own() == Some(member.id),
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
            last_seen: presence.last_seen,
            physical: presence.physical,
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
            aged: member.state == MemberState::Pending && age > AGED,
            queued: self.known.outbox.get(&member.id).map(|intent| {
                let what = if intent.authorize { "authorise" } else { "deauthorise" };
                match self.desk.trouble(member.id) {
                    Some(why) => format!("{what} ({why})"),
                    None => what.to_owned(),
                }
            }),
        }
    }
}
