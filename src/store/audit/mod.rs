//! The audit log's tables: appended to by one thread, read by anyone beside it.
//!
//! Built for appending: no index but the row's own number, repeated texts kept once as a word, many rows a statement.
//! What an index on time would give comes from `chunk`, which holds the earliest and latest time of each
//! 4096 neighbouring rows: exact where clocks jump and long streams end late, and one small write per commit.

mod append;
mod read;

use std::borrow::Cow;
use std::net::IpAddr;

pub use append::{AuditKeep, AuditWriter};
pub use read::{AuditChunk, AuditReader, AuditSelect};

const MIGRATIONS: &[&str] = &["
    CREATE TABLE word (
        id    INTEGER PRIMARY KEY,
        text  TEXT NOT NULL UNIQUE
    ) STRICT;
    -- Times are microseconds since 1970 UTC. Kind (allow, a refusal's code, or gap), device, owner, service, rule and
    -- ended are words; not declared as references, since SQLite would look each of them up for every row.
    CREATE TABLE record (
        id        INTEGER PRIMARY KEY,
        at        INTEGER NOT NULL,
        kind      INTEGER NOT NULL,
        member    INTEGER,
        claimed   INTEGER,
        device    INTEGER,
        owner     INTEGER,
        address   BLOB,
        service   INTEGER,
        host      TEXT,
        method    TEXT,
        path      TEXT,
        rule      INTEGER,
        status    INTEGER,
        received  INTEGER NOT NULL,
        sent      INTEGER NOT NULL,
        micros    INTEGER NOT NULL,
        request   BLOB,
        ended     INTEGER,
        count     INTEGER NOT NULL
    ) STRICT;
    -- The times of the rows whose number divided by 4096 is the chunk's.
    CREATE TABLE chunk (
        id     INTEGER PRIMARY KEY,
        since  INTEGER NOT NULL,
        until  INTEGER NOT NULL
    ) STRICT;
", "
    ALTER TABLE record ADD COLUMN deed TEXT;
"];

/// The first schema that keeps deeds.
const DEEDS_SINCE: u32 = 2;

/// Rows whose numbers share all but these low bits are one chunk.
const CHUNK_BITS: u32 = 12;

/// One row of the log, in the database's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow<'a> {
    /// Microseconds since 1970 UTC.
    pub at: i64,
    /// `allow`, a refusal's code, or `gap`.
    pub kind: Cow<'a, str>,
    pub member: Option<i64>,
    pub claimed: Option<i64>,
    pub device: Option<Cow<'a, str>>,
    pub owner: Option<Cow<'a, str>>,
    pub address: Option<IpAddr>,
    pub service: Option<Cow<'a, str>>,
    pub host: Option<Cow<'a, str>>,
    pub method: Option<Cow<'a, str>>,
    pub path: Option<Cow<'a, str>>,
    pub rule: Option<Cow<'a, str>>,
    pub status: Option<u16>,
    pub received: i64,
    pub sent: i64,
    pub micros: i64,
    pub request: Option<[u8; 16]>,
    pub ended: Option<Cow<'a, str>>,
    pub count: i64,
    pub deed: Option<Cow<'a, str>>,
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::store::StoreError;

    fn row(at: i64, path: &str) -> AuditRow<'_> {
        AuditRow {
            at,
            kind: "allow".into(),
            member: Some(0xc4c8812898),
            claimed: None,
            device: Some("red-phone".into()),
            owner: None,
            address: Some("10.147.17.5".parse().unwrap()),
            service: Some("jellyfin".into()),
            host: None,
            method: Some("GET".into()),
            path: Some(path.into()),
            rule: Some("ztgate.toml:12 allow".into()),
            status: Some(200),
            received: 0,
            sent: 1 << 40,
            micros: 3000,
            request: Some([7; 16]),
            ended: None,
            count: 1,
            deed: Some("added https://example.org/a.iso".into()),
        }
    }

    fn log() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.db");
        (folder, file)
    }

    fn read(file: &Path, select: &AuditSelect) -> Vec<AuditRow<'static>> {
        let reader = AuditReader::open(file).unwrap();
        let chunks = reader.chunks(select).unwrap();
        chunks
            .into_iter()
            .flat_map(|c| reader.chunk(c, i64::MAX, select, usize::MAX).unwrap())
            .map(|(_, r)| r)
            .collect()
    }

    #[test]
    fn rows_come_back_as_they_went_in() {
        let (_folder, file) = log();
        let mut writer = AuditWriter::open(&file).unwrap();
        let bare = AuditRow {
            member: None,
            device: None,
            address: Some("fd00::1".parse().unwrap()),
            request: None,
            status: None,
            deed: None,
            ..row(2, "/")
        };
        let rows = [row(1, "/a"), bare, AuditRow { address: None, kind: "gap".into(), ..row(3, "/c") }];
        writer.append(&rows).unwrap();
        assert!(read(&file, &AuditSelect::default()).is_empty(), "nothing shows before the commit");
        writer.commit().unwrap();
        assert_eq!(read(&file, &AuditSelect::default()), rows);
    }

    #[test]
    fn a_log_from_before_deeds_is_read_as_it_lies_and_written_on() {
        let (_folder, file) = log();
        let old = rusqlite::Connection::open(&file).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        old.execute_batch("INSERT INTO word VALUES (1, 'allow'); INSERT INTO chunk VALUES (0, 1, 1);")
            .unwrap();
        let mut first = "INSERT INTO record (id, at, kind, received, sent, micros, count)".to_owned();
        first.push_str(" VALUES (1, 1, 1, 0, 0, 0, 1)");
        old.execute(&first, []).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        let ats = || read(&file, &AuditSelect::default()).iter().map(|row| row.at).collect::<Vec<_>>();
        assert_eq!(ats(), [1]);
        let mut writer = AuditWriter::open(&file).unwrap();
        writer.append(&[row(2, "/")]).unwrap();
        writer.commit().unwrap();
        assert_eq!(ats(), [1, 2]);
        assert_eq!(read(&file, &AuditSelect::default())[1], row(2, "/"));
    }

    #[test]
    fn a_time_reads_only_the_chunks_that_hold_it() {
        let (_folder, file) = log();
        let mut writer = AuditWriter::open(&file).unwrap();
        let rows: Vec<_> = (0..10_000).map(|at| row(at, "/")).collect();
        for part in rows.chunks(777) {
            writer.append(part).unwrap();
            writer.commit().unwrap();
        }
        let select = AuditSelect { since: Some(9_000), until: Some(9_500), ..AuditSelect::default() };
        let chunks = AuditReader::open(&file).unwrap().chunks(&select).unwrap();
        assert_eq!(chunks.iter().map(|chunk| chunk.since).collect::<Vec<_>>(), [8191]);
        assert_eq!(read(&file, &select), rows[9_000..9_500]);
        assert_eq!(read(&file, &AuditSelect::default()).len(), 10_000);
    }

    #[test]
    fn a_chunk_can_be_read_by_time_page_by_page() {
        let (_folder, file) = log();
        let mut writer = AuditWriter::open(&file).unwrap();
        let rows: Vec<_> = [5, 3, 9, 3, 1].map(|at| row(at, "/")).into();
        writer.append(&rows).unwrap();
        writer.commit().unwrap();
        let (reader, select) = (AuditReader::open(&file).unwrap(), AuditSelect::default());
        let chunk = reader.chunks(&select).unwrap()[0];
        assert_eq!(chunk.since, 1);
        let page = |after| -> Vec<(i64, i64)> {
            let rows = reader.by_time(chunk, 4, &select, after, 2).unwrap();
            rows.iter().map(|(id, row)| (row.at, *id)).collect()
        };
        assert_eq!(page((i64::MIN, i64::MIN)), [(3, 2), (3, 4)], "up to the last number asked for");
        assert_eq!(page((3, 2)), [(3, 4), (5, 1)]);
        assert_eq!(page((5, 1)), [(9, 3)]);
        assert!(page((9, 3)).is_empty());
    }

    #[test]
    fn a_full_disk_loses_the_open_transaction_whole_and_writing_goes_on_when_there_is_room() {
        let (_folder, file) = log();
        let mut writer = AuditWriter::open(&file).unwrap();
        writer.append(&[row(1, "/kept")]).unwrap();
        writer.commit().unwrap();
        let limit = |w: &AuditWriter, pages: u32| {
            w.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        };
        limit(&writer, 1);
        let (path, new) = ("x".repeat(500), AuditRow { device: Some("new-tv".into()), ..row(2, "/new") });
        writer.append(std::slice::from_ref(&new)).unwrap();
        assert!(matches!(writer.append(&vec![row(3, &path); 64]), Err(StoreError::Sqlite { .. })));
        assert_eq!(read(&file, &AuditSelect::default()), [row(1, "/kept")]);
        // The word new-tv went with the transaction and has to be made again.
        limit(&writer, u32::MAX - 1);
        writer.append(std::slice::from_ref(&new)).unwrap();
        writer.commit().unwrap();
        assert_eq!(read(&file, &AuditSelect::default()), [row(1, "/kept"), new]);
    }

    #[test]
    fn the_oldest_go_first_by_age_and_by_size_and_the_newest_chunk_stays() {
        let (_folder, file) = log();
        let mut writer = AuditWriter::open(&file).unwrap();
        let rows: Vec<_> = (0..12_300).map(|at| row(at, "/")).collect();
        writer.append(&rows).unwrap();
        writer.commit().unwrap();
        let oldest = || read(&file, &AuditSelect::default())[0].at;
        assert!(!writer.trim(AuditKeep { since: 4094, bytes: u64::MAX }).unwrap());
        assert!(writer.trim(AuditKeep { since: 4095, bytes: u64::MAX }).unwrap());
        assert!(!writer.trim(AuditKeep { since: 4095, bytes: u64::MAX }).unwrap());
        assert_eq!(oldest(), 4095);
        while writer.trim(AuditKeep { since: 0, bytes: 1 }).unwrap() {}
        assert_eq!(oldest(), 12_287);
        // The space is used again.
        let pages =
            |w: &AuditWriter| w.connection.pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
        let before: i64 = pages(&writer);
        writer.append(&rows[..8_000]).unwrap();
        writer.commit().unwrap();
        assert_eq!(pages(&writer), before);
    }

    #[test]
    fn a_file_that_is_no_log_is_told_apart() {
        let (_folder, file) = log();
        assert!(matches!(AuditReader::open(&file), Err(StoreError::File { .. })));
        std::fs::write(&file, "not a database, but long enough to look at: ".repeat(40)).unwrap();
        assert!(matches!(AuditReader::open(&file), Err(StoreError::Sqlite { .. })));
        assert!(matches!(AuditWriter::open(&file), Err(StoreError::Sqlite { .. })));
        std::fs::remove_file(&file).unwrap();
        AuditWriter::open(&file).unwrap().connection.pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(AuditReader::open(&file), Err(StoreError::Newer { found: 99, .. })));
    }
}
