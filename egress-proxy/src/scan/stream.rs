//! A body adapter: a content goes through the scan on its way to the next hop.
//!
//! Frames leave as soon as they are judged. After a finding nothing leaves any more and the body ends with an error
//! that holds the [`Finding`], so that the exchange ends on both sides; where findings are only recorded, the first is
//! reported and everything passes but the proxy's own values.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{ContentScan, Finding};

/// Why a scanned body ended early.
#[derive(Debug, thiserror::Error)]
pub enum ScanError<E> {
    #[error("the scan stopped the content")]
    Found(#[source] Finding),
    #[error(transparent)]
    Body(E),
}

/// What happens to a content in which something was found.
pub enum OnFinding {
    /// The body ends with [`ScanError::Found`].
    Stop,
    /// This is called with the first, and everything passes; but for a value of the proxy's own, which stops the content.
    Record(Box<dyn FnMut(Finding) + Send + Sync>),
}

/// A body whose content and trailers are scanned as they pass.
pub struct Scanned<B> {
    body: B,
    scan: ContentScan,
    on_finding: OnFinding,
    ready: VecDeque<Frame<Bytes>>,
    ended: bool,
}

impl<B> Scanned<B>
where
    B: Body<Data = Bytes>,
{
    pub fn new(body: B, scan: ContentScan, on_finding: OnFinding) -> Scanned<B> {
        let scan = match on_finding {
            OnFinding::Stop => scan,
            OnFinding::Record(_) => scan.overlooking(),
        };
        Scanned { body, scan, on_finding, ready: VecDeque::new(), ended: false }
    }

    /// Takes a frame, or the end; what may leave is queued.
    fn take(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), Finding> {
        self.ended |= frame.is_none();
        let (data, trailers) = match frame.map(Frame::into_data) {
            Some(Ok(data)) => (Some(data), None),
            Some(Err(frame)) => (None, Some(frame)),
            None => (None, None),
        };
        let verdict = match data {
            Some(data) => self.scan.push(data),
            None => self.scan.finish(),
        };
        let verdict = verdict.and_then(|released| match trailers.as_ref().and_then(Frame::trailers_ref) {
            Some(fields) => self.scan.trailers(fields).map(|()| released),
            None => Ok(released),
        });
        if let (Some(finding), OnFinding::Record(report)) = (self.scan.overlooked(), &mut self.on_finding) {
            report(finding);
        }
        self.ready.extend(verdict?.map(Frame::data));
        self.ready.extend(trailers);
        Ok(())
    }
}

impl<B> Body for Scanned<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = ScanError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ScanError<B::Error>>>> {
        let this = &mut *self;
        loop {
            if let Some(frame) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => Some(frame),
                Some(Err(error)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(ScanError::Body(error))));
                }
                None => None,
            };
            if let Err(finding) = this.take(frame) {
                this.ended = true;
                this.ready.clear();
                return Poll::Ready(Some(Err(ScanError::Found(finding))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.ended
    }

    fn size_hint(&self) -> SizeHint {
        let ready: usize = self.ready.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        let held = ready as u64 + self.scan.held();
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + held);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}
