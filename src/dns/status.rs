//! What DNS says about itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use super::forward::ForwardStatus;

/// DNS in `ztgate status`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DnsStatus {
    pub enabled: bool,
    pub doors: Vec<DnsDoor>,
    /// Whom others' names are asked of, and how that goes.
    pub forward: ForwardStatus,
    pub counts: Counts,
}

/// A socket that queries come in by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DnsDoor {
    pub at: SocketAddr,
    /// `udp` or `tcp`.
    pub protocol: String,
    /// Why it could not be had, with the program that holds it.
    pub error: Option<String>,
}

/// Queries since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// By what the gateway itself knows.
    pub answered: u64,
    /// By what others said.
    pub forwarded: u64,
    /// From members who are not let in.
    pub refused: u64,
    /// Malformed, or asking for what is not answered.
    pub rejected: u64,
    /// From addresses that are nobody's; not answered.
    pub strangers: u64,
    /// Beyond one member's share; most not answered.
    pub over_limit: u64,
}

/// The same while it is counted, by one thread.
#[derive(Debug, Default)]
pub struct Stats {
    pub(super) answered: Count,
    pub(super) forwarded: Count,
    pub(super) refused: Count,
    pub(super) rejected: Count,
    pub(super) strangers: Count,
    pub(super) over_limit: Count,
    pub(super) forward: ArcSwap<ForwardStatus>,
}

impl Stats {
    pub fn counts(&self) -> Counts {
        Counts {
            answered: self.answered.read(),
            forwarded: self.forwarded.read(),
            refused: self.refused.read(),
            rejected: self.rejected.read(),
            strangers: self.strangers.read(),
            over_limit: self.over_limit.read(),
        }
    }

    pub fn forward(&self) -> Arc<ForwardStatus> {
        self.forward.load_full()
    }
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
