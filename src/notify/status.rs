//! How the receivers stand, for `ztgate status`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::TargetKind;

/// All receivers. One that is not configured is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyStatus {
    pub webhook: Option<TargetStatus>,
    pub ntfy: Option<TargetStatus>,
    /// Events dropped because they came faster than the disk took them, since the start.
    pub overrun: u64,
}

/// One receiver. Counts are since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Scheme, host and port; the rest of the URL may be a secret.
    pub url: String,
    /// What waits to be delivered.
    pub queued: usize,
    pub delivered: u64,
    pub last_delivered: Option<Timestamp>,
    /// The last failure since something was delivered.
    pub last_error: Option<Failure>,
    /// Deliveries that were given up: after 24 hours, or because the receiver said 410.
    pub given_up: u64,
    /// Deliveries dropped because too many waited.
    pub dropped: u64,
    /// Knocks that nobody was told of because there were too many at once.
    pub held_back: u64,
}

/// Why a delivery did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub time: Timestamp,
    /// In words, without secrets.
    pub why: String,
    /// Failures in a row.
    pub times: u32,
}

impl NotifyStatus {
    pub(super) fn of(&mut self, kind: TargetKind) -> &mut Option<TargetStatus> {
        match kind {
            TargetKind::Webhook => &mut self.webhook,
            TargetKind::Ntfy => &mut self.ntfy,
        }
    }
}
