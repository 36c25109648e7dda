//! A home, and what its DNS says to whom.

use std::time::Duration;

use hickory_proto::op::{Edns, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, Record};
use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::config::from_text;
use crate::dns::desk::understood;
use crate::dns::message::{HEADER, MOST_OVER_UDP, encode};
use crate::dns::reverse::arpa;
use crate::dns::view::Facts;
use crate::identity::examples::member;
use crate::identity::{Hazard, IdentityProof, Roster};
use crate::model::MemberState;
use crate::overlay::{Overlay, OverlayState, Pinning, owners};
use crate::services::Site;

const OWN: &str = "5e02d9cb41";
const PHONE: &str = "c4c8812898";
const TV: &str = "bcba17eef8";
const OWN_RFC4193: &str = "fd5e:2d9:cb41:c0ff:ee99:935e:2d9:cb41";
const OWN_PLANE: &str = "fc1f:c226:255e:2d9:cb41::1";
const PHONE_RFC4193: &str = "fd5e:2d9:cb41:c0ff:ee99:93c4:c881:2898";

const CONFIG: &str = r#"
network = "5e02d9cb41c0ffee"
zone = "home.arpa"
[service.wiki]
upstream = "http://127.0.0.1:1"
aliases = ["notes"]
plain_http = false
allow = ["*"]
[service.films]
upstream = "http://127.0.0.1:2"
allow = ["*"]
[service.old]
upstream = "http://127.0.0.1:3"
http1_only = true
plain_http = false
allow = ["*"]
"#;

/// A home whose gateway has two addresses, with a phone that is let in and a television that is not.
struct Home {
    config: String,
    members: Vec<Member>,
    hazards: Vec<Hazard>,
    addresses: Vec<&'static str>,
    listening: Option<Vec<&'static str>>,
    listening_https: Option<Vec<&'static str>>,
    pinned: bool,
    publicly_trusted: bool,
    age: Duration,
}

fn home() -> Home {
    let phone = Member { device: "red-phone".parse().ok(), ..member(PHONE, "10.147.20.2") };
    let tv =
        Member { device: "new-tv".parse().ok(), state: MemberState::Pending, ..member(TV, "10.147.20.3") };
    Home {
        config: CONFIG.to_owned(),
        members: vec![member(OWN, "10.147.20.1"), phone, tv],
        hazards: Vec::new(),
        addresses: vec![OWN_RFC4193, "10.147.20.1"],
        listening: None,
        listening_https: None,
        pinned: true,
        publicly_trusted: false,
        age: Duration::ZERO,
    }
}

fn now() -> Moment {
    Moment::since_boot(100_000, 0)
}

impl Home {
    fn view_after(&self, previous: Option<&View>, second: i64) -> View {
        let config = from_text(&self.config, &[]).unwrap();
        let site = Site::new(&config, None).unwrap();
        let taken = Timestamp::from_second(1_700_000_000).unwrap();
        let limit = Duration::from_secs(900);
        let mut roster = Roster::new(
            config.network,
            self.members.iter().cloned().map(Arc::new),
            self.hazards.clone(),
            taken,
            now().before(self.age),
            limit,
        );
        roster.own = OWN.parse().ok();
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        let overlay = Overlay {
            state: OverlayState::Up,
            ifindex: 7,
            addresses: addresses(&self.addresses),
            own: OWN.parse().ok(),
            ..Overlay::unknown()
        };
        let pinning = match self.pinned {
            true => Pinning::On { ifindex: 7, pins: Arc::new(owners(&roster, &overlay)) },
            false => Pinning::Off { why: "a test".into() },
        };
        let facts = Facts {
            site: &site,
            roster: &Arc::new(roster),
            overlay: &overlay,
            pinning: &pinning,
            listening: &addresses(self.listening.as_ref().unwrap_or(&self.addresses)),
            listening_https: &addresses(
                self.listening_https.as_ref().or(self.listening.as_ref()).unwrap_or(&self.addresses),
            ),
            publicly_trusted: self.publicly_trusted,
            now: Timestamp::from_second(second).unwrap(),
        };
        View::compose(&facts, previous)
    }

    fn view(&self) -> View {
        self.view_after(None, 1_700_000_000)
    }

