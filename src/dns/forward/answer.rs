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
mod tests {
    use super::*;
    use crate::dns::forward::question::tests::question;
    use hickory_proto::op::{MessageType, Query};
    use hickory_proto::rr::rdata::{A, CNAME, NS, SOA, TXT};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn a(owner: &str, ttl: u32, address: [u8; 4]) -> Record {
        Record::from_rdata(name(owner), ttl, RData::A(A(address.into())))
    }

    fn alias(owner: &str, target: &str) -> Record {
        Record::from_rdata(name(owner), 300, RData::CNAME(CNAME(name(target))))
    }

    fn soa(owner: &str, ttl: u32, minimum: u32) -> Record {
        let soa = SOA::new(name("ns."), name("root."), 1, 1, 1, 1, minimum);
        Record::from_rdata(name(owner), ttl, RData::SOA(soa))
    }

    fn message(code: ResponseCode, answers: Vec<Record>, authorities: Vec<Record>) -> Message {
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.metadata.response_code = code;
        message.answers = answers;
        message.authorities = authorities;
        message
    }

    fn kept(answers: Vec<Record>, authorities: Vec<Record>) -> Answer {
        let asked = question("www.example.org.", RecordType::A);
        let message = message(ResponseCode::NoError, answers, authorities);
        Answer::new(&asked, message, &House::new(&[]))
    }

    /// `owner TYPE ttl` of each record.
    fn list(records: &[Record]) -> Vec<String> {
        records.iter().map(|r| format!("{} {} {}", r.name, r.record_type(), r.ttl)).collect()
    }

    #[test]
    fn only_the_chain_and_its_end_are_kept() {
        let text = Record::from_rdata(name("b.example."), 1, RData::TXT(TXT::new(vec!["hello".into()])));
        let mut foreign = a("b.example.", 1, [9, 9, 9, 9]);
        foreign.dns_class = DNSClass::CH;
        let answer = kept(
            vec![
                a("b.example.", 60, [9, 9, 9, 9]),
                alias("a.example.", "B.example."),
                alias("WWW.example.org.", "a.example."),
                alias("www.example.org.", "second.example."),
                a("bank.example.", 1, [6, 6, 6, 6]),
                a("www.example.org.", 1, [6, 6, 6, 6]),
                text,
                foreign,
            ],
            vec![Record::from_rdata(name("example."), 9, RData::NS(NS(name("evil."))))],
        );
        // Two aliases of one name are passed on as they came; which one leads somewhere shows.
        let expected = [
            "b.example. A 60",
            "a.example. CNAME 300",
            "www.example.org. CNAME 300",
            "www.example.org. CNAME 300",
        ];
        assert_eq!(list(&answer.answers), expected);
        assert!(answer.authorities.is_empty());
        assert_eq!(answer.lifetime, Duration::from_secs(60));
    }

    #[test]
    fn aliases_that_run_in_a_circle_or_on_and_on_end() {
        let circle = vec![alias("www.example.org.", "a.example."), alias("a.example.", "www.example.org.")];
        assert_eq!(kept(circle, vec![]).answers.len(), 2);
        let mut long: Vec<_> =
            (0..40).map(|n| alias(&format!("n{n}.example."), &format!("n{}.example.", n + 1))).collect();
        long.push(alias("www.example.org.", "n0.example."));
        assert_eq!(kept(long, vec![]).answers.len(), LONGEST_CHAIN + 1);
    }

    #[test]
    fn times_have_limits() {
        let seconds = |answer: Answer| answer.lifetime.as_secs();
        let day = 86_400;
        assert_eq!(seconds(kept(vec![a("www.example.org.", day, [9; 4])], vec![])), 3_600);
        assert_eq!(seconds(kept(vec![a("www.example.org.", 0, [9; 4])], vec![])), 0);
        // Nothing there: as long as the SOA says, at most five minutes, and not at all without one.
        assert_eq!(seconds(kept(vec![], vec![soa("example.org.", 900, 60)])), 60);
        assert_eq!(seconds(kept(vec![], vec![soa("example.org.", 30, 60)])), 30);
        assert_eq!(seconds(kept(vec![], vec![soa("example.org.", day, day)])), 300);
        assert_eq!(seconds(kept(vec![], vec![])), 0);
        assert_eq!(seconds(kept(vec![], vec![soa("elsewhere.", 60, 60)])), 0);
        // An alias of a name that is not there.
        let dangling = vec![alias("www.example.org.", "gone.example.org.")];
        assert_eq!(seconds(kept(dangling, vec![soa("example.org.", 60, 60)])), 60);
    }

