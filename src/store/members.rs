//! What we know of members: the roster as it was last, and a log of every change of state.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::StoreError;
use super::open::{open, open_to_read};
use crate::model::{MemberId, NetworkId};
use facts::FACT_HELD;
use held::OnDisk;
use history::Knocks;
use reserve::{Reserve, Written};
use row::{member, origin};
use schema::MIGRATIONS;

mod error;
mod facts;
mod held;
mod history;
mod put_by;
mod reserve;
mod row;
mod schema;
mod types;
mod write;

pub use error::MembersError;
pub use history::History;
#[cfg(test)]
pub use put_by::after_a_restart;
pub use types::{
    Admitted, AtController, Caller, Change, ChangeOrigin, Intent, PinProof, Presence, Profile, StoredMember,
    StoredRoster,
};

const FILE: &str = "members.db";

/// The members on disk, in `STATE_DIR/members.db`; and beside it, what is to survive though that could not be written.
#[derive(Debug)]
pub struct Members {
    connection: Connection,
    file: PathBuf,
    /// What is on disk, so that only what differs is written; `None` until it was read or written.
    written: Option<OnDisk>,
    /// `None` where there is no room for one yet.
    reserve: Option<Reserve>,
    /// That there is no room was told.
    lacks_room: bool,
    /// What the reserve has and the database has not, as it was written last.
    held: Option<Written>,
    /// The highest number in use, in the reserve or the database.
    number: u64,
    /// As far as the database voids it, or it is blank.
    voided: u64,
    /// What of the history the reserve had at the start, and the database had not.
    unkept: Option<Vec<Change>>,
    knocks: Knocks,
}

/// What is seen in a store from outside.
#[derive(Debug)]
pub enum Look {
    Members(Vec<StoredMember>),
    /// An older ztgate wrote it, and the next start of this one brings it up to date.
    Older,
    /// There is none, or none that can be read here.
    Nothing,
}

impl Members {
    /// Opens the file, or makes it; the second value tells which.
    ///
    /// # Errors
    /// The file cannot be used, or what was put by beside it cannot be read; see [`StoreError`].
    pub fn open(state_dir: &Path) -> Result<(Self, bool), MembersError> {
        let file = state_dir.join(FILE);
        let opened = open(&file, MIGRATIONS)?;
        let mut members = Self::over(opened.connection, state_dir, Reserve::read(state_dir)?);
        if opened.created {
            // What is there was put by beside another database.
            members.save_fact(FACT_HELD, &members.number.to_string())?;
        }
        let kept = members.fact(FACT_HELD)?.unwrap_or(0);
        let is_blank = members.held.as_ref().is_some_and(|held| held.body.is_empty());
        members.held = members.held.filter(|held| held.number > kept && !is_blank);
        members.voided = if is_blank { members.number } else { kept };
        members.number = members.number.max(kept);
        members.take_room();
        Ok((members, opened.created))
    }

    /// The members of a network as a store has them that may be in use.
    pub fn look(state_dir: &Path, network: NetworkId) -> Look {
        let known = MIGRATIONS.len() as u32;
        let Ok(connection) = open_to_read(&state_dir.join(FILE), known) else { return Look::Nothing };
        let schema = connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
        if schema.is_ok_and(|schema| schema < known) {
            return Look::Older;
        }
        let Ok(held) = Reserve::read(state_dir) else { return Look::Nothing };
        match Self::over(connection, state_dir, held).load(network) {
            Ok(Some(roster)) => Look::Members(roster.members),
            Ok(None) | Err(_) => Look::Nothing,
        }
    }

    fn over(connection: Connection, state_dir: &Path, held: Option<Written>) -> Self {
        Self {
            connection,
            file: state_dir.join(FILE),
            written: None,
            reserve: None,
            lacks_room: false,
            number: held.as_ref().map_or(0, |held| held.number),
            held,
            voided: 0,
            unkept: None,
            knocks: Knocks::default(),
        }
    }

