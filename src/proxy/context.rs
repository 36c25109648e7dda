//! What one thread has to hand for its requests. Nothing in it is shared with another thread, but for the snapshot.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::sync::{Notify, watch};

use crate::audit::{Record, Recorder, redact};
use crate::ca::ServerConfigs;
use crate::ca::trust::Trust;
use crate::model::{Clock, MemberId, RefusalCode, RequestId};
use crate::policy::Rules;
use crate::routes::{Resolver, Site};

use super::connection::Connection;
use super::holding::Holding;
use super::snapshot::{Shared, Snapshot};
use super::upstream::Pool;
use super::worker::ThreadStats;

/// Times and sizes beyond which a connection or request is ended. Generous: none of them may meet a person who only
/// pauses a film.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For a TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// Of a connection with nothing under way.
    pub idle: Duration,
    /// For one address of an upstream to take a connection.
    pub connect: Duration,
    /// For an upstream that has the whole request to begin its answer.
    pub answer: Duration,
    /// For an upstream connection with nothing under way.
    pub upstream_idle: Duration,
    /// How long an upload waits for an upstream's `100 Continue` (RFC 9110, section 10.1.1, leaves it to us).
    pub go_on: Duration,
    /// For requests under way when the gateway stops.
    pub drain: Duration,
    /// Connections of one member at a time, for each thread; more are closed unheard.
    pub connections: u32,
    /// The same for a member who is not let in.
    pub connections_of_strangers: u32,
    /// Connections of everybody at a time, for each thread; more are closed unheard.
    pub connections_of_all: u32,
    /// Connections to services at a time, for each thread; one member gets at most half of them.
    pub upstreams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(180),
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(300),
            upstream_idle: Duration::from_secs(30),
            go_on: Duration::from_secs(1),
            drain: Duration::from_secs(5),
            connections: 4096,
            connections_of_strangers: 16,
            connections_of_all: u32::MAX,
            upstreams: u32::MAX,
        }
    }
}

/// Files that are open beside connections: the database's, listeners, the admin socket's, netlink's.
const OTHER_FILES: u64 = 256;

impl Limits {
    /// The same limits within what a process may have open: two thirds of the files are for devices' connections, the rest
    /// for services'. A new one beyond that could not even be accepted to be closed, so it would wait, with all others
    /// behind it. One member gets at most half of its thread's, so that no device shuts out everybody.
    pub fn within(mut self, open_files: u64, threads: usize) -> Self {
        let third = open_files.saturating_sub(OTHER_FILES) / 3;
        let each = |files: u64| u32::try_from(files / threads.max(1) as u64).unwrap_or(u32::MAX);
        self.connections_of_all = each(third * 2).min(self.connections_of_all);
        self.upstreams = each(third).min(self.upstreams);
        self.connections = self.connections.min(self.connections_of_all / 2);
        self.connections_of_strangers = self.connections_of_strangers.min(self.connections);
        self
    }
}

/// Why a connection was closed before anything on it was heard, though it is known whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// Its member has its share.
    OfMember,
    /// All connections there can be are open.
    AtAll,
}

/// One thread's means.
pub struct Context {
    shared: Arc<Shared>,
    held: RefCell<Held>,
    pub tls: ServerConfigs,
    pub clock: Arc<dyn Clock>,
    /// How identity is proved here, in words for people.
    pub proof: &'static str,
    /// What makes a device trust the certificates.
    pub trust: Arc<Trust>,
    pub limits: Limits,
    pub recorder: Recorder,
    pub pool: Pool,
    pub holding: Rc<Holding>,
    pub resolver: Resolver,
    pub stats: Arc<ThreadStats>,
    /// Wakes whatever must look at a new snapshot though nothing moves on its connection.
    pub changed: Notify,
    /// Wakes every connection when the gateway stops.
    pub stopping: Notify,
    pub stopped: Cell<bool>,
    /// Seconds of the thread's own clock, for limits that are long and kept by many.
    ticks: Cell<u64>,
    connections: RefCell<HashMap<u64, Weak<Connection>>>,
    by_member: RefCell<HashMap<Option<MemberId>, u32>>,
    next_connection: Cell<u64>,
    request_prefix: u64,
    next_request: Cell<u64>,
    words: RefCell<HashMap<Box<str>, Arc<str>>>,
}

/// The thread's own copy of the snapshot. Counting its users is then no other thread's business: counters that two cores
/// write to cost more than anything else that a small request does here.
struct Held {
    snapshot: Rc<Snapshot>,
    /// What the copies were made of.
    site: Arc<Site>,
    rules: Arc<Rules>,
}

