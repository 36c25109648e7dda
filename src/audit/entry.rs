//! What the log holds: records, and where some are missing, how many.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;

use super::{Ending, Record, Verdict};
use crate::model::{MemberId, RefusalCode, RequestId};
use crate::store::AuditRow;

pub(super) const GAP: &str = "gap";

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Entry {
    Record(Box<Record>),
    Gap(Gap),
}

/// Records that could not be kept: the disk was full, or more happened than could be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// When the first of them began.
    #[serde(rename = "time")]
    pub since: Timestamp,
    /// When the last of them began.
    pub until: Timestamp,
    pub lost: u64,
}

impl Gap {
    /// Counts one more lost record.
    pub(super) fn add(gap: &mut Option<Self>, record: &Record) {
        Self::join(gap, Self { since: record.at, until: record.at, lost: u64::from(record.count) });
    }

    pub(super) fn join(gap: &mut Option<Self>, more: Self) {
        let all = gap.get_or_insert(Self { lost: 0, ..more });
        all.since = all.since.min(more.since);
        all.until = all.until.max(more.until);
        all.lost = all.lost.saturating_add(more.lost);
    }
}

/// A row that this version cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "record {id} of the audit log: {what}; it may have been written by a newer ztgate, or not by ztgate at all"
)]
pub struct StrangeRow {
    pub id: i64,
    what: String,
}

pub(super) fn row_of(record: &Record) -> AuditRow<'_> {
    fn number(n: u64) -> i64 {
        i64::try_from(n).unwrap_or(i64::MAX)
    }
    fn id(member: MemberId) -> i64 {
        number(member.bits())
    }
    AuditRow {
        at: record.at.as_microsecond(),
        kind: Cow::Borrowed(record.verdict.as_str()),
        member: record.member.map(id),
        claimed: record.claimed.map(id),
        device: record.device.as_deref().map(Cow::Borrowed),
        owner: record.owner.as_deref().map(Cow::Borrowed),
        address: Some(record.address),
        service: record.service.as_deref().map(Cow::Borrowed),
        host: record.host.as_deref().map(Cow::Borrowed),
        method: record.method.as_deref().map(Cow::Borrowed),
        path: record.path.as_deref().map(Cow::Borrowed),
        deed: record.deed.as_deref().map(Cow::Borrowed),
        rule: record.rule.as_deref().map(Cow::Borrowed),
        status: record.status,
        received: number(record.received),
        sent: number(record.sent),
        micros: number(record.micros),
        request: record.request.map(|id| ((u128::from(id.0) << 64) | u128::from(id.1)).to_be_bytes()),
        ended: record.ended.map(|ended| Cow::Borrowed(ended.as_str())),
        count: i64::from(record.count),
    }
}

pub(super) fn row_of_gap(gap: &Gap) -> AuditRow<'static> {
    AuditRow {
        at: gap.since.as_microsecond(),
        kind: Cow::Borrowed(GAP),
        member: None,
        claimed: None,
        device: None,
        owner: None,
        address: None,
        service: None,
        host: None,
        method: None,
        path: None,
        deed: None,
        rule: None,
        status: None,
        received: 0,
        sent: 0,
        micros: gap.until.as_microsecond() - gap.since.as_microsecond(),
        request: None,
        ended: None,
        count: i64::try_from(gap.lost).unwrap_or(i64::MAX),
    }
}

pub(super) fn entry_of(id: i64, row: AuditRow<'_>) -> Result<Entry, StrangeRow> {
    let strange = |what: String| StrangeRow { id, what };
    let time = |micros| Timestamp::from_microsecond(micros).map_err(|error| strange(error.to_string()));
    let member = |bits: i64| MemberId::from_bits(bits.unsigned_abs());
    let at = time(row.at)?;
    if row.kind == GAP {
        let until = time(row.at.saturating_add(row.micros))?;
        return Ok(Entry::Gap(Gap { since: at, until, lost: row.count.unsigned_abs() }));
    }
    let verdict = if row.kind == Verdict::Allow.as_str() {
        Verdict::Allow
    } else {
        let code = row.kind.parse::<RefusalCode>();
        Verdict::Refuse(code.map_err(|error| strange(error.to_string()))?)
    };
    let ended = match row.ended.as_deref() {
        Some(text) => Some(
            *Ending::ALL
                .iter()
                .find(|ending| ending.as_str() == text)
                .ok_or_else(|| strange(format!("not an ending: {text}")))?,
        ),
        None => None,
    };
    Ok(Entry::Record(Box::new(Record {
        at,
        member: row.member.and_then(member),
        claimed: row.claimed.and_then(member),
        device: row.device.map(Into::into),
        owner: row.owner.map(Into::into),
        address: row.address.ok_or_else(|| strange("no address".to_owned()))?,
        service: row.service.map(Into::into),
        host: row.host.map(Into::into),
        method: row.method.map(Into::into),
        path: row.path.map(Into::into),
        deed: row.deed.map(Into::into),
        verdict,
        rule: row.rule.map(Into::into),
        status: row.status,
        received: row.received.unsigned_abs(),
        sent: row.sent.unsigned_abs(),
        micros: row.micros.unsigned_abs(),
        request: row.request.map(|bytes| {
            let bits = u128::from_be_bytes(bytes);
            RequestId((bits >> 64) as u64, bits as u64)
        }),
        ended,
        count: u32::try_from(row.count).unwrap_or(u32::MAX),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::examples::{allowed, refused};

    #[test]
    fn every_field_survives_the_database() {
        for code in RefusalCode::ALL {
            for ending in Ending::ALL {
                let record = Record {
                    claimed: "bcba17eef8".parse().ok(),
                    host: Some("nosuch.home.arpa".into()),
                    ended: Some(*ending),
                    count: 7,
                    deed: Some("tried aria2.shutdown".into()),
                    address: "fd5e:2d9::1".parse().unwrap(),
                    ..refused("new-tv", *code)
                };
                assert_eq!(entry_of(1, row_of(&record)), Ok(Entry::Record(Box::new(record))));
            }
        }
    }

    #[test]
    fn gaps_add_up() {
        let mut gap = None;
        let later = Record { at: "2026-11-20T15:00:00Z".parse().unwrap(), count: 3, ..allowed("a") };
        Gap::add(&mut gap, &later);
        Gap::add(&mut gap, &allowed("a"));
        let gap = gap.unwrap();
        assert_eq!((gap.lost, gap.since, gap.until), (4, allowed("a").at, later.at));
        assert_eq!(entry_of(1, row_of_gap(&gap)), Ok(Entry::Gap(gap)));
    }

    #[test]
    fn a_row_from_the_future_is_named() {
        let gap = Gap { since: Timestamp::UNIX_EPOCH, until: Timestamp::UNIX_EPOCH, lost: 1 };
        let row = AuditRow { kind: "new-code".into(), ..row_of_gap(&gap) };
        let error = entry_of(17, row).unwrap_err().to_string();
        assert!(error.contains("record 17") && error.contains("new-code"), "{error}");
    }
}
