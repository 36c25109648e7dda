//! The servers that are asked: in which order, which are left alone for a while, and what is remembered of each.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until, timeout};

use super::exchange::{ExchangeError, Habits, exchange};
use super::question::Question;
use crate::linux::clock::SystemClock;
use crate::model::{Clock, Moment};

/// A server that has not answered by then counts as failed for now, and the next one is asked beside it.
const PATIENCE: Duration = Duration::from_millis(800);

/// Failures in a row from which a server is no longer asked first: one may be a lost packet, or a name whose own servers
/// are slow.
const TIRED: u32 = 2;

/// How long it is not: doubled with each failure more.
const SHORTEST_REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The servers, in the order of preference that was given.
pub(super) struct Upstream {
    servers: Vec<Server>,
}

struct Server {
    address: SocketAddr,
    habits: Habits,
    record: Mutex<Record>,
}

/// How a server did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Record {
    answered: Option<Moment>,
    /// Since it last answered.
    failures: u32,
    /// It is asked after those that are awake until then.
    rests_until: Option<Moment>,
}

/// A server that is asked about other names, and how it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    pub address: SocketAddr,
    /// Seconds since it last answered anything; `None` if it never did.
    pub answered_s: Option<u64>,
    /// How often it did not since then.
    pub failures: u32,
}

impl Upstream {
    pub(super) fn new(servers: Vec<SocketAddr>) -> Self {
        let server = |address| Server { address, habits: Habits::default(), record: Mutex::default() };
        Self { servers: servers.into_iter().map(server).collect() }
    }

    /// The first usable answer of any server within that time: each is asked at once when the one before failed, and beside
    /// it when that one takes long. SERVFAIL, REFUSED and the like are the word of one server, so the next is asked.
    pub(super) async fn ask(&self, question: &Question, within: Duration) -> Option<Message> {
        timeout(within, self.first_answer(question)).await.ok().flatten()
    }

    async fn first_answer(&self, question: &Question) -> Option<Message> {
        let mut waiting = self.in_order(SystemClock.instant()).into_iter();
        let mut asked = FuturesUnordered::new();
        let mut next_at = Instant::now();
        loop {
            if asked.is_empty() || Instant::now() >= next_at {
                match waiting.next() {
                    Some(server) => asked.push(server.ask(question)),
                    None if asked.is_empty() => return None,
                    None => {}
                }
                next_at = Instant::now() + PATIENCE;
            }
            tokio::select! {
                Some(answer) = asked.next() => match answer {
                    Some(answer) => return Some(answer),
                    None => next_at = Instant::now(),
                },
                () = sleep_until(next_at) => {}
            }
        }
    }

    pub(super) fn status(&self) -> Vec<ServerStatus> {
        let now = SystemClock.instant();
        let status = |server: &Server| {
            let record = server.record();
            let answered = record.answered.map(|at| now.saturating_duration_since(at).as_secs());
            ServerStatus { address: server.address, answered_s: answered, failures: record.failures }
        };
        self.servers.iter().map(status).collect()
    }

    /// As given, those that rest last. The one that is asked first puts its next rest before it if it has failed
    /// before, so that of many questions at once only one finds out whether it is back.
    fn in_order(&self, now: Moment) -> Vec<&Server> {
        let mut servers: Vec<_> = self.servers.iter().collect();
        servers.sort_by_key(|server| server.record().rests_until.filter(|until| *until > now));
        if let Some(first) = servers.first() {
            first.change(|record| record.rests_until = record.rest(now));
        }
        servers
    }
}

impl Server {
    /// An answer that says what there is or is not; `None` if this server does not know.
    async fn ask(&self, question: &Question) -> Option<Message> {
        let asking = exchange(self.address, &self.habits, question);
        tokio::pin!(asking);
        let answer = match timeout(PATIENCE, &mut asking).await {
            Ok(answer) => answer,
            Err(_) => {
                self.change(|record| record.failed(SystemClock.instant()));
                asking.await
            }
        };
        let now = SystemClock.instant();
        match answer {
            Ok(message) => {
                self.change(|record| record.answered(now));
                is_final(&message).then_some(message)
            }
            Err(error) => {
                tracing::debug!(server = %self.address, %error, "no answer");
                // Records that nobody can read are their domain's fault, not the server's.
                match error {
                    ExchangeError::Io(_) => self.change(|record| record.failed(now)),
                    ExchangeError::Garbled | ExchangeError::Unwritable(_) => {}
                }
                None
            }
        }
    }

