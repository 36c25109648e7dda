//! A request on its way to a service: the head in one piece, then its body as it comes from the device.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::Method;
use hyper::body::{Body, Incoming};
use tokio::io::AsyncWrite;

use super::answer::Asked;

/// Pieces up to this size are copied behind what waits to be written, for one system call or TLS record instead of two.
const SMALL: usize = 4 << 10;

/// Why a request did not get out.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("the device broke off: {0}")]
    Device(hyper::Error),
    #[error("the device sent another length than it said")]
    Length,
    #[error("{0}")]
    Service(#[from] io::Error),
}

/// One request: what it needs for its answer to be read, its head, and what is left of its body.
pub struct Outgoing {
    pub asked: Asked,
    /// Whether it may be sent a second time when nobody can tell if the first was heard (RFC 9110, section 9.2.2).
    is_idempotent: bool,
    head: Vec<u8>,
    /// What waits to be written: of `head` first, then of `piece`, then of `end`.
    written: usize,
    piece: Bytes,
    end: &'static [u8],
    upload: Option<Upload>,
    flushed: bool,
    /// Nothing of the body was taken yet, so `head` is still the head, and all that there is.
    is_whole: bool,
    /// The body was to wait for a `100 Continue` that has not come. A service that answers without having said it may take
    /// what follows the head for the body or for the next request (RFC 9110, section 10.1.1).
    unbidden: bool,
    /// All bytes that the service's socket took.
    progress: u64,
}

/// What waits to be written may hold a service's secret, and is not shown.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("asked", &self.asked)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// A body, while it is not all written.
#[derive(Debug)]
struct Upload {
    body: Incoming,
    framing: Framing,
    received: Rc<Cell<u64>>,
    wait: Option<Wait>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
}

/// Holds an upload back until the service says `100 Continue` or a time has passed. The device's own 100 is sent by hyper
/// when its body is first asked for, so this is what makes 100-continue end to end.
type Wait = Pin<Box<tokio::time::Sleep>>;

