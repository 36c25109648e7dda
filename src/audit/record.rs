//! One record per request, stream and refusal.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{MemberId, RefusalCode, RequestId};

/// Stands for the method where a name was asked for and not a page; the path then says which type of record.
pub const DNS: &str = "DNS";

/// What happened, once, in the words that `ztgate audit` prints.
///
/// Text from outside is redacted and capped before it gets here (see [`super::redact`]); names are shared, not copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// When it began.
    #[serde(rename = "time")]
    pub at: Timestamp,
    /// Who the link layer says it was.
    pub member: Option<MemberId>,
    /// The member that the source address belongs to, where that is not the one above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claimed: Option<MemberId>,
    pub device: Option<Arc<str>>,
    pub owner: Option<Arc<str>>,
    pub address: IpAddr,
    pub service: Option<Arc<str>>,
    /// The name that was asked for, where no service has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Box<str>>,
    /// The HTTP method, or [`DNS`]; `None` where a connection was refused before any request.
    pub method: Option<Arc<str>>,
    /// Path and query with secrets redacted.
    pub path: Option<Box<str>>,
    /// What was done or tried, in the words of the service's own trade: `added https://example.org/a.iso as 2089b05ecca3d829`.
    /// The method is then the service's own, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deed: Option<Box<str>>,
    pub verdict: Verdict,
    /// The rule that decided, as `file:line` and name.
    pub rule: Option<Arc<str>>,
    /// The HTTP status that was sent; `None` where none was.
    pub status: Option<u16>,
    /// Body bytes from the device.
    pub received: u64,
    /// Body bytes to the device.
    pub sent: u64,
    /// From the request's head to the last byte of its answer, in microseconds.
    pub micros: u64,
    pub request: Option<RequestId>,
    /// How it ended, where that was not in good order: the device went away, the upstream broke off, a cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ending>,
    /// How often it happened: refusals that repeat within 10 s are one record, and so are all of a minute by one verdict of
    /// a member that used up its [`Share`](super::Share). Bytes and durations are then the sum, and a field in which they
    /// differ is left out; paths and deeds that differ are `…`.
    pub count: u32,
}

impl Record {
    /// A refusal before any request was heard, of which nothing is known but the address it was sent from.
    pub fn refused(at: Timestamp, address: IpAddr, code: RefusalCode) -> Self {
        Self {
            at,
            member: None,
            claimed: None,
            device: None,
            owner: None,
            address,
            service: None,
            host: None,
            method: None,
            path: None,
            deed: None,
            verdict: Verdict::Refuse(code),
            rule: None,
            status: None,
            received: 0,
            sent: 0,
            micros: 0,
            request: None,
            ended: None,
            count: 1,
        }
    }
}

/// Whether it was let in, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Refuse(RefusalCode),
}

impl Verdict {
    /// `allow`, or the code of the refusal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Refuse(code) => code.as_str(),
        }
    }
}

impl Serialize for Verdict {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// How a stream ended that did not end in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The device went away before the last byte.
    DeviceGone,
    /// The upstream broke off.
    UpstreamBroke,
    /// The gateway ended it: its rights or its address went.
    Cut,
    /// The gateway stopped.
    Shutdown,
}

impl Ending {
    pub const ALL: &[Self] = &[Self::DeviceGone, Self::UpstreamBroke, Self::Cut, Self::Shutdown];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeviceGone => "device-gone",
            Self::UpstreamBroke => "upstream-broke",
            Self::Cut => "cut",
            Self::Shutdown => "shutdown",
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A request that went well.
    pub(crate) fn allowed(device: &str) -> Record {
        Record {
            at: "2026-11-20T14:03:22.5Z".parse().unwrap(),
            member: "c4c8812898".parse().ok(),
            claimed: None,
            device: Some(device.into()),
            owner: Some("mum".into()),
            address: "10.147.17.5".parse().unwrap(),
            service: Some("jellyfin".into()),
            host: None,
            method: Some("GET".into()),
            path: Some("/web/index.html?v=…".into()),
            deed: None,
            verdict: Verdict::Allow,
            rule: Some("ztgate.toml:12 allow".into()),
            status: Some(200),
            received: 0,
            sent: 1234,
            micros: 3100,
            request: Some(RequestId(0x18f3_a5c2_0000_0001, 7)),
            ended: None,
            count: 1,
        }
    }

    /// A request that was refused.
    pub(crate) fn refused(device: &str, code: RefusalCode) -> Record {
        Record {
            verdict: Verdict::Refuse(code),
            rule: None,
            status: Some(code.status().as_u16()),
            sent: 0,
            micros: 90,
            ..allowed(device)
        }
    }
}
