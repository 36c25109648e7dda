//! One question to one server: by UDP, and by TCP where the answer does not fit or cannot be trusted.
//!
//! hickory-proto reads and writes the messages. Its resolver's pool of servers is not used, because it takes "no such name"
//! for a server's fault, passes SERVFAIL on instead of asking the next, leaves its UDP sockets unconnected (so a
//! server that is not there costs a timeout) and does not compare the question by TCP (hickory-resolver 0.26.3).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{interval, timeout};

use super::question::Question;
use crate::linux::clock::SystemClock;
use crate::model::{Clock, Moment};

/// A question or its answer that was lost on the way is asked for again so often. Same socket, same ID: whichever answer
/// comes is good.
const RESEND: Duration = Duration::from_secs(1);

/// A TCP exchange may take so long; its server has just answered by UDP.
const BY_TCP: Duration = Duration::from_millis(1_500);

/// More than was asked for, for servers that do not keep to it.
const BUFFER: usize = 4_096;

/// Why a server has no answer to this question.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("its answer is not one to the question")]
    Garbled,
    #[error("the question cannot be written: {0}")]
    Unwritable(#[from] hickory_proto::ProtoError),
}

/// A server lacks a habit after so many answers in a row that say so: a single one may be forged, or a fault.
const REPEATED: u32 = 3;

/// For so long: a router is replaced, or learns it by an update.
const BELIEVED: Duration = Duration::from_secs(600);

/// What was learnt of a server that is not as it should be.
#[derive(Default)]
pub(super) struct Habits {
    /// It repeats a question to the letter.
    keeps_letters: Habit,
    /// It takes EDNS (RFC 6891). Old home routers do not, and stub resolvers that do not use it work with them.
    takes_edns: Habit,
}

impl Habits {
    fn query(&self, question: &Question, now: Moment) -> Message {
        question.to_query(self.keeps_letters.holds(now), self.takes_edns.holds(now))
    }
}

/// Something that every server does, until it showed repeatedly that it does not.
#[derive(Default)]
struct Habit(Mutex<Lapses>);

#[derive(Clone, Copy, Default)]
struct Lapses {
    in_a_row: u32,
    missing_until: Option<Moment>,
}

impl Habit {
    fn holds(&self, now: Moment) -> bool {
        self.lapses().missing_until.is_none_or(|until| until <= now)
    }

    fn shown(&self) {
        self.lapses().in_a_row = 0;
    }

    fn lapsed(&self, now: Moment) {
        let mut lapses = self.lapses();
        lapses.in_a_row += 1;
        if lapses.in_a_row >= REPEATED {
            *lapses = Lapses { in_a_row: 0, missing_until: Some(now + BELIEVED) };
        }
    }

    /// Never held across an await; a panic meanwhile spoils nothing.
    fn lapses(&self) -> MutexGuard<'_, Lapses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks until there is an answer; the caller says how long that may take, by dropping this.
///
/// # Errors
/// The kernel's, above all ECONNREFUSED where nobody listens; or what came by TCP is no answer to this.
pub(super) async fn exchange(
    server: SocketAddr,
    habits: &Habits,
    question: &Question,
) -> Result<Message, ExchangeError> {
    let now = SystemClock.instant();
    let query = habits.query(question, now);
    let has_edns = query.edns.is_some();
    let message = by_udp_or_tcp(server, habits, query).await?;
    if !has_edns || !may_not_know_edns(&message) {
        if has_edns && message.edns.is_some() {
            habits.takes_edns.shown();
        }
        return Ok(message);
    }
    let plain = question.to_query(habits.keeps_letters.holds(now), false);
    let message = by_udp_or_tcp(server, habits, plain).await?;
    // Only one that does better without is a server that does not know it.
    if matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
        habits.takes_edns.lapsed(SystemClock.instant());
    }
    Ok(message)
}

/// What RFC 6891, section 7, has servers say that never heard of it.
fn may_not_know_edns(message: &Message) -> bool {
    let code = message.metadata.response_code;
    message.edns.is_none() && matches!(code, ResponseCode::FormErr | ResponseCode::NotImp)
}

async fn by_udp_or_tcp(
    server: SocketAddr,
    habits: &Habits,
    mut query: Message,
) -> Result<Message, ExchangeError> {
    let is_mixed = query.queries.iter().any(|asked| !asked.name.eq_case(&asked.name.to_lowercase()));
    let doubt = match by_udp(server, &query).await? {
        Heard::Answer(message) => {
            if is_mixed {
                habits.keeps_letters.shown();
            }
            return Ok(message);
        }
        Heard::Doubt(doubt) => doubt,
    };
    match (by_tcp(server, &query).await, doubt) {
        (Ok(message), Doubt::Letters) => {
            if !has_letters_of(&query, &message) {
                habits.keeps_letters.lapsed(SystemClock.instant());
            }
            Ok(message)
        }
        (Err(_), Doubt::Letters) => {
            habits.keeps_letters.lapsed(SystemClock.instant());
            for asked in &mut query.queries {
                asked.name = asked.name.to_lowercase();
            }
            query.metadata.id = Message::query().metadata.id;
            match by_udp(server, &query).await? {
                Heard::Answer(message) => Ok(message),
                Heard::Doubt(_) => Err(ExchangeError::Garbled),
            }
        }
        (answer, Doubt::Truncated | Doubt::Garbled) => answer,
    }
}

enum Heard {
    Answer(Message),
    Doubt(Doubt),
}

/// Why what came by UDP with the right ID is no answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// More than fits.
    Truncated,
    /// The question in other letters: forged, or by a server that does not keep them.
    Letters,
    /// No DNS message.
    Garbled,
}

