//! Asks other servers about names that are not ours, for devices that send all their questions to the gateway.
//!
//! A question is stripped (`question`), looked up in the cache (`cache`), asked once however many wait for it (here),
//! of one server after another (`upstream`, `exchange`); of the answer only what belongs to the question is kept
//! (`answer`), and nothing that would lead a browser into the house (`rebind`).

mod answer;
mod cache;
mod exchange;
mod question;
mod rebind;
mod system;
mod upstream;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub(super) use rebind::is_nobodys;
pub(super) use system::SystemServers;
pub use system::system_servers;
pub use upstream::ServerStatus;

use answer::{Age, Answer, response};
use cache::{Cache, Known};
use question::Question;
use rebind::House;
use upstream::Upstream;

use super::view::View;
use crate::linux::clock::SystemClock;
use crate::linux::holder::Protocol;
use crate::model::{Clock, Moment};

/// Longer nobody is waited for: stub resolvers ask again or elsewhere after 5 seconds (resolv.conf(5)), and shall hear why.
const LONGEST_WAIT: Duration = Duration::from_millis(2_500);

/// The same where an answer that ran out is at hand (RFC 8767, section 5).
const WAIT_BESIDE_STALE: Duration = Duration::from_millis(1_800);

/// So many different questions are out at once, each a socket or a few; further ones are told SERVFAIL. At a common 20 ms
/// each that is 12,000 a second, and against servers that are down it is what bounds sockets and tasks.
const MOST_ASKED: usize = 256;

/// Of those, so many may have come by datagram, whose senders nobody knows. The rest is for who is proved by a connection.
pub(super) const MOST_ASKED_BY_UDP: u32 = 192;

/// Asks other servers about names that are not ours. Lives on the DNS thread's current-thread tokio runtime.
///
/// Its cache outlives a change of servers, and not one of whose private answers are believed.
pub struct Forwarder {
    shared: Arc<Shared>,
}

struct Shared {
    upstream: Mutex<Arc<Upstream>>,
    house: House,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cache: Cache,
    /// What is being asked now, and where its answer will be.
    flights: HashMap<Question, watch::Receiver<Option<Arc<Answer>>>>,
    rebinding: Rebinding,
    unanswered: u64,
}

/// Answers from outside that led to addresses or names of this house, and were emptied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebinding {
    /// Since the forwarder was made.
    pub refused: u64,
    /// The last such name, and where it led. A person who meant it lists its domain under `private`.
    pub last: Option<(String, String)>,
}

/// How forwarding goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardStatus {
    /// In the order in which they are preferred. Empty: other names are not looked up.
    pub servers: Vec<ServerStatus>,
    /// Answers in the cache, those that ran out included.
    pub cached: usize,
    /// Questions that are out now.
    pub asking: usize,
    /// Questions that no server answered, since the forwarder was made.
    pub unanswered: u64,
    pub rebinding: Rebinding,
}

impl Forwarder {
    /// Asks these servers in this order of preference. Names below `private` may have private addresses.
    pub fn new(servers: Vec<SocketAddr>, private: &[String]) -> Self {
        Self::with_house(servers, House::new(private))
    }

    /// The same with the zone and the network's addresses, to which no name from outside may lead.
    pub fn beside(
        servers: Vec<SocketAddr>,
        private: &[String],
        views: watch::Receiver<Option<Arc<View>>>,
    ) -> Self {
        Self::with_house(servers, House::new(private).with_views(views))
    }

    fn with_house(servers: Vec<SocketAddr>, house: House) -> Self {
        let upstream = Mutex::new(Arc::new(Upstream::new(servers)));
        Self { shared: Arc::new(Shared { upstream, house, state: Mutex::default() }) }
    }

    /// Asks other servers from now on. What is known stays.
    pub fn ask_these(&self, servers: Vec<SocketAddr>) {
        *lock(&self.shared.upstream) = Arc::new(Upstream::new(servers));
    }

    /// The answer to this query if nobody needs to be asked: it is known, or not passed on. One with no chance to fit into
    /// so many bytes is not even looked at, and only said to be truncated.
    pub fn at_hand(&self, query: &Message, room: u16) -> Option<Message> {
        let question = match Question::of(query) {
            Ok(question) => question,
            Err(code) => return Some(response(query, code)),
        };
        let (mut state, now) = (self.shared.state(), SystemClock.instant());
        if state.cache.fresh_size(&question, now).is_some_and(|size| size > usize::from(room)) {
            let mut truncated = response(query, ResponseCode::NoError);
            truncated.metadata.truncation = true;
            return Some(truncated);
        }
        match state.cache.get(&question, now) {
            Known::Fresh(answer, age) => Some(answer.to(query, Age::Of(age))),
            Known::Bridge(answer) => Some(answer.to(query, Age::Stale)),
            Known::Stale(_) | Known::No => None,
        }
    }

