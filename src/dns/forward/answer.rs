//! What of a server's answer is kept, for how long, and how it is said to a client.

use std::time::Duration;

use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::question::Question;
use super::rebind::{House, Inside};

/// A record is kept so long at most: a name that moved is found within the hour, whatever its old owner said.
const LONGEST: Duration = Duration::from_secs(3_600);

/// That a name is not there is kept so long at most (RFC 2308, section 5, allows hours): who just made it waits no longer.
const LONGEST_NEGATIVE: Duration = Duration::from_secs(300);

/// How long "nobody answers" is kept (RFC 9520, section 3.2: a second at least): equal questions do not pile up at a
/// server that is down, and one that came back is noticed at once.
const FAILURE: Duration = Duration::from_secs(2);

/// Longer chains of aliases are cut, as resolvers do.
const LONGEST_CHAIN: usize = 16;

/// The part of an answer that belongs to the question: what it leads to by aliases, records of the type asked for, or the
/// proof that there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) code: ResponseCode,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    /// How long it may be given again; zero: not at all.
    pub(super) lifetime: Duration,
    /// What it was emptied for.
    pub(super) private: Option<Inside>,
}

impl Answer {
    /// Takes from a server's answer what belongs to the question.
    ///
    /// An answer from outside that leads into this house, to an address or a name, is emptied as a whole. It then says that the name has no
    /// such record; that the name does not exist would be taken for its other types and the names below it as well
    /// (RFC 8020).
    pub(super) fn new(question: &Question, message: Message, house: &House) -> Self {
        let chain = chain(question, &message.answers);
        let is_kept = |record: &Record| belongs(record, question, &chain);
        let answers: Vec<_> = message.answers.into_iter().filter(is_kept).collect();
        let is_found = answers.iter().any(|record| record.record_type() == question.kind);
        let end = chain.last().unwrap_or(&question.name);
        let authorities = message.authorities.into_iter();
        let authorities: Vec<_> =
            authorities.filter(|record| proves(record, question.dnssec_ok, is_found, end)).collect();
        let code = message.metadata.response_code;
        let mut answer =
            Self { code, answers, authorities, lifetime: Duration::ZERO, private: None }.clamped(is_found);
        if !house.include(&question.name)
            && let Some(inside) = answer.answers.iter().find_map(|record| house.way_in(record))
        {
            answer = answer.emptied(inside);
        }
        answer
    }

    fn emptied(self, private: Inside) -> Self {
        Self {
            code: ResponseCode::NoError,
            answers: Vec::new(),
            authorities: Vec::new(),
            lifetime: self.lifetime.min(LONGEST_NEGATIVE),
            private: Some(private),
        }
    }

    /// The answer when no server had one.
    pub(super) fn failure() -> Self {
        Self {
            code: ResponseCode::ServFail,
            answers: Vec::new(),
            authorities: Vec::new(),
            lifetime: FAILURE,
            private: None,
        }
    }

    pub(super) fn is_failure(&self) -> bool {
        self.code == ResponseCode::ServFail
    }

    /// Gives each record its plain letters and its time, and the whole the shortest.
    fn clamped(mut self, is_found: bool) -> Self {
        for record in self.answers.iter_mut().chain(&mut self.authorities) {
            calm(record);
            record.ttl = record.ttl.min(LONGEST.as_secs() as u32);
        }
        // Without a SOA nobody said how long that holds (RFC 2308, section 5).
        let mut negative = (!is_found).then_some(0);
        for record in &mut self.authorities {
            if let RData::SOA(soa) = &record.data {
                record.ttl = record.ttl.min(soa.minimum).min(LONGEST_NEGATIVE.as_secs() as u32);
                negative = negative.map(|_| record.ttl);
            }
        }
        let shortest = self.answers.iter().map(|record| record.ttl).chain(negative).min();
        self.lifetime = Duration::from_secs(shortest.unwrap_or(0).into());
        self
    }

    /// The answer to this very query: its ID, its question to the letter, times that tell how old it is.
    pub(super) fn to(&self, query: &Message, age: Age) -> Message {
        let mut message = response(query, self.code);
        let asked = query.queries.first().map(|asked| &asked.name);
        let told = |record: &Record| {
            let mut record = record.clone();
            record.ttl = match age {
                Age::Of(age) => record.ttl.saturating_sub(u32::try_from(age.as_secs()).unwrap_or(u32::MAX)),
                Age::Stale => STALE_TTL,
            };
            if let Some(asked) = asked.filter(|asked| **asked == record.name) {
                record.name.clone_from(asked);
            }
            record
        };
        message.answers = self.answers.iter().map(told).collect();
        message.authorities = self.authorities.iter().map(told).collect();
        message
    }

