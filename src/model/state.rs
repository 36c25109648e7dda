//! The admission lifecycle of a member.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a member stands. Only `Active` opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// Known to the controller, not admitted here.
    Pending,
    Active,
    /// Admitted until a time that has passed.
    Expired,
    /// Put aside for now.
    Suspended,
    /// Once active, now refused: here, or deauthorised at the controller.
    Revoked,
}

impl MemberState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text names no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a member state: {0}")]
pub struct UnknownState(String);

impl FromStr for MemberState {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        [Self::Pending, Self::Active, Self::Expired, Self::Suspended, Self::Revoked]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownState(text.to_owned()))
    }
}