/// A connected socket, so that the kernel drops what others send and tells when nobody listens. Its port is one of about
/// 28,000 that the kernel draws (net.ipv4.ip_local_port_range), new for each question.
async fn by_udp(server: SocketAddr, query: &Message) -> Result<Heard, ExchangeError> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let wire = query.to_vec()?;
    let mut buffer = vec![0; BUFFER];
    let mut resend = interval(RESEND);
    loop {
        tokio::select! {
            _ = resend.tick() => {
                socket.send(&wire).await?;
            }
            received = socket.recv(&mut buffer) => {
                if let Some(heard) = judge(query, &buffer[..received?]) {
                    return Ok(heard);
                }
            }
        }
    }
}

/// What a datagram says about the query; `None` for one that has nothing to do with it, after which the right one may come.
fn judge(query: &Message, datagram: &[u8]) -> Option<Heard> {
    let [id_high, id_low, flags, ..] = *datagram else { return None };
    let is_response = flags & 0x80 != 0;
    if u16::from_be_bytes([id_high, id_low]) != query.metadata.id || !is_response {
        return None;
    }
    // A truncated one may end within a record, so it is not read any further.
    if flags & 0x02 != 0 {
        return Some(Heard::Doubt(Doubt::Truncated));
    }
    let Ok(message) = Message::from_vec(datagram) else { return Some(Heard::Doubt(Doubt::Garbled)) };
    if !answers(query, &message) {
        return None;
    }
    Some(if has_letters_of(query, &message) { Heard::Answer(message) } else { Heard::Doubt(Doubt::Letters) })
}

async fn by_tcp(server: SocketAddr, query: &Message) -> Result<Message, ExchangeError> {
    let whole = async {
        let wire = query.to_vec()?;
        let mut stream = TcpStream::connect(server).await?;
        // Two bytes of length stand before each message (RFC 1035, section 4.2.2); a query has no more than 300 in all.
        let length = u16::try_from(wire.len()).map_err(|_| ExchangeError::Garbled)?;
        stream.write_all(&[&length.to_be_bytes()[..], &wire].concat()).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await?;
        let message = Message::from_vec(&answer).map_err(|_| ExchangeError::Garbled)?;
        let is_whole = answers(query, &message) && !message.metadata.truncation;
        if is_whole { Ok(message) } else { Err(ExchangeError::Garbled) }
    };
    let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
    timeout(BY_TCP, whole).await.unwrap_or_else(late)
}

/// Whether a message is a response to that query: its ID and, but for the letters' case, its question.
fn answers(query: &Message, message: &Message) -> bool {
    message.metadata.id == query.metadata.id
        && message.metadata.message_type == MessageType::Response
        && message.metadata.op_code == OpCode::Query
        && message.queries == query.queries
}

fn has_letters_of(query: &Message, message: &Message) -> bool {
    let pairs = query.queries.iter().zip(&message.queries);
    pairs.into_iter().all(|(ours, theirs)| ours.name.eq_case(&theirs.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::forward::question::tests::question;
    use hickory_proto::rr::{Name, RecordType};

    #[test]
    fn a_habit_is_lost_by_repeated_lapses_and_for_a_while() {
        let (habit, now) = (Habit::default(), Moment::since_boot(60, 0));
        habit.lapsed(now);
        habit.lapsed(now);
        habit.shown();
        habit.lapsed(now);
        habit.lapsed(now);
        assert!(habit.holds(now), "not three in a row");
        habit.lapsed(now);
        assert!(!habit.holds(now + Duration::from_secs(599)));
        assert!(habit.holds(now + Duration::from_secs(600)));
    }

    #[derive(Debug, PartialEq)]
    enum Judged {
        Answer,
        Doubt(Doubt),
        NotOurs,
    }

    #[test]
    fn what_comes_by_udp_is_an_answer_a_reason_for_tcp_or_nothing() {
        let query = question("wiki.example.", RecordType::A).to_query(false, true);
        let right = query.clone().into_response();
        let changed = |change: &dyn Fn(&mut Message)| {
            let mut message = right.clone();
            change(&mut message);
            message.to_vec().unwrap()
        };
        let to =
            |text: &str, message: &mut Message| message.queries[0].name = Name::from_ascii(text).unwrap();
        let wire = right.to_vec().unwrap();
        let cut = wire[..wire.len() - 4].to_vec();
        for (what, datagram, expected) in [
            ("the answer", wire.clone(), Judged::Answer),
            ("another ID", changed(&|m| m.metadata.id ^= 1), Judged::NotOurs),
            ("the query itself", query.to_vec().unwrap(), Judged::NotOurs),
            ("another name", changed(&|m| to("evil.example.", m)), Judged::NotOurs),
            ("another type", changed(&|m| m.queries[0].query_type = RecordType::AAAA), Judged::NotOurs),
            ("no question", changed(&|m| m.queries.clear()), Judged::NotOurs),
            ("two questions", changed(&|m| m.queries.push(m.queries[0].clone())), Judged::NotOurs),
            ("an update", changed(&|m| m.metadata.op_code = OpCode::Update), Judged::NotOurs),
            ("nothing", vec![], Judged::NotOurs),
            ("an ID alone", wire[..2].to_vec(), Judged::NotOurs),
            ("other letters", changed(&|m| to("Wiki.example.", m)), Judged::Doubt(Doubt::Letters)),
            ("too much", changed(&|m| m.metadata.truncation = true), Judged::Doubt(Doubt::Truncated)),
            ("cut short", cut, Judged::Doubt(Doubt::Garbled)),
        ] {
            let judged = match judge(&query, &datagram) {
                Some(Heard::Answer(_)) => Judged::Answer,
                Some(Heard::Doubt(doubt)) => Judged::Doubt(doubt),
                None => Judged::NotOurs,
            };
            assert_eq!(judged, expected, "{what}");
        }
    }
}
