//! What a decision is asked with, and what it says.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identity::Member;
use crate::model::{Label, MemberId, RefusalCode};

/// Who asks, as policy sees it: an active member by its ID and the names that it has here.
///
/// What the controller calls it is not among them, because that is nobody's word here.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub id: MemberId,
    pub device: Option<&'a Label>,
    pub owner: Option<&'a Label>,
    /// The groups that the device itself was put into; those of `[groups]` need not be among them.
    pub groups: &'a [Label],
}

impl<'a> From<&'a Member> for Subject<'a> {
    fn from(member: &'a Member) -> Self {
        let Member { id, device, owner, groups, .. } = member;
        Self { id: *id, device: device.as_ref(), owner: owner.as_ref(), groups }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub service: &'a Label,
    pub method: &'a str,
    /// As it will be forwarded, without the query.
    pub path: &'a str,
    pub at: Timestamp,
}

/// The answer, and the rule that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub verdict: Result<Allowed, RefusalCode>,
    /// `None` where no rule matched, which refuses.
    pub rule: Option<Arc<RuleRef>>,
}

/// What somebody who is let in may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The roles granted, weakest first, each including those before it. Empty where the kind of service has none.
    pub roles: &'static [&'static str],
}

impl Allowed {
    /// The strongest role granted.
    pub fn role(self) -> Option<&'static str> {
        self.roles.last().copied()
    }

    pub fn has(self, role: &str) -> bool {
        self.roles.contains(&role)
    }
}

/// A rule as people find it: where it stands and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRef {
    pub file: Arc<str>,
    /// 1-based.
    pub line: u32,
    /// The words that decided, as they could be typed: `allow = ["family"]`.
    pub text: String,
    /// Both in one short line, for records: `ztgate.toml:14 allow family`.
    pub label: Arc<str>,
}
