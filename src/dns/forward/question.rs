//! What is asked of other servers, stripped of who asks: also what equal questions and cached answers are told by.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};

/// The largest answer by UDP that no path cuts into fragments, whose later ones anybody could forge (DNS Flag Day 2020).
pub(super) const UDP_PAYLOAD: u16 = 1232;

/// Everything that may change what a server answers. A client's other options (its subnet, its cookies) end here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// In lower case.
    pub(super) name: Name,
    pub(super) kind: RecordType,
    /// Signatures are wanted (DO, RFC 3225).
    pub(super) dnssec_ok: bool,
    /// The client validates by itself (CD, RFC 4035, section 3.2.2).
    pub(super) checking_disabled: bool,
}

impl Question {
    /// # Errors
    /// The code to refuse the query with: only one question, of the internet's class and for one type of record, is
    /// passed on. Whole zones and ANY are not, for their answers are many times the question.
    pub(super) fn of(query: &Message) -> Result<Self, ResponseCode> {
        if query.metadata.message_type != MessageType::Query {
            return Err(ResponseCode::FormErr);
        }
        if query.metadata.op_code != OpCode::Query {
            return Err(ResponseCode::NotImp);
        }
        let [asked] = query.queries.as_slice() else { return Err(ResponseCode::FormErr) };
        // 0 and 128 to 255 are no types of records but ways to ask (RFC 6895, section 3.1); 41 is EDNS's own.
        let kind = u16::from(asked.query_type);
        let is_data = !matches!(kind, 0 | 41 | 128..=255);
        if !is_data || asked.query_class != DNSClass::IN {
            return Err(ResponseCode::Refused);
        }
        Ok(Self {
            name: asked.name.to_lowercase(),
            kind: asked.query_type,
            dnssec_ok: query.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok),
            checking_disabled: query.metadata.checking_disabled,
        })
    }

    /// A new query with an ID of its own. With `mixed_case`, each letter's case is a random bit more that a forged
    /// answer must guess ("0x20", draft-vixie-dnsext-dns0x20).
    pub(super) fn to_query(&self, mixed_case: bool, with_edns: bool) -> Message {
        let mut name = self.name.clone();
        if mixed_case {
            name.randomize_label_case();
        }
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.metadata.checking_disabled = self.checking_disabled;
        message.add_query(Query::query(name, self.kind));
        if with_edns {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_PAYLOAD).set_dnssec_ok(self.dnssec_ok);
            message.set_edns(edns);
        }
        message
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// That question in the internet's class.
    pub(in super::super) fn question(name: &str, kind: RecordType) -> Question {
        let name = Name::from_ascii(name).unwrap();
        Question { name, kind, dnssec_ok: false, checking_disabled: false }
    }

    fn query(kind: RecordType) -> Message {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii("Wiki.Example.").unwrap(), kind));
        message
    }

    #[test]
    fn one_question_for_one_type_of_record_is_passed_on() {
        let asked = Question::of(&query(RecordType::AAAA)).unwrap();
        assert_eq!(asked, question("wiki.example.", RecordType::AAAA));
        assert!(asked.name.eq_case(&Name::from_ascii("wiki.example.").unwrap()));

        let (mut twice, mut chaos, mut update) =
            (query(RecordType::A), query(RecordType::TXT), query(RecordType::SOA));
        twice.add_query(twice.queries[0].clone());
        chaos.queries[0].query_class = DNSClass::CH;
        update.metadata.op_code = OpCode::Update;
        for (refused, code) in [
            (twice, ResponseCode::FormErr),
            (Message::query(), ResponseCode::FormErr),
            (query(RecordType::A).into_response(), ResponseCode::FormErr),
            (chaos, ResponseCode::Refused),
            (query(RecordType::ANY), ResponseCode::Refused),
            (query(RecordType::AXFR), ResponseCode::Refused),
            (query(RecordType::IXFR), ResponseCode::Refused),
            (query(RecordType::OPT), ResponseCode::Refused),
            (update, ResponseCode::NotImp),
        ] {
            assert_eq!(Question::of(&refused), Err(code), "{refused}");
        }
    }

    #[test]
    fn only_do_and_cd_of_what_a_client_adds_reach_a_server() {
        let mut theirs = query(RecordType::A);
        let mut edns = Edns::new();
        edns.set_max_payload(65_535).set_dnssec_ok(true);
        edns.options_mut().insert(hickory_proto::rr::rdata::opt::EdnsOption::Unknown(10, vec![7; 8]));
        theirs.set_edns(edns);
        theirs.metadata.checking_disabled = true;

        let ours = Question::of(&theirs).unwrap().to_query(false, true);
        let edns = ours.edns.as_ref().unwrap();
        assert!(edns.flags().dnssec_ok && edns.options().as_ref().is_empty());
        assert_eq!(edns.max_payload(), 1232);
        assert!(ours.metadata.checking_disabled && ours.metadata.recursion_desired);
    }

    #[test]
    fn ids_and_letters_are_drawn_anew() {
        let question = question(&format!("{}.example.", "a".repeat(60)), RecordType::A);
        let drawn = || {
            let query = question.to_query(true, true);
            (query.metadata.id, query.queries[0].name.to_ascii())
        };
        let ((id, name), (other_id, other_name)) = (drawn(), drawn());
        // That both IDs and all letters agree has a chance of 2^-67.
        assert!((id != other_id || drawn().0 != id) && name != other_name, "{id} {name}");
        assert!(name.eq_ignore_ascii_case(&question.name.to_ascii()));
    }
}
