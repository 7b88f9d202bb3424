//! Answers on their way to the client: streamed as they come, counted, masked; the end of the content ends the record
//! and gives the connection back.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use shared::record::Outcome;

use crate::{
    answers::AnswerScan,
    content::Collected,
    error::BodyError,
    forward::OriginContent,
    inspect::event_relay::EventRelay,
    live::{Revocation, Revoked},
    mask::{EchoError, Mask},
    record::Recording,
};

/// What a client is answered with.
pub enum ClientBody {
    Originated { bytes: Option<Bytes>, recording: Option<Arc<Recording>> },
    Relayed(Box<Relay>),
}

impl ClientBody {
    pub fn full(bytes: Bytes) -> Self {
        Self::Originated { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), recording: None }
    }

    /// Keeps the record open until the connection is done with the answer.
    pub fn recorded(self, recording: Arc<Recording>) -> Self {
        match self {
            Self::Originated { bytes, .. } => Self::Originated { bytes, recording: Some(recording) },
            relayed @ Self::Relayed(_) => relayed,
        }
    }
}

/// Where the content of an answer comes from.
pub enum AnswerBody {
    /// The origin.
    Streamed(OriginContent),
    /// Memory, judged whole.
    Collected(Collected),
    /// The origin, event by event through the inspector.
    Events(EventRelay),
}

/// The content of an origin's answer.
pub struct Relay {
    body: AnswerBody,
    recording: Arc<Recording>,
    mask: Option<Mask>,
    scan: Option<AnswerScan>,
    revocation: Revocation,
    /// The content has ended; what the mask held back and trailers may still have to go.
    ended: bool,
    trailers: Option<http::HeaderMap>,
}

impl Relay {
    /// Begins to relay; an answer without content is complete at once.
    pub fn begin(
        body: AnswerBody,
        recording: Arc<Recording>,
        mask: Option<Mask>,
        scan: Option<AnswerScan>,
        revocation: Revocation,
    ) -> ClientBody {
        let mut relay = Box::new(Self { body, recording, mask, scan, revocation, ended: false, trailers: None });
        if relay.body.is_end_stream() {
            relay.finish();
        }
        ClientBody::Relayed(relay)
    }

    fn finish(&mut self) {
        self.ended = true;
        if let Some(scan) = &mut self.scan {
            self.mask.iter().for_each(|mask| scan.push(mask.rest()));
            scan.finish();
        }
        self.complete();
    }

    /// Everything that was announced has come.
    fn complete(&self) {
        self.recording.note(|draft| {
            // What stopped the request's content stands, even where the origin did not wait for it.
            if draft.outcome == Outcome::Aborted {
                (draft.outcome, draft.by, draft.error, draft.reason) = (Outcome::Completed, None, None, None);
            }
        });
    }

    fn fail(&mut self, outcome: Outcome, token: &'static str, error: BodyError) -> BodyError {
        self.ended = true;
        // Whatever comes over an HTTP/1.1 connection of the origin's now, nobody will read it.
        self.body = AnswerBody::Collected(Collected::default());
        self.recording.note(|draft| {
            if draft.outcome != Outcome::Aborted || draft.error.is_some() {
                return;
            }
            draft.outcome = outcome;
            draft.by = Some("egress-proxy");
            draft.error = Some(token);
            draft.reason = Some(crate::respond::chain(error.as_ref()));
        });
        error
    }

    fn data(&mut self, chunk: Bytes) -> Result<Option<Bytes>, EchoError> {
        let chunk = match &mut self.mask {
            None => chunk,
            Some(mask) => {
                let (chunk, masked) = mask.push(chunk)?;
                self.recording.count_masked(masked);
                chunk
            }
        };
        if let Some(scan) = &mut self.scan {
            scan.push(&chunk);
        }
        self.recording.response_content(&chunk);
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    /// What is left to send once the content has ended.
    fn rest(&mut self) -> Option<Frame<Bytes>> {
        let held = self.mask.as_mut().map(Mask::finish).filter(|(held, _)| !held.is_empty());
        if let Some((held, masked)) = held {
            self.recording.count_masked(masked);
            self.recording.response_content(&held);
            return Some(Frame::data(held));
        }
        self.trailers.take().map(Frame::trailers)
    }
}

impl AnswerBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Streamed(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Collected(content) => Poll::Ready(content.next_frame().map(Ok)),
            Self::Events(events) => events.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Streamed(body) => body.is_end_stream(),
            Self::Collected(content) => content.is_sent(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Streamed(body) => body.size_hint(),
            Self::Collected(content) => content.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let relay = match self.get_mut() {
            Self::Originated { bytes, .. } => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relayed(relay) => relay,
        };
        loop {
            if relay.ended {
                return Poll::Ready(relay.rest().map(Ok));
            }
            let frame = if relay.revocation.is_revoked() { Poll::Pending } else { relay.body.poll_frame(cx) };
            // Only who waits needs to be woken by a reload.
            if frame.is_pending() && relay.revocation.poll_revoked(cx) {
                let error = relay.fail(Outcome::Denied, "revoked", Revoked.into());
                return Poll::Ready(Some(Err(error)));
            }
            match ready!(frame) {
                None => relay.finish(),
                Some(Err(error)) => {
                    let error = relay.fail(Outcome::Failed, "connection_terminated", error);
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => {
                        let chunk = match relay.data(chunk) {
                            Ok(chunk) => chunk,
                            Err(error) => {
                                let error = relay.fail(Outcome::Failed, "credential_echoed", error.into());
                                return Poll::Ready(Some(Err(error)));
                            }
                        };
                        // The HTTP library does not ask again once it has all that was announced.
                        if relay.body.is_end_stream() {
                            relay.finish();
                        } else if relay.body.size_hint().exact() == Some(0) {
                            // An h2 origin may end its stream later, when the client has left already.
                            relay.complete();
                        }
                        if let Some(chunk) = chunk {
                            return Poll::Ready(Some(Ok(Frame::data(chunk))));
                        }
                    }
                    Err(frame) => {
                        if let Ok(mut trailers) = frame.into_trailers() {
                            let masked = relay.mask.as_ref().map_or(0, |mask| mask.fields(&mut trailers));
                            relay.recording.count_masked(masked);
                            relay.scan.iter().for_each(|scan| scan.trailers(&trailers));
                            relay.trailers = Some(trailers);
                        }
                        relay.finish();
                    }
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Originated { bytes, .. } => bytes.is_none(),
            Self::Relayed(relay) => {
                relay.ended && relay.trailers.is_none() && relay.mask.as_ref().is_none_or(|mask| mask.held() == 0)
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Originated { bytes, .. } => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Relayed(relay) => {
                let held = relay.mask.as_ref().map_or(0, Mask::held) as u64;
                match relay.body.size_hint().exact() {
                    Some(exact) if relay.trailers.is_none() => SizeHint::with_exact(exact + held),
                    _ => SizeHint::default(),
                }
            }
        }
    }
}
