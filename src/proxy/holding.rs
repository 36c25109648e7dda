//! Messages that are held whole to be judged: how much memory they may take, so that nobody's fill a thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::model::MemberId;

/// What all messages held by one thread may take, in bytes. A member may hold as much as it leaves free: alone the half of
/// it, beside somebody who took that half a quarter, and so on, so that whoever comes last still finds some.
const AT_MOST: usize = 64 << 20;

/// WebSockets of one member with one thread whose messages are judged. An app opens one, and a browser one a page; services
/// have a few hundred connections for everybody.
const MOST_CONVERSATIONS: usize = 64;

/// What a conversation is counted as holding from its beginning, in bytes: the buffers of both ends, and short messages.
const OF_CONVERSATION: usize = 64 << 10;

/// What may come from either end of a conversation before it is counted by itself.
pub const FREE: usize = OF_CONVERSATION / 2;

/// One thread's count of the bytes that are held.
#[derive(Debug, Default)]
pub struct Holding(RefCell<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_member: HashMap<MemberId, Own>,
}

/// One member's part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Own {
    bytes: usize,
    conversations: usize,
}

/// Some bytes of a member's that are held; dropping it counts them off.
#[derive(Debug)]
pub struct Held {
    holding: Rc<Holding>,
    member: MemberId,
    bytes: usize,
    /// Whether it stands for a conversation.
    converses: bool,
}

impl Held {
    pub fn none(holding: &Rc<Holding>, member: MemberId) -> Self {
        Self { holding: holding.clone(), member, bytes: 0, converses: false }
    }

    /// Nothing yet, of the same member's.
    pub fn another(&self) -> Self {
        Self::none(&self.holding, self.member)
    }

    /// One more conversation, if the member may have one and there is room for it.
    pub fn conversation(holding: &Rc<Holding>, member: MemberId) -> Option<Self> {
        let mut held = Self::none(holding, member);
        if holding.own(member).conversations >= MOST_CONVERSATIONS || !held.grow(OF_CONVERSATION) {
            return None;
        }
        held.converses = true;
        holding.0.borrow_mut().by_member.entry(member).or_default().conversations += 1;
        Some(held)
    }

    /// Counts more bytes, if there is room for them.
    pub fn grow(&mut self, more: usize) -> bool {
        let own = self.holding.own(self.member).bytes;
        let mut counts = self.holding.0.borrow_mut();
        if counts.all + own + 2 * more > AT_MOST {
            return false;
        }
        counts.all += more;
        counts.by_member.entry(self.member).or_default().bytes += more;
        self.bytes += more;
        true
    }

    /// Counts all of them off.
    pub fn let_go(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.holding.0.borrow_mut().all -= bytes;
        self.change(|own| own.bytes -= bytes);
    }

    fn change(&self, change: impl FnOnce(&mut Own)) {
        let mut counts = self.holding.0.borrow_mut();
        let Some(own) = counts.by_member.get_mut(&self.member) else { return };
        change(own);
        if *own == Own::default() {
            counts.by_member.remove(&self.member);
        }
    }
}

impl Holding {
    fn own(&self, member: MemberId) -> Own {
        self.0.borrow().by_member.get(&member).copied().unwrap_or_default()
    }
}

/// A stream whose messages somebody puts together: what came of one that is not whole yet is counted.
#[derive(Debug)]
pub struct Counted<S> {
    stream: S,
    /// What may come uncounted.
    free: usize,
    came: usize,
    held: Held,
}

impl<S> Counted<S> {
    pub fn new(stream: S, free: usize, held: Held) -> Self {
        Self { stream, free, came: 0, held }
    }

    /// A message was whole, and is gone.
    pub fn is_whole(&mut self) {
        self.came = 0;
        self.held.let_go();
    }

    /// So many bytes belonged to no message.
    pub fn is_beside(&mut self, bytes: usize) {
        self.came = self.came.saturating_sub(bytes);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    /// Fails with [`io::ErrorKind::OutOfMemory`] where there is no room for what came.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.came += buf.filled().len() - before;
        let more = this.came.saturating_sub(this.free).saturating_sub(this.held.bytes);
        let has_room = more == 0 || this.held.grow(more);
        Poll::Ready(if has_room { Ok(()) } else { Err(io::ErrorKind::OutOfMemory.into()) })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
        if self.converses {
            self.change(|own| own.conversations -= 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members<const N: usize>(ids: [&str; N]) -> [MemberId; N] {
        ids.map(|id| id.parse().unwrap())
    }

    #[test]
    fn whoever_takes_half_leaves_half_and_what_is_let_go_is_free_again() {
        let holding = Rc::<Holding>::default();
        let [mut mum, mut dad, mut guest] =
            members(["c4c8812898", "bcba17eef8", "d000000009"]).map(|id| Held::none(&holding, id));
        assert!(mum.grow(AT_MOST / 2) && !mum.grow(1));
        assert!(dad.grow(AT_MOST / 4) && !dad.grow(1));
        assert!(guest.grow(AT_MOST / 8) && !guest.grow(1));
        drop(mum);
        assert!(guest.grow(AT_MOST / 8));
        dad.let_go();
        assert!(dad.grow(AT_MOST / 4));
        drop((dad, guest));
        assert!(holding.0.borrow().by_member.is_empty() && holding.0.borrow().all == 0);
    }

    #[test]
    fn nobody_has_all_conversations_to_themselves() {
        let holding = Rc::<Holding>::default();
        let [mum, dad] = members(["c4c8812898", "bcba17eef8"]);
        let mut open: Vec<Held> =
            (0..MOST_CONVERSATIONS).map(|_| Held::conversation(&holding, mum).unwrap()).collect();
        assert!(Held::conversation(&holding, mum).is_none());
        assert!(Held::conversation(&holding, dad).is_some());
        open.pop();
        assert!(Held::conversation(&holding, mum).is_some());
        drop(open);
        assert!(holding.0.borrow().by_member.is_empty() && holding.0.borrow().all == 0);
    }
}
