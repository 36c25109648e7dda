//! The audit log, read as lines that a person could have written.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ztgate::audit::{self, Entry, Filter, Record, Verdict};

use super::SOON;
use super::plan::Plan;

/// The log of one world.
pub struct AuditView<'a> {
    pub(super) plan: &'a Plan,
    pub(super) file: PathBuf,
}

impl AuditView<'_> {
    /// Waits until the log says exactly this, oldest first: `red-phone allow wiki`, `new-tv refuse member-pending`,
    /// with the service if it was judged, how it ended if badly, and `×3` where three were folded.
    pub async fn reads(&self, lines: &[&str]) {
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        let begin = Instant::now();
        loop {
            let have: Vec<String> = self.records().iter().map(|record| self.line(record)).collect();
            if have == lines {
                return;
            }
            assert!(begin.elapsed() < SOON, "the log reads\n{have:#?}\nand not\n{lines:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the records of a service say exactly this, oldest first, as sentences: `red-phone added http://… as 2089…`,
    /// `kids-tablet tried aria2.pause: … (no-rule)`, `laptop POST /jsonrpc` where nothing was done.
    pub async fn tells(&self, service: &str, lines: &[impl AsRef<str>]) {
        let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
        let begin = Instant::now();
        loop {
            let records = self.records();
            let of_it = records.iter().filter(|record| record.service.as_deref() == Some(service));
            let have: Vec<String> = of_it.map(|record| self.sentence(record)).collect();
            if have == lines {
                return;
            }
            assert!(begin.elapsed() < SOON, "the log tells\n{have:#?}\nand not\n{lines:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for a record that fits.
    pub async fn record(&self, fits: impl Fn(&Record) -> bool) -> Record {
        let begin = Instant::now();
        loop {
            let records = self.records();
            if let Some(found) = records.iter().find(|record| fits(record)) {
                return found.clone();
            }
            assert!(begin.elapsed() < SOON, "no such record among {records:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until there are so many records.
    pub async fn count(&self, wanted: usize) {
        let begin = Instant::now();
        while self.records().len() != wanted {
            assert!(begin.elapsed() < SOON, "not {wanted} records: {:#?}", self.records());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// All records, oldest first.
    pub fn records(&self) -> Vec<Record> {
        let entries = audit::read(&self.file, &Filter::default()).unwrap();
        let record = |entry| match entry {
            Ok(Entry::Record(record)) => *record,
            other => panic!("the log holds {other:?}"),
        };
        entries.map(record).collect()
    }

    fn sentence(&self, record: &Record) -> String {
        let (method, path) = (record.method.as_deref(), record.path.as_deref());
        let plain = || format!("{} {}", method.unwrap_or("-"), path.unwrap_or("-"));
        let deed = record.deed.as_deref().map_or_else(plain, str::to_owned);
        let refused = match record.verdict {
            Verdict::Allow => String::new(),
            Verdict::Refuse(code) => format!(" ({code})"),
        };
        let times = if record.count > 1 { format!(" ×{}", record.count) } else { String::new() };
        format!("{} {deed}{refused}{times}", self.who(record))
    }

    fn who(&self, record: &Record) -> String {
        let name = |id| self.plan.name_of(id).map_or_else(|| id.to_string(), str::to_owned);
        record.member.map_or_else(|| record.address.to_string(), name)
    }

    fn line(&self, record: &Record) -> String {
        let name = |id| self.plan.name_of(id).map_or_else(|| id.to_string(), str::to_owned);
        let who = self.who(record);
        let mut line = match record.verdict {
            Verdict::Allow => format!("{who} allow"),
            Verdict::Refuse(code) => format!("{who} refuse {code}"),
        };
        for part in [record.service.as_deref(), record.ended.map(|how| how.as_str())].into_iter().flatten() {
            line = format!("{line} {part}");
        }
        if let Some(claimed) = record.claimed {
            line = format!("{line} as {}", name(claimed));
        }
        if record.count > 1 {
            line = format!("{line} ×{}", record.count);
        }
        line
    }
}
