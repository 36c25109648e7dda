//! Why a call is not made: the code for records, and the words that an app shows.

use http::StatusCode;

use super::json::Json;
use super::methods::Role;
use crate::model::RefusalCode;
use crate::services::{PATIENCE, Silence};

/// A call, or a whole message, that is not passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: RefusalCode,
    /// For a person, without secrets: it is shown by apps and kept in the log.
    pub text: String,
}

/// The number of a message that is too long; it has no refusal code of its own.
const TOO_LONG: i64 = -32_013;

impl Refusal {
    pub fn not_offered(text: impl Into<String>) -> Self {
        Self { code: RefusalCode::NotOffered, text: text.into() }
    }

    pub fn malformed(text: impl Into<String>) -> Self {
        Self { code: RefusalCode::BadRequest, text: text.into() }
    }

    pub fn needs(what: &str, needed: Role, has: Option<Role>) -> Self {
        let has = has.map_or("none", Role::word);
        let text = format!("{what} needs the role {}; you have {has}", needed.word());
        Self { code: RefusalCode::NoRule, text }
    }

    /// What whoever asked is told where there is no answer of aria2's.
    pub fn unanswered(why: Silence) -> Self {
        let (code, text) = match why {
            Silence::Late(_) => (
                RefusalCode::UpstreamSlow,
                format!("aria2 did not answer within {} seconds", PATIENCE.as_secs()),
            ),
            Silence::Broke => (RefusalCode::UpstreamDown, "aria2 went away without an answer".to_owned()),
            Silence::Unreached => (RefusalCode::UpstreamDown, "aria2 cannot be reached".to_owned()),
            Silence::Busy { .. } => return Self::busy(),
            Silence::TooLong => (
                RefusalCode::UpstreamDown,
                "aria2's answer is too long: ask for fewer downloads at a time".to_owned(),
            ),
        };
        Self { code, text }
    }

    pub fn busy() -> Self {
        let text = "the gateway carries as many calls as it may: try again in a moment".to_owned();
        Self { code: RefusalCode::GatewayBusy, text }
    }

    /// What whoever asked is told in place of aria2's word on the gateway's own secret, which nobody but its owner can mend.
    pub fn wrong_secret() -> Self {
        let text =
            "the gateway's secret is not aria2's: whoever keeps the gateway finds out by ztgate doctor";
        Self { code: RefusalCode::UpstreamDown, text: text.to_owned() }
    }

    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The error object of JSON-RPC that says so.
    pub fn error(&self) -> Json {
        self.numbered(number(self.code))
    }

    /// The same for a message that was too long.
    pub fn too_long(&self) -> Json {
        self.numbered(TOO_LONG)
    }

    fn numbered(&self, number: i64) -> Json {
        let data = Json::from([("refusal", Json::text(self.code.as_str()))]);
        Json::from([
            ("code", Json::Number(number.into())),
            ("message", Json::text(self.text.clone())),
            ("data", data),
        ])
    }
}

/// Numbers of our own, stable, in the range that JSON-RPC 2.0 leaves to servers (-32000 to -32099). aria2 itself says 1,
/// -32600, -32601, -32602 and -32700.
fn number(code: RefusalCode) -> i64 {
    match code {
        RefusalCode::NoRule => -32_010,
        RefusalCode::NotOffered => -32_011,
        RefusalCode::BadRequest => -32_012,
        RefusalCode::GatewayBusy => -32_014,
        RefusalCode::UpstreamDown => -32_015,
        RefusalCode::UpstreamSlow => -32_016,
        // Nothing else is refused here.
        _ => -32_017,
    }
}
