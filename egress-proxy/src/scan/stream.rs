//! A body adapter: a content goes through the scan on its way to the next hop.
//!
//! Frames leave as soon as they are judged. After a finding nothing leaves any more and the body ends with an error
//! that holds the [`Finding`], so that the exchange ends on both sides; where findings are only recorded, everything
//! passes and the finding is reported once.

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
    /// This is called, once, and everything passes; but for a value of the proxy's own, which stops the content.
    Record(Box<dyn FnOnce(Finding) + Send + Sync>),
}

/// A body whose content and trailers are scanned as they pass.
pub struct Scanned<B> {
    body: B,
    /// `None` once a finding was recorded: the rest passes.
    scan: Option<(ContentScan, OnFinding)>,
    ready: VecDeque<Frame<Bytes>>,
    ended: bool,
}

impl<B> Scanned<B>
where
    B: Body<Data = Bytes>,
{
    pub fn new(body: B, scan: ContentScan, on_finding: OnFinding) -> Scanned<B> {
        Scanned { body, scan: Some((scan, on_finding)), ready: VecDeque::new(), ended: false }
    }

    /// Takes a frame, or the end; what may leave is queued.
    fn take(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), Finding> {
        self.ended |= frame.is_none();
        let Some((mut scan, on_finding)) = self.scan.take() else {
            self.ready.extend(frame);
            return Ok(());
        };
        let (data, trailers) = match frame.map(Frame::into_data) {
            Some(Ok(data)) => (Some(data), None),
            Some(Err(frame)) => (None, Some(frame)),
            None => (None, None),
        };
        let verdict = match data {
            Some(data) => scan.push(data),
            None => scan.finish(),
        };
        let verdict = verdict.and_then(|released| match trailers.as_ref().and_then(Frame::trailers_ref) {
            Some(fields) => scan.trailers(fields).map(|()| released),
            None => Ok(released),
        });
        match (verdict, on_finding) {
            (Ok(released), on_finding) => {
                self.ready.extend(released.map(Frame::data));
                self.scan = Some((scan, on_finding));
            }
            (Err(finding), OnFinding::Record(report)) if !finding.is_guarded_value() => {
                report(finding);
                self.ready.extend(scan.give_up().map(Frame::data));
            }
            (Err(finding), _) => return Err(finding),
        }
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
        let held = ready as u64 + self.scan.as_ref().map_or(0, |(scan, _)| scan.held());
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + held);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}
