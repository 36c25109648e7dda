//! What the prover finds of pinned identities.

use super::RosterTask;
use crate::identity::proof::Verdict;
use crate::store::PinProof;
use crate::sync::merge::{self, Alarm};

impl RosterTask {
    /// Takes the prover's verdicts, as many as there are.
    pub(super) fn judge(&mut self, first: Verdict) {
        let mut verdicts = vec![first];
        while let Some(verdict) = self.prover.try_next() {
            verdicts.push(verdict);
        }
        let (mut proofs, mut alarms) = (Vec::new(), Vec::new());
        for verdict in &verdicts {
            let pinned = self.known.members.iter_mut().find(|member| member.id == verdict.id);
            let Some(member) = pinned.filter(|m| m.identity.as_ref() == Some(&verdict.identity)) else {
                continue;
            };
            member.proof = if verdict.result.is_ok() { PinProof::Proven } else { PinProof::Failed };
            if let Err(why) = verdict.result {
                alarms.push(Alarm::NotItsIdentity { member: verdict.id, why: why.to_string() });
            }
            proofs.push((member.id, verdict.identity.as_str(), member.proof));
        }
        alarms.iter().for_each(|alarm| self.sound(alarm));
        if let Err(error) = self.store.save_proofs(&proofs) {
            tracing::warn!(%error, "a proof could not be kept; it will be made again after the next start");
        }
        self.publish();
    }

    pub(super) fn prove_open(&self) {
        for (id, identity) in merge::to_prove(&self.known.members) {
            self.prover.submit(id, identity);
        }
    }
}