    fn record(&self) -> Record {
        let mut copy = Record::default();
        self.change(|record| copy = *record);
        copy
    }

    fn change(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.record.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Record {
    fn answered(&mut self, now: Moment) {
        *self = Self { answered: Some(now), failures: 0, rests_until: None };
    }

    fn failed(&mut self, now: Moment) {
        self.failures = self.failures.saturating_add(1);
        self.rests_until = self.rest(now);
    }

    fn rest(&self, now: Moment) -> Option<Moment> {
        let more = self.failures.checked_sub(TIRED)?;
        Some(now + SHORTEST_REST.saturating_mul(1 << more.min(8)).min(LONGEST_REST))
    }
}

/// Whether a message settles the question: there is something, or there is nothing. Not so a referral, which a server gives
/// that does not look further for others.
fn is_final(message: &Message) -> bool {
    let is_kind = |kind| message.authorities.iter().any(|record| record.record_type() == kind);
    let is_referral = message.answers.is_empty() && is_kind(RecordType::NS) && !is_kind(RecordType::SOA);
    match message.metadata.response_code {
        ResponseCode::NoError => !is_referral,
        code => code == ResponseCode::NXDomain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::OpCode;
    use hickory_proto::rr::rdata::{A, NS, SOA};
    use hickory_proto::rr::{Name, RData};

    fn at(seconds: i64) -> Moment {
        Moment::since_boot(seconds, 0)
    }

    #[test]
    fn rest_grows_with_failures_and_ends_with_an_answer() {
        let mut record = Record::default();
        let mut rests = Vec::new();
        for _ in 0..7 {
            record.failed(at(0));
            rests.push(record.rests_until.map(|until| until.saturating_duration_since(at(0)).as_secs()));
        }
        let expected = [None, Some(5), Some(10), Some(20), Some(40), Some(60), Some(60)];
        assert_eq!(rests, expected);
        record.answered(at(9));
        assert_eq!(record, Record { answered: Some(at(9)), failures: 0, rests_until: None });
        record.failures = u32::MAX;
        record.failed(at(10));
        assert_eq!(record.rests_until, Some(at(70)));
    }

    #[test]
    fn who_rests_is_asked_last_and_tried_by_one_question_at_a_time() {
        let upstream =
            Upstream::new(["9.9.9.9:53", "9.9.9.10:53"].map(|text| text.parse().unwrap()).to_vec());
        let first = |now| upstream.in_order(now)[0].address.ip().to_string();
        assert_eq!(first(at(0)), "9.9.9.9");
        upstream.servers[0].change(|record| record.failed(at(0)));
        assert_eq!(first(at(0)), "9.9.9.9", "one failure may be a lost packet");
        upstream.servers[0].change(|record| record.failed(at(0)));
        assert_eq!(first(at(4)), "9.9.9.10");
        assert_eq!(first(at(5)), "9.9.9.9", "is it back?");
        assert_eq!(first(at(5)), "9.9.9.10", "the question before this one finds out");
        upstream.servers[0].change(|record| record.answered(at(6)));
        assert_eq!(first(at(6)), "9.9.9.9");
    }

    #[test]
    fn a_referral_or_a_refusal_settles_nothing() {
        let record = |data| hickory_proto::rr::Record::from_rdata(Name::root(), 60, data);
        let (address, server) = (RData::A(A([9, 9, 9, 9].into())), RData::NS(NS(Name::root())));
        let soa = RData::SOA(SOA::new(Name::root(), Name::root(), 1, 1, 1, 1, 1));
        let settles = |code, answers: &[&RData], authorities: &[&RData]| {
            let mut message = Message::response(0, OpCode::Query);
            message.metadata.response_code = code;
            message.answers = answers.iter().map(|data| record((*data).clone())).collect();
            message.authorities = authorities.iter().map(|data| record((*data).clone())).collect();
            is_final(&message)
        };
        assert!(settles(ResponseCode::NoError, &[&address], &[&server]));
        assert!(settles(ResponseCode::NoError, &[], &[&soa]));
        assert!(settles(ResponseCode::NoError, &[], &[&soa, &server]));
        assert!(settles(ResponseCode::NoError, &[], &[]));
        assert!(settles(ResponseCode::NXDomain, &[], &[&soa]));
        assert!(!settles(ResponseCode::NoError, &[], &[&server]));
        assert!(!settles(ResponseCode::ServFail, &[], &[]));
        assert!(!settles(ResponseCode::Refused, &[], &[]));
        assert!(!settles(ResponseCode::FormErr, &[], &[]));
    }
}
