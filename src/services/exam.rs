//! Examinations: questions to a service that tell whether it is set up well, and what its answers mean.

use std::fmt;

use http::StatusCode;

/// One question, to be sent by POST. Pure: whoever asks it brings the answer.
pub struct Exam {
    pub path: &'static str,
    pub media_type: &'static str,
    /// May carry the service's secret: not for logs.
    pub body: Vec<u8>,
    /// What an answer's status and body mean.
    pub read: Reading,
}

/// Judges an answer.
pub type Reading = Box<dyn Fn(StatusCode, &[u8]) -> Vec<Remark> + Send + Sync>;

/// What an answer told. The texts go on a sentence that begins with the service's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    Well(String),
    /// It works, with less than could be had.
    Odd {
        what: String,
        /// What to type or to change.
        mend: String,
    },
    /// It does not work, or is not safe.
    Bad {
        what: String,
        mend: String,
    },
}

impl Remark {
    pub fn well(what: impl Into<String>) -> Self {
        Self::Well(what.into())
    }

    pub fn odd(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Odd { what: what.into(), mend: mend.into() }
    }

    pub fn bad(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Bad { what: what.into(), mend: mend.into() }
    }
}

impl fmt::Debug for Exam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exam").field("path", &self.path).finish_non_exhaustive()
    }
}
