//! What the database could not take, put by beside it and found again by the next start.

use super::facts::FACT_HELD;
use super::held::{Held, OnDisk};
use super::reserve::{self, Reserve, Written};
use super::types::{Change, StoredRoster};
use super::{Members, MembersError};
use crate::store::StoreError;

impl Members {
    /// Puts by, in room taken beforehand, every right that is known to be taken back and that could not be written by
    /// [`Members::save`]. From then on it survives whatever happens to this process, and the next start has it.
    ///
    /// # Errors
    /// It could not be put by either.
    pub fn hold(&mut self, known: &StoredRoster, changes: &[Change]) -> Result<(), MembersError> {
        let nothing = OnDisk::default();
        let held = Held::of(known, self.written.as_ref().unwrap_or(&nothing), changes);
        if held.is_empty() && self.held.is_none() {
            return Ok(());
        }
        self.take_room();
        let mut body = self.encode(&held)?;
        if !Reserve::fits(&body) {
            // The history is the first to go where there is not room for all.
            tracing::warn!(
                "a restart would forget records that are not in the database yet: they are too many"
            );
            body = self.encode(&held.without_changes())?;
        }
        if self.held.as_ref().is_some_and(|held| held.body == body) {
            return Ok(());
        }
        let written = self.write_reserve(body)?;
        self.held = Some(written);
        Ok(())
    }

    /// Overwrites what the database has by now, if it can be: an older copy of the database that is put back must not meet it.
    pub(super) fn blank(&mut self) {
        if self.number <= self.voided {
            return;
        }
        self.held = None;
        match self.write_reserve(Vec::new()) {
            Ok(_) => self.voided = self.number,
            Err(error) => tracing::debug!("what was put by is void, and still there: {error}"),
        }
    }

    pub(super) fn write_reserve(&mut self, body: Vec<u8>) -> Result<Written, MembersError> {
        let Some(reserve) = &self.reserve else {
            return Err(self.no_reserve(std::io::ErrorKind::StorageFull.into()));
        };
        let written = Written { number: self.number + 1, body };
        match reserve.write(&written) {
            Ok(()) => {
                self.number = written.number;
                Ok(written)
            }
            Err(error) => {
                // It may be there all the same, so its number is used up. The next one but one goes to the same area, and leaves
                // the other with what was written last.
                self.number += 2;
                Err(error.into())
            }
        }
    }

    fn encode(&self, held: &Held) -> Result<Vec<u8>, MembersError> {
        serde_json::to_vec(held).map_err(|error| self.no_reserve(error.into()))
    }

    fn no_reserve(&self, source: std::io::Error) -> MembersError {
        StoreError::File { file: self.file.with_file_name(reserve::FILE), source }.into()
    }

    /// What of the history was put by before this start and is not in the database, which the next [`Members::save`] is to
    /// be given; `None` if nothing was put by. What follows from it is in what [`Members::load`] gave.
    pub fn take_unkept(&mut self) -> Option<Vec<Change>> {
        self.unkept.take()
    }

    /// What the reserve has that the database does not know of.
    pub(super) fn held_beyond(&self) -> Result<Option<Held>, MembersError> {
        let Some(held) = &self.held else { return Ok(None) };
        if held.body.is_empty() || held.number <= self.fact(FACT_HELD)?.unwrap_or(0) {
            return Ok(None);
        }
        let file = || self.file.with_file_name(reserve::FILE);
        serde_json::from_slice(&held.body).map(Some).map_err(|_| MembersError::Reserve { file: file() })
    }

    /// Has the reserve, if there is room for one.
    pub(super) fn take_room(&mut self) {
        let Some(folder) = self.file.parent().filter(|_| self.reserve.is_none()) else { return };
        match Reserve::open(folder) {
            Ok(reserve) => self.reserve = Some(reserve),
            Err(error) if !std::mem::replace(&mut self.lacks_room, true) => tracing::warn!(
                "{error}; until there is room for it, a right that is taken back on a full disk may be forgotten by a \
                 restart"
            ),
            Err(_) => {}
        }
    }
}

/// What a start finds where the database has `disk`, and of the rest only the reserve has anything.
#[cfg(test)]
pub fn after_a_restart(known: &StoredRoster, disk: &StoredRoster) -> StoredRoster {
    let held = Held::of(known, &OnDisk::of(disk), &[]);
    let held: Held = serde_json::from_slice(&serde_json::to_vec(&held).unwrap()).unwrap();
    let mut found = disk.clone();
    found.members.sort_by_key(|member| member.id);
    held.narrow(&mut found);
    found
}

#[cfg(test)]
#[path = "put_by_tests.rs"]
mod tests;
