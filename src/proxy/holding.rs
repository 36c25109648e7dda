//! Messages that are held whole to be judged: how much memory they may take, so that nobody's fill a thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::model::MemberId;

/// What all messages held by one thread may take, in bytes, and what those of one member may.
const AT_MOST: usize = 64 << 20;
const OF_MEMBER: usize = AT_MOST / 2;

/// One thread's count of the bytes that are held.
#[derive(Debug, Default)]
pub struct Holding(RefCell<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_member: HashMap<MemberId, usize>,
}

/// Some bytes of a member's that are held; dropping it counts them off.
#[derive(Debug)]
pub struct Held {
    holding: Rc<Holding>,
    member: MemberId,
    bytes: usize,
}

impl Held {
    pub fn none(holding: &Rc<Holding>, member: MemberId) -> Self {
        Self { holding: holding.clone(), member, bytes: 0 }
    }

    /// Nothing yet, of the same member's.
    pub fn another(&self) -> Self {
        Self::none(&self.holding, self.member)
    }

    /// Counts more bytes, if there is room for them.
    pub fn grow(&mut self, more: usize) -> bool {
        let mut counts = self.holding.0.borrow_mut();
        let own = counts.by_member.get(&self.member).copied().unwrap_or(0);
        if own + more > OF_MEMBER || counts.all + more > AT_MOST {
            return false;
        }
        counts.all += more;
        counts.by_member.insert(self.member, own + more);
        self.bytes += more;
        true
    }

    /// Counts all of them off.
    pub fn let_go(&mut self) {
        let mut counts = self.holding.0.borrow_mut();
        counts.all -= self.bytes;
        if let Some(own) = counts.by_member.get_mut(&self.member) {
            *own -= self.bytes;
            if *own == 0 {
                counts.by_member.remove(&self.member);
            }
        }
        self.bytes = 0;
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_has_half_and_what_is_let_go_is_free_again() {
        let holding = Rc::<Holding>::default();
        let [mut mum, mut dad, mut guest] =
            ["c4c8812898", "bcba17eef8", "d000000009"].map(|id| Held::none(&holding, id.parse().unwrap()));
        assert!(mum.grow(OF_MEMBER) && !mum.grow(1));
        assert!(dad.grow(OF_MEMBER) && !guest.grow(1));
        drop(mum);
        assert!(guest.grow(1));
        dad.let_go();
        assert!(dad.grow(OF_MEMBER - 1));
        drop((dad, guest));
        assert!(holding.0.borrow().by_member.is_empty() && holding.0.borrow().all == 0);
    }
}
