//! Where queries arrive: each is counted, judged and answered, here or by asking others.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;

use super::forward::{Forwarder, MOST_ASKED_BY_UDP, SystemServers};
use super::judge::{self, NotServed, Verdict, judge};
use super::limits::{Limits, Pace, Shares};
use super::message::{self, Asked, encode};
use super::refusals::{Refusals, Refused};
use super::server::Elsewhere;
use super::status::Stats;
use super::tcp::Admitted;
use super::view::{Sender, View};
use crate::audit::Recorder;
use crate::identity::{IdentityRefusal, Origin, identify};
use crate::linux::holder::Protocol;
use crate::model::{Clock, Mac, MemberId, Moment, RefusalCode};

/// What the desk is made from.
pub struct Means {
    pub limits: Limits,
    pub clock: Arc<dyn Clock>,
    pub origin: Arc<dyn Origin>,
    pub views: watch::Receiver<Option<Arc<View>>>,
    pub recorder: Recorder,
    pub stats: Arc<Stats>,
}

/// What the thread's tasks share.
pub struct Desk {
    pub limits: Limits,
    pub clock: Arc<dyn Clock>,
    pub recorder: Recorder,
    pub stats: Arc<Stats>,
    origin: Arc<dyn Origin>,
    views: watch::Receiver<Option<Arc<View>>>,
    pace: RefCell<Pace<Sender>>,
    /// Of queries by connection, which wait for their turn.
    pace_by_tcp: RefCell<Pace<MemberId>>,
    /// Of the words to come by TCP.
    truncated: RefCell<Pace<MemberId>>,
    refusals: RefCell<Refusals>,
    forwards_by_udp: Rc<RefCell<Shares<MemberId>>>,
    forwards_by_tcp: Rc<RefCell<Shares<MemberId>>>,
    connections: Rc<RefCell<Shares<MemberId>>>,
    system: RefCell<SystemServers>,
    others: RefCell<Option<Others>>,
}

/// Whom others' names are asked of now, and what that was made from.
struct Others {
    forwarder: Rc<Forwarder>,
    servers: Vec<SocketAddr>,
    private: Vec<String>,
}

/// Who asked something that takes a while to answer; looked at again before the answer goes out.
pub enum Asker {
    Datagram { member: MemberId, source: IpAddr },
    Connection { member: MemberId, source: IpAddr, origin: Mac },
}

/// One of a member's places, given back when it is dropped.
pub struct Slot {
    shares: Rc<RefCell<Shares<MemberId>>>,
    member: MemberId,
}

impl Slot {
    fn take(shares: &Rc<RefCell<Shares<MemberId>>>, member: MemberId) -> Option<Self> {
        let taken = shares.borrow_mut().take(member);
        taken.then(|| Self { shares: shares.clone(), member })
    }

    /// For who is known by an address alone: who borrows several takes little from each other one.
    fn take_modestly(shares: &Rc<RefCell<Shares<MemberId>>>, member: MemberId) -> Option<Self> {
        let taken = shares.borrow_mut().take_modestly(member);
        taken.then(|| Self { shares: shares.clone(), member })
    }

    pub fn member(&self) -> MemberId {
        self.member
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shares.borrow_mut().give_back(self.member);
    }
}

impl Desk {
    pub fn new(means: Means) -> Rc<Self> {
        let Means { limits, clock, origin, views, recorder, stats } = means;
        let shares = |of_one, of_all| Rc::new(RefCell::new(Shares::new(of_one, of_all)));
        Rc::new(Self {
            pace: RefCell::new(Pace::new(limits.rate, limits.burst)),
            refusals: RefCell::new(Refusals::new(limits.refusals)),
            pace_by_tcp: RefCell::new(Pace::new(limits.rate, limits.burst)),
            truncated: RefCell::new(Pace::new(limits.truncated, limits.truncated)),
            forwards_by_udp: shares(limits.forwards_of_member, limits.forwards.min(MOST_ASKED_BY_UDP)),
            forwards_by_tcp: shares(limits.forwards_of_member, limits.forwards),
            connections: shares(limits.connections_of_member, limits.connections),
            system: RefCell::default(),
            others: RefCell::default(),
            limits,
            clock,
            recorder,
            stats,
            origin,
            views,
        })
    }

    /// What is known now; `None` before there is a roster.
    pub fn view(&self) -> Option<Arc<View>> {
        self.views.borrow().clone()
    }

