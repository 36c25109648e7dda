//! What the data path knows of the world: one immutable value, swapped whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::identity::Roster;
use crate::policy::Rules;
use crate::services::Site;

/// Who there is, what they may, and what there is to open, as of one moment.
#[derive(Debug)]
pub struct Snapshot {
    pub roster: Arc<Roster>,
    pub rules: Arc<Rules>,
    pub site: Arc<Site>,
    /// Differs between any two snapshots of one gateway.
    pub generation: u64,
}

/// The current snapshot, for any number of threads.
#[derive(Debug)]
pub struct Shared {
    current: ArcSwap<Snapshot>,
    generation: AtomicU64,
}

impl Shared {
    pub fn new(roster: Arc<Roster>, rules: Arc<Rules>, site: Arc<Site>) -> Arc<Self> {
        let first = Snapshot { roster, rules, site, generation: 1 };
        Arc::new(Self { current: ArcSwap::from_pointee(first), generation: AtomicU64::new(1) })
    }

    /// Puts a new snapshot in place of the old one. Only one thread may do so.
    pub fn swap(&self, roster: Arc<Roster>, rules: Arc<Rules>, site: Arc<Site>) {
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        self.current.store(Arc::new(Snapshot { roster, rules, site, generation }));
        self.generation.store(generation, Ordering::Release);
    }

    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Changes with every swap; cheap enough to look at for each piece of a stream.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
