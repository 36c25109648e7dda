//! Messages that are held whole to be judged: how much memory they may take, so that nobody's fill a thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::model::MemberId;

/// What all messages held by one thread may take, in bytes, and what those of one member may.
const AT_MOST: usize = 64 << 20;
const OF_MEMBER: usize = AT_MOST / 2;

/// One thread's count of the bytes that are held.
#[derive(Debug, Default)]
pub struct Holding(RefCell<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_member: HashMap<MemberId, usize>,
}

/// Some bytes of a member's that are held; dropping it counts them off.
#[derive(Debug)]
pub struct Held {
    holding: Rc<Holding>,
    member: MemberId,
    bytes: usize,
}

impl Held {
    pub fn none(holding: &Rc<Holding>, member: MemberId) -> Self {
        Self { holding: holding.clone(), member, bytes: 0 }
    }

    /// Counts more bytes, if there is room for them.
    pub fn grow(&mut self, more: usize) -> bool {
        let mut counts = self.holding.0.borrow_mut();
        let own = counts.by_member.get(&self.member).copied().unwrap_or(0);
        if own + more > OF_MEMBER || counts.all + more > AT_MOST {
            return false;
        }
        counts.all += more;
        counts.by_member.insert(self.member, own + more);
        self.bytes += more;
        true
    }

    /// Counts all of them off.
    pub fn let_go(&mut self) {
        let mut counts = self.holding.0.borrow_mut();
        counts.all -= self.bytes;
        if let Some(own) = counts.by_member.get_mut(&self.member) {
            *own -= self.bytes;
            if *own == 0 {
                counts.by_member.remove(&self.member);
            }
        }
        self.bytes = 0;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_has_half_and_what_is_let_go_is_free_again() {
        let holding = Rc::<Holding>::default();
        let [mut mum, mut dad, mut guest] =
            ["c4c8812898", "bcba17eef8", "d000000009"].map(|id| Held::none(&holding, id.parse().unwrap()));
        assert!(mum.grow(OF_MEMBER) && !mum.grow(1));
        assert!(dad.grow(OF_MEMBER) && !guest.grow(1));
        drop(mum);
        assert!(guest.grow(1));
        dad.let_go();
        assert!(dad.grow(OF_MEMBER - 1));
        drop((dad, guest));
        assert!(holding.0.borrow().by_member.is_empty() && holding.0.borrow().all == 0);
    }
}