    /// The roster as it was last; `None` if there never was one.
    ///
    /// # Errors
    /// It is another network's, or cannot be read.
    pub fn load(&mut self, network: NetworkId) -> Result<Option<StoredRoster>, MembersError> {
        let head = self
            .connection
            .query_row("SELECT network, taken, public, listed FROM roster", [], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, bool>(2)?,
                    row.get::<_, bool>(3)?,
                ))
            })
            .optional()
            .map_err(|e| self.sql(e))?;
        let Some((found, taken, public, listed)) = head else { return Ok(None) };
        if found.parse() != Ok(network) {
            return Err(MembersError::OtherNetwork { file: self.file.clone(), found, asked: network });
        }
        let redirects = self.rows("SELECT rule FROM redirects ORDER BY rowid", |row| row.get(0))?;
        let members = self.rows("SELECT * FROM members ORDER BY id", |row| Ok(member(row)))?;
        let members =
            members.into_iter().collect::<Result<Vec<_>, _>>().map_err(|what| self.damaged(what))?;
        let taken = Timestamp::from_millisecond(taken).map_err(|_| self.damaged("the roster's time"))?;
        let outbox = self.outbox()?;
        let mut roster = StoredRoster { network, taken, public, redirects, listed, members, outbox };
        self.written = Some(OnDisk::of(&roster));
        if let Some(held) = self.held_beyond()?.filter(|held| held.is_about(network)) {
            held.narrow(&mut roster);
            self.unkept = Some(held.changes);
        }
        Ok(Some(roster))
    }

    /// When and where members were last heard.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn presence(&self) -> Result<HashMap<MemberId, Presence>, MembersError> {
        let rows = self.rows("SELECT member, last_seen, physical FROM presence", |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?, row.get(2)?))
        })?;
        let parsed = rows.into_iter().map(|(id, last_seen, physical)| {
            let last_seen = last_seen.map(Timestamp::from_millisecond).transpose().ok()?;
            Some((id.parse().ok()?, Presence { last_seen, physical }))
        });
        parsed.collect::<Option<_>>().ok_or_else(|| self.damaged("when a member was last heard"))
    }

    fn outbox(&self) -> Result<BTreeMap<MemberId, Intent>, MembersError> {
        let rows = self.rows("SELECT member, authorize, since, who, origin FROM outbox", |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, i64>(2)?, row.get(3)?, row.get(4)?))
        })?;
        let parsed = rows.into_iter().map(|(id, authorize, since, who, from)| {
            let since = Timestamp::from_millisecond(since).ok()?;
            Some((id.parse().ok()?, Intent { authorize, since, who, origin: origin(from)? }))
        });
        parsed.collect::<Option<_>>().ok_or_else(|| self.damaged("what the controller is still to be told"))
    }

    /// Replaces the roster and adds to the log of changes, both or neither.
    ///
    /// # Errors
    /// It could not be written; what was there stands.
    pub fn save(&mut self, roster: &StoredRoster, changes: &[Change]) -> Result<(), MembersError> {
        self.write(roster, changes).map_err(|e| self.sql(e))?;
        let written = self.written.get_or_insert_default();
        written.public = roster.public;
        written.redirects.clone_from(&roster.redirects);
        let kept: HashSet<MemberId> = roster.members.iter().map(|member| member.id).collect();
        written.members.retain(|id, _| kept.contains(id));
        for member in &roster.members {
            if written.members.get(&member.id) != Some(member) {
                written.members.insert(member.id, member.clone());
            }
        }
        written.outbox.clone_from(&roster.outbox);
        self.take_room();
        self.blank();
        if let Err(error) = self.knocks.note(&mut self.connection, changes) {
            tracing::warn!("old knocks stay in the history for now: {error}");
        }
        Ok(())
    }

    /// What reads the log of changes.
    pub fn history(&self) -> History {
        History { file: self.file.clone() }
    }

    /// Notes that the roster was as it is at a later time too, and who was heard meanwhile.
    ///
    /// # Errors
    /// It could not be written.
    pub fn touch<'a>(
        &mut self,
        taken: Timestamp,
        heard: impl Iterator<Item = (&'a MemberId, &'a Presence)>,
    ) -> Result<(), MembersError> {
        let write = |connection: &mut Connection| {
            let change = connection.transaction()?;
            change.execute("UPDATE roster SET taken = ?1", [taken.as_millisecond()])?;
            {
                let mut insert = change.prepare("INSERT OR REPLACE INTO presence VALUES (?1, ?2, ?3)")?;
                for (id, presence) in heard {
                    let last_seen = presence.last_seen.map(Timestamp::as_millisecond);
                    insert.execute(params![id.to_string(), last_seen, presence.physical])?;
                }
            }
            change.commit()
        };
        write(&mut self.connection).map_err(|e| self.sql(e))
    }

    /// Notes what became of the pinned identities of some members, each still the one named.
    ///
    /// # Errors
    /// It could not be written; they will be proved again.
    pub fn save_proofs(&mut self, proofs: &[(MemberId, &str, PinProof)]) -> Result<(), MembersError> {
        let write = |connection: &mut Connection| {
            let change = connection.transaction()?;
            for (id, identity, proof) in proofs {
                change.execute(
                    "UPDATE members SET proof = ?3 WHERE id = ?1 AND identity = ?2",
                    params![id.to_string(), identity, proof.as_str()],
                )?;
            }
            change.commit()
        };
        write(&mut self.connection).map_err(|e| self.sql(e))?;
        let written = self.written.get_or_insert_default();
        for (id, identity, proof) in proofs {
            let member = written.members.get_mut(id);
            if let Some(member) = member.filter(|m| m.identity.as_deref() == Some(*identity)) {
                member.proof = *proof;
            }
        }
        Ok(())
    }

    fn rows<T>(
        &self,
        query: &str,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, MembersError> {
        let all = || self.connection.prepare(query)?.query_map([], read)?.collect();
        let all: rusqlite::Result<_> = all();
        all.map_err(|e| self.sql(e))
    }

    fn sql(&self, source: rusqlite::Error) -> MembersError {
        StoreError::Sqlite { file: self.file.clone(), source }.into()
    }

    fn damaged(&self, what: impl Into<String>) -> MembersError {
        MembersError::Damaged { file: self.file.clone(), what: what.into() }
    }
}

#[cfg(test)]
mod tests;
