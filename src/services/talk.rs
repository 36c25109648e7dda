//! Conversations: what is said to a service in messages, judged one by one.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{Moment, RefusalCode};

/// One conversation: one request and its answer, or one WebSocket with all that is said on it.
///
/// Pure. Whoever holds the two ends brings it what each of them said, whole, and carries on what it gives back.
pub trait Talk: fmt::Debug {
    /// The longest message from the device that it takes, in bytes. What is longer is not heard to its end
    /// ([`Unheard::TooLong`]).
    fn longest(&self) -> usize;

    /// Judges a message of the device's. `roles` are those that it has right now, weakest first.
    fn ask(&mut self, message: &[u8], roles: &[&str], now: Moment) -> Ruling;

    /// Says that a message of the device's was not heard, and why.
    fn unheard(&mut self, why: Unheard) -> Ruling;

    /// Reads a message of the service's.
    fn answer(&mut self, message: Bytes, now: Moment) -> Answered;

    /// When [`Talk::give_up`] next has something to say; none while nothing is waited for.
    fn due(&self) -> Option<Moment>;

    /// Says that there is no answer, and why. One message at a time: to be called again until it gives none.
    fn give_up(&mut self, why: Silence) -> Answered;
}

/// Why a device's message was not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// It was longer than [`Talk::longest`].
    TooLong,
    /// The gateway holds as many messages as it may, or as many of this member's.
    NoRoom,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// None came until now; this is said only to what is overdue by then.
    Late(Moment),
    /// The service went away, and may or may not have done what it was asked.
    Broke,
    /// The service could not be reached, and heard nothing.
    Unreached,
    /// The gateway carries as much as it may.
    Busy {
        /// Whether the service was asked before that, and may have done it.
        heard: bool,
    },
    /// There is one, longer than the gateway reads.
    TooLong,
}

/// What becomes of a device's message.
#[derive(Default, PartialEq, Eq)]
pub struct Ruling {
    /// What the service is to hear; nothing if none of it was allowed.
    pub forward: Option<Vec<u8>>,
    /// What the device is told at once.
    pub reply: Option<Reply>,
    /// What was refused, and what needs no answer to be known.
    pub deeds: Vec<Deed>,
}

/// What is forwarded holds the service's secret, and is not shown.
impl fmt::Debug for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forwarded = self.forward.as_ref().map(Vec::len);
        f.debug_struct("Ruling")
            .field("forwarded bytes", &forwarded)
            .field("reply", &self.reply)
            .field("deeds", &self.deeds)
            .finish()
    }
}

/// What a device is told by the gateway itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status, where the message came by HTTP.
    pub status: http::StatusCode,
    pub message: Vec<u8>,
}

/// What becomes of a service's message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// What the device hears; nothing if it was not for it.
    pub message: Option<Bytes>,
    /// What is now known to have been done.
    pub deeds: Vec<Deed>,
}

/// What somebody did, or tried, in the words of the service's own trade. For the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// The call, as the service names it.
    pub call: Box<str>,
    /// `added https://example.org/a.iso as 2089b05ecca3d829`. No secrets, and capped.
    pub text: Box<str>,
    /// Why it was refused, if it was.
    pub refused: Option<RefusalCode>,
}

/// How long a service may take for an answer.
pub const PATIENCE: Duration = Duration::from_secs(30);