impl Outgoing {
    /// A request with `head` (all of it but the lines about the body's length, and the empty line that ends it).
    ///
    /// `received` counts the body's bytes; `wait` is how long a `100 Continue` is waited for.
    pub fn new(
        method: &Method,
        mut head: Vec<u8>,
        body: Incoming,
        received: impl FnOnce() -> Rc<Cell<u64>>,
        wait: Option<Duration>,
    ) -> Self {
        let upload = if body.is_end_stream() {
            // A method that usually has a body says that there is none (RFC 9110, section 8.6).
            if !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
                head.extend_from_slice(b"content-length: 0\r\n");
            }
            None
        } else {
            let framing = match body.size_hint().exact() {
                Some(length) => {
                    head.extend_from_slice(b"content-length: ");
                    head.extend_from_slice(length.to_string().as_bytes());
                    head.extend_from_slice(b"\r\n");
                    Framing::Length(length)
                }
                None => {
                    head.extend_from_slice(b"transfer-encoding: chunked\r\n");
                    Framing::Chunked
                }
            };
            let wait = wait.map(|limit| Box::pin(tokio::time::sleep(limit)));
            Some(Upload { body, framing, received: received(), wait })
        };
        let asked = if *method == Method::HEAD { Asked::Head } else { Asked::Other };
        Self::with(asked, method.is_idempotent(), head, upload)
    }

    /// A request with a body that is here whole. It is sent once.
    pub fn message(mut head: Vec<u8>, body: &[u8]) -> Self {
        head.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        let mut outgoing = Self::with(Asked::Other, false, head, None);
        outgoing.head.extend_from_slice(body);
        outgoing
    }

    /// A request for a tunnel. What the device sends is the tunnel's, not a body.
    pub fn upgrade(head: Vec<u8>) -> Self {
        Self::with(Asked::Upgrade, false, head, None)
    }

    fn with(asked: Asked, is_idempotent: bool, mut head: Vec<u8>, upload: Option<Upload>) -> Self {
        head.extend_from_slice(b"\r\n");
        let unbidden = upload.as_ref().is_some_and(|upload| upload.wait.is_some());
        Self {
            asked,
            is_idempotent,
            head,
            written: 0,
            piece: Bytes::new(),
            end: b"",
            upload,
            flushed: false,
            is_whole: true,
            unbidden,
            progress: 0,
        }
    }

    /// Whether all of it was written, body included, and the service cannot but know where it ended.
    pub fn is_settled(&self) -> bool {
        self.is_sent() && !self.unbidden
    }

    fn is_sent(&self) -> bool {
        self.flushed && self.upload.is_none()
    }

    /// The bytes that went out so far, of all attempts; it stands still while the service takes none.
    pub fn progress(&self) -> u64 {
        self.progress
    }

    /// Whether it has a body that the device has not sent all of.
    pub fn is_uploading(&self) -> bool {
        self.upload.is_some()
    }

    /// Whether its body waits for the service's word.
    pub fn is_waiting(&self) -> bool {
        self.upload.as_ref().is_some_and(|upload| upload.wait.is_some())
    }

    /// The service said `100 Continue`.
    pub fn go_on(&mut self) {
        self.unbidden = false;
        if let Some(upload) = &mut self.upload {
            upload.wait = None;
        }
    }

    /// Makes it ready to be written to another connection from its start, if it may be heard twice and all of it is still
    /// here: what was taken of a body is gone.
    pub fn again(&mut self) -> bool {
        let may = self.is_idempotent && self.is_whole;
        if may {
            (self.written, self.flushed) = (0, false);
        }
        may
    }

    /// Whether more of the body may be taken: only while little waits, or a service that does not read would have us hold
    /// all of it.
    fn has_room(&self) -> bool {
        self.piece.is_empty() && self.end.is_empty() && self.head.len() - self.written <= SMALL
    }

    /// Writes what there is to write. Ready once all of the request is out.
    pub fn poll_write<W>(&mut self, io: &mut W, cx: &mut Context<'_>) -> Poll<Result<(), SendError>>
    where
        W: AsyncWrite + Unpin,
    {
        if self.is_sent() {
            return Poll::Ready(Ok(()));
        }
        loop {
            // The body is asked first, so that a piece that is here goes out with the head.
            let body = if self.has_room() { self.poll_body(cx)? } else { Poll::Ready(()) };
            if self.written < self.head.len() || !self.piece.is_empty() || !self.end.is_empty() {
                self.flushed = false;
                let parts = [
                    IoSlice::new(&self.head[self.written..]),
                    IoSlice::new(&self.piece),
                    IoSlice::new(self.end),
                ];
                let first = parts.iter().position(|part| !part.is_empty()).unwrap_or(0);
                let count = ready!(Pin::new(&mut *io).poll_write_vectored(cx, &parts[first..]))?;
                if count == 0 {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
                }
                self.advance(count);
                continue;
            }
            if !self.flushed {
                ready!(Pin::new(&mut *io).poll_flush(cx))?;
                self.flushed = true;
            }
            if self.upload.is_none() {
                return Poll::Ready(Ok(()));
            }
            if body.is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn advance(&mut self, mut count: usize) {
        self.progress += count as u64;
        let head = (self.head.len() - self.written).min(count);
        self.written += head;
        count -= head;
        let piece = self.piece.len().min(count);
        self.piece.advance(piece);
        self.end = &self.end[count - piece..];
    }

    /// Takes the next piece of the body, if it is here. From then on the head is no longer kept.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, SendError> {
        let Some(upload) = &mut self.upload else { return Ok(Poll::Ready(())) };
        if let Some(wait) = &mut upload.wait {
            if wait.as_mut().poll(cx).is_pending() {
                return Ok(Poll::Pending);
            }
            upload.wait = None;
        }
        let (piece, ends) = match Pin::new(&mut upload.body).poll_frame(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Some(Err(error))) => return Err(SendError::Device(error)),
            // Trailers end here: what they may say about who somebody is was never judged.
            Poll::Ready(Some(Ok(frame))) => {
                (frame.into_data().unwrap_or_default(), upload.body.is_end_stream())
            }
            Poll::Ready(None) => (Bytes::new(), true),
        };
        if piece.is_empty() && !ends {
            return Ok(Poll::Ready(()));
        }
        upload.received.set(upload.received.get() + piece.len() as u64);
        self.is_whole = false;
        self.head.drain(..std::mem::take(&mut self.written));
        match &mut upload.framing {
            Framing::Length(left) => {
                *left = left.checked_sub(piece.len() as u64).ok_or(SendError::Length)?;
                if ends && *left > 0 {
                    return Err(SendError::Length);
                }
            }
            Framing::Chunked => {
                if !piece.is_empty() {
                    self.head.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                }
                self.end = match (piece.is_empty(), ends) {
                    (true, _) => b"0\r\n\r\n",
                    (false, true) => b"\r\n0\r\n\r\n",
                    (false, false) => b"\r\n",
                };
            }
        }
        if piece.len() <= SMALL {
            self.head.extend_from_slice(&piece);
            self.head.extend_from_slice(std::mem::take(&mut self.end));
        } else {
            self.piece = piece;
        }
        if ends {
            self.upload = None;
        }
        Ok(Poll::Ready(()))
    }
}