    /// As it is kept, if it can be written whole and is not too large.
    pub(super) fn pack(&self) -> Option<Packed> {
        let mut message = Message::response(0, OpCode::Query);
        message.metadata.response_code = self.code;
        message.answers.clone_from(&self.answers);
        message.authorities.clone_from(&self.authorities);
        let wire = message.to_vec().ok()?;
        // hickory leaves out what goes beyond a message's longest and says so by TC: that is not the answer.
        let is_whole = wire.get(2).is_some_and(|flags| flags & TC == 0);
        (is_whole && wire.len() <= LARGEST).then(|| Packed { wire: wire.into(), lifetime: self.lifetime })
    }
}

/// Larger answers are not kept, in bytes: a thousand would fill the cache, and nobody needs them twice.
const LARGEST: usize = 16 * 1024;

/// "Truncated", in the third byte of a message (RFC 1035, section 4.1.1).
const TC: u8 = 0x02;

/// An answer as a message on the wire: parsed records take up to forty times their bytes, and whoever sends them chooses
/// how often, so that only this lets the cache know its size.
pub(super) struct Packed {
    wire: Box<[u8]>,
    lifetime: Duration,
}

impl Packed {
    pub(super) fn unpack(&self) -> Option<Answer> {
        let message = Message::from_vec(&self.wire).ok()?;
        Some(Answer {
            code: message.metadata.response_code,
            answers: message.answers,
            authorities: message.authorities,
            lifetime: self.lifetime,
            private: None,
        })
    }

    /// In bytes, without its own fields.
    pub(super) fn size(&self) -> usize {
        self.wire.len()
    }
}

/// How old what is said is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Of(Duration),
    /// Older than it should be, given because nobody answers now.
    Stale,
}

/// What RFC 8767, section 4, recommends for answers that ran out.
const STALE_TTL: u32 = 30;

/// An empty answer to that query with that code.
pub(super) fn response(query: &Message, code: ResponseCode) -> Message {
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.metadata.checking_disabled = query.metadata.checking_disabled;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.queries.clone_from(&query.queries);
    message
}

/// The name asked for and those it is an alias of, in order. Where a name has two aliases, the first counts.
fn chain(question: &Question, records: &[Record]) -> Vec<Name> {
    let mut chain = vec![question.name.clone()];
    while chain.len() <= LONGEST_CHAIN && question.kind != RecordType::CNAME {
        let at = &chain[chain.len() - 1];
        let next = records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *at => Some(target.0.clone()),
            _ => None,
        });
        match next {
            Some(next) if !chain.contains(&next) => chain.push(next),
            _ => break,
        }
    }
    chain
}

/// Whether a record of the answer section is part of the chain or at its end. A DNAME stands above the names that it
/// renames, and comes with the CNAME that it means (RFC 6672, section 3.1).
fn belongs(record: &Record, question: &Question, chain: &[Name]) -> bool {
    let kind = match covered(record) {
        Some(covered) if question.dnssec_ok && question.kind != RecordType::RRSIG => covered,
        _ => record.record_type(),
    };
    let is_above = |name: &&Name| record.name.zone_of(name) && record.name != **name;
    let is_part = match kind {
        RecordType::DNAME if question.kind != RecordType::DNAME => chain.iter().any(|name| is_above(&name)),
        RecordType::CNAME => chain.contains(&record.name),
        _ => kind == question.kind && chain.last() == Some(&record.name),
    };
    is_part && record.dns_class == DNSClass::IN
}

/// Whether a record of the authority section proves that there is nothing (SOA, NSEC), or that a wildcard was meant
/// (NSEC beside an answer). No client asked for the rest.
fn proves(record: &Record, dnssec_ok: bool, is_found: bool, end: &Name) -> bool {
    let kind = match covered(record) {
        Some(covered) if dnssec_ok => covered,
        _ => record.record_type(),
    };
    let is_proof = match kind {
        RecordType::SOA => !is_found && record.name.zone_of(end),
        RecordType::NSEC | RecordType::NSEC3 => dnssec_ok,
        _ => false,
    };
    is_proof && record.dns_class == DNSClass::IN
}

/// Puts names into lower case. A server that compresses names repeats the letters that the question was sent in, wherever
/// a name ends like it. Signatures are made over lower case here (RFC 4034, section 6.2).
fn calm(record: &mut Record) {
    let calm = |name: &mut Name| *name = name.to_lowercase();
    calm(&mut record.name);
    match &mut record.data {
        RData::CNAME(target) => calm(&mut target.0),
        RData::NS(server) => calm(&mut server.0),
        RData::MX(mail) => calm(&mut mail.exchange),
        RData::SRV(service) => calm(&mut service.target),
        RData::SOA(soa) => [&mut soa.mname, &mut soa.rname].into_iter().for_each(calm),
        _ => {}
    }
}

/// The type of the records that this one is the signature of.
fn covered(record: &Record) -> Option<RecordType> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => Some(signature.input().type_covered),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
