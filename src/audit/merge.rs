//! A log's chunks merged into one order: by the time of beginning.
//!
//! Records are written when they end, so a film that ran all evening stands hours after what began with it. A chunk is
//! opened once its earliest row may be next, and read by the page: small at first, for mostly that row alone is early, and
//! larger the more of the chunk is used. So memory holds little more than the chunk whose time it is.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::iter::Peekable;
use std::vec::IntoIter;

use crate::store::{AuditChunk, AuditReader, AuditRow, AuditSelect, StoreError};

/// Rows of a chunk's first page; each further one is twice as large.
const FIRST_PAGE: usize = 32;

/// A row and its number in the log.
pub(super) type Numbered = (i64, AuditRow<'static>);

/// When it began, and its number where two began together.
pub(super) fn begun((id, row): &Numbered) -> (i64, i64) {
    (row.at, *id)
}

/// What is asked of the log.
#[derive(Debug)]
pub(super) struct Asked {
    pub reader: AuditReader,
    pub select: AuditSelect,
    /// The number of the newest row at that moment.
    pub newest: i64,
}

/// What is still to come, in order.
#[derive(Debug)]
pub(super) struct Merge {
    /// Not opened yet, earliest first.
    later: Peekable<IntoIter<AuditChunk>>,
    /// Opened, and not used up.
    open: BinaryHeap<Reverse<Open>>,
}

impl Merge {
    pub fn of(mut chunks: Vec<AuditChunk>) -> Self {
        chunks.sort_by_key(|chunk| chunk.since);
        Self { later: chunks.into_iter().peekable(), open: BinaryHeap::new() }
    }

    /// The next row, if there is one.
    pub fn next(&mut self, asked: &Asked) -> Result<Option<Numbered>, StoreError> {
        let due = |open: &BinaryHeap<Reverse<Open>>, chunk: &AuditChunk| {
            open.peek().is_none_or(|Reverse(next)| chunk.since <= begun(&next.head).0)
        };
        while let Some(chunk) = self.later.next_if(|chunk| due(&self.open, chunk)) {
            let opened = Open::read(asked, chunk, (i64::MIN, i64::MIN), FIRST_PAGE)?;
            self.open.extend(opened.map(Reverse));
        }
        let Some(Reverse(earliest)) = self.open.pop() else { return Ok(None) };
        let (row, rest) = earliest.take(asked)?;
        self.open.extend(rest.map(Reverse));
        Ok(Some(row))
    }
}

/// A chunk of which at least one row is still to come.
#[derive(Debug)]
struct Open {
    chunk: AuditChunk,
    head: Numbered,
    page: IntoIter<Numbered>,
    /// How many rows the page was to have; `None` if it had fewer, and so is the chunk's last.
    size: Option<usize>,
}

impl Open {
    /// Reads a page of the rows after a time and number; `None` if there are none.
    fn read(
        asked: &Asked,
        chunk: AuditChunk,
        after: (i64, i64),
        size: usize,
    ) -> Result<Option<Self>, StoreError> {
        let rows = asked.reader.by_time(chunk, asked.newest, &asked.select, after, size)?;
        let whole = (rows.len() == size).then_some(size);
        let mut page = rows.into_iter();
        Ok(page.next().map(|head| Self { chunk, head, page, size: whole }))
    }

    /// Its next row, and what is left.
    fn take(mut self, asked: &Asked) -> Result<(Numbered, Option<Self>), StoreError> {
        if let Some(next) = self.page.next() {
            let row = std::mem::replace(&mut self.head, next);
            return Ok((row, Some(self)));
        }
        let rest = match self.size {
            Some(size) => Self::read(asked, self.chunk, begun(&self.head), size * 2)?,
            None => None,
        };
        Ok((self.head, rest))
    }
}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> Ordering {
        begun(&self.head).cmp(&begun(&other.head))
    }
}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Open {}
