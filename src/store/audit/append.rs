//! Appending to the audit log, and deleting its oldest part.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::{AuditRow, CHUNK_BITS, MIGRATIONS};
use crate::store::{StoreError, open};

const COLUMNS: usize = 21;

/// Rows a statement, largest first; each is prepared once.
const STEPS: [usize; 3] = [64, 8, 1];

/// Words held in memory; there are as many as devices, owners, services and rules, so this is never reached.
const WORDS: usize = 8192;

/// 16 MB of pages between checkpoints: a checkpoint costs two syncs, and a busy gateway writes 4 MB a second.
const CHECKPOINT_PAGES: u32 = 4096;

/// How much of the past to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditKeep {
    /// Nothing that is younger is deleted for its age; microseconds since 1970 UTC.
    pub since: i64,
    /// The most bytes that the rows may take.
    pub bytes: u64,
}

/// The log, open for appending.
#[derive(Debug)]
pub struct AuditWriter {
    file: PathBuf,
    pub(super) connection: Connection,
    words: Words,
    /// Which file it was when it was opened.
    inode: (u64, u64),
    /// The open transaction.
    change: Option<Change>,
}

/// What a transaction knows beside its rows.
#[derive(Debug)]
struct Change {
    next_id: i64,
    /// The chunks that it touches, the last one at the end, with their times.
    chunks: Vec<(i64, i64, i64)>,
}

impl AuditWriter {
    /// Opens the log, and makes it if it is not there.
    ///
    /// # Errors
    /// The file cannot be made or opened, is no database, or was made by a newer version.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        let connection = open::open(file, MIGRATIONS)?.connection;
        let inode = inode(file).map_err(|source| StoreError::File { file: file.to_owned(), source })?;
        let writer = Self { file: file.to_owned(), connection, words: Words::default(), inode, change: None };
        writer
            .connection
            .pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
            .map_err(|source| writer.error(source))?;
        Ok(writer)
    }

    /// Appends rows to the open transaction, and opens one if there is none.
    ///
    /// # Errors
    /// After an error the transaction is rolled back: everything since the last commit is to be given again.
    pub fn append(&mut self, rows: &[AuditRow<'_>]) -> Result<(), StoreError> {
        self.try_append(rows).map_err(|source| self.give_up(source))
    }

    /// Makes what was appended durable: when this returns it survives a loss of power.
    ///
    /// # Errors
    /// As with [`AuditWriter::append`]; and the file was removed or replaced, so that nobody could read what is written.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        if self.change.is_some() && inode(&self.file).ok() != Some(self.inode) {
            self.roll_back();
            let source =
                io::Error::other("removed or replaced while the gateway writes to it; restart the gateway");
            return Err(StoreError::File { file: self.file.clone(), source });
        }
        self.try_commit().map_err(|source| self.give_up(source))
    }

    /// Deletes the oldest chunk of rows if it is not to be kept, and says whether it did. The newest always stays.
    ///
    /// The file does not shrink; the space is used again.
    ///
    /// # Errors
    /// The database cannot be read or written; nothing was deleted.
    pub fn trim(&mut self, keep: AuditKeep) -> Result<bool, StoreError> {
        self.try_trim(keep).map_err(|source| self.give_up(source))
    }

    fn try_append(&mut self, rows: &[AuditRow<'_>]) -> rusqlite::Result<()> {
        let change = match &mut self.change {
            Some(change) => change,
            none => {
                self.connection.execute_batch("BEGIN IMMEDIATE")?;
                // Asked each time, so that a second writer, who has no business here, harms nobody.
                let next_id =
                    self.connection
                        .query_row("SELECT ifnull(max(id), 0) + 1 FROM record", [], |r| r.get(0))?;
                none.insert(Change { next_id, chunks: Vec::new() })
            }
        };
        let mut rest = rows;
        for step in STEPS {
            if rest.len() < step {
                continue;
            }
            let mut statement = self.connection.prepare_cached(insert(step))?;
            while let Some((now, later)) = rest.split_at_checked(step) {
                for (i, row) in now.iter().enumerate() {
                    let id = change.take_id(row.at);
                    bind(&self.connection, &mut self.words, &mut statement, i * COLUMNS, id, row)?;
                }
                statement.raw_execute()?;
                rest = later;
            }
        }
        Ok(())
    }

    fn try_commit(&mut self) -> rusqlite::Result<()> {
        let Some(change) = &self.change else { return Ok(()) };
        for (id, since, until) in &change.chunks {
            self.connection
                .prepare_cached(
                    "INSERT INTO chunk (id, since, until) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE
                     SET since = min(since, excluded.since), until = max(until, excluded.until)",
                )?
                .execute(params![id, since, until])?;
        }
        self.connection.execute_batch("COMMIT")?;
        self.change = None;
        Ok(())
    }

    fn try_trim(&mut self, keep: AuditKeep) -> rusqlite::Result<bool> {
        self.try_commit()?;
        let number = |name: &str| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let pages = number("page_count")? - number("freelist_count")?;
        let bytes = (pages * number("page_size")?).unsigned_abs();
        let oldest: Vec<(i64, i64)> = self
            .connection
            .prepare("SELECT id, until FROM chunk ORDER BY id LIMIT 2")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let [(chunk, until), _newer] = oldest[..] else { return Ok(false) };
        if until >= keep.since && bytes <= keep.bytes {
            return Ok(false);
        }
        let change = self.connection.transaction()?;
        change.execute("DELETE FROM record WHERE id < ?1", [(chunk + 1) << CHUNK_BITS])?;
        change.execute("DELETE FROM chunk WHERE id = ?1", [chunk])?;
        change.commit()?;
        Ok(true)
    }

    fn give_up(&mut self, source: rusqlite::Error) -> StoreError {
        self.roll_back();
        self.error(source)
    }

    fn roll_back(&mut self) {
        if !self.connection.is_autocommit() {
            // If even this fails, the next BEGIN says so.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.change = None;
        // Words that the transaction added went with it.
        self.words.clear();
    }

    fn error(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { file: self.file.clone(), source }
    }
}

fn inode(file: &Path) -> io::Result<(u64, u64)> {
    let about = std::fs::metadata(file)?;
    Ok((about.dev(), about.ino()))
}

impl Change {
    fn take_id(&mut self, at: i64) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        let chunk = id >> CHUNK_BITS;
        match self.chunks.last_mut() {
            Some((last, since, until)) if *last == chunk => {
                *since = at.min(*since);
                *until = at.max(*until);
            }
            _ => self.chunks.push((chunk, at, at)),
        }
        id
    }
}

