//! The log of changes: what is asked of it, and how much of it strangers may fill.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::MembersError;
use super::row::origin;
use super::schema::MIGRATIONS;
use super::types::Change;
use crate::model::{MemberId, MemberState};
use crate::store::StoreError;
use crate::store::open::open_to_read;

/// The most changes that are told at once.
const MOST_CHANGES: usize = 10_000;

/// Anybody can make identities and ask to join. So of devices about which nothing is to be told but that they knocked, this
/// many knocks are kept at most, and no longer than [`KNOCKS_FOR`]; whatever else happened to a device, and all that people
/// ordered, is kept for good, with the knock before it.
const MOST_KNOCKS: u32 = 10_000;
const KNOCKS_FOR: Duration = Duration::from_secs(90 * DAY.as_secs());

/// How many more there may be before they are counted, and how many go at once: no right waits long for that.
const KNOCKS_AT_ONCE: usize = 1_000;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const OLD_KNOCKS: &str = "
    DELETE FROM changes WHERE rowid IN (
        SELECT row FROM (
            SELECT rowid AS row, time, row_number() OVER (ORDER BY time DESC, rowid DESC) AS place
            FROM changes AS knock
            WHERE before IS NULL AND after = 'pending' AND NOT EXISTS (
                SELECT 1 FROM changes AS other
                WHERE other.member = knock.member AND NOT (other.before IS NULL AND other.after = 'pending')
            )
        ) WHERE place > ?1 OR time < ?2 ORDER BY time LIMIT ?3
    )";

/// Keeps the knocks of strangers few.
#[derive(Debug, Default)]
pub(super) struct Knocks {
    /// Since they were counted last.
    new: usize,
    counted: Option<Timestamp>,
}

impl Knocks {
    /// Takes note of changes that were just written, and drops old knocks if it is time.
    ///
    /// # Errors
    /// They cannot be dropped now.
    pub fn note(&mut self, connection: &mut Connection, changes: &[Change]) -> rusqlite::Result<()> {
        let is_knock = |change: &&Change| change.from.is_none() && change.to == MemberState::Pending;
        let Some(now) = changes.iter().filter(is_knock).map(|knock| knock.time).max() else { return Ok(()) };
        self.new += changes.iter().filter(is_knock).count();
        let is_time = self.counted.is_none_or(|counted| {
            Duration::try_from(now.duration_since(counted)).is_ok_and(|age| age >= DAY)
        });
        if !is_time && self.new < KNOCKS_AT_ONCE {
            return Ok(());
        }
        let since = now.checked_sub(KNOCKS_FOR).unwrap_or(Timestamp::MIN);
        // As many as came, so that no flood is faster.
        let at_most = i64::try_from(self.new.max(KNOCKS_AT_ONCE)).unwrap_or(i64::MAX);
        let bounds = params![MOST_KNOCKS, since.as_millisecond(), at_most];
        let dropped = connection.execute(OLD_KNOCKS, bounds)?;
        self.counted = Some(now);
        // After a full round there may be more to drop at the next knock.
        self.new = if dropped < KNOCKS_AT_ONCE { 0 } else { KNOCKS_AT_ONCE };
        Ok(())
    }
}

/// The log of changes, read by a connection of its own: it may take its time, and keeps nobody from writing meanwhile.
#[derive(Clone, Debug)]
pub struct History {
    pub(super) file: PathBuf,
}

impl History {
    /// The changes of one member, or of all; the newest 10,000, oldest first.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn changes(&self, member: Option<MemberId>) -> Result<Vec<Change>, MembersError> {
        let connection = open_to_read(&self.file, MIGRATIONS.len() as u32)?;
        let mut changes = read(&connection, member)
            .map_err(|source| StoreError::Sqlite { file: self.file.clone(), source })?
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| MembersError::Damaged {
                file: self.file.clone(),
                what: "an entry in the log of changes".to_owned(),
            })?;
        changes.reverse();
        Ok(changes)
    }
}

/// The newest first; `None` for what makes no sense.
fn read(connection: &Connection, member: Option<MemberId>) -> rusqlite::Result<Vec<Option<Change>>> {
    let which = member.map_or_else(String::new, |id| format!("WHERE member = '{id}'"));
    let query = format!(
        "SELECT time, member, before, after, why, who, origin FROM changes {which} ORDER BY rowid DESC LIMIT {MOST_CHANGES}"
    );
    connection.prepare(&query)?.query_map([], change)?.collect()
}

