//! One request on a connection to a service, and its answer. Both directions are driven by whoever asks for the answer, on
//! the request's own task.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{StatusCode, response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Lease;
use super::answer::{self, AnswerError, Asked, Decoder};
use super::outgoing::{Outgoing, SendError};
use super::slots::Slot;

/// What is asked of the socket at first; twice as much each time that an answer fills it, and half after [`SMALL_READS`].
const FIRST_READ: usize = 8 << 10;
const LARGEST_READ: usize = 256 << 10;
/// After so many reads in a row that half the room would have held.
const SMALL_READS: u8 = 2;
/// The most interim answers (1xx) before an answer. Services send one or two.
const MOST_INTERIM: u8 = 16;

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody can tell whether it was heard.
    #[error("it closed the connection without an answer")]
    Unheard,
    #[error("it broke off in the middle of its answer")]
    Cut,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// Not the service's doing.
    #[error(transparent)]
    Upload(SendError),
}

/// A stream to a service.
#[derive(Debug)]
pub enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection to a service, between or within calls.
#[derive(Debug)]
pub struct Link {
    io: Io,
    /// Received and not taken yet.
    input: BytesMut,
    next_read: usize,
    small_reads: u8,
    /// `input` was made for larger reads than there are now.
    is_roomy: bool,
}

impl Link {
    pub fn new(io: Io) -> Self {
        Self { io, input: BytesMut::new(), next_read: FIRST_READ, small_reads: 0, is_roomy: false }
    }

    /// Whether the service has neither closed it nor said anything unasked. Costs no system call while nothing came.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let mut cx = Context::from_waker(Waker::noop());
        self.input.is_empty()
            && Pin::new(&mut self.io).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Receives more. Zero is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, at_most: u64) -> Poll<io::Result<usize>> {
        let room = usize::try_from(at_most).unwrap_or(usize::MAX).clamp(FIRST_READ, self.next_read);
        if self.is_roomy && self.input.is_empty() {
            self.input = BytesMut::new();
            self.is_roomy = false;
        }
        self.input.reserve(room);
        let count = ready!(pin!(self.io.read_buf(&mut self.input)).poll(cx))?;
        self.has_read(count);
        Poll::Ready(Ok(count))
    }

    /// Makes the next read as large as those before it have shown to be of use, so that an answer that now trickles does not
    /// hold what its first rush needed.
    fn has_read(&mut self, count: usize) {
        if count >= self.next_read {
            self.next_read = (self.next_read * 2).min(LARGEST_READ);
        }
        let is_small = count < self.next_read / 2 && self.next_read > FIRST_READ;
        self.small_reads = if is_small { self.small_reads + 1 } else { 0 };
        if self.small_reads == SMALL_READS {
            self.next_read = (self.next_read / 2).max(FIRST_READ);
            (self.small_reads, self.is_roomy) = (0, true);
        }
    }

    /// An idle connection holds no more memory than a small answer needs.
    pub fn rest(&mut self) {
        if self.next_read > FIRST_READ || self.is_roomy {
            self.input = BytesMut::new();
            (self.next_read, self.is_roomy) = (FIRST_READ, false);
        }
        self.small_reads = 0;
    }
}

/// A request and its answer.
#[derive(Debug)]
pub struct Call {
    lease: Lease,
    outgoing: Outgoing,
    answer: Decoder,
    keep_alive: bool,
    /// How many interim answers came.
    interim: u8,
    /// The device broke off, or the service stopped listening; what it answers is still worth reading.
    unsent: Option<SendError>,
}

impl Call {
    pub fn new(lease: Lease, outgoing: Outgoing) -> Self {
        Self { lease, outgoing, answer: Decoder::Ended, keep_alive: false, interim: 0, unsent: None }
    }

    /// The request, once its call has failed.
    pub fn into_request(self) -> Outgoing {
        self.outgoing
    }

    /// The connection, with what came after the head of the answer, and its slot, to be kept as long as it lives.
    pub fn into_tunnel(self) -> (Io, Bytes, Slot) {
        let Lease { link, slot, .. } = self.lease;
        (link.io, link.input.freeze(), slot)
    }

    /// Whether the device has not sent all of the request yet.
    pub fn is_uploading(&self) -> bool {
        self.outgoing.is_uploading()
    }

    /// How far an upload is that has not ended.
    pub fn upload(&self) -> Option<u64> {
        self.is_uploading().then(|| self.progress())
    }

    /// The bytes of the request that the service took so far.
    pub fn progress(&self) -> u64 {
        self.outgoing.progress()
    }

