//! The checks of controller and network: whether the controller answers, and what in the network's settings is not safe,
//! each with its mend.

use crate::admin::Person;
use crate::identity::Hazard;
use crate::model::MemberId;
use crate::zerotier::{ApiError, Controller, ControllerView, Fix, Proposal};

use super::Finding;

/// What mends a setting that the controller can be told to change.
const FIX: &str = "ztgate doctor --fix";

/// What the controller says about the network at this moment.
pub struct NetworkWord {
    pub view: ControllerView,
    /// What would make its settings safe.
    pub proposals: Vec<Proposal>,
}

impl NetworkWord {
    /// Asks the controller.
    ///
    /// # Errors
    /// Every answer that is not whole and plausible.
    pub async fn ask(controller: &dyn Controller) -> Result<Self, ApiError> {
        Ok(Self { view: controller.view().await?, proposals: controller.propose().await? })
    }

    /// What voids the proof of identity of whoever reaches this member, and can be mended by a person alone.
    fn hazards(&self, own: Option<MemberId>) -> impl Iterator<Item = Hazard> {
        let forwards = self.view.forwards.iter().filter(move |forward| forward.may_reach(own));
        forwards.map(|forward| Hazard::Redirect { rule: forward.rule.clone() })
    }
}

/// Whether the controller answers: to this command, and to the running gateway, which is another user with its own rights to
/// the token's file. `gateway_fails` is what that one says.
pub fn controller(word: &Result<NetworkWord, ApiError>, gateway_fails: Option<&str>) -> Finding {
    match (word, gateway_fails) {
        (Err(error), _) => Finding::bad(error.to_string(), "mend that, then: ztgate doctor"),
        (Ok(_), Some(error)) => Finding::bad(
            format!("answers here, and the running gateway says: {error}"),
            "see whether the gateway's user may read the token's file, then: ztgate status",
        ),
        (Ok(word), None) => Finding::ok(format!("answers, and has {} members", word.view.members.len())),
    }
}

/// What in the network's settings is not safe: by the controller's word now, and by what the running gateway goes by
/// (`in_force`, a mend for each). `own` is this machine's member.
pub fn settings(
    word: Option<&NetworkWord>,
    in_force: Option<&[String]>,
    own: Option<MemberId>,
) -> Vec<Finding> {
    if word.is_none() && in_force.is_none() {
        return Vec::new();
    }
    let proposals = word.map(|word| word.proposals.as_slice()).unwrap_or_default();
    let mut findings: Vec<_> = proposals.iter().map(|proposal| to_fix(proposal.fix, in_force)).collect();

    let fixed: Vec<_> = proposals.iter().filter_map(|proposal| Some(hazard(proposal.fix)?.mend())).collect();
    let known = in_force.unwrap_or_default();
    let told = word.into_iter().flat_map(|word| word.hazards(own)).map(|hazard| hazard.mend());
    let news: Vec<_> = told.filter(|mend| !known.contains(mend)).collect();
    let others = known.iter().chain(&news).filter(|mend| !fixed.contains(mend));
    let bad = |mend: &String| Finding::bad("a setting of the network voids the proof of identity", mend);
    findings.extend(others.map(bad));

    if findings.is_empty() {
        findings.push(Finding::ok("nothing voids the proof of identity"));
    }
    findings
}

/// Members that came with another public identity than the pinned one.
pub fn identities(changed: &[Person]) -> Vec<Finding> {
    let bad = |Person { member, device, .. }: &Person| {
        let name = device.as_deref().unwrap_or("a device without a name");
        Finding::bad(
            format!("the public identity of {name} ({member}) is not the pinned one, so it is refused"),
            format!("make sure that it is the same device; if it is not: ztgate revoke {member}"),
        )
    };
    changed.iter().map(bad).collect()
}

/// What the gateway calls the setting that a fix is for; `None` where it lives with it.
fn hazard(fix: Fix) -> Option<Hazard> {
    match fix {
        Fix::Private => Some(Hazard::Public),
        Fix::BridgeOff(member) => Some(Hazard::ActiveBridge { member }),
        Fix::DropUnauthenticated => None,
    }
}

/// A setting that can be fixed from here. `in_force` is what stops the running gateway from letting anybody in.
fn to_fix(fix: Fix, in_force: Option<&[String]>) -> Finding {
    let stops = |member| {
        let mend = Hazard::ActiveBridge { member }.mend();
        in_force.is_none_or(|mends| mends.contains(&mend))
    };
    match fix {
        Fix::Private => Finding::bad(
            "the network is public (private: false): anybody may join, revoking does nothing there, and nobody is let in here",
            FIX,
        ),
        Fix::BridgeOff(member) if stops(member) => Finding::bad(
            format!(
                "member {member} is a bridge (activeBridge) and may send frames with anybody's MAC; without pinned neighbours \
                 nobody is let in"
            ),
            FIX,
        ),
        Fix::BridgeOff(member) => Finding::warn(
            format!(
                "member {member} is a bridge (activeBridge) and may send frames with anybody's MAC; it is never let in itself, \
                 and the others from pinned addresses only"
            ),
            FIX,
        ),
        Fix::DropUnauthenticated => Finding::warn(
            "the network's rules let members send from addresses that are not their own (ipauth is not asked for)",
            FIX,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Grade;

    #[test]
    fn a_member_with_another_identity_is_an_alarm() {
        let person = Person {
            member: "c4c8812898".parse().unwrap(),
            device: Some("red-phone".to_owned()),
            label: None,
            state: crate::model::MemberState::Active,
        };
        let [found] = &identities(&[person])[..] else { unreachable!() };
        assert_eq!(found.grade, Grade::Bad);
        assert!(found.what.contains("red-phone (c4c8812898)"), "{}", found.what);
        assert_eq!(identities(&[]), []);
    }

    #[test]
    fn without_a_word_of_the_controller_the_gateway_s_stands() {
        let mend = Hazard::Public.mend();
        let [found] = &settings(None, Some(std::slice::from_ref(&mend)), None)[..] else { unreachable!() };
        assert_eq!((found.grade, found.mend.as_ref()), (Grade::Bad, Some(&mend)));
        assert_eq!(settings(None, Some(&[]), None), [Finding::ok("nothing voids the proof of identity")]);
        assert_eq!(settings(None, None, None), [], "nobody knows, and others say why");
    }
}