fn change(row: &Row<'_>) -> rusqlite::Result<Option<Change>> {
    let (time, why, who) = (row.get("time")?, row.get("why")?, row.get("who")?);
    let place: Option<String> = row.get("origin")?;
    let (member, to): (String, String) = (row.get("member")?, row.get("after")?);
    let from: Option<String> = row.get("before")?;
    let parse = || {
        Some(Change {
            time: Timestamp::from_millisecond(time).ok()?,
            member: member.parse().ok()?,
            from: from.map(|text| text.parse()).transpose().ok()?,
            to: to.parse().ok()?,
            why,
            who,
            origin: origin(place)?,
        })
    };
    Ok(parse())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Members;

    struct Log {
        folder: tempfile::TempDir,
        members: Members,
        begin: Timestamp,
    }

    impl Log {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (members, _) = Members::open(folder.path()).unwrap();
            Self { folder, members, begin: "2026-03-01T12:00:00Z".parse().unwrap() }
        }

        fn change(&self, id: u64, minute: u64, from: Option<MemberState>, to: MemberState) -> Change {
            let time = self.begin + Duration::from_secs(minute * 60);
            let member = format!("{id:010x}").parse().unwrap();
            Change {
                time,
                member,
                from,
                to,
                why: "told".to_owned(),
                who: "controller".to_owned(),
                origin: None,
            }
        }

        fn knock(&self, id: u64, minute: u64) -> Change {
            self.change(id, minute, None, MemberState::Pending)
        }

        /// As [`Members::save`] does it, without a roster.
        fn write(&mut self, changes: &[Change]) {
            let transaction = self.members.connection.transaction().unwrap();
            for c in changes {
                let (from, id) = (c.from.map(MemberState::as_str), c.member.to_string());
                let sql = "INSERT INTO changes (time, member, before, after, why, who) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                let row = params![c.time.as_millisecond(), id, from, c.to.as_str(), c.why, c.who];
                transaction.execute(sql, row).unwrap();
            }
            transaction.commit().unwrap();
            self.members.knocks.note(&mut self.members.connection, changes).unwrap();
        }

        fn count(&self, of: &str) -> u32 {
            let sql = format!("SELECT count(*) FROM changes WHERE {of}");
            self.members.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
        }
    }

    #[test]
    fn strangers_fill_no_more_than_their_share_and_take_nothing_from_others() {
        let mut log = Log::new();
        let (known, minute) = (0xaaaa_0000, 0);
        let mine: Vec<Change> = (0..50)
            .flat_map(|id| {
                let from = Some(MemberState::Pending);
                [log.knock(known + id, minute), log.change(known + id, minute, from, MemberState::Active)]
            })
            .collect();
        log.write(&mine);
        for round in 0..14 {
            let flood: Vec<Change> =
                (0..1_000).map(|n| log.knock(0xbbbb_0000 + round * 1_000 + n, 1 + round)).collect();
            log.write(&flood);
            let strangers = log.count("member LIKE '00bbbb%'");
            assert!(strangers < MOST_KNOCKS + 1_000, "{strangers} after round {round}");
        }
        assert_eq!(log.count("member LIKE '00aaaa%'"), 100);
        // The oldest went, and the newest are there.
        assert_eq!(log.count(&format!("member = '{:010x}'", 0xbbbb_0000_u64)), 0);
        assert_eq!(log.count(&format!("member = '{:010x}'", 0xbbbb_0000_u64 + 13_999)), 1);
    }

    #[test]
    fn a_knock_is_forgotten_after_a_season_unless_something_came_of_it() {
        let mut log = Log::new();
        let later = 91 * 24 * 60;
        let sent_away = log.change(2, 1, Some(MemberState::Pending), MemberState::Revoked);
        // The first was forgotten in between, and came again.
        log.write(&[log.knock(1, 0), log.knock(1, 1), log.knock(2, 0), sent_away]);
        log.write(&[log.knock(3, later)]);
        let left = log.members.history().changes(None).unwrap();
        let left: Vec<String> = left.iter().map(|change| change.member.to_string()).collect();
        assert_eq!(left, ["0000000002", "0000000002", "0000000003"]);
    }

    #[test]
    fn the_history_is_read_while_somebody_writes() {
        let mut log = Log::new();
        log.write(&[log.knock(1, 0)]);
        let history = log.members.history();
        let writing = log.members.connection.transaction().unwrap();
        writing.execute("DELETE FROM changes", []).unwrap();
        assert_eq!(history.changes(None).unwrap().len(), 1);
        drop(writing);
        assert!(log.folder.path().join("members.db").exists());
    }
}
