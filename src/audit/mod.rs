//! What happened: one record per request, stream and refusal, kept so that it can be asked.

mod record;

pub use record::{Ending, Record, Verdict};
