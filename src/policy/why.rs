//! One decision, told in full: who asked, what was decided, by which line, and what would change it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identity::Member;
use crate::model::{Label, MemberId, MemberState, RefusalCode};

use super::ask::{Allowed, Ask, RuleRef, Subject};
use super::rules::{Gap, Place, Rules};
use crate::services::Takes;

/// What `ztgate why` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    pub device: WhyDevice,
    pub service: Label,
    /// An HTTP method, or a call of the service's own; then [`Why::takes`] is there and the path says nothing.
    pub method: String,
    pub path: String,
    pub at: Timestamp,
    pub allowed: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<RefusalCode>,
    /// The strongest role granted, where the service has roles: also one that is too weak for the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The weakest role that may make the call, or `nobody`; none if the method is one of HTTP's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes: Option<String>,
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
    /// network, the identity or the member's state. `takes` is what the method takes where it is a call of the service's
    /// own: each call is judged apart from the request that carries it.
    pub fn why(
        &self,
        member: &Member,
        ask: &Ask<'_>,
        earlier: Option<RefusalCode>,
        takes: Option<Takes>,
    ) -> Why {
        let decision = self.decide(&Subject::from(member), ask);
        let earlier = earlier.or(refused_by_state(member.state));
        let (verdict, rule) = match (earlier, self.has(ask.service)) {
            (Some(code), _) => (Err(code), None),
            (None, false) => (Err(RefusalCode::UnknownName), None),
            (None, true) => (decision.verdict, decision.rule.map(|rule| RuleRef::clone(&rule))),
        };
        let why = self.told(member, ask, verdict, rule, None);
        match takes {
            Some(takes) => self.of_call(why, verdict, takes, member),
            None => why,
        }
    }

    /// The same for a call, given what was decided about the request that carries it.
    fn of_call(&self, why: Why, verdict: Result<Allowed, RefusalCode>, takes: Takes, member: &Member) -> Why {
        let (needed, meant) = match takes {
            Takes::Role(role) => (Some(role), None),
            Takes::Nobody { meant } => (None, meant),
        };
        let why = Why { takes: Some(needed.unwrap_or("nobody").to_owned()), ..why };
        match (verdict, needed) {
            (Ok(allowed), Some(role)) if allowed.has(role) => why,
            (Ok(_) | Err(RefusalCode::NoRule), Some(role)) => {
                let change = self.gap(&why.service, Some(role), member);
                Why { allowed: false, code: Some(RefusalCode::NoRule), change, ..why }
            }
            (Ok(_), None) => {
                let change = meant.map(|call| format!("ask for {call}, if that is what is meant"));
                Why { allowed: false, code: Some(RefusalCode::NotOffered), change, ..why }
            }
            (Err(_), _) => why,
        }
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
            takes: None,
            rule,
            note,
            change: verdict.err().and_then(|code| self.change(member, ask.service, code)),
        }
    }

    /// Where to write the member's name, so that it gets the role, or gets in at all.
    fn gap(&self, service: &Label, role: Option<&str>, member: &Member) -> Option<String> {
        let Place { at, gap } = self.place(service, role)?;
        let name = member.device.as_ref().map_or(member.id.to_string(), Label::to_string);
        Some(match gap {
            Gap::Word => format!("add \"{name}\" to allow at {at}"),
            Gap::WordOf(role) => format!("add \"{name}\" to allow.{role} at {at}"),
            Gap::Role(role) => format!("add {role} = [\"{name}\"] to allow at {at}"),
            Gap::Allow => format!("add allow = [\"{name}\"] to the service at {at}"),
        })
    }

    fn change(&self, member: &Member, service: &Label, code: RefusalCode) -> Option<String> {
        let text = match code {
            RefusalCode::NoRule => return self.gap(service, None, member),
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
