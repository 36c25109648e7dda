//! What is kept, for how long, and what a client hears of it.

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
        wire.extend([13, 2, 0, 0, 0, 60, 0, 0, 0, 9, 0, 0, 0, 8, 0, 1, 3, b'o', b'r', b'g', 0, 1, 2, 3, 4]);
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

/// `old.example.org. DNAME` and that name, as it comes.
fn renamed(to: &[u8]) -> Record {
    let mut wire = vec![0, 7, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    wire.extend(b"\x03old\x07example\x03org\x00\x00\x27\x00\x01\x00\x00\x00\x3c\x00");
    wire.push(to.len() as u8);
    wire.extend(to);
    Message::from_vec(&wire).unwrap().answers.remove(0)
}

#[test]
fn a_domain_renamed_into_the_house_is_no_answer() {
    let asked = question("www.old.example.org.", RecordType::A);
    let to_the_house = vec![
        renamed(b"\x04home\x04arpa\x00"),
        alias("www.old.example.org.", "www.example.net."),
        a("www.example.net.", 60, [9; 4]),
    ];
    let sent = message(ResponseCode::NoError, to_the_house, vec![]);
    let answer = Answer::new(&asked, sent, &House::new(&[]));
    assert!(answer.answers.is_empty());
    assert_eq!(answer.private.map(|inside| inside.to_string()).as_deref(), Some("home.arpa."));

    let asked = question("old.example.org.", RecordType::DNAME);
    let sent = message(ResponseCode::NoError, vec![renamed(b"\x04home\x04arpa\x00")], vec![]);
    assert!(Answer::new(&asked, sent, &House::new(&[])).answers.is_empty(), "asked for itself");
}

#[test]
fn a_renamed_domain_comes_with_its_rule() {
    let dname = renamed(b"\x07example\x03net\x00");
    // What it means for the name below.
    let asked = question("www.old.example.org.", RecordType::A);
    let means = alias("www.old.example.org.", "www.example.net.");
    let received = vec![dname.clone(), means, a("www.example.net.", 60, [9; 4])];
    let message = message(ResponseCode::NoError, received, vec![]);
    let answer = Answer::new(&asked, message, &House::new(&[]));
    let expected = ["old.example.org. DNAME 60", "www.old.example.org. CNAME 300", "www.example.net. A 60"];
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
