//! Queries of every shape, and answers that fit them.

use hickory_proto::op::Edns;
use proptest::prelude::*;

use super::*;
use crate::dns::desk::understood;
use crate::dns::message::{HEADER, MOST_OVER_UDP, encode};

#[test]
fn what_asks_for_everything_is_refused_for_any_name() {
    for name in ["wiki.home.arpa", "home.arpa", "example.org", "localhost"] {
        for kind in ["ANY", "AXFR", "IXFR"] {
            assert_eq!(home().says(&format!("{kind} {name}")), "rejected: Refused", "{kind} {name}");
        }
    }
}

/// The answer's code, to a query changed like this.
fn told(change: impl FnOnce(&mut Message)) -> String {
    let mut query = query("A wiki.home.arpa");
    change(&mut query);
    match judge(&home().view(), &query.to_vec().unwrap()) {
        Verdict::Silence => "silence".to_owned(),
        Verdict::Reject(_, answer) => words(&answer),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_plain_query_is_told_so() {
    let twice = query("A home.arpa").queries;
    assert_eq!(told(|query| query.metadata.message_type = MessageType::Response), "silence");
    assert_eq!(told(|query| query.metadata.op_code = OpCode::Update), "NotImp");
    assert_eq!(told(|query| query.metadata.op_code = OpCode::Notify), "NotImp");
    assert_eq!(told(|query| query.queries.clear()), "FormErr");
    assert_eq!(told(|query| query.queries.extend(twice)), "FormErr");
    assert_eq!(told(|query| query.queries[0].query_class = DNSClass::CH), "Refused");
    assert_eq!(
        told(|query| {
            query.edns.get_or_insert_default().set_version(1);
        }),
        "BADVERS"
    );
    let answered = words(&home().view_answer());
    assert_eq!(told(|query| query.answers = home().view_answers()), "FormErr", "{answered}");
}

impl Home {
    fn view_answer(&self) -> Message {
        let Verdict::Answer(_, answer) = judge(&self.view(), &query("A wiki.home.arpa").to_vec().unwrap())
        else {
            panic!("no answer");
        };
        answer
    }

    fn view_answers(&self) -> Vec<Record> {
        self.view_answer().answers
    }
}

#[test]
fn a_question_cut_short_or_folded_into_its_own_header_is_malformed() {
    let whole = query("A wiki.home.arpa").to_vec().unwrap();
    let view = home().view();
    for length in 0..whole.len() {
        match judge(&view, &whole[..length]) {
            Verdict::Silence => assert!(length < HEADER, "{length}"),
            Verdict::Reject(_, answer) => assert_eq!(words(&answer), "FormErr", "{length}"),
            other => panic!("{length}: {other:?}"),
        }
    }
    // The name is a pointer to the query's number, which reads as the root.
    let mut pointing = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    pointing.extend([0xc0, 0, 0, 1, 0, 1]);
    assert!(matches!(judge(&view, &pointing), Verdict::Reject(..)));
}

#[test]
fn answers_keep_number_question_and_letters_as_they_were_asked() {
    let mut asked = query("A wIkI.hOmE.ArPa");
    asked.edns.get_or_insert_default().set_max_payload(4096).set_dnssec_ok(true);
    let Verdict::Answer(of, answer) = judge(&home().view(), &asked.to_vec().unwrap()) else { panic!() };
    assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
    assert!(answer.metadata.recursion_desired);
    assert_eq!(answer.metadata.id, 0x1234);
    assert_eq!(answer.queries[0].name.to_ascii(), "wIkI.hOmE.ArPa.");
    assert_eq!(answer.answers[0].name.to_ascii(), "wIkI.hOmE.ArPa.");
    let edns = answer.edns.as_ref().unwrap();
    assert!(edns.flags().dnssec_ok && edns.version() == 0 && edns.max_payload() == MOST_OVER_UDP);
    assert_eq!(of.room(), MOST_OVER_UDP);
    assert_eq!(home().view_answer().edns, None, "not asked for");
}

/// Those who are refused, or are to come by TCP, are told by RFC 6891, too.
#[test]
fn what_is_said_without_an_answer_has_edns_if_asked_with_it() {
    let plain = query("A wiki.home.arpa");
    let mut extended = plain.clone();
    extended.edns.get_or_insert_default().set_max_payload(4096).set_dnssec_ok(true);
    for (asked, payload, room) in [(plain, None, 512), (extended, Some(MOST_OVER_UDP), MOST_OVER_UDP)] {
        let asked = understood(&asked.to_vec().unwrap()).unwrap();
        assert_eq!(asked.room(), room);
        for answer in [asked.answer(ResponseCode::Refused), asked.truncated()] {
            let said = Message::from_vec(&encode(&answer, asked.room()).unwrap()).unwrap();
            let edns = said.edns.as_ref();
            assert_eq!(edns.map(Edns::max_payload), payload);
            assert_eq!(edns.map(|edns| edns.flags().dnssec_ok), payload.map(|_| true));
        }
    }
}

#[test]
fn what_does_not_fit_is_left_out_whole() {
    let mut home = home();
    home.addresses = (0..60).map(|n| &*Box::leak(format!("10.147.21.{n}").into_boxed_str())).collect();
    let view = home.view();
    for (payload, whole) in [(None, false), (Some(100), false), (Some(900), false), (Some(4096), true)] {
        let mut asked = query("A wiki.home.arpa");
        asked.edns = payload.map(|payload| Edns::new().set_max_payload(payload).clone());
        let Verdict::Answer(of, answer) = judge(&view, &asked.to_vec().unwrap()) else { panic!() };
        let bytes = encode(&answer, of.room()).unwrap();
        assert!(bytes.len() <= usize::from(payload.unwrap_or(512).clamp(512, MOST_OVER_UDP)));
        let sent = Message::from_vec(&bytes).unwrap();
        assert_eq!(
            (sent.metadata.truncation, sent.answers.len()),
            if whole { (false, 60) } else { (true, 0) }
        );
        assert_eq!(sent.queries, asked.queries);
        assert_eq!(Message::from_vec(&encode(&answer, u16::MAX).unwrap()).unwrap().answers.len(), 60, "TCP");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_answers_fit(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        holds(&bytes)?;
    }

    #[test]
    fn disturbed_queries_are_answered_by_their_number(
        at in proptest::collection::vec((0_usize..60, any::<u8>()), 0..6),
        name in "[a-zA-Z0-9*-]{1,20}(\\.(wiki|home|HOME|arpa|ip6)){1,4}",
        kind in 1_u16..300,
        edns in proptest::option::of(any::<u16>()),
    ) {
        let mut asked = query("A x");
        asked.queries[0].name = Name::from_labels(name.split('.').map(str::as_bytes)).unwrap();
        asked.queries[0].query_type = kind.into();
        asked.edns = edns.map(|payload| Edns::new().set_max_payload(payload).clone());
        let mut bytes = asked.to_vec().unwrap();
        holds(&bytes)?;
        for (at, byte) in at {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        holds(&bytes)?;
    }
}

/// An answer has the query's number, and its question or none; it fits, and it is never answered in turn.
fn holds(bytes: &[u8]) -> Result<(), TestCaseError> {
    let view = home().view();
    let (asked, answer) = match judge(&view, bytes) {
        Verdict::Silence | Verdict::Forward(..) => return Ok(()),
        Verdict::Answer(asked, answer) | Verdict::Reject(asked, answer) => (asked, answer),
    };
    let sent = encode(&answer, asked.room()).unwrap();
    prop_assert!(sent.len() <= usize::from(asked.room()) && asked.room() <= MOST_OVER_UDP);
    prop_assert!(encode(&answer, u16::MAX).unwrap().len() <= 4096);
    prop_assert_eq!(&sent[..2], &bytes[..2]);
    if answer.queries.len() == 1 {
        let end = sent.len().min(bytes.len());
        let question = (HEADER..end).find(|&at| bytes[at] == 0).map(|root| root + 5).unwrap();
        prop_assert_eq!(&sent[HEADER..question], &bytes[HEADER..question]);
    } else {
        prop_assert_eq!(sent.len(), HEADER);
    }
    prop_assert!(matches!(judge(&view, &sent), Verdict::Silence));
    Ok(())
}
