//! How many connections to services there may be at a time, of all members together and of one: each takes a descriptor,
//! and over HTTP/2 one device asks for many.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::model::MemberId;

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The member has its share.
    OfMember,
    /// All are taken.
    AtAll,
}

/// One thread's slots.
#[derive(Debug)]
pub struct Slots {
    most: u32,
    taken: Cell<u32>,
    by_member: RefCell<HashMap<MemberId, u32>>,
}

impl Slots {
    pub fn new(most: u32) -> Rc<Self> {
        Rc::new(Self { most, taken: Cell::default(), by_member: RefCell::default() })
    }

    /// Takes a slot for a member.
    pub fn take(self: &Rc<Self>, member: MemberId) -> Result<Slot, Full> {
        if self.taken.get() >= self.most {
            return Err(Full::AtAll);
        }
        self.charge(member)?;
        self.taken.set(self.taken.get() + 1);
        Ok(Slot { slots: self.clone(), member })
    }

    /// One member gets half, so that no device keeps everybody from every service.
    fn charge(&self, member: MemberId) -> Result<(), Full> {
        let mut by_member = self.by_member.borrow_mut();
        let taken = by_member.entry(member).or_default();
        if *taken >= self.most.div_ceil(2) {
            return Err(Full::OfMember);
        }
        *taken += 1;
        Ok(())
    }

    fn discharge(&self, member: MemberId) {
        let mut by_member = self.by_member.borrow_mut();
        if let Some(taken) = by_member.get_mut(&member) {
            *taken -= 1;
            if *taken == 0 {
                by_member.remove(&member);
            }
        }
    }
}

/// The right to one connection, charged to the member who used it last. Given back when dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Rc<Slots>,
    member: MemberId,
}

impl Slot {
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// Charges another member from now on, who may have no room for it. Costs a comparison where it is the same one.
    pub fn pass_to(&mut self, member: MemberId) -> Result<(), Full> {
        if member != self.member {
            self.slots.charge(member)?;
            self.slots.discharge(std::mem::replace(&mut self.member, member));
        }
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.taken.set(self.slots.taken.get() - 1);
        self.slots.discharge(self.member);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> [MemberId; 3] {
        ["1000000001", "1000000002", "1000000003"].map(|id| id.parse().unwrap())
    }

    #[test]
    fn one_member_has_half_and_everybody_has_all() {
        let [red, blue, green] = members();
        let slots = Slots::new(4);
        let _reds = [slots.take(red).unwrap(), slots.take(red).unwrap()];
        assert_eq!(slots.take(red).unwrap_err(), Full::OfMember);
        let blues = [slots.take(blue).unwrap(), slots.take(blue).unwrap()];
        assert_eq!(slots.take(green).unwrap_err(), Full::AtAll);
        drop(blues);
        assert!(slots.take(green).is_ok());
        assert!(slots.by_member.borrow().keys().all(|&member| member == red), "the rest is forgotten");
    }

    #[test]
    fn a_connection_is_charged_to_who_used_it_last() {
        let [red, blue, green] = members();
        let slots = Slots::new(4);
        let mut first = slots.take(red).unwrap();
        first.pass_to(blue).unwrap();
        let _blue = slots.take(blue).unwrap();
        let mut other = slots.take(green).unwrap();
        assert_eq!(other.pass_to(blue), Err(Full::OfMember));
        assert_eq!((first.member(), other.member()), (blue, green));
        drop((first, other));
        assert!(slots.take(blue).is_ok());
    }
}
