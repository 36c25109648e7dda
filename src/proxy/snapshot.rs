//! What the data path knows of the world: one immutable value, swapped whole.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::identity::Roster;
use crate::policy::Rules;
use crate::routes::Site;

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
    /// Rosters that a thread may still look at. Freed here and not there: taking one of ten thousand members apart would hold
    /// up every request of the thread that happened to let go of it last.
    retired: Mutex<Vec<Arc<Roster>>>,
}

impl Shared {
    pub fn new(roster: Arc<Roster>, rules: Arc<Rules>, site: Arc<Site>) -> Arc<Self> {
        let first = Snapshot { roster, rules, site, generation: 1 };
        let current = ArcSwap::from_pointee(first);
        Arc::new(Self { current, generation: AtomicU64::new(1), retired: Mutex::default() })
    }

    /// Puts a new snapshot in place of the old one. Only one thread may do so.
    pub fn swap(&self, roster: Arc<Roster>, rules: Arc<Rules>, site: Arc<Site>) {
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        let old = self.current.swap(Arc::new(Snapshot { roster, rules, site, generation }));
        self.generation.store(generation, Ordering::Release);
        // No thread that carries traffic takes this lock. What it guards is whole after a panic, too.
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.push(old.roster.clone());
        drop(old);
        retired.retain(|roster| Arc::strong_count(roster) > 1);
    }

    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Changes with every swap; cheap enough to look at for each piece of a stream.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::from_text;
    use crate::model::Moment;

    #[test]
    fn a_roster_is_taken_apart_where_it_is_swapped_and_not_by_who_lets_go_of_it_last() {
        let config = from_text("network = \"5e02d9cb41c0ffee\"\nzone = \"home.arpa\"\n", &[]).unwrap();
        let (rules, site) = (Arc::new(Rules::compile(&config)), Arc::new(Site::new(&config, None).unwrap()));
        let taken = "2026-11-20T20:00:00Z".parse().unwrap();
        let limit = Duration::from_secs(60);
        let roster =
            || Arc::new(Roster::new(config.network, [], Vec::new(), taken, Moment::since_boot(1, 0), limit));
        let shared = Shared::new(roster(), rules.clone(), site.clone());
        let swap = || shared.swap(roster(), rules.clone(), site.clone());

        let looked_at = shared.load();
        let old = Arc::downgrade(&looked_at.roster);
        swap();
        drop(looked_at);
        assert!(old.upgrade().is_some(), "its last reader paid for it");
        swap();
        assert!(old.upgrade().is_none(), "it is kept for ever");
    }
}
