//! The content of an origin's answer, with the connection it comes over: reading drives the connection, and the end of
//! the content gives it back. Dropped before, it closes an HTTP/1.1 connection, whose framing nobody knows then.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{ForwardError, http1::Direct, http2, pool::Lease};

/// What an origin answers with, as it comes in.
pub struct OriginContent {
    incoming: Incoming,
    lease: Option<Lease>,
}

/// By the version that the origin speaks.
pub enum Incoming {
    /// Read by the connection itself.
    Direct,
    Http1(hyper::body::Incoming),
    Http2(http2::Incoming),
}

impl OriginContent {
    pub(super) fn new(incoming: Incoming, lease: Lease) -> Self {
        let mut content = Self { incoming, lease: Some(lease) };
        content.give_back_at_end();
        content
    }

    /// The HTTP library does not ask again once it has all that was announced, so each frame may be the last.
    fn give_back_at_end(&mut self) {
        if self.is_end_stream() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }

    /// An HTTP/1.1 connection reads on only once its content was asked for, so it is asked twice.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        let incoming = match &mut self.incoming {
            Incoming::Direct => {
                let direct = self.lease.as_mut().and_then(Lease::direct_mut);
                return direct.map_or(Poll::Ready(None), |direct| direct.poll_frame(cx)).map_err(ForwardError::Answer);
            }
            Incoming::Http1(incoming) => incoming,
            Incoming::Http2(incoming) => return Pin::new(incoming).poll_frame(cx).map_err(ForwardError::Stream),
        };
        let asked = Pin::new(&mut *incoming).poll_frame(cx).map_err(ForwardError::Exchange);
        let (Poll::Pending, Some(lease)) = (&asked, &mut self.lease) else { return asked };
        lease.drive(cx);
        Pin::new(incoming).poll_frame(cx).map_err(ForwardError::Exchange)
    }

    /// The connection, where it reads by itself and has not ended.
    fn direct(&self) -> Option<&Direct> {
        self.lease.as_ref().and_then(Lease::direct)
    }

    /// Both ways of a stream that CONNECT opened, where this is one.
    pub fn into_stream(self) -> Option<http2::Stream> {
        match self.incoming {
            Incoming::Direct | Incoming::Http1(_) => None,
            Incoming::Http2(incoming) => incoming.into_stream(),
        }
    }
}

impl Body for OriginContent {
    type Data = Bytes;
    type Error = ForwardError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ForwardError>>> {
        let frame = ready!(self.poll_incoming(cx));
        match &frame {
            None => self.give_back(),
            Some(Ok(frame)) if frame.is_trailers() => self.give_back(),
            Some(Ok(_)) => self.give_back_at_end(),
            Some(Err(_)) => self.lease = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.incoming {
            Incoming::Direct => self.direct().is_none_or(Direct::is_end_stream),
            Incoming::Http1(incoming) => incoming.is_end_stream(),
            Incoming::Http2(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.incoming {
            Incoming::Direct => self.direct().map_or(SizeHint::with_exact(0), Direct::size_hint),
            Incoming::Http1(incoming) => incoming.size_hint(),
            Incoming::Http2(incoming) => incoming.size_hint(),
        }
    }
}
