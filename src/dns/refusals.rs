//! Who was refused, for the audit log: one by one while that is readable, and beyond it as a count a second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::Query;
use jiff::Timestamp;

use super::limits::Pace;
use crate::audit::{DNS, Record, redact};
use crate::identity::{IdentityRefusal, Member};
use crate::model::{MemberId, Moment, RefusalCode};

/// Somebody who was refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Who the SYN says it was; nobody over UDP.
    pub member: Option<MemberId>,
    pub known: Option<Arc<Member>>,
    /// The member whose address was used, where no SYN says more.
    pub claimed: Option<MemberId>,
    pub address: IpAddr,
    pub code: RefusalCode,
}

impl Refused {
    pub fn by(refusal: IdentityRefusal, address: IpAddr) -> Self {
        let IdentityRefusal { code, member, known, claimed } = refusal;
        Self { member, known, claimed, address, code }
    }

    fn key(&self) -> Key {
        (self.member, self.claimed, self.code)
    }

    fn record(&self, at: Timestamp, question: Option<&Query>, count: u32) -> Record {
        let known = self.known.as_ref();
        let name = question.map(|question| {
            let name = question.name.to_ascii();
            redact::host(name.strip_suffix('.').filter(|name| !name.is_empty()).unwrap_or(&name))
        });
        Record {
            member: self.member,
            claimed: self.claimed,
            device: known.and_then(|member| member.device.as_ref()).map(|name| name.shared()),
            owner: known.and_then(|member| member.owner.as_ref()).map(|name| name.shared()),
            host: name,
            method: Some(DNS.into()),
            path: question.map(|question| question.query_type.to_string().into()),
            count,
            ..Record::refused(at, self.address, self.code)
        }
    }
}

type Key = (Option<MemberId>, Option<MemberId>, RefusalCode);

/// What was refused of late.
#[derive(Debug)]
pub struct Refusals {
    pace: Pace<Option<MemberId>>,
    /// Beyond the pace: the first of its kind, and how many.
    summed: HashMap<Key, (Refused, u32)>,
}

impl Refusals {
    /// So many a second of each member are recorded one by one.
    pub fn new(rate: u32) -> Self {
        Self { pace: Pace::new(rate, rate), summed: HashMap::new() }
    }

    /// Takes a refusal: the record to write now, or `None` if it is only counted, in which case nobody is told either.
    pub fn note(
        &mut self,
        refused: Refused,
        question: Option<&Query>,
        at: Timestamp,
        now: Moment,
    ) -> Option<Record> {
        if self.pace.allows(refused.member.or(refused.claimed), now) {
            return Some(refused.record(at, question, 1));
        }
        self.count(refused);
        None
    }

    /// Only counts a refusal.
    pub fn count(&mut self, refused: Refused) {
        let (_, count) = self.summed.entry(refused.key()).or_insert((refused, 0));
        *count = count.saturating_add(1);
    }

    /// What was only counted since the last time.
    pub fn take(&mut self, at: Timestamp, now: Moment) -> Vec<Record> {
        self.pace.tidy(now);
        self.summed.drain().map(|(_, (refused, count))| refused.record(at, None, count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_refusal_is_in_exactly_one_record() {
        let mut refusals = Refusals::new(10);
        let (at, now) = (Timestamp::UNIX_EPOCH, Moment::since_boot(60, 0));
        let pending = |id: &str| Refused {
            member: None,
            known: None,
            claimed: id.parse().ok(),
            address: "10.147.20.2".parse().unwrap(),
            code: RefusalCode::MemberPending,
        };
        let told = (0..1000).filter_map(|_| refusals.note(pending("c4c8812898"), None, at, now)).count();
        assert_eq!(told, 10);
        assert!(refusals.note(pending("bcba17eef8"), None, at, now).is_some(), "each its own");
        let rest = refusals.take(at, now);
        assert_eq!(rest.iter().map(|record| record.count).collect::<Vec<_>>(), [990]);
        assert_eq!(rest[0].claimed, "c4c8812898".parse().ok());
        assert!(refusals.take(at, now).is_empty());
        assert!(refusals.note(pending("c4c8812898"), None, at, now + Duration::from_secs(1)).is_some());
    }
}
