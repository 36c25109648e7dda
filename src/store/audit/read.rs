//! Reading the audit log.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use super::{AuditRow, CHUNK_BITS, DEEDS_SINCE, MIGRATIONS};
use crate::store::{StoreError, open};

/// Which rows to read. A row must meet every field that is set; rows of the kind in `always` need only fit the time.
#[derive(Clone, Debug, Default)]
pub struct AuditSelect {
    pub device: Option<String>,
    pub owner: Option<String>,
    pub service: Option<String>,
    pub member: Option<i64>,
    pub kind: Option<String>,
    pub kind_is_not: Option<String>,
    /// From this time on, in microseconds.
    pub since: Option<i64>,
    /// Before this time.
    pub until: Option<i64>,
    pub always: Option<&'static str>,
}

/// A part of the log: neighbouring rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditChunk {
    id: i64,
    /// No row in it began before this time, in microseconds.
    pub since: i64,
}

/// The log, open for reading only: beside a running gateway, on a stopped one, or a copied file.
#[derive(Debug)]
pub struct AuditReader {
    file: PathBuf,
    connection: Connection,
    by_number: String,
    by_time: String,
}

impl AuditReader {
    /// # Errors
    /// The file is not there, is no audit log, or was made by a newer version.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        let connection = open::open_to_read(file, MIGRATIONS.len() as u32)?;
        let sql = |source| StoreError::Sqlite { file: file.to_owned(), source };
        // A copy from before deeds cannot be changed to have them.
        let version: u32 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(sql)?;
        let deed = if version >= DEEDS_SINCE { "deed" } else { "NULL" };
        let (by_number, by_time) = (statement("id DESC", deed), statement("at, id", deed));
        Ok(Self { file: file.to_owned(), connection, by_number, by_time })
    }

    /// The chunks that may hold rows of that time, in the order in which they were written. Read them one at a time, so
    /// that no long read holds up the writer's checkpoints.
    pub fn chunks(&self, select: &AuditSelect) -> Result<Vec<AuditChunk>, StoreError> {
        let read = || {
            let mut statement = self
                .connection
                .prepare_cached("SELECT id, since FROM chunk WHERE until >= ?1 AND since < ?2 ORDER BY id")?;
            let times = params![select.since.unwrap_or(i64::MIN), select.until.unwrap_or(i64::MAX)];
            let chunk = |row: &Row<'_>| Ok(AuditChunk { id: row.get(0)?, since: row.get(1)? });
            statement.query_map(times, chunk)?.collect::<Result<_, _>>()
        };
        read().map_err(|source| self.error(source))
    }

    /// The matching rows of a chunk with numbers up to `last`, as they were written; of more than `most`, the last.
    pub fn chunk(
        &self,
        chunk: AuditChunk,
        last: i64,
        select: &AuditSelect,
        most: usize,
    ) -> Result<Vec<(i64, AuditRow<'static>)>, StoreError> {
        let (before, end) = chunk.numbers();
        self.between(before, last.min(end), select, most)
    }

    /// The matching rows of a chunk with numbers up to `last`, by time and number: the first `most` of those after `after`.
    pub fn by_time(
        &self,
        chunk: AuditChunk,
        last: i64,
        select: &AuditSelect,
        after: (i64, i64),
        most: usize,
    ) -> Result<Vec<(i64, AuditRow<'static>)>, StoreError> {
        let (before, end) = chunk.numbers();
        self.rows(&self.by_time, before, last.min(end), select, most, after)
    }

    /// The number of the newest row; 0 if there is none.
    pub fn newest(&self) -> Result<i64, StoreError> {
        self.connection
            .prepare_cached("SELECT ifnull(max(id), 0) FROM record")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(|source| self.error(source))
    }

    /// The matching rows with numbers above `after` up to `last`, oldest first; of more than `most`, the newest.
    pub fn between(
        &self,
        after: i64,
        last: i64,
        select: &AuditSelect,
        most: usize,
    ) -> Result<Vec<(i64, AuditRow<'static>)>, StoreError> {
        let mut rows = self.rows(&self.by_number, after, last, select, most, (i64::MIN, i64::MIN))?;
        rows.reverse();
        Ok(rows)
    }

    fn rows(
        &self,
        statement: &str,
        after: i64,
        last: i64,
        select: &AuditSelect,
        most: usize,
        (after_at, after_id): (i64, i64),
    ) -> Result<Vec<(i64, AuditRow<'static>)>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(statement)?;
            let limit = i64::try_from(most).unwrap_or(i64::MAX);
            statement
                .query_map(
                    params![
                        after,
                        last,
                        limit,
                        select.since,
                        select.until,
                        select.device,
                        select.owner,
                        select.service,
                        select.member,
                        select.kind,
                        select.kind_is_not,
                        select.always,
                        after_at,
                        after_id,
                    ],
                    read_row,
                )?
                .collect::<Result<_, _>>()
        };
        read().map_err(|source| self.error(source))
    }

    fn error(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { file: self.file.clone(), source }
    }
}

