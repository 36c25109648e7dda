//! What is not believed at once, and not done by itself: mistakes of a size that people do not make.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;

use super::RosterTask;
use crate::model::{MemberId, MemberState, Moment};
use crate::store::{AtController, Intent};
use crate::sync::order::{Difference, Step};
use crate::sync::plan;
use crate::zerotier::ControllerView;

impl RosterTask {
    /// Whom `enforce` puts out now, and what of it somebody had to acknowledge. Nobody while it does not know which member it
    /// is itself, nor, unless a person orders a `sync`, where a wrong or an old store is the likelier reason.
    pub(super) fn enforce(
        &mut self,
        plan: &[Difference],
        view: &ControllerView,
        outbox: &BTreeMap<MemberId, Intent>,
        (now, asked): (Timestamp, Moment),
    ) -> (BTreeMap<MemberId, Intent>, Option<String>) {
        if self.first_start || self.gateway.is_none() {
            return Default::default();
        }
        let mut put_out = plan::enforced(plan, outbox, now);
        let authorized = view.members.iter().filter(|member| member.authorized).count();
        let is_odd =
            plan::is_too_much(put_out.len(), authorized) || (self.is_old_store && !put_out.is_empty());
        if !is_odd {
            self.is_old_store = false;
            return (put_out, None);
        }
        let what = format!("sync = \"enforce\" would put out {} of {authorized} members", put_out.len());
        let Some(by) = self.acknowledged_by(asked) else {
            tracing::error!(
                "{what}, which looks like a wrong or an old store; look: ztgate sync --dry-run, and do it: ztgate sync"
            );
            return Default::default();
        };
        self.is_old_store = false;
        // From here on it is that person's doing.
        for intent in put_out.values_mut() {
            (intent.who, intent.origin) = (by.who.clone(), by.origin.clone());
        }
        (put_out, Some(what))
    }

    /// Says of each device that `enforce` does not put out now what it waits for.
    pub(super) fn leave_what_waits(&self, plan: &mut [Difference], outbox: &BTreeMap<MemberId, Intent>) {
        let waits =
            |line: &&mut Difference| line.step == Step::Deauthorize && !outbox.contains_key(&line.member);
        for line in plan.iter_mut().filter(waits) {
            if self.first_start || self.gateway.is_none() {
                line.step = Step::Leave;
                line.why =
                    "sync = \"enforce\" waits until this machine's node says which member it is".to_owned();
            } else {
                line.why = "sync = \"enforce\", once somebody orders it: ztgate sync".to_owned();
            }
        }
    }

    /// What is wrong with a list that lacks more members than anybody deletes between two looks. A person who asks for a
    /// `sync` has it believed.
    pub(super) fn lacks_too_many(&self, listed: &HashSet<MemberId>) -> Option<String> {
        let active = || self.known.members.iter().filter(|member| member.state == MemberState::Active);
        let lacks =
            active().filter(|m| !listed.contains(&m.id) && m.at_controller != AtController::Gone).count();
        let all = active().count();
        (lacks > (all / 10).max(2)).then(|| format!("its list lacks {lacks} of {all} active members at once"))
    }
}
