//! The whole answer at once: every device against every service.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identity::Member;
use crate::model::{Label, MemberId, MemberState, RefusalCode};

use super::ask::{Ask, Subject};
use super::rules::Rules;

/// What `ztgate access` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTable {
    pub services: Vec<Label>,
    pub devices: Vec<AccessRow>,
}

/// One device's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRow {
    #[serde(rename = "member")]
    pub id: MemberId,
    pub device: Option<Label>,
    pub owner: Option<Label>,
    /// What the controller calls it; for people to read.
    pub label: Option<String>,
    pub state: MemberState,
    /// What refuses it before any rule is asked, other than its state: the network, or its identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusalCode>,
    /// In the order of [`AccessTable::services`].
    pub access: Vec<Access>,
}

/// What one device may do with one service. No device that is refused before any rule is asked may do anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    pub service: Label,
    pub allowed: bool,
    /// The strongest role, where the service has roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// As in records: `ztgate.toml:14 allow family`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
}

impl Rules {
    /// Every given member against every service, as of a moment; rows in the order of the members. `earlier` is the
    /// refusal that is judged before any rule, as in [`Rules::why`].
    pub fn table<'a>(
        &self,
        members: impl IntoIterator<Item = &'a Member>,
        earlier: impl Fn(&Member) -> Option<RefusalCode>,
        at: Timestamp,
    ) -> AccessTable {
        let row = |member: &Member| {
            let earlier = earlier(member);
            let open = member.state == MemberState::Active && earlier.is_none();
            let access = self.order.iter().map(|service| self.access(member, open, service, at)).collect();
            AccessRow {
                id: member.id,
                device: member.device.clone(),
                owner: member.owner.clone(),
                label: member.label.clone(),
                state: member.state,
                refused: earlier.filter(|_| member.state == MemberState::Active),
                access,
            }
        };
        AccessTable { services: self.order.clone(), devices: members.into_iter().map(row).collect() }
    }

    fn access(&self, member: &Member, open: bool, service: &Label, at: Timestamp) -> Access {
        let none = Access { service: service.clone(), allowed: false, role: None, rule: None };
        if !open {
            return none;
        }
        let decision = self.decide(&Subject::from(member), &Ask { service, method: "GET", path: "/", at });
        Access {
            allowed: decision.verdict.is_ok(),
            role: decision.verdict.ok().and_then(|allowed| allowed.role()).map(str::to_owned),
            rule: decision.rule.map(|rule| rule.label.clone()),
            ..none
        }
    }
}