impl AuditChunk {
    /// The number before its first row, and that of its last.
    fn numbers(self) -> (i64, i64) {
        let first = self.id << CHUNK_BITS;
        (first - 1, first + (1 << CHUNK_BITS) - 1)
    }
}

/// Words are looked up after the rows are chosen, and only theirs.
fn statement(order: &str, deed: &str) -> String {
    let outer = order.replace("id", "r.id");
    format!("
    SELECT r.id, at, kind.text, member, claimed, device.text, owner.text, address, service.text, host, method, path,
           rule.text, status, received, sent, micros, request, ended.text, count, {deed}
    FROM (
      SELECT * FROM record
      WHERE id > ?1 AND id <= ?2 AND (at, id) > (?13, ?14)
        AND (?4 IS NULL OR at >= ?4) AND (?5 IS NULL OR at < ?5)
        AND (kind = (SELECT id FROM word WHERE text = ?12)
             OR ((?6 IS NULL OR device = (SELECT id FROM word WHERE text = ?6))
                 AND (?7 IS NULL OR owner = (SELECT id FROM word WHERE text = ?7))
                 AND (?8 IS NULL OR service = (SELECT id FROM word WHERE text = ?8))
                 AND (?9 IS NULL OR member = ?9 OR claimed = ?9)
                 AND (?10 IS NULL OR kind = (SELECT id FROM word WHERE text = ?10))
                 AND (?11 IS NULL OR kind IS NOT (SELECT id FROM word WHERE text = ?11))))
      ORDER BY {order} LIMIT ?3) AS r
    JOIN word AS kind ON kind.id = r.kind
    LEFT JOIN word AS device ON device.id = r.device
    LEFT JOIN word AS owner ON owner.id = r.owner
    LEFT JOIN word AS service ON service.id = r.service
    LEFT JOIN word AS rule ON rule.id = r.rule
    LEFT JOIN word AS ended ON ended.id = r.ended
    ORDER BY {outer}")
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<(i64, AuditRow<'static>)> {
    let text = |at: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(at)?.map(Cow::Owned));
    let read = AuditRow {
        at: row.get(1)?,
        kind: Cow::Owned(row.get(2)?),
        member: row.get(3)?,
        claimed: row.get(4)?,
        device: text(5)?,
        owner: text(6)?,
        address: address(row.get_ref(7)?),
        service: text(8)?,
        host: text(9)?,
        method: text(10)?,
        path: text(11)?,
        rule: text(12)?,
        status: row.get(13)?,
        received: row.get(14)?,
        sent: row.get(15)?,
        micros: row.get(16)?,
        request: row.get(17)?,
        ended: text(18)?,
        count: row.get(19)?,
        deed: text(20)?,
    };
    Ok((row.get(0)?, read))
}

fn address(value: ValueRef<'_>) -> Option<IpAddr> {
    let ValueRef::Blob(bytes) = value else { return None };
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|b| Ipv4Addr::from(b).into()),
        _ => <[u8; 16]>::try_from(bytes).ok().map(|b| Ipv6Addr::from(b).into()),
    }
}
