//! One TCP connection: queries with their length before them (RFC 1035, section 4.2.2), answered as answers come.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::desk::{Asker, Desk, Slot, understood};
use super::judge::{Verdict, judge};
use super::message::{self, encode};
use crate::identity::{IdentityRefusal, identify};
use crate::model::Mac;

/// The longest query; a real one has some dozens of bytes.
const LONGEST_QUERY: usize = 4096;

/// A connection whose opener is proved, and let in.
pub struct Admitted {
    pub peer: SocketAddr,
    pub origin: Mac,
    pub slot: Slot,
}

/// An answer to be written, with its place among those under way and its part of the bytes that may wait.
type Outgoing = (Vec<u8>, OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// Where one connection's answers wait to be taken.
#[derive(Clone)]
struct Queue {
    to: mpsc::Sender<Outgoing>,
    bytes: Arc<Semaphore>,
}

impl Queue {
    /// Waits until there is room; whether the connection still stands.
    async fn put(&self, answer: Vec<u8>, place: OwnedSemaphorePermit) -> bool {
        let size = u32::try_from(answer.len()).unwrap_or(u32::MAX);
        let Ok(part) = self.bytes.clone().acquire_many_owned(size).await else { return false };
        self.to.send((answer, place, Some(part))).await.is_ok()
    }

    /// Puts in place of an answer that there is no room for this short one, so that nothing large waits outside.
    async fn put_or(
        &self,
        answer: Vec<u8>,
        short: impl FnOnce() -> Option<Vec<u8>>,
        place: OwnedSemaphorePermit,
    ) {
        let size = u32::try_from(answer.len()).unwrap_or(u32::MAX);
        let part = self.bytes.clone().try_acquire_many_owned(size).ok();
        let answer = if part.is_some() { Some(answer) } else { short() };
        if let Some(answer) = answer {
            let _ = self.to.send((answer, place, part)).await;
        }
    }
}

/// Serves a connection until its device leaves, breaks the rules or is silent for too long.
pub async fn serve(desk: Rc<Desk>, stream: TcpStream, admitted: Admitted) {
    let (reader, writer) = stream.into_split();
    let (to, from) = mpsc::channel(desk.limits.pipelined.max(1));
    let mut writing = std::pin::pin!(write(writer, from, desk.limits.idle));
    let room = desk.limits.queued.max(usize::from(u16::MAX));
    let queue = Queue { to, bytes: Arc::new(Semaphore::new(room)) };
    let reading = read(desk, reader, &admitted, queue);
    tokio::select! {
        // Answers that are on their way still get out.
        () = reading => writing.await,
        () = &mut writing => {}
    }
}

async fn read(desk: Rc<Desk>, mut reader: OwnedReadHalf, admitted: &Admitted, to: Queue) {
    let room = Arc::new(Semaphore::new(desk.limits.pipelined.max(1)));
    while let Ok(Some(query)) = timeout(desk.limits.idle, next(&mut reader)).await {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let wait = desk.wait(admitted.slot.member());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if !handle(&desk, admitted, &query, permit, &to).await {
            return;
        }
    }
}

/// Answers one query; whether the connection goes on.
async fn handle(
    desk: &Rc<Desk>,
    admitted: &Admitted,
    query: &[u8],
    permit: OwnedSemaphorePermit,
    to: &Queue,
) -> bool {
    let Some(view) = desk.view() else { return false };
    let ip = admitted.peer.ip();
    if let Err(refusal) = identify(&view.roster, admitted.origin, ip, desk.clock.instant()) {
        let answer = refused(desk, refusal, query, admitted);
        if let Some(bytes) = answer {
            to.put(bytes, permit).await;
        }
        return false;
    }
    let answer = match judge(&view, query) {
        Verdict::Silence => return false,
        Verdict::Answer(_, answer) => {
            desk.stats.answered.one();
            answer
        }
        Verdict::Reject(asked, answer) => {
            desk.rejected(Some(admitted.slot.member()), None, ip, asked.question());
            answer
        }
        Verdict::Forward(asked, query) => match desk.at_hand(&asked, &query, u16::MAX) {
            Some(answer) => answer,
            None => {
                let asker =
                    Asker::Connection { member: admitted.slot.member(), source: ip, origin: admitted.origin };
                let (desk, to) = (desk.clone(), to.clone());
                tokio::task::spawn_local(async move {
                    let answer = desk.ask_elsewhere(&asker, &asked, &query).await;
                    if let Some(bytes) = answer.and_then(|answer| encode(&answer, u16::MAX)) {
                        let busy = || encode(&asked.answer(ResponseCode::ServFail), u16::MAX);
                        to.put_or(bytes, busy, permit).await;
                    }
                });
                return true;
            }
        },
    };
    match encode(&answer, u16::MAX) {
        Some(bytes) => to.put(bytes, permit).await,
        None => false,
    }
}

/// The last answer to somebody who was let in and no longer is.
fn refused(desk: &Desk, refusal: IdentityRefusal, query: &[u8], admitted: &Admitted) -> Option<Vec<u8>> {
    let asked = understood(query)?;
    let told = desk.refused(refusal, admitted.peer.ip(), asked.question());
    let answer: Message = asked.answer(ResponseCode::Refused);
    told.then(|| encode(&answer, u16::MAX)).flatten()
}

/// The next query; `None` at the end, or at one that is too long or too short to be any.
async fn next(reader: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let length = usize::from(reader.read_u16().await.ok()?);
    if !(message::HEADER..=LONGEST_QUERY).contains(&length) {
        return None;
    }
    let mut query = vec![0; length];
    reader.read_exact(&mut query).await.ok()?;
    Some(query)
}

/// Writes answers until there are none to come, or the device does not take one in time.
async fn write(mut writer: OwnedWriteHalf, mut answers: mpsc::Receiver<Outgoing>, limit: Duration) {
    while let Some((bytes, _place, _part)) = answers.recv().await {
        let Ok(length) = u16::try_from(bytes.len()) else { return };
        let framed = [&length.to_be_bytes()[..], &bytes].concat();
        if !matches!(timeout(limit, writer.write_all(&framed)).await, Ok(Ok(()))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers that nobody takes yet, in a queue for so many and so many bytes.
    fn queue(answers: usize, bytes: usize) -> (Queue, mpsc::Receiver<Outgoing>, Arc<Semaphore>) {
        let (to, from) = mpsc::channel(answers);
        (Queue { to, bytes: Arc::new(Semaphore::new(bytes)) }, from, Arc::new(Semaphore::new(answers)))
    }

    #[tokio::test]
    async fn what_a_device_does_not_take_is_bounded_and_then_short() {
        let (queue, mut from, places) = queue(8, 100);
        let short = || Some(vec![0]);
        for _ in 0..4 {
            let place = places.clone().try_acquire_owned().unwrap();
            queue.put_or(vec![1; 40], short, place).await;
        }
        let mut lengths = Vec::new();
        while let Ok((answer, ..)) = from.try_recv() {
            lengths.push(answer.len());
        }
        assert_eq!(lengths, [40, 40, 1, 1]);
        assert_eq!((queue.bytes.available_permits(), places.available_permits()), (100, 8), "given back");
    }

    #[tokio::test]
    async fn what_is_known_waits_until_the_device_takes_what_was_before() {
        let (queue, mut from, places) = queue(8, 100);
        let put = |length| queue.put(vec![1; length], places.clone().try_acquire_owned().unwrap());
        assert!(put(80).await);
        let mut next = std::pin::pin!(put(40));
        tokio::select! {
            biased;
            _ = &mut next => panic!("there is no room"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(from.recv().await.map(|(answer, ..)| answer.len()), Some(80));
        assert!(next.await);
        drop(from);
        assert!(!put(40).await, "the connection has ended");
    }
}