    /// A datagram: counted before it is read, and not even counted if nobody we know has that address.
    pub fn datagram(
        self: &Rc<Self>,
        view: &View,
        bytes: &[u8],
        source: SocketAddr,
        now: Moment,
        socket: &Rc<UdpSocket>,
    ) {
        let Some(sender) = view.sender(source.ip()) else { return self.stats.strangers.one() };
        let within = self.pace.borrow_mut().allows(sender, now);
        let member = match judge::sender(view, source.ip(), now) {
            Err(NotServed::Stranger) => return self.stats.strangers.one(),
            Err(NotServed::Refused(refusal)) => return self.refuse(refusal, bytes, source, within, socket),
            Ok(member) => member.id,
        };
        if !within {
            return self.over_limit(member, bytes, source, now, socket);
        }
        let (asked, answer) = match judge(view, bytes) {
            Verdict::Silence => return,
            Verdict::Answer(asked, answer) => {
                self.stats.answered.one();
                (asked, answer)
            }
            Verdict::Reject(asked, answer) => {
                self.rejected(None, Some(member), source.ip(), asked.question());
                (asked, answer)
            }
            Verdict::Forward(asked, query) => {
                if let Some(answer) = self.at_hand(&asked, &query, asked.room()) {
                    return send(socket, source, &answer, asked.room());
                }
                let asker = Asker::Datagram { member, source: source.ip() };
                // A door that closes meanwhile is not held open for an answer.
                let (desk, socket) = (self.clone(), Rc::downgrade(socket));
                tokio::task::spawn_local(async move {
                    let answer = desk.ask_elsewhere(&asker, &asked, &query).await;
                    if let (Some(answer), Some(socket)) = (answer, socket.upgrade()) {
                        send(&socket, source, &answer, asked.room());
                    }
                });
                return;
            }
        };
        send(socket, source, &answer, asked.room());
    }

    /// A connection: let in by the member whose SYN opened it, or closed unheard.
    pub fn connection(&self, stream: &TcpStream, peer: SocketAddr) -> Option<Admitted> {
        let view = self.view()?;
        let refused = |code, claimed| IdentityRefusal { code, member: None, known: None, claimed };
        let identified = self
            .origin
            .of(stream.as_fd())
            .map_err(|why| {
                tracing::debug!(%peer, "closed: {why}");
                refused(RefusalCode::NoProof, view.roster.owner_of(peer.ip()).map(|owner| owner.id))
            })
            .and_then(|origin| {
                let member = identify(&view.roster, origin, peer.ip(), self.clock.instant())?;
                Ok((origin, member.id))
            });
        let (origin, member) = match identified {
            Ok(identified) => identified,
            Err(refusal) => {
                self.refused(refusal, peer.ip(), None);
                return None;
            }
        };
        let Some(slot) = Slot::take(&self.connections, member) else {
            self.stats.over_limit.one();
            self.refusals.borrow_mut().count(busy(Some(member), None, peer.ip()));
            return None;
        };
        Some(Admitted { peer, origin, slot })
    }

    /// How long this member's next query by connection has to wait.
    pub fn wait(&self, member: MemberId) -> Duration {
        self.pace_by_tcp.borrow_mut().wait(member, self.clock.instant())
    }

    /// What others said before, if that still holds. It costs nobody's share, so who uses one up takes little from its owner.
    pub fn at_hand(&self, asked: &Asked, query: &Message, room: u16) -> Option<Message> {
        let answer = self.forwarder()?.at_hand(query, room)?;
        self.stats.forwarded.one();
        Some(asked.seal(answer))
    }

    /// Asks others, within a member's share. `None` if meanwhile the member is no longer let in, or shall try again.
    ///
    /// A datagram beyond its share, or beyond what others are asked for datagrams at all, is told to come by TCP: stubs take
    /// SERVFAIL for the last word, and a connection has the share of who is proved.
    pub async fn ask_elsewhere(&self, asker: &Asker, asked: &Asked, query: &Message) -> Option<Message> {
        let Some(forwarder) = self.forwarder() else {
            return Some(asked.answer(ResponseCode::ServFail));
        };
        let (by, place) = match *asker {
            Asker::Datagram { member, .. } => {
                let place = forwarder.has_room(Protocol::Udp);
                let place = place.then(|| Slot::take_modestly(&self.forwards_by_udp, member));
                (Protocol::Udp, place.flatten())
            }
            Asker::Connection { member, .. } => (Protocol::Tcp, Slot::take(&self.forwards_by_tcp, member)),
        };
        let Some(_place) = place else { return self.too_many(asker, asked) };
        let answer = forwarder.answer(query, by).await;
        self.is_still_let_in(asker).then(|| {
            self.stats.forwarded.one();
            asked.seal(answer)
        })
    }

    /// What to say to a question that there is no room to ask others.
    fn too_many(&self, asker: &Asker, asked: &Asked) -> Option<Message> {
        self.stats.over_limit.one();
        let mut refusals = self.refusals.borrow_mut();
        match *asker {
            Asker::Datagram { member, source } => {
                refusals.count(busy(None, Some(member), source));
                let may = self.truncated.borrow_mut().allows(member, self.clock.instant());
                may.then(|| asked.truncated())
            }
            Asker::Connection { member, source, .. } => {
                refusals.count(busy(Some(member), None, source));
                Some(asked.answer(ResponseCode::ServFail))
            }
        }
    }

    fn forwarder(&self) -> Option<Rc<Forwarder>> {
        self.others.borrow().as_ref().map(|others| others.forwarder.clone())
    }

