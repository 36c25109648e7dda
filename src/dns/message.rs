//! Messages in and out: what of a query is needed to answer it, and answers in the space there is.

use hickory_proto::op::{Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// The longest answer over UDP. What is longer may be cut into fragments on the way, which get lost and can be forged
/// (RFC 9715, section 3.1).
pub const MOST_OVER_UDP: u16 = 1232;
/// What fits without EDNS (RFC 1035, section 4.2.1).
const LEAST_OVER_UDP: u16 = 512;

/// A message has at least its header (RFC 1035, section 4.1.1).
pub const HEADER: usize = 12;

/// A query, or what could be read of one.
#[derive(Clone, Debug)]
pub struct Asked {
    metadata: Metadata,
    question: Option<Query>,
    edns: Option<Edns>,
}

/// Bytes that nobody answers: no whole header, or an answer already. To answer those would let two servers talk to each
/// other forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoQuery;

/// A query that cannot be understood, and what its answer says.
#[derive(Clone, Debug)]
pub struct NotUnderstood {
    pub asked: Asked,
    pub code: ResponseCode,
}

/// Reads a query's header and its one question, and no more.
///
/// # Errors
/// There is no query in the bytes.
pub fn begin(bytes: &[u8]) -> Result<Result<Asked, NotUnderstood>, NoQuery> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).map_err(|_| NoQuery)?;
    if header.metadata.message_type == MessageType::Response {
        return Err(NoQuery);
    }
    let mut asked = Asked { metadata: header.metadata, question: None, edns: None };
    if header.metadata.op_code != OpCode::Query {
        return Ok(Err(NotUnderstood { asked, code: ResponseCode::NotImp }));
    }
    let start = decoder.index();
    let question = (header.counts.queries == 1).then(|| Query::read(&mut decoder).ok()).flatten();
    // The first name has nothing before it to point to but the header. A name is as long as it is on the wire, its root
    // included, and two numbers follow.
    let plain = question.filter(|question| decoder.index() - start == wire_length(question));
    asked.question = plain;
    if asked.question.is_none() || header.counts.answers > 0 {
        return Ok(Err(NotUnderstood { asked, code: ResponseCode::FormErr }));
    }
    Ok(Ok(asked))
}

/// Reads a whole query.
///
/// # Errors
/// There is no query in the bytes.
pub fn read(bytes: &[u8]) -> Result<Result<(Asked, Message), NotUnderstood>, NoQuery> {
    let mut asked = match begin(bytes)? {
        Ok(asked) => asked,
        Err(not_understood) => return Ok(Err(not_understood)),
    };
    let Ok(message) = Message::from_vec(bytes) else {
        return Ok(Err(NotUnderstood { asked, code: ResponseCode::FormErr }));
    };
    asked.edns.clone_from(&message.edns);
    if message.version() > 0 {
        return Ok(Err(NotUnderstood { asked, code: ResponseCode::BADVERS }));
    }
    Ok(Ok((asked, message)))
}

fn wire_length(question: &Query) -> usize {
    let labels = question.name.iter().map(|label| 1 + label.len()).sum::<usize>();
    labels + 1 + 4
}

impl Asked {
    pub fn question(&self) -> Option<&Query> {
        self.question.as_ref()
    }

    /// The longest answer that may be sent over UDP.
    pub fn room(&self) -> u16 {
        let asked = self.edns.as_ref().map_or(LEAST_OVER_UDP, Edns::max_payload);
        asked.clamp(LEAST_OVER_UDP, MOST_OVER_UDP)
    }

    /// An answer with nothing in it but its code and the question, as it was asked to the letter.
    pub fn answer(&self, code: ResponseCode) -> Message {
        let mut answer = Message::response(self.metadata.id, self.metadata.op_code);
        answer.metadata = Metadata::response_from_request(&self.metadata);
        answer.metadata.response_code = code;
        answer.metadata.recursion_available = true;
        answer.queries.extend(self.question.clone());
        answer.edns = self.our_edns();
        answer
    }

    /// The word to come back over TCP.
    pub fn truncated(&self) -> Message {
        let mut answer = self.answer(ResponseCode::NoError);
        answer.metadata.truncation = true;
        answer
    }

    /// Makes sure that an answer from elsewhere is one to this query.
    pub fn seal(&self, mut answer: Message) -> Message {
        let code = answer.metadata.response_code;
        let flags = answer.metadata;
        answer.metadata = self.answer(code).metadata;
        answer.metadata.authentic_data = flags.authentic_data;
        answer.metadata.truncation = flags.truncation;
        answer.queries = self.question.iter().cloned().collect();
        answer.edns = self.our_edns();
        answer
    }

    /// Answered with EDNS if asked with it, and not otherwise (RFC 6891, section 6.1.1).
    fn our_edns(&self) -> Option<Edns> {
        let theirs = self.edns.as_ref()?;
        let mut ours = Edns::new();
        ours.set_max_payload(MOST_OVER_UDP).set_dnssec_ok(theirs.flags().dnssec_ok);
        Some(ours)
    }
}

/// An answer as bytes, at most so many. What does not fit is left out whole, and the asker told to come by TCP: half an answer
/// could be taken for all of it.
///
/// `None` if not even the question fits, which no question does that fitted where it came in.
pub fn encode(answer: &Message, room: u16) -> Option<Vec<u8>> {
    let fits = |bytes: &Vec<u8>| bytes.len() <= usize::from(room);
    answer.to_vec().ok().filter(fits).or_else(|| answer.truncate().to_vec().ok().filter(fits))
}

/// A record with its owner's name as it was asked.
pub fn record(question: &Query, ttl: u32, data: hickory_proto::rr::RData) -> Record {
    Record::from_rdata(question.name.clone(), ttl, data)
}
