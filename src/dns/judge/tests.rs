//! A home, and what its DNS says to whom.

use std::time::Duration;

use hickory_proto::op::{MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, Record};
use jiff::Timestamp;

use super::*;
use crate::config::from_text;
use crate::dns::view::Facts;
use crate::identity::examples::member;
use crate::identity::{Hazard, Roster};
use crate::model::MemberState;
use crate::overlay::{Overlay, OverlayState, Pinning, owners};
use crate::routes::Site;

mod names;
mod queries;
mod senders;

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