    fn is_still_let_in(&self, asker: &Asker) -> bool {
        let Some(view) = self.view() else { return false };
        let now = self.clock.instant();
        match *asker {
            Asker::Datagram { member, source } => {
                judge::sender(&view, source, now).is_ok_and(|now| now.id == member)
            }
            Asker::Connection { source, origin, .. } => identify(&view.roster, origin, source, now).is_ok(),
        }
    }

    /// Counts and records somebody who is not let in. Whether to say so: beyond a few a second that is silence.
    pub fn refused(&self, refusal: IdentityRefusal, source: IpAddr, question: Option<&Query>) -> bool {
        self.stats.refused.one();
        self.note(Refused::by(refusal, source), question)
    }

    /// Counts and records a query that is not answered in its own terms. Over TCP its member is proved, over UDP claimed.
    pub fn rejected(
        &self,
        member: Option<MemberId>,
        claimed: Option<MemberId>,
        address: IpAddr,
        question: Option<&Query>,
    ) {
        self.stats.rejected.one();
        let code = RefusalCode::BadRequest;
        let known = member.and_then(|id| self.view()?.roster.get(id).cloned());
        self.note(Refused { member, known, claimed, address, code }, question);
    }

    /// Once a second: what was only counted is written, and whoever owes nothing forgotten.
    pub fn tick(&self) {
        let now = self.clock.instant();
        self.pace.borrow_mut().tidy(now);
        self.pace_by_tcp.borrow_mut().tidy(now);
        self.truncated.borrow_mut().tidy(now);
        for record in self.refusals.borrow_mut().take(self.clock.now(), now) {
            self.recorder.push(record);
        }
        if let Some(others) = &*self.others.borrow() {
            self.stats.forward.store(Arc::new(others.forwarder.status()));
        }
    }

    /// Sees to it that others' names are asked of whom the configuration, or the system, names today.
    pub fn look_elsewhere(&self, elsewhere: &Elsewhere) {
        let own = self.view().map_or_else(Vec::new, |view| view.own.clone());
        let mut servers = match &elsewhere.servers {
            Some(servers) => servers.clone(),
            None => self.system.borrow_mut().now(&own, elsewhere.port),
        };
        servers.retain(|server| server.port() != elsewhere.port || !own.contains(&server.ip()));
        let private = &elsewhere.private;
        let mut others = self.others.borrow_mut();
        match &mut *others {
            Some(others) if others.private == *private => {
                if others.servers != servers {
                    others.forwarder.ask_these(servers.clone());
                    others.servers = servers;
                }
            }
            others => {
                let forwarder = Rc::new(Forwarder::beside(servers.clone(), private, self.views.clone()));
                *others = Some(Others { forwarder, servers, private: private.clone() });
            }
        }
    }

    fn refuse(
        &self,
        refusal: IdentityRefusal,
        bytes: &[u8],
        source: SocketAddr,
        within: bool,
        socket: &UdpSocket,
    ) {
        if !within {
            self.stats.refused.one();
            return self.refusals.borrow_mut().count(Refused::by(refusal, source.ip()));
        }
        let Some(asked) = understood(bytes) else { return };
        if self.refused(refusal, source.ip(), asked.question()) {
            send(socket, source, &asked.answer(ResponseCode::Refused), asked.room());
        }
    }

    /// Beyond a member's pace: mostly silence, and now and then the word to come by TCP.
    fn over_limit(
        &self,
        member: MemberId,
        bytes: &[u8],
        source: SocketAddr,
        now: Moment,
        socket: &UdpSocket,
    ) {
        self.stats.over_limit.one();
        self.refusals.borrow_mut().count(busy(None, Some(member), source.ip()));
        if self.truncated.borrow_mut().allows(member, now)
            && let Some(asked) = understood(bytes)
        {
            send(socket, source, &asked.truncated(), asked.room());
        }
    }

    fn note(&self, refused: Refused, question: Option<&Query>) -> bool {
        let (at, now) = (self.clock.now(), self.clock.instant());
        let record = self.refusals.borrow_mut().note(refused, question, at, now);
        let told = record.is_some();
        if let Some(record) = record {
            self.recorder.push(record);
        }
        told
    }
}

/// What was asked, as far as it can be read, if it is a query.
pub fn understood(bytes: &[u8]) -> Option<Asked> {
    match message::read(bytes).ok()? {
        Ok((asked, _)) => Some(asked),
        Err(not_understood) => Some(not_understood.asked),
    }
}

fn busy(member: Option<MemberId>, claimed: Option<MemberId>, address: IpAddr) -> Refused {
    Refused { member, known: None, claimed, address, code: RefusalCode::GatewayBusy }
}

/// Sends a datagram, or loses it, as the network may.
fn send(socket: &UdpSocket, to: SocketAddr, answer: &Message, room: u16) {
    if let Some(bytes) = encode(answer, room) {
        let _ = socket.try_send_to(&bytes, to);
    }
}
