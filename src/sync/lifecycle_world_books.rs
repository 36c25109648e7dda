//! Who may be in by what happened in the lifecycle's world, reckoned apart from the code that decides it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::MemberId;

/// What the controller has of a device.
#[derive(Clone, Copy)]
pub struct Record {
    pub authorized: bool,
    /// `None` until it has heard from the device.
    pub key: Option<Key>,
    /// Each record's own.
    pub made: Timestamp,
}

pub type Records = BTreeMap<MemberId, Record>;

/// A public identity. The first two hash to the device's ID: with much patience a second one can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Own,
    Twin,
    Forged,
}

pub fn identity(id: MemberId, key: Key) -> String {
    format!("{id}:0:{key:?}")
}

/// What follows from what happened, reckoned apart from the code.
#[derive(Default)]
pub struct Books {
    /// For whom an order stands, or the sync mode, and from whom nobody took it since.
    pub behind: BTreeSet<MemberId>,
    /// Of these, those of whom the controller has shown that it knows.
    pub held: BTreeSet<MemberId>,
    /// Who was ordered in and not out again: for these alone the controller is told to authorise.
    pub wanted: BTreeSet<MemberId>,
    /// Who was in once or sent away, and so never follows the controller.
    pub decided: BTreeSet<MemberId>,
    /// Whom the last list lacked.
    pub lacked: BTreeSet<MemberId>,
    /// The record that was seen last.
    pub made: BTreeMap<MemberId, Timestamp>,
    /// The first identity that was proved.
    pub pinned: BTreeMap<MemberId, String>,
    /// The identity that was shown last.
    pub shown: BTreeMap<MemberId, String>,
    /// Whom we told the controller to authorise, without anybody's order.
    pub unasked: Vec<MemberId>,
}

impl Books {
    pub fn take_back(&mut self, id: MemberId) {
        self.behind.remove(&id);
        self.held.remove(&id);
        self.wanted.remove(&id);
    }

    /// What follows from an answer that is not older than what the controller was told. `follows`: whom it authorises is let in.
    pub fn read(&mut self, id: MemberId, record: Option<&Record>, follows: bool) {
        let Some(record) = record else {
            if !self.lacked.insert(id) {
                self.take_back(id);
            }
            return;
        };
        self.lacked.remove(&id);
        let is_remade = self.made.get(&id).is_some_and(|made| *made != record.made);
        self.made.insert(id, record.made);
        if !record.authorized || is_remade {
            self.take_back(id);
        }
        if record.authorized && follows && self.decided.insert(id) {
            self.behind.insert(id);
            self.held.insert(id);
        }
    }
}
