//! What is one thing only, by name.

use std::str::FromStr;

use rusqlite::OptionalExtension;

use super::{Members, MembersError};
use crate::model::MemberId;

/// The number of the last thing held in the reserve that the database has, too. Whatever it holds up to there is void; all of
/// it counts for a database that never had a number, as from a backup of an older version.
pub(super) const FACT_HELD: &str = "held";

/// The gateway's own member ID, as its node told it last.
const FACT_OWN: &str = "own";

impl Members {
    /// The gateway's own member ID, as its node told it last; `None` if it never did.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn own(&self) -> Result<Option<MemberId>, MembersError> {
        self.fact(FACT_OWN)
    }

    /// Notes the gateway's own member ID.
    ///
    /// # Errors
    /// It could not be written.
    pub fn save_own(&mut self, own: MemberId) -> Result<(), MembersError> {
        self.save_fact(FACT_OWN, &own.to_string())
    }

    pub(super) fn fact<T: FromStr>(&self, name: &str) -> Result<Option<T>, MembersError> {
        let query = "SELECT value FROM facts WHERE name = ?1";
        let found = self.connection.query_row(query, [name], |row| row.get::<_, String>(0)).optional();
        let found = found.map_err(|e| self.sql(e))?.map(|text| text.parse());
        found.transpose().map_err(|_| self.damaged(format!("the fact {name}")))
    }

    pub(super) fn save_fact(&self, name: &str, value: &str) -> Result<(), MembersError> {
        let saved = self.connection.execute("INSERT OR REPLACE INTO facts VALUES (?1, ?2)", [name, value]);
        saved.map(drop).map_err(|e| self.sql(e))
    }
}
