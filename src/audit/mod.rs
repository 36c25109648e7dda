//! What happened: one record per request, stream and refusal, kept so that it can be asked.
//!
//! A record is made and redacted on its request's thread ([`redact`], [`Recorder`]), folded, kept to its member's
//! [`Share`] and committed by one writer thread ([`Auditor`]), and read back from the file by anybody who may read it ([`read`]).

mod entry;
mod fold;
mod merge;
mod query;
mod quota;
mod record;
mod recorder;
pub mod redact;
#[cfg(test)]
mod tests;
pub mod when;
mod writer;

pub use entry::{Entry, Gap, StrangeRow};
pub use query::{Entries, Filter, Follow, QueryError, UnknownVerdict, VerdictFilter, read};
pub use quota::Share;
pub use record::{DNS, Ending, Record, Verdict};
pub use recorder::Recorder;
pub use writer::{AuditGauge, AuditStats, Auditor, Retention};

#[cfg(test)]
pub(crate) use record::tests as examples;
