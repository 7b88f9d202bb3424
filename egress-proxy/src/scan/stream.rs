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

/// A body whose frames are judged as they pass.
pub struct Judged<B, J> {
    body: B,
    judge: J,
    ready: VecDeque<Frame<Bytes>>,
    ended: bool,
}

/// Judges the frames of a body one after the other.
pub trait Judge {
    /// Takes a frame, or the end; queues what may leave.
    fn take(&mut self, frame: Option<Frame<Bytes>>, ready: &mut VecDeque<Frame<Bytes>>) -> Result<(), Finding>;

    /// Bytes that were taken and wait.
    fn held(&self) -> u64;
}

impl<B, J> Judged<B, J> {
    pub fn by(judge: J, body: B) -> Self {
        Self { body, judge, ready: VecDeque::new(), ended: false }
    }
}

impl<B, J> Body for Judged<B, J>
where
    B: Body<Data = Bytes> + Unpin,
    J: Judge + Unpin,
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
            this.ended = frame.is_none();
            if let Err(finding) = this.judge.take(frame, &mut this.ready) {
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
        let held = ready as u64 + self.judge.held();
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + held);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}

/// A body whose content and trailers are scanned as they pass.
pub type Scanned<B> = Judged<B, Whole>;

/// Judges everything as one content.
pub struct Whole {
    scan: ContentScan,
    on_finding: OnFinding,
}

impl<B> Scanned<B> {
    pub fn new(body: B, scan: ContentScan, on_finding: OnFinding) -> Scanned<B> {
        Judged::by(Whole { scan: on_finding.prepared(scan), on_finding }, body)
    }
}

impl OnFinding {
    /// A scan that stops a content, or lets it pass.
    pub fn prepared(&self, scan: ContentScan) -> ContentScan {
        match self {
            OnFinding::Stop => scan,
            OnFinding::Record(_) => scan.overlooking(),
        }
    }
}

impl Judge for Whole {
    fn take(&mut self, frame: Option<Frame<Bytes>>, ready: &mut VecDeque<Frame<Bytes>>) -> Result<(), Finding> {
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
        ready.extend(verdict?.map(Frame::data));
        ready.extend(trailers);
        Ok(())
    }

    fn held(&self) -> u64 {
        self.scan.held()
    }
}