    #[test]
    fn the_way_into_the_house_is_no_answer() {
        let way_in = || {
            vec![
                alias("www.example.org.", "nas.lan."),
                a("nas.lan.", 600, [9, 9, 9, 9]),
                a("nas.lan.", 600, [192, 168, 1, 5]),
            ]
        };
        let answer = kept(way_in(), vec![]);
        assert_eq!(answer.private.map(|inside| inside.to_string()).as_deref(), Some("nas.lan."));
        assert_eq!((answer.code, answer.answers.len()), (ResponseCode::NoError, 0));
        assert_eq!(answer.lifetime, LONGEST_NEGATIVE);

        let asked = question("www.example.org.", RecordType::A);
        let trusted = House::new(&["example.org".into()]);
        let answer = Answer::new(&asked, message(ResponseCode::NoError, way_in(), vec![]), &trusted);
        assert_eq!((answer.private, answer.answers.len()), (None, 3));
    }

    #[test]
    fn an_alias_of_a_name_in_the_house_is_no_answer_even_without_an_address() {
        for (target, is_kept) in [
            ("cdn.example.", true),
            ("router.lan.", false),
            ("router.", false),
            ("red-phone.home.arpa.", false),
            ("localhost.", false),
            ("x.onion.", false),
        ] {
            let chain = || vec![alias("www.example.org.", "a.example."), alias("a.example.", target)];
            assert_eq!(kept(chain(), vec![]).private.is_none(), is_kept, "{target}");
            let asked = question("a.example.", RecordType::CNAME);
            let message = message(ResponseCode::NoError, chain(), vec![]);
            let answer = Answer::new(&asked, message, &House::new(&[]));
            assert_eq!(answer.private.is_none(), is_kept, "{target}, asked for the alias itself");
        }
    }

    #[test]
    fn a_client_is_told_in_its_own_letters_and_how_old_it_is() {
        let mut query = question("www.example.org.", RecordType::A).to_query(false, true);
        query.queries = vec![Query::query(name("wWw.eXample.org."), RecordType::A)];
        let answer = kept(vec![a("www.EXAMPLE.org.", 60, [9, 9, 9, 9])], vec![]);
        let told = answer.to(&query, Age::Of(Duration::from_millis(20_900)));
        assert_eq!(list(&told.answers), ["wWw.eXample.org. A 40"]);
        assert_eq!((told.metadata.id, &told.queries), (query.metadata.id, &query.queries));
        assert!(told.queries[0].name.eq_case(&query.queries[0].name));
        assert!(told.metadata.recursion_available && told.metadata.recursion_desired);
        assert!(!told.metadata.authoritative && told.edns.is_none());
        assert_eq!(list(&answer.to(&query, Age::Stale).answers), ["wWw.eXample.org. A 30"]);
    }

    #[test]
    fn what_is_large_is_not_kept() {
        let many = |count: u16| {
            let record = |n: u16| a("www.example.org.", 60, [9, 9, (n >> 8) as u8, n as u8]);
            kept((0..count).map(record).collect(), vec![])
        };
        assert!(many(500).pack().and_then(|packed| packed.unpack()) == Some(many(500)));
        assert!(many(1100).pack().is_none());
        assert!(many(5000).pack().is_none(), "not even what would fit of it");
    }