impl Held {
    fn of(shared: &Snapshot, before: Option<&Self>) -> Self {
        let site = match before {
            Some(held) if Arc::ptr_eq(&held.site, &shared.site) => held.snapshot.site.clone(),
            _ => Arc::new(shared.site.for_thread()),
        };
        let rules = match before {
            Some(held) if Arc::ptr_eq(&held.rules, &shared.rules) => held.snapshot.rules.clone(),
            _ => Arc::new(shared.rules.for_thread()),
        };
        let snapshot = Snapshot { roster: shared.roster.clone(), rules, site, generation: shared.generation };
        Self { snapshot: Rc::new(snapshot), site: shared.site.clone(), rules: shared.rules.clone() }
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

/// What a thread is given to make its context from.
pub struct Means {
    /// Comes once there is a roster; no port is open before.
    pub shared: watch::Receiver<Option<Arc<Shared>>>,
    pub tls: ServerConfigs,
    pub clock: Arc<dyn Clock>,
    /// How identity is proved here, in words for people.
    pub proof: &'static str,
    pub trust: Arc<Trust>,
    pub limits: Limits,
    pub recorder: Recorder,
    pub resolver: Resolver,
    pub stats: Arc<ThreadStats>,
    /// Differs between any two threads and starts of any gateway.
    pub request_prefix: u64,
}

impl Context {
    pub fn new(means: Means, shared: Arc<Shared>) -> Rc<Self> {
        Rc::new(Self {
            held: RefCell::new(Held::of(&shared.load(), None)),
            shared,
            tls: means.tls,
            clock: means.clock,
            proof: means.proof,
            trust: means.trust,
            pool: Pool::new(&means.limits),
            holding: Rc::default(),
            limits: means.limits,
            recorder: means.recorder,
            resolver: means.resolver,
            stats: means.stats,
            changed: Notify::new(),
            stopping: Notify::new(),
            stopped: Cell::new(false),
            ticks: Cell::default(),
            connections: RefCell::default(),
            by_member: RefCell::default(),
            next_connection: Cell::new(0),
            request_prefix: means.request_prefix,
            next_request: Cell::new(0),
            words: RefCell::default(),
        })
    }

    /// Today's snapshot.
    pub fn snapshot(&self) -> Rc<Snapshot> {
        let mut held = self.held.borrow_mut();
        if held.snapshot.generation != self.shared.generation() {
            *held = Held::of(&self.shared.load(), Some(&held));
        }
        held.snapshot.clone()
    }

    /// Whether a snapshot's generation is still today's.
    pub fn is_current(&self, generation: u64) -> bool {
        self.shared.generation() == generation
    }

    pub fn next_request(&self) -> RequestId {
        let count = self.next_request.get();
        self.next_request.set(count + 1);
        RequestId(self.request_prefix, count)
    }

    /// A method's name as records share it; one that HTTP itself does not know is somebody's text, and not kept.
    pub fn method(&self, method: &Method) -> Arc<str> {
        match *method {
            Method::GET
            | Method::HEAD
            | Method::POST
            | Method::PUT
            | Method::DELETE
            | Method::OPTIONS
            | Method::PATCH
            | Method::CONNECT
            | Method::TRACE => self.word(method.as_str()),
            _ => Arc::from(redact::text(method.as_str(), 32)),
        }
    }

    /// A word of ours that recurs, shared instead of copied.
    pub fn word(&self, text: &str) -> Arc<str> {
        let mut words = self.words.borrow_mut();
        if let Some(word) = words.get(text) {
            return word.clone();
        }
        let word: Arc<str> = text.into();
        words.insert(text.into(), word.clone());
        word
    }

    /// Counts and records a connection that was closed before anything on it was heard.
    pub fn closed_unheard(&self, peer: SocketAddr, member: Option<MemberId>, claimed: Option<MemberId>) {
        self.stats.closed_unheard();
        let record = Record::refused(self.clock.now(), peer.ip(), RefusalCode::NoProof);
        self.recorder.push(Record { member, claimed, ..record });
    }

    /// The tick by which a limit that begins now has passed. Limits that are looked at once a second cost no timer.
    pub fn deadline(&self, limit: Duration) -> u64 {
        self.ticks.get() + limit.as_secs() + 1
    }

    pub fn has_passed(&self, deadline: u64) -> bool {
        self.ticks.get() >= deadline
    }

    /// One second has passed.
    pub fn tick(&self) {
        self.ticks.set(self.ticks.get() + 1);
    }

    /// Whether one more connection of a member fits. Those who are not let in need few to read why.
    pub fn has_room(&self, member: Option<MemberId>, let_in: bool) -> Result<(), NoRoom> {
        let limit = if let_in { self.limits.connections } else { self.limits.connections_of_strangers };
        if self.by_member.borrow().get(&member).is_some_and(|&open| open >= limit) {
            return Err(NoRoom::OfMember);
        }
        let all = self.connections.borrow().len() as u64;
        if all >= u64::from(self.limits.connections_of_all) { Err(NoRoom::AtAll) } else { Ok(()) }
    }

    /// Enters a connection into the thread's list; the number takes it out again.
    pub fn enter(&self, connection: &Rc<Connection>) -> u64 {
        *self.by_member.borrow_mut().entry(connection.member).or_default() += 1;
        let number = self.next_connection.get();
        self.next_connection.set(number + 1);
        self.connections.borrow_mut().insert(number, Rc::downgrade(connection));
        self.stats.opened();
        number
    }

    pub fn leave(&self, number: u64, member: Option<MemberId>) {
        self.connections.borrow_mut().remove(&number);
        let mut by_member = self.by_member.borrow_mut();
        if let Some(open) = by_member.get_mut(&member) {
            *open -= 1;
            if *open == 0 {
                by_member.remove(&member);
            }
        }
        self.stats.closed();
    }

    /// All open connections.
    pub fn connections(&self) -> Vec<Rc<Connection>> {
        self.connections.borrow().values().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_leave_room_for_services_and_for_other_members() {
        for (files, threads, all, member, stranger, upstreams) in [
            // The unit's, on two cores and on eight.
            (65_536, 2, 21_760, 4096, 16, 10_880),
            (65_536, 8, 5440, 2720, 16, 2720),
            (20_000, 2, 6581, 3290, 16, 3290),
            (1024, 2, 256, 128, 16, 128),
            (300, 2, 14, 7, 7, 7),
            (100, 2, 0, 0, 0, 0),
            (u64::MAX, 2, u32::MAX, 4096, 16, u32::MAX),
        ] {
            let limits = Limits::default().within(files, threads);
            let found = (limits.connections_of_all, limits.connections, limits.connections_of_strangers);
            assert_eq!(limits.upstreams, upstreams, "{files} files, {threads} threads");
            assert_eq!(found, (all, member, stranger), "{files} files, {threads} threads");
            assert!((u64::from(all) + u64::from(upstreams)) * threads as u64 <= files);
        }
    }
}