    /// What the zone says to `A wiki.home.arpa`: the code if it is an error, the data of the answer, or where the SOA of a
    /// negative answer lies; `elsewhere` if others are asked.
    fn says(&self, question: &str) -> String {
        match judge(&self.view(), &query(question).to_vec().unwrap()) {
            Verdict::Silence => "silence".to_owned(),
            Verdict::Forward(..) => "elsewhere".to_owned(),
            Verdict::Answer(_, answer) => words(&answer),
            Verdict::Reject(_, answer) => format!("rejected: {}", words(&answer)),
        }
    }

    #[track_caller]
    fn answers(&self, table: &[(&str, &str)]) {
        for (question, answer) in table {
            assert_eq!(self.says(question), *answer, "{question}");
        }
    }

    fn serves(&self, source: &str) -> String {
        match sender(&self.view(), source.parse().unwrap(), now()) {
            Ok(member) => member.id.to_string(),
            Err(NotServed::Stranger) => "silence".to_owned(),
            Err(NotServed::Refused(refusal)) => {
                assert_eq!((refusal.member, &refusal.known), (None, &None), "an address proves nobody");
                format!("{} as {}", refusal.code, refusal.claimed.unwrap())
            }
        }
    }
}

fn query(question: &str) -> Message {
    let (kind, name) = question.split_once(' ').unwrap();
    let mut query = Message::new(0x1234, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    let name = Name::from_ascii(format!("{}.", name.trim_end_matches('.'))).unwrap();
    query.add_query(Query::query(name, record_type(kind)));
    query
}

fn record_type(word: &str) -> RecordType {
    // The one that hickory prints and does not read.
    if word == "IXFR" { RecordType::IXFR } else { word.parse().unwrap() }
}

fn words(answer: &Message) -> String {
    let data = |records: &[Record]| {
        records.iter().map(|record| record.data.to_string()).collect::<Vec<_>>().join(" ")
    };
    let soa = answer.authorities.iter().find(|record| matches!(record.data, RData::SOA(_)));
    let below = soa.map(|record| format!("SOA {}", record.name)).unwrap_or_default();
    match answer.metadata.response_code {
        ResponseCode::NoError if answer.answers.is_empty() => format!("nothing {below}").trim().to_owned(),
        ResponseCode::NoError => data(&answer.answers),
        ResponseCode::NXDomain => format!("no such name {below}").trim().to_owned(),
        code => format!("{code:?}"),
    }
}

#[test]
fn services_aliases_gate_and_apex_have_the_gateways_addresses() {
    home().answers(&[
        ("A wiki.home.arpa", "10.147.20.1"),
        ("AAAA wiki.home.arpa", OWN_RFC4193),
        ("A notes.home.arpa", "10.147.20.1"),
        ("A gate.home.arpa", "10.147.20.1"),
        ("A home.arpa", "10.147.20.1"),
        ("NS home.arpa", "gate.home.arpa."),
        ("SOA home.arpa", "gate.home.arpa. hostmaster.home.arpa. 1700000000 3600 600 86400 60"),
    ]);
}

#[test]
fn what_is_not_there_is_said_with_the_zones_soa() {
    home().answers(&[
        ("TXT wiki.home.arpa", "nothing SOA home.arpa."),
        ("MX home.arpa", "nothing SOA home.arpa."),
        ("A nosuch.home.arpa", "no such name SOA home.arpa."),
        ("A a.wiki.home.arpa", "no such name SOA home.arpa."),
        ("A a.b.c.home.arpa", "no such name SOA home.arpa."),
        ("A *.home.arpa", "no such name SOA home.arpa."),
        ("DS home.arpa", "nothing SOA home.arpa."),
    ]);
}

#[test]
fn addresses_come_in_the_order_in_which_they_are_best_tried() {
    let mut home = home();
    home.addresses = vec![OWN_PLANE, OWN_RFC4193, "fd00:1234::1", "10.147.20.9", "10.147.20.1"];
    home.answers(&[
        ("A wiki.home.arpa", "10.147.20.1 10.147.20.9"),
        ("AAAA wiki.home.arpa", &format!("fd00:1234::1 {OWN_RFC4193} {OWN_PLANE}")),
    ]);
    home.listening = Some(vec![OWN_RFC4193]);
    home.answers(&[("A wiki.home.arpa", "nothing SOA home.arpa."), ("AAAA wiki.home.arpa", OWN_RFC4193)]);
}

#[test]
fn devices_have_names_where_neighbours_are_pinned() {
    let mut home = home();
    let phone = arpa("10.147.20.2");
    let ptr = |name: &str| format!("PTR {name}");
    home.answers(&[
        ("A red-phone.home.arpa", "10.147.20.2"),
        // The network derives such addresses, as our own show.
        ("AAAA red-phone.home.arpa", PHONE_RFC4193),
        ("HTTPS red-phone.home.arpa", "nothing SOA home.arpa."),
        ("A new-tv.home.arpa", "no such name SOA home.arpa."),
        (&ptr(&phone), "red-phone.home.arpa."),
        (&ptr(&arpa(PHONE_RFC4193)), "red-phone.home.arpa."),
    ]);
    home.addresses = vec!["10.147.20.1"];
    home.answers(&[("AAAA red-phone.home.arpa", "nothing SOA home.arpa.")]);
    home.pinned = false;
    home.answers(&[
        ("A red-phone.home.arpa", "no such name SOA home.arpa."),
        (&ptr(&phone), "no such name SOA 20.147.10.in-addr.arpa."),
    ]);
}

#[test]
fn a_services_name_wins_over_a_devices() {
    let mut home = home();
    home.members[1].device = "wiki".parse().ok();
    home.answers(&[
        ("A wiki.home.arpa", "10.147.20.1"),
        (&format!("PTR {}", arpa("10.147.20.2")), "no such name SOA 20.147.10.in-addr.arpa."),
    ]);
}

#[test]
fn this_networks_addresses_are_asked_of_nobody_else() {
    let ptr = |address: &str| format!("PTR {}", arpa(address));
    let v6_above = |address: &str| Name::from_ascii(arpa(address)).unwrap().base_name().to_string();
    home().answers(&[
        (&ptr("10.147.20.1"), "gate.home.arpa."),
        (&ptr(OWN_RFC4193), "gate.home.arpa."),
        (&ptr("10.147.20.3"), "no such name SOA 20.147.10.in-addr.arpa."),
        (&ptr(OWN_PLANE), &format!("no such name SOA {}", v6_above(OWN_PLANE))),
        (&format!("A {}", arpa("10.147.20.1")), "nothing SOA 20.147.10.in-addr.arpa."),
        ("SOA 9.9.e.e.f.f.0.c.1.4.b.c.9.d.2.0.e.5.d.f.ip6.arpa", "elsewhere"),
        (
            "NS 3.9.9.9.e.e.f.f.0.c.1.4.b.c.9.d.2.0.e.5.d.f.ip6.arpa",
            "nothing SOA 9.9.9.e.e.f.f.0.c.1.4.b.c.9.d.2.0.e.5.d.f.ip6.arpa.",
        ),
        (&ptr("10.147.20.77"), "elsewhere"),
        (&ptr("9.9.9.9"), "elsewhere"),
        ("PTR 001.20.147.10.in-addr.arpa", "elsewhere"),
        ("PTR 20.147.10.in-addr.arpa", "elsewhere"),
    ]);
}

#[test]
fn https_is_promised_only_where_nothing_else_is_served() {
    let both = format!("1 . alpn=h2,http/1.1, ipv4hint=10.147.20.1, ipv6hint={OWN_RFC4193},");
    let mut home = home();
    home.answers(&[
        ("HTTPS wiki.home.arpa", &both),
        ("HTTPS notes.home.arpa", &both),
        ("HTTPS old.home.arpa", &both.replace("h2,", "")),
        ("HTTPS films.home.arpa", "nothing SOA home.arpa."),
        ("HTTPS gate.home.arpa", "nothing SOA home.arpa."),
        ("HTTPS home.arpa", "nothing SOA home.arpa."),
    ]);
    home.publicly_trusted = true;
    home.answers(&[("HTTPS films.home.arpa", &both), ("HTTPS gate.home.arpa", &both)]);
    home.listening_https = Some(vec!["10.147.20.1"]);
    home.answers(&[("HTTPS wiki.home.arpa", "1 . alpn=h2,http/1.1, ipv4hint=10.147.20.1,")]);
    home.listening_https = Some(vec![]);
    home.answers(&[("HTTPS wiki.home.arpa", "nothing SOA home.arpa.")]);
    home.listening_https = None;
    home.config = format!("https_port = 8443\n{CONFIG}");
    home.answers(&[("HTTPS wiki.home.arpa", "nothing SOA home.arpa.")]);
}

#[test]
fn special_names_are_never_asked_elsewhere_and_others_always() {
    home().answers(&[
        ("A use-application-dns.net", "no such name SOA use-application-dns.net."),
        ("AAAA printer.local", "no such name SOA local."),
        ("A example.onion", "no such name SOA onion."),
        ("A localhost", "127.0.0.1"),
        ("AAAA localhost", "::1"),
        ("TXT localhost", "nothing SOA localhost."),
        ("SVCB _dns.resolver.arpa", "nothing SOA resolver.arpa."),
        ("A example.org", "elsewhere"),
        ("TXT arpa", "elsewhere"),
        ("NS .", "elsewhere"),
        ("A xhome.arpa", "elsewhere"),
    ]);
}

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

#[test]
fn only_active_members_are_served_and_strangers_hear_nothing() {
    let home = home();
    for (source, expected) in [
        ("10.147.20.2", PHONE),
        (PHONE_RFC4193, PHONE),
        ("fc1f:c226:25c4:c881:2898::1", PHONE),
        // The first of its 6PLANE addresses is pinned, and no other: somebody else could hear the answer.
        ("fc1f:c226:25c4:c881:2898:1:2:3", "address-not-yours as c4c8812898"),
        ("10.147.20.3", "member-pending as bcba17eef8"),
        ("10.147.20.1", "no-proof as 5e02d9cb41"),
        ("10.147.20.9", "silence"),
        ("fd5e:2d9:cb41:c0ff:ee99:9311:1111:1111", "silence"),
        ("fe80::1", "silence"),
        ("::ffff:10.147.20.2", "silence"),
        ("127.0.0.1", "silence"),
    ] {
        assert_eq!(home.serves(source), expected, "{source}");
    }
}

#[test]
fn without_pins_all_that_zerotier_gives_a_member_is_its_own() {
    let home = Home { pinned: false, ..home() };
    assert_eq!(home.serves("fc1f:c226:25c4:c881:2898:1:2:3"), PHONE);
}

#[test]
fn the_parent_is_asked_for_the_ds_of_a_zone_that_somebody_owns() {
    let mut home = home();
    home.answers(&[("DS home.arpa", "nothing SOA home.arpa.")]);
    home.config = CONFIG.replace("home.arpa", "home.example.org");
    home.answers(&[
        ("DS home.example.org", "elsewhere"),
        ("DS wiki.home.example.org", "nothing SOA home.example.org."),
        ("DNSKEY home.example.org", "nothing SOA home.example.org."),
    ]);
}

#[test]
fn dns_lets_nobody_in_whom_the_data_path_refuses() {
    let refused = |change: &dyn Fn(&mut Home)| {
        let mut home = home();
        change(&mut home);
        home.serves("10.147.20.2")
    };
    for (state, code) in [
        (MemberState::Pending, "member-pending"),
        (MemberState::Revoked, "member-revoked"),
        (MemberState::Suspended, "member-suspended"),
        (MemberState::Expired, "member-expired"),
    ] {
        assert_eq!(refused(&|home| home.members[1].state = state), format!("{code} as {PHONE}"));
    }
    let as_phone = |code: &str| format!("{code} as {PHONE}");
    assert_eq!(refused(&|home| home.members[1].until = Some(now())), as_phone("member-expired"));
    assert_eq!(refused(&|home| home.members[1].proof = IdentityProof::Changed), as_phone("identity-changed"));
    assert_eq!(
        refused(&|home| home.members[1].proof = IdentityProof::Unproven),
        as_phone("identity-unproven")
    );
    assert_eq!(refused(&|home| home.members[1].active_bridge = true), as_phone("no-proof"));
    assert_eq!(refused(&|home| home.hazards.push(Hazard::Public)), as_phone("network-unsafe"));
    assert_eq!(refused(&|home| home.age = Duration::from_secs(901)), as_phone("roster-stale"));
    let given_to_both = |home: &mut Home| home.members[2].assigned = vec!["10.147.20.2".parse().unwrap()];
    assert_eq!(refused(&given_to_both), PHONE, "who is not let in shuts nobody out");
    let shared = refused(&|home| {
        given_to_both(home);
        home.members[2].state = MemberState::Active;
    });
    assert_eq!(shared, format!("address-not-yours as {TV}"), "given to two, it names neither");
}

#[test]
fn the_serial_grows_with_what_is_said_and_never_goes_back() {
    let (before, mut after) = (home(), home());
    let first = before.view_after(None, 1000);
    assert_eq!(first.serial, 1000);
    assert_eq!(before.view_after(Some(&first), 2000).serial, 1000, "nothing has changed");
    after.addresses.pop();
    assert_eq!(after.view_after(Some(&first), 2000).serial, 2000);
    assert_eq!(after.view_after(Some(&first), 900).serial, 1001, "the clock was set back");
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