    /// The whole answer to this query, which came in that way: its ID, its question to the letter, RA set, without EDNS. SERVFAIL within 3 seconds
    /// if nobody answers, at once if there is nobody to ask; REFUSED or the like for what is not passed on. Never panics.
    ///
    /// What was asked is still answered, into the cache, when this is dropped.
    pub async fn answer(&self, query: &Message, by: Protocol) -> Message {
        let question = match Question::of(query) {
            Ok(question) => question,
            Err(code) => return response(query, code),
        };
        let now = SystemClock.instant();
        let known = self.shared.state().cache.get(&question, now);
        match known {
            Known::Fresh(answer, age) => answer.to(query, Age::Of(age)),
            Known::Bridge(answer) => answer.to(query, Age::Stale),
            Known::Stale(stale) => {
                let answer = self.ask(question, by, WAIT_BESIDE_STALE).await;
                answer.map_or_else(|| stale.to(query, Age::Stale), |answer| answer.to(query, NEW))
            }
            Known::No => {
                let answer = self.ask(question, by, LONGEST_WAIT).await;
                answer.unwrap_or_else(|| Answer::failure().into()).to(query, NEW)
            }
        }
    }

    /// Whether a new question that came in that way would be asked.
    pub fn has_room(&self, by: Protocol) -> bool {
        self.shared.state().has_room(by)
    }

    pub fn status(&self) -> ForwardStatus {
        let servers = self.shared.upstream().status();
        let state = self.shared.state();
        ForwardStatus {
            servers,
            cached: state.cache.len(),
            asking: state.flights.len(),
            unanswered: state.unanswered,
            rebinding: state.rebinding.clone(),
        }
    }

    /// What the servers say; `None` if they say nothing, or too much is being asked already. Equal questions share one
    /// task, whoever of them goes away.
    async fn ask(&self, question: Question, by: Protocol, within: Duration) -> Option<Arc<Answer>> {
        let (mut answer, new) = {
            let mut state = self.shared.state();
            match state.flights.get(&question) {
                Some(flight) => (flight.clone(), None),
                None if !state.has_room(by) => {
                    state.unanswered += 1;
                    return None;
                }
                None => {
                    let (sender, receiver) = watch::channel(None);
                    state.flights.insert(question.clone(), receiver.clone());
                    (receiver, Some(sender))
                }
            }
        };
        if let Some(sender) = new {
            let flight = Flight { shared: self.shared.clone(), question };
            // Without the lock: a runtime that stops drops the flight in here, which takes it.
            tokio::spawn(async move { sender.send(flight.fly(within).await) });
        }
        let answer = answer.wait_for(Option::is_some).await.ok()?;
        answer.clone()
    }
}

const NEW: Age = Age::Of(Duration::ZERO);

/// One question on its way. Takes itself off the list however it ends.
struct Flight {
    shared: Arc<Shared>,
    question: Question,
}

impl Flight {
    async fn fly(self, within: Duration) -> Option<Arc<Answer>> {
        let upstream = self.shared.upstream();
        let message = upstream.ask(&self.question, within).await;
        let answer = message.map(|message| Answer::new(&self.question, message, &self.shared.house));
        self.shared.state().land(&self.question, answer.map(Arc::new), SystemClock.instant())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.shared.state().flights.remove(&self.question);
    }
}

impl Shared {
    /// Never held across an await.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn upstream(&self) -> Arc<Upstream> {
        lock(&self.upstream).clone()
    }
}

/// A panic while it was held spoils nothing: each change is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn has_room(&self, by: Protocol) -> bool {
        let most = match by {
            Protocol::Udp => MOST_ASKED_BY_UDP as usize,
            Protocol::Tcp => MOST_ASKED,
        };
        self.flights.len() < most
    }

    /// Remembers how a question ended.
    fn land(&mut self, question: &Question, answer: Option<Arc<Answer>>, now: Moment) -> Option<Arc<Answer>> {
        let Some(answer) = answer else {
            self.unanswered += 1;
            if !self.cache.bridge(question, now) {
                self.cache.put(question, &Answer::failure(), now);
            }
            return None;
        };
        if let Some(inside) = &answer.private {
            self.rebinding.refused += 1;
            self.rebinding.last = Some((question.name.to_ascii(), inside.to_string()));
        }
        self.cache.put(question, &answer, now);
        Some(answer)
    }
}