    /// Whether all of the answer was taken.
    pub fn is_ended(&self) -> bool {
        self.answer.is_ended()
    }

    /// The bytes of the answer's body still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        self.answer.remaining()
    }

    /// Gives the connection back, if it is good for another call.
    pub fn finish(self) {
        if self.keep_alive && self.answer.is_ended() && self.lease.link.input.is_empty() {
            self.lease.give_back();
        }
    }

    /// Sends the request and waits for the head of its answer.
    pub fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<response::Parts, CallError>> {
        loop {
            self.poll_send(cx)?;
            let link = &mut self.lease.link;
            if !link.input.is_empty()
                && let Some(head) = answer::head(&mut link.input, self.outgoing.asked)?
            {
                let status = head.parts.status;
                if status == StatusCode::CONTINUE {
                    self.outgoing.go_on();
                }
                if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                    self.interim += 1;
                    if self.interim > MOST_INTERIM {
                        return Poll::Ready(Err(AnswerError::Interim(MOST_INTERIM).into()));
                    }
                    continue;
                }
                self.answer = head.body;
                // Whoever answers before the request has ended may take the rest of it for the next one.
                self.keep_alive =
                    head.keep_alive && self.outgoing.is_settled() && self.outgoing.asked != Asked::Upgrade;
                return Poll::Ready(Ok(head.parts));
            }
            match ready!(link.poll_read(cx, FIRST_READ as u64)) {
                Ok(1..) => {}
                end => return Poll::Ready(Err(self.silence(end.err()))),
            }
        }
    }

    /// What a connection says that ended before its answer began, or in its head.
    fn silence(&self, error: Option<io::Error>) -> CallError {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let is_gone = |error: &io::Error| {
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        };
        match error {
            Some(error) if !is_gone(&error) => error.into(),
            _ if self.lease.link.input.is_empty() && self.interim == 0 => CallError::Unheard,
            _ => CallError::Cut,
        }
    }

    /// Sends more of the request. Only what the device did wrong ends the call: a service that stopped listening may still
    /// say why.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), CallError> {
        if self.unsent.is_some() {
            return Ok(());
        }
        match self.outgoing.poll_write(&mut self.lease.link.io, cx) {
            Poll::Ready(Err(error @ SendError::Service(_))) => self.unsent = Some(error),
            Poll::Ready(Err(error)) => return Err(CallError::Upload(error)),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        Ok(())
    }

    /// The next piece of the answer's body.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CallError>>> {
        // A body that still waits for the service's word is not wanted any more.
        if !self.outgoing.is_waiting() {
            self.poll_send(cx)?;
        }
        loop {
            if self.answer.is_ended() {
                return Poll::Ready(None);
            }
            let link = &mut self.lease.link;
            if !link.input.is_empty()
                && let Some(piece) = self.answer.next(&mut link.input)?
            {
                return Poll::Ready(Some(Ok(piece)));
            }
            if self.answer.is_ended() {
                return Poll::Ready(None);
            }
            let at_most = self.answer.remaining().unwrap_or(u64::MAX);
            match ready!(link.poll_read(cx, at_most)) {
                Ok(1..) => {}
                Ok(0) if self.answer.ends_with_connection() => {
                    self.answer = Decoder::Ended;
                    return Poll::Ready(None);
                }
                Ok(0) => return Poll::Ready(Some(Err(CallError::Cut))),
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, data),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_grow_with_a_rush_and_shrink_with_a_trickle() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut link = Link::new(Io::Plain(stream));
        for (count, next) in [
            (100, FIRST_READ),
            (100, FIRST_READ),
            (FIRST_READ, 2 * FIRST_READ),
            (2 * FIRST_READ, 4 * FIRST_READ),
            (LARGEST_READ, 8 * FIRST_READ),
            (100, 8 * FIRST_READ),
            (7 * FIRST_READ, 8 * FIRST_READ),
            (100, 8 * FIRST_READ),
            (100, 4 * FIRST_READ),
        ] {
            link.has_read(count);
            assert_eq!(link.next_read, next, "after {count}");
        }
        for _ in 0..20 {
            link.has_read(100);
        }
        assert_eq!(link.next_read, FIRST_READ);
        for _ in 0..20 {
            link.has_read(LARGEST_READ);
        }
        assert_eq!(link.next_read, LARGEST_READ);
        link.rest();
        assert_eq!((link.next_read, link.is_roomy), (FIRST_READ, false));
    }
}