/// The statement that inserts this many rows.
fn insert(rows: usize) -> &'static str {
    static SQL: LazyLock<[String; STEPS.len()]> = LazyLock::new(|| {
        STEPS.map(|rows| {
            let row = format!("({})", vec!["?"; COLUMNS].join(","));
            format!("INSERT INTO record VALUES {}", vec![row; rows].join(","))
        })
    });
    let step = STEPS.iter().position(|step| *step == rows).unwrap_or(STEPS.len() - 1);
    &SQL[step]
}

fn bind(
    connection: &Connection,
    words: &mut Words,
    statement: &mut Statement<'_>,
    before: usize,
    id: i64,
    row: &AuditRow<'_>,
) -> rusqlite::Result<()> {
    let mut at = before;
    macro_rules! put {
        ($value:expr) => {{
            at += 1;
            statement.raw_bind_parameter(at, $value)?
        }};
    }
    let mut word =
        |text: &Option<Cow<'_, str>>| text.as_ref().map(|text| words.id(connection, text)).transpose();
    put!(id);
    put!(row.at);
    put!(word(&Some(Cow::Borrowed(&*row.kind)))?);
    put!(row.member);
    put!(row.claimed);
    put!(word(&row.device)?);
    put!(word(&row.owner)?);
    match row.address {
        Some(IpAddr::V4(address)) => put!(&address.octets()[..]),
        Some(IpAddr::V6(address)) => put!(&address.octets()[..]),
        None => put!(None::<i64>),
    }
    put!(word(&row.service)?);
    put!(row.host.as_deref());
    put!(row.method.as_deref());
    put!(row.path.as_deref());
    put!(word(&row.rule)?);
    put!(row.status);
    put!(row.received);
    put!(row.sent);
    put!(row.micros);
    put!(row.request.as_ref().map(|bytes| &bytes[..]));
    put!(word(&row.ended)?);
    put!(row.count);
    put!(row.deed.as_deref());
    Ok(())
}

/// The numbers of words already met.
#[derive(Debug, Default)]
struct Words(HashMap<Box<str>, i64>);

impl Words {
    fn id(&mut self, connection: &Connection, text: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.0.get(text) {
            return Ok(*id);
        }
        let known = connection
            .prepare_cached("SELECT id FROM word WHERE text = ?1")?
            .query_row([text], |row| row.get(0))
            .optional()?;
        let id = match known {
            Some(id) => id,
            None => {
                connection.prepare_cached("INSERT INTO word (text) VALUES (?1)")?.execute([text])?;
                connection.last_insert_rowid()
            }
        };
        if self.0.len() >= WORDS {
            self.0.clear();
        }
        self.0.insert(text.into(), id);
        Ok(id)
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}
