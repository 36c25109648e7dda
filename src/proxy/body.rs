//! Bodies in both directions: metered, without trailers, and tied to what they hold open.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::audit::Ending;

use super::admit::Admitted;
use super::entry::Entry;
use super::upstream::Lease;

/// Why a response body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the upstream broke off: {0}")]
    Upstream(#[from] hyper::Error),
    #[error("the right to this ended")]
    Cut,
}

/// Why a request body broke off.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("the device broke off: {0}")]
    Device(#[from] hyper::Error),
    #[error("the service answered without it")]
    Unwanted,
}

/// What a device is sent.
#[derive(Debug)]
pub enum Payload {
    /// The gateway's own words.
    Own(Full<Bytes>),
    /// A service's, as they come.
    Upstream(Box<UpstreamBody>),
}

impl Payload {
    pub fn empty() -> Self {
        Self::Own(Full::default())
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Upstream(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Upstream(body) => body.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Upstream(body) => body.incoming.size_hint(),
        }
    }
}

/// A service's answer on its way to the device.
#[derive(Debug)]
pub struct UpstreamBody {
    incoming: Incoming,
    /// The upstream connection, until it is known to be good for another request.
    lease: Option<Lease>,
    upload: Rc<Upload>,
    admitted: Admitted,
    entry: Entry,
    complete: bool,
}

impl UpstreamBody {
    pub fn new(
        incoming: Incoming,
        lease: Option<Lease>,
        upload: Rc<Upload>,
        admitted: Admitted,
        entry: Entry,
    ) -> Self {
        let mut body = Self { incoming, lease, upload, admitted, entry, complete: false };
        if body.incoming.is_end_stream() {
            body.completed();
        }
        body
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.may_go_on() {
            self.entry.ended(Ending::Cut);
            self.lease = None;
            return Poll::Ready(Some(Err(BodyError::Cut)));
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
                self.entry.connection().falls_silent(self.entry.request_id(), cx.waker(), None);
                return Poll::Pending;
            };
            match frame {
                Some(Ok(frame)) => {
                    // Trailers end here: what they may say about who somebody is was never judged.
                    let Ok(data) = frame.into_data() else { continue };
                    self.entry.sent(data.len() as u64);
                    if self.incoming.is_end_stream() {
                        self.completed();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => {
                    // An upload that breaks off takes its upstream connection along.
                    let whose = if self.upload.is_broken() { self.ending() } else { Ending::UpstreamBroke };
                    self.entry.ended(whose);
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {
                    self.completed();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn may_go_on(&self) -> bool {
        self.admitted.still_holds(self.entry.connection())
    }

    fn ending(&self) -> Ending {
        self.entry.connection().ending()
    }

    fn completed(&mut self) {
        self.complete = true;
        self.upload.answer_ended();
        if let Some(lease) = self.lease.take()
            && self.upload.is_done()
        {
            lease.give_back();
        }
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if !self.complete {
            let how = self.ending();
            self.entry.ended(how);
            self.upload.answer_ended();
        }
    }
}

/// How far a request's body is.
#[derive(Debug, Default)]
pub struct Upload {
    done: Cell<bool>,
    broke: Cell<bool>,
    answer: Cell<Answer>,
    /// Of a body that waits for the upstream's word.
    signal: Option<Arc<Signal>>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Answer {
    #[default]
    None,
    Begun,
    Ended,
}

impl Upload {
    /// Whether the upstream was sent all of it.
    pub fn is_done(&self) -> bool {
        self.done.get()
    }

    /// Whether the device left, or stopped making sense, in the middle of it.
    pub fn is_broken(&self) -> bool {
        self.broke.get()
    }

    /// The final answer is here: a body that still waits for a `100 Continue` is not wanted any more.
    pub fn answer_began(&self) {
        self.answer.set(Answer::Begun);
    }

    fn answer_ended(&self) {
        self.answer.set(Answer::Ended);
        if let Some(signal) = &self.signal {
            signal.waker.wake();
        }
    }
}

/// A device's request body on its way to the service.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Option<Incoming>,
    received: Rc<Cell<u64>>,
    upload: Rc<Upload>,
    wait: Option<GoOn>,
}

impl RequestBody {
    pub fn new(incoming: Incoming, received: Rc<Cell<u64>>, wait: Option<GoOn>) -> Self {
        let signal = wait.as_ref().map(|wait| wait.signal.clone());
        let done = Cell::new(incoming.is_end_stream());
        let upload = Rc::new(Upload { done, signal, ..Upload::default() });
        Self { incoming: Some(incoming), received, upload, wait }
    }

    /// No body at all, for a request of the gateway's own making.
    pub fn none() -> Self {
        let upload = Rc::new(Upload { done: Cell::new(true), ..Upload::default() });
        Self { incoming: None, received: Rc::default(), upload, wait: None }
    }

    pub fn upload(&self) -> Rc<Upload> {
        self.upload.clone()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = self.get_mut();
        if let Some(wait) = &mut this.wait {
            match this.upload.answer.get() {
                Answer::None => ready!(wait.poll(cx)),
                // To break off now would cut the answer off, too.
                Answer::Begun => {
                    wait.signal.waker.register(cx.waker());
                    return Poll::Pending;
                }
                Answer::Ended => {
                    this.incoming = None;
                    return Poll::Ready(Some(Err(UploadError::Unwanted)));
                }
            }
            this.wait = None;
        }
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        loop {
            match ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    this.received.set(this.received.get() + data.len() as u64);
                    if incoming.is_end_stream() {
                        this.upload.done.set(true);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => {
                    this.upload.broke.set(true);
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {
                    this.upload.done.set(true);
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Holds an upload back until its upstream says `100 Continue` or a time has passed. The device's own 100 is sent by
/// hyper when its body is first asked for, so this is what makes 100-continue end to end.
#[derive(Debug)]
pub struct GoOn {
    signal: Arc<Signal>,
    limit: Pin<Box<tokio::time::Sleep>>,
}

/// Said from the callback that hyper calls with each 1xx.
#[derive(Debug, Default)]
pub struct Signal {
    said: AtomicBool,
    waker: AtomicWaker,
}

impl Signal {
    pub fn say(&self) {
        self.said.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl GoOn {
    pub fn new(limit: std::time::Duration) -> (Self, Arc<Signal>) {
        let signal = Arc::new(Signal::default());
        (Self { signal: signal.clone(), limit: Box::pin(tokio::time::sleep(limit)) }, signal)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.signal.waker.register(cx.waker());
        if self.signal.said.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.limit.as_mut().poll(cx)
    }
}