    #[test]
    fn signatures_are_kept_for_who_wants_them() {
        // RRSIG of A, algorithm 13, as a server sends it.
        let rrsig = |owner: &str, kind: u16| {
            let mut wire = vec![0, 7, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
            for label in owner.trim_end_matches('.').split('.') {
                wire.push(label.len() as u8);
                wire.extend(label.bytes());
            }
            wire.extend([0, 0, 46, 0, 1, 0, 0, 0, 60, 0, 27]);
            wire.extend(kind.to_be_bytes());
            wire.extend([
                13, 2, 0, 0, 0, 60, 0, 0, 0, 9, 0, 0, 0, 8, 0, 1, 3, b'o', b'r', b'g', 0, 1, 2, 3, 4,
            ]);
            Message::from_vec(&wire).unwrap().answers.remove(0)
        };
        let mut asked = question("www.example.org.", RecordType::A);
        let received = || {
            let answers = vec![
                a("www.example.org.", 60, [9; 4]),
                rrsig("www.example.org.", 1),
                rrsig("www.example.org.", 16),
                rrsig("evil.example.", 1),
            ];
            message(ResponseCode::NoError, answers, vec![])
        };
        let none = House::new(&[]);
        assert_eq!(list(&Answer::new(&asked, received(), &none).answers), ["www.example.org. A 60"]);
        asked.dnssec_ok = true;
        let expected = ["www.example.org. A 60", "www.example.org. RRSIG 60"];
        assert_eq!(list(&Answer::new(&asked, received(), &none).answers), expected);
        asked.kind = RecordType::RRSIG;
        let expected = ["www.example.org. RRSIG 60", "www.example.org. RRSIG 60"];
        assert_eq!(list(&Answer::new(&asked, received(), &none).answers), expected);
    }

    #[test]
    fn a_renamed_domain_comes_with_its_rule() {
        // `old.example.org. DNAME example.net.`, and what it means for the name below.
        let mut wire = vec![0, 7, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        wire.extend(b"\x03old\x07example\x03org\x00\x00\x27\x00\x01\x00\x00\x00\x3c\x00\x0d");
        wire.extend(b"\x07example\x03net\x00");
        let dname = Message::from_vec(&wire).unwrap().answers.remove(0);
        let asked = question("www.old.example.org.", RecordType::A);
        let means = alias("www.old.example.org.", "www.example.net.");
        let received = vec![dname.clone(), means, a("www.example.net.", 60, [9; 4])];
        let message = message(ResponseCode::NoError, received, vec![]);
        let answer = Answer::new(&asked, message, &House::new(&[]));
        let expected =
            ["old.example.org. DNAME 60", "www.old.example.org. CNAME 300", "www.example.net. A 60"];
        assert_eq!(list(&answer.answers), expected);
        assert_eq!(answer.pack().unwrap().unpack().unwrap(), answer);
        assert!(kept(vec![dname], vec![]).answers.is_empty(), "it says nothing about names elsewhere");
    }

    proptest::proptest! {
        /// Whatever a server sends that can be read at all.
        #[test]
        fn nothing_that_is_sent_breaks_out(changes in proptest::collection::vec((12_usize.., 0_u8..), 0..6)) {
            let asked = question("www.example.org.", RecordType::A);
            let answers = vec![
                alias("www.example.org.", "a.example."),
                a("a.example.", 60, [9; 4]),
                a("www.example.org.", 60, [10; 4]),
            ];
            let mut sent = message(ResponseCode::NoError, answers, vec![soa("example.", 60, 60)]);
            sent.add_query(Query::query(asked.name.clone(), asked.kind));
            let mut wire = sent.to_vec().unwrap();
            let length = wire.len();
            for (at, byte) in changes {
                wire[at % length] = byte;
            }
            if let Ok(message) = Message::from_vec(&wire) {
                let answer = Answer::new(&asked, message, &House::new(&[]));
                assert!(answer.lifetime <= LONGEST);
                assert!(answer.answers.iter().all(|record| House::new(&[]).way_in(record).is_none()));
                let is_wanted = |kind| matches!(kind, RecordType::A | RecordType::CNAME | RecordType::DNAME);
                assert!(answer.answers.iter().all(|record| is_wanted(record.record_type())));
                if let Some(kept) = answer.pack().and_then(|packed| packed.unpack()) {
                    assert_eq!((kept.code, kept.answers.len()), (answer.code, answer.answers.len()));
                }
            }
        }
    }
}
