//! One decision, told in full: who asked, what was decided, by which line, and what would change it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identity::Member;
use crate::model::{Label, MemberId, MemberState, RefusalCode};

use super::ask::{Allowed, Ask, RuleRef, Subject};
use super::rules::{Gap, Rules};

/// What `ztgate why` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    pub device: WhyDevice,
    pub service: Label,
    pub method: String,
    pub path: String,
    pub at: Timestamp,
    pub allowed: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<RefusalCode>,
    /// The strongest role granted, where the service has roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleRef>,
    /// What decided, where no line of the configuration did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What to do for another answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

/// Who we think asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyDevice {
    #[serde(rename = "member")]
    pub id: MemberId,
    pub name: Option<Label>,
    pub owner: Option<Label>,
    /// Its own and those of `[groups]`.
    pub groups: Vec<Label>,
    /// What the controller calls it; for people to read.
    pub label: Option<String>,
    pub state: MemberState,
}

impl Rules {
    /// Explains a decision. `earlier` is the refusal that is judged before any rule, where there is one: the
    /// network, the identity or the member's state.
    pub fn why(&self, member: &Member, ask: &Ask<'_>, earlier: Option<RefusalCode>) -> Why {
        let decision = self.decide(&Subject::from(member), ask);
        let earlier = earlier.or(refused_by_state(member.state));
        let (verdict, rule) = match (earlier, self.place(ask.service)) {
            (Some(code), _) => (Err(code), None),
            (None, None) => (Err(RefusalCode::UnknownName), None),
            (None, Some(_)) => (decision.verdict, decision.rule.map(|rule| RuleRef::clone(&rule))),
        };
        self.told(member, ask, verdict, rule, None)
    }

    /// The same for the gateway's own page, which asks no rule.
    pub fn why_gate(&self, member: &Member, ask: &Ask<'_>, earlier: Option<RefusalCode>) -> Why {
        let earlier = earlier.or(refused_by_state(member.state));
        let verdict = earlier.map_or(Ok(Allowed { roles: &[] }), Err);
        let note = "the gateway's own page is open to every active member";
        self.told(member, ask, verdict, None, Some(note.to_owned()))
    }

    fn told(
        &self,
        member: &Member,
        ask: &Ask<'_>,
        verdict: Result<Allowed, RefusalCode>,
        rule: Option<RuleRef>,
        note: Option<String>,
    ) -> Why {
        Why {
            device: WhyDevice {
                id: member.id,
                name: member.device.clone(),
                owner: member.owner.clone(),
                groups: self.groups_of(&Subject::from(member)),
                label: member.label.clone(),
                state: member.state,
            },
            service: ask.service.clone(),
            method: ask.method.to_owned(),
            path: ask.path.to_owned(),
            at: ask.at,
            allowed: verdict.is_ok(),
            code: verdict.err(),
            role: verdict.ok().and_then(|allowed| allowed.role()).map(str::to_owned),
            rule,
            note,
            change: verdict.err().and_then(|code| self.change(member, ask.service, code)),
        }
    }

    fn change(&self, member: &Member, service: &Label, code: RefusalCode) -> Option<String> {
        let text = match code {
            RefusalCode::NoRule => {
                let place = self.place(service)?;
                let name = member.device.as_ref().map_or(member.id.to_string(), Label::to_string);
                let at = &place.at;
                match place.gap {
                    Gap::Word => format!("add \"{name}\" to allow at {at}"),
                    Gap::WordOf(role) => format!("add \"{name}\" to allow.{role} at {at}"),
                    Gap::Role(role) => format!("add {role} = [\"{name}\"] to allow at {at}"),
                    Gap::Allow => format!("add allow = [\"{name}\"] to the service at {at}"),
                }
            }
            RefusalCode::UnknownName => {
                let known: Vec<&str> = self.order.iter().map(Label::as_str).collect();
                match known.is_empty() {
                    true => "no service is configured; add a [service.NAME] to ztgate.toml".to_owned(),
                    false => format!("ask for one of: {}", known.join(", ")),
                }
            }
            RefusalCode::MemberPending => {
                "authorise the member at its controller, if you know the device".to_owned()
            }
            RefusalCode::MemberRevoked => {
                "authorise the member at its controller again, if it should come back".to_owned()
            }
            RefusalCode::MemberSuspended | RefusalCode::MemberExpired => "admit the device again".to_owned(),
            RefusalCode::NetworkUnsafe | RefusalCode::RosterStale => {
                "run \"ztgate doctor\": it says what to mend".to_owned()
            }
            RefusalCode::IdentityChanged => {
                "make sure that it is the same device; run \"ztgate doctor\"".to_owned()
            }
            RefusalCode::IdentityUnproven => {
                "wait a moment after its first contact, then try again".to_owned()
            }
            _ => return None,
        };
        Some(text)
    }
}

fn refused_by_state(state: MemberState) -> Option<RefusalCode> {
    match state {
        MemberState::Active => None,
        MemberState::Pending => Some(RefusalCode::MemberPending),
        MemberState::Expired => Some(RefusalCode::MemberExpired),
        MemberState::Suspended => Some(RefusalCode::MemberSuspended),
        MemberState::Revoked => Some(RefusalCode::MemberRevoked),
    }
}
