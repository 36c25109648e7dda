//! Asking the log: what matches, oldest first, and then what comes.

use std::path::Path;
use std::str::FromStr;

use jiff::Timestamp;

use super::entry::{GAP, StrangeRow, entry_of};
use super::merge::{Asked, Merge, Numbered, begun};
use super::{Entry, Verdict};
use crate::model::{MemberId, RefusalCode};
use crate::store::{AuditChunk, AuditReader, AuditRow, AuditSelect, StoreError};

/// Which records to read: those that meet every field that is set. Gaps are always told, whatever is asked: the answer
/// may be among what is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub device: Option<String>,
    pub owner: Option<String>,
    pub service: Option<String>,
    /// Who it was, or whose address it used.
    pub member: Option<MemberId>,
    pub verdict: Option<VerdictFilter>,
    /// Began at this time or later.
    pub since: Option<Timestamp>,
    /// Began before this time.
    pub until: Option<Timestamp>,
    /// Only the newest so many.
    pub limit: Option<usize>,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerdictFilter {
    Allow,
    /// Refused, whatever the code.
    Refuse,
    Code(RefusalCode),
}

/// The text names no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a verdict: {given}; use allow, refuse, or a code: {}", RefusalCode::ALL.iter().map(|c| c.as_str()).collect::<Vec<_>>().join(", "))]
pub struct UnknownVerdict {
    given: String,
}

impl FromStr for VerdictFilter {
    type Err = UnknownVerdict;
    fn from_str(text: &str) -> Result<Self, UnknownVerdict> {
        match text {
            "allow" => Ok(Self::Allow),
            "refuse" => Ok(Self::Refuse),
            code => code.parse().map(Self::Code).map_err(|_| UnknownVerdict { given: code.to_owned() }),
        }
    }
}

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Row(#[from] StrangeRow),
}

/// Records come into the log by the batch, each thread's its own, so the newest stand within so many of the end.
const WINDOW: usize = 16_384;

/// Reads what matches at this moment, oldest first, in flat memory (with a limit: that many records and a few thousand).
///
/// Ordered by the time of beginning. The newest, where there is a limit, are those that ended last.
///
/// It works beside a running gateway, on a stopped one, and on a copied file.
///
/// # Errors
/// The file is not there, is no audit log, or was made by a newer version.
pub fn read(file: &Path, filter: &Filter) -> Result<Entries, QueryError> {
    let reader = AuditReader::open(file)?;
    let select = select(filter);
    let newest = reader.newest()?;
    let asked = Asked { reader, select, newest };
    let chunks = asked.reader.chunks(&asked.select)?;
    let rows = match filter.limit {
        None => Rows::All(Merge::of(chunks)),
        Some(limit) => Rows::Newest(newest_of(limit, &asked, chunks)?.into_iter()),
    };
    Ok(Entries { asked, rows })
}

/// The newest matching rows, from the end of the log back to where there are enough.
fn newest_of(limit: usize, asked: &Asked, chunks: Vec<AuditChunk>) -> Result<Vec<Numbered>, StoreError> {
    let mut found = Vec::new();
    let mut missing = if limit == 0 { 0 } else { limit.saturating_add(WINDOW) };
    for chunk in chunks.into_iter().rev() {
        if missing == 0 {
            break;
        }
        let rows = asked.reader.chunk(chunk, asked.newest, &asked.select, missing)?;
        missing -= rows.len();
        found.extend(rows);
    }
    found.sort_by_key(|(id, row)| (ended(row), *id));
    found.drain(..found.len().saturating_sub(limit));
    found.sort_by_key(begun);
    Ok(found)
}

fn ended(row: &AuditRow<'_>) -> i64 {
    row.at.saturating_add(row.micros)
}

/// What matched, oldest first.
#[derive(Debug)]
pub struct Entries {
    asked: Asked,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    All(Merge),
    Newest(std::vec::IntoIter<Numbered>),
}

impl Entries {
    /// What comes after the moment of [`read`]: nothing twice, nothing left out.
    pub fn follow(self) -> Follow {
        Follow(self.asked)
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, QueryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = match &mut self.rows {
            Rows::Newest(rows) => rows.next().map(Ok),
            Rows::All(merge) => merge.next(&self.asked).transpose(),
        };
        let entry = |(id, row)| entry_of(id, row).map_err(QueryError::Row);
        row.map(|row| row.map_err(QueryError::Store).and_then(entry))
    }
}

/// The log as it grows.
#[derive(Debug)]
pub struct Follow(Asked);

impl Follow {
    /// What matches and is new since the last time, oldest first. Ask again every 250 ms or so.
    ///
    /// # Errors
    /// As with [`read`].
    pub fn poll(&mut self) -> Result<Vec<Entry>, QueryError> {
        const MOST: i64 = 4096;
        let Asked { reader, select, newest: seen } = &mut self.0;
        let newest = reader.newest()?.min(*seen + MOST);
        if newest <= *seen {
            return Ok(Vec::new());
        }
        let rows = reader.between(*seen, newest, select, usize::MAX)?;
        *seen = newest;
        rows.into_iter().map(|(id, row)| Ok(entry_of(id, row)?)).collect()
    }
}

fn select(filter: &Filter) -> AuditSelect {
    let (kind, kind_is_not) = match filter.verdict {
        None => (None, None),
        Some(VerdictFilter::Allow) => (Some(Verdict::Allow), None),
        Some(VerdictFilter::Refuse) => (None, Some(Verdict::Allow)),
        Some(VerdictFilter::Code(code)) => (Some(Verdict::Refuse(code)), None),
    };
    let text = |verdict: Verdict| verdict.as_str().to_owned();
    AuditSelect {
        device: filter.device.clone(),
        owner: filter.owner.clone(),
        service: filter.service.clone(),
        member: filter.member.and_then(|member| i64::try_from(member.bits()).ok()),
        kind: kind.map(text),
        kind_is_not: kind_is_not.map(text),
        since: filter.since.map(Timestamp::as_microsecond),
        until: filter.until.map(Timestamp::as_microsecond),
        always: Some(GAP),
    }
}
