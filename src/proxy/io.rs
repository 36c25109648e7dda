//! A stream that notes when a request's head began to arrive, so that a slow head can be told from an idle connection, and
//! that ends at once when its connection is cut.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::linux::socket::{self, PeerEnd};

/// When bytes came that no request has taken yet.
///
/// Atomics only because hyper wants upgradable streams to be `Send`; one thread uses it.
#[derive(Debug)]
pub struct HeadClock {
    epoch: Instant,
    /// Milliseconds after `epoch`, plus one; 0 while nothing is waiting.
    began: AtomicU64,
    in_flight: AtomicU64,
    /// When the last request ended, in milliseconds after `epoch`.
    ended: AtomicU64,
    severed: AtomicBool,
    /// The descriptor, while it is open; -1 before and after.
    socket: AtomicI32,
}

const NO_SOCKET: RawFd = -1;

impl HeadClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            epoch: Instant::now(),
            began: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            severed: AtomicBool::new(false),
            socket: AtomicI32::new(NO_SOCKET),
        })
    }

    fn bytes_came(&self) {
        if self.began.load(Ordering::Relaxed) == 0 && self.in_flight.load(Ordering::Relaxed) == 0 {
            self.began.store(self.elapsed() + 1, Ordering::Relaxed);
        }
    }

    fn elapsed(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// A whole head was read and its request begins.
    pub fn request_began(&self) {
        self.began.store(0, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub fn request_ended(&self, now: Instant) {
        if self.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.ended.store((now - self.epoch).as_millis() as u64, Ordering::Relaxed);
        }
    }

    /// From now on the stream ends by a reset. Without it the kernel would go on sending what it holds, for minutes and
    /// also to a member that is out, and a member whose answers ZeroTier drops would never hear of the end.
    pub fn sever(&self) {
        self.severed.store(true, Ordering::Relaxed);
    }

    /// What the kernel knows of the device's end. A system call.
    pub fn peer_end(&self) -> PeerEnd {
        socket::peer_end(self.socket.load(Ordering::Relaxed))
    }

    /// Since when nothing has been under way.
    pub fn idle_since(&self) -> Option<Instant> {
        let idle = self.in_flight.load(Ordering::Relaxed) == 0;
        idle.then(|| self.epoch + std::time::Duration::from_millis(self.ended.load(Ordering::Relaxed)))
    }

    /// When the unfinished head began to arrive.
    pub fn waiting_since(&self) -> Option<Instant> {
        match self.began.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(self.epoch + std::time::Duration::from_millis(ms - 1)),
        }
    }
}

/// The stream itself, watched.
#[derive(Debug)]
pub struct Watched<S: AsRawFd> {
    stream: S,
    clock: Arc<HeadClock>,
}

impl<S: AsRawFd> Watched<S> {
    pub fn new(stream: S, clock: Arc<HeadClock>) -> Self {
        clock.socket.store(stream.as_raw_fd(), Ordering::Relaxed);
        Self { stream, clock }
    }
}

impl<S: AsRawFd> Drop for Watched<S> {
    fn drop(&mut self) {
        self.clock.socket.store(NO_SOCKET, Ordering::Relaxed);
        if self.clock.severed.load(Ordering::Relaxed) {
            // A socket that takes no such option has no peer any more.
            let _ = socket::reset_on_close(&self.stream);
        }
    }
}

impl<S: AsyncRead + AsRawFd + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.clock.bytes_came();
        }
        polled
    }
}

impl<S: AsyncWrite + AsRawFd + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// What a client that has read nothing yet finds once its connection has ended with plenty unread.
    async fn end_for_the_client(severed: bool) -> io::Result<usize> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (clock, (accepted, _)) = (HeadClock::new(), listener.accept().await.unwrap());
        let mut stream = Watched::new(accepted, clock.clone());
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), stream.write_all(&[0; 64 << 20]))
            .await;
        if severed {
            clock.sever();
        }
        drop(stream);
        let mut all = Vec::new();
        client.read_to_end(&mut all).await
    }

    #[tokio::test]
    async fn a_severed_stream_is_reset_and_another_ends_in_order() {
        assert_eq!(end_for_the_client(true).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(end_for_the_client(false).await.unwrap() > 0);
    }
}
