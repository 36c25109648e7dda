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

/// An answer to be written, with its place among those under way.
type Outgoing = (Vec<u8>, OwnedSemaphorePermit);

/// Serves a connection until its device leaves, breaks the rules or is silent for too long.
pub async fn serve(desk: Rc<Desk>, stream: TcpStream, admitted: Admitted) {
    let (reader, writer) = stream.into_split();
    let (to, from) = mpsc::channel(desk.limits.pipelined.max(1));
    let mut writing = std::pin::pin!(write(writer, from, desk.limits.idle));
    let reading = read(desk, reader, &admitted, to);
    tokio::select! {
        // Answers that are on their way still get out.
        () = reading => writing.await,
        () = &mut writing => {}
    }
}

async fn read(desk: Rc<Desk>, mut reader: OwnedReadHalf, admitted: &Admitted, to: mpsc::Sender<Outgoing>) {
    let room = Arc::new(Semaphore::new(desk.limits.pipelined.max(1)));
    while let Ok(Some(query)) = timeout(desk.limits.idle, next(&mut reader)).await {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
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
    to: &mpsc::Sender<Outgoing>,
) -> bool {
    let Some(view) = desk.view() else { return false };
    let ip = admitted.peer.ip();
    if let Err(refusal) = identify(&view.roster, admitted.origin, ip, desk.clock.instant()) {
        let answer = refused(desk, refusal, query, admitted);
        if let Some(bytes) = answer {
            let _ = to.send((bytes, permit)).await;
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
        Verdict::Forward(asked, query) => match desk.at_hand(&asked, &query) {
            Some(answer) => answer,
            None => {
                let asker =
                    Asker::Connection { member: admitted.slot.member(), source: ip, origin: admitted.origin };
                let (desk, to) = (desk.clone(), to.clone());
                tokio::task::spawn_local(async move {
                    let answer = desk.ask_elsewhere(&asker, &asked, &query).await;
                    if let Some(bytes) = answer.and_then(|answer| encode(&answer, u16::MAX)) {
                        let _ = to.send((bytes, permit)).await;
                    }
                });
                return true;
            }
        },
    };
    match encode(&answer, u16::MAX) {
        Some(bytes) => to.send((bytes, permit)).await.is_ok(),
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
    while let Some((bytes, _place)) = answers.recv().await {
        let Ok(length) = u16::try_from(bytes.len()) else { return };
        let framed = [&length.to_be_bytes()[..], &bytes].concat();
        if !matches!(timeout(limit, writer.write_all(&framed)).await, Ok(Ok(()))) {
            return;
        }
    }
}
