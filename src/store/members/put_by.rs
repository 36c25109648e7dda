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
        let disk = self.written.as_ref().unwrap_or(&nothing);
        let held = Held::of(known, disk, changes);
        if held.is_empty() && self.held.is_none() {
            return Ok(());
        }
        // The history is the first to go where there is not room for all.
        let short = Held::of(known, disk, &[]);
        self.take_room();
        let Some(reserve) = &self.reserve else {
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(StoreError::File { file: self.file.with_file_name(reserve::FILE), source }.into());
        };
        let mut body = serde_json::to_vec(&held).map_err(|_| self.damaged("what is to be put by"))?;
        if !Reserve::fits(&body) {
            body = serde_json::to_vec(&short).map_err(|_| self.damaged("what is to be put by"))?;
        }
        if self.held.as_ref().is_some_and(|held| held.body == body) {
            return Ok(());
        }
        let written = Written { number: self.number + 1, body };
        match reserve.write(&written) {
            Ok(()) => (self.number, self.held) = (written.number, Some(written)),
            Err(error) => {
                // It may be there all the same, so its number is used up. The next one but one goes to the same area, and leaves
                // the other with what was written last.
                self.number += 2;
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// What of the history was put by before this start and is not in the database, which the next [`Members::save`] is to
    /// be given; `None` if nothing was put by. What follows from it is in what [`Members::load`] gave.
    pub fn take_unkept(&mut self) -> Option<Vec<Change>> {
        self.unkept.take()
    }

    /// What the reserve has that the database does not know of.
    pub(super) fn held_beyond(&self) -> Result<Option<Held>, MembersError> {
        let Some(held) = &self.held else { return Ok(None) };
        if self.fact(FACT_HELD)?.is_none_or(|kept: u64| held.number <= kept) {
            return Ok(None);
        }
        serde_json::from_slice(&held.body).map(Some).map_err(|_| self.damaged("what members.reserve says"))
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
