//! Who asks, and what comes of it. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};

use super::forward::is_nobodys;
use super::message::{self, Asked, NoQuery};
use super::reverse::reverse;
use super::special::special;
use super::view::{Sender, View};
use super::zone;
use crate::identity::{IdentityRefusal, Member, identify};
use crate::model::{Mac, MemberId, Moment, RefusalCode};

/// Why a sender is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotServed {
    /// The address is nobody's. There is no answer, so that who scans the network learns nothing.
    Stranger,
    /// A member's, who is not let in now.
    Refused(IdentityRefusal),
}

/// The active member behind a datagram's source address.
///
/// UDP has no SYN, so nothing proves who sent it: the address alone counts, held against all that [`identify`] asks of a TCP
/// connection. The answer is the same for every member, and goes to the address's owner where neighbours are pinned.
///
/// # Errors
/// Nobody may be served there.
pub fn sender(view: &View, source: IpAddr, now: Moment) -> Result<Arc<Member>, NotServed> {
    let id = match view.sender(source) {
        None => return Err(NotServed::Stranger),
        Some(Sender::Several(claimed)) => return Err(NotServed::Refused(not_its_own(claimed))),
        Some(Sender::One(id)) => id,
    };
    // The owner is whom the address names, and no more than that: a record must not say that it was the sender.
    let by_address = |refusal: IdentityRefusal| IdentityRefusal {
        member: None,
        known: None,
        claimed: Some(id),
        ..refusal
    };
    let mac = Mac::of(id, view.roster.network);
    let member = identify(&view.roster, mac, source, now);
    let member = member.map_err(|refusal| NotServed::Refused(by_address(refusal)))?;
    if !view.reaches(id, source) {
        return Err(NotServed::Refused(not_its_own(id)));
    }
    Ok(member)
}

/// The refusal of an address that does not stand for that member alone.
fn not_its_own(claimed: MemberId) -> IdentityRefusal {
    let code = RefusalCode::AddressNotYours;
    IdentityRefusal { code, member: None, known: None, claimed: Some(claimed) }
}

/// What comes of a query.
#[derive(Debug)]
pub enum Verdict {
    /// These bytes are no query.
    Silence,
    Answer(Asked, Message),
    /// A query that is not answered in its own terms; recorded as a bad request.
    Reject(Asked, Message),
    /// It is about somebody else's name.
    Forward(Asked, Message),
}

/// Judges what an active member sent.
pub fn judge(view: &View, bytes: &[u8]) -> Verdict {
    let (asked, query) = match message::read(bytes) {
        Err(NoQuery) => return Verdict::Silence,
        Ok(Err(not_understood)) => {
            let answer = not_understood.asked.answer(not_understood.code);
            return Verdict::Reject(not_understood.asked, answer);
        }
        Ok(Ok(read)) => read,
    };
    let Some(question) = asked.question() else {
        return Verdict::Silence;
    };
    if question.query_class != DNSClass::IN || is_meta(question.query_type) {
        let answer = asked.answer(ResponseCode::Refused);
        return Verdict::Reject(asked, answer);
    }
    if question.query_type == RecordType::DS && question.name == view.zone && has_parent(&view.zone) {
        return Verdict::Forward(asked, query);
    }
    let ours = zone::answer(view, &asked, question)
        .or_else(|| {
            let (what, of) = special(&question.name)?;
            Some(zone::special(view, &asked, question, what, &of))
        })
        .or_else(|| Some(zone::reverse(view, &asked, question, &reverse(view, &question.name)?)));
    match ours {
        Some(answer) => Verdict::Answer(asked, answer),
        None => Verdict::Forward(asked, query),
    }
}

/// Whether somebody can own the zone on the internet. Of such a one the DS stands in the zone above it (RFC 4035,
/// section 3.1.4.1), which others keep.
fn has_parent(zone: &Name) -> bool {
    !is_nobodys(zone)
}

/// Types that ask for more than one thing's data (RFC 6895, section 3.1): ANY, whole zones, and what is no data at all. ANY
/// gets the short answer that RFC 8482 allows, for its long one is what amplification is made of.
fn is_meta(kind: RecordType) -> bool {
    matches!(u16::from(kind), 0 | 41 | 128..=255)
}

#[cfg(test)]
mod tests;
