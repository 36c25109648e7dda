//! The body of a response: a page of ours, or a service's answer as it comes, metered and tied to what it holds open.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use crate::audit::Ending;

use super::admit::Admitted;
use super::entry::Entry;
use super::holding::Held;
use super::upstream::{Call, CallError};

/// Why a response body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the answer broke off: {0}")]
    Call(#[from] CallError),
    #[error("the right to this ended")]
    Cut,
}

/// What a device is sent.
#[derive(Debug)]
pub enum Payload {
    /// The gateway's own words.
    Own(Full<Bytes>),
    /// A service's that was read whole, and is held until it is sent.
    Whole { body: Full<Bytes>, _held: Held },
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
            Self::Own(body) | Self::Whole { body, .. } => {
                Pin::new(body).poll_frame(cx).map_err(|never| match never {})
            }
            Self::Upstream(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) | Self::Whole { body, .. } => body.is_end_stream(),
            Self::Upstream(body) => body.is_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) | Self::Whole { body, .. } => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}

/// A service's answer on its way to the device.
#[derive(Debug)]
pub struct UpstreamBody {
    /// None once all of the answer was taken.
    call: Option<Call>,
    broke: Option<CallError>,
    admitted: Admitted,
    entry: Entry,
}

impl UpstreamBody {
    pub fn new(call: Call, admitted: Admitted, entry: Entry) -> Self {
        let mut body = Self { call: Some(call), broke: None, admitted, entry };
        body.finish_if_ended();
        body
    }

    fn is_ended(&self) -> bool {
        self.call.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let remaining = self.call.as_ref().map_or(Some(0), Call::remaining);
        remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(call) = &mut self.call else { return Poll::Ready(None) };
        let connection = self.entry.connection();
        if !self.admitted.still_holds(connection) {
            self.entry.ended(Ending::Cut);
            return Poll::Ready(Some(Err(BodyError::Cut)));
        }
        if let Some(error) = self.broke.take() {
            return Poll::Ready(Some(Err(error.into())));
        }
        let Poll::Ready(piece) = call.poll_data(cx) else {
            connection.falls_silent(self.entry.request_id(), cx.waker(), None, call.upload());
            return Poll::Pending;
        };
        Poll::Ready(match piece {
            Some(Ok(piece)) => {
                self.entry.sent(piece.len() as u64);
                self.finish_if_ended();
                Some(Ok(Frame::data(piece)))
            }
            Some(Err(error)) => {
                let whose = match error {
                    CallError::Upload(_) => connection.ending(),
                    _ => Ending::UpstreamBroke,
                };
                self.entry.ended(whose);
                // hyper drops what it has not written yet when a body breaks: it gets a turn to write it.
                self.broke = Some(error);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => {
                self.finish_if_ended();
                None
            }
        })
    }

    fn finish_if_ended(&mut self) {
        if let Some(call) = self.call.take_if(|call| call.is_ended()) {
            call.finish();
        }
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if !self.is_ended() {
            let how = self.entry.connection().ending();
            self.entry.ended(how);
        }
    }
}
