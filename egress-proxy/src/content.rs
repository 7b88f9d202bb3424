//! A request's content on its way out: nothing, kept whole in memory, or streamed. Every byte is counted, and trailers
//! are judged like fields, for what may not travel in a head may not travel behind the content either.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use shared::routes::Route;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use crate::{
    error::{BodyError, ExchangeError},
    grpc, hop_by_hop,
    live::{ContentRevocation, Revoked},
    own_fields::{self, OwnField},
    policy::{Denied, RequestPermit, Table},
    record::Recording,
    respond,
    scan::stream::{ScanError, Scanned},
};

/// How long collecting may take in all.
const COLLECT_TOTAL: Duration = Duration::from_secs(600);

/// The content of a request that is forwarded.
pub enum Content {
    Collected(Collected),
    Scanned(Box<Scanned<Received>>, Stop),
    Messages(Box<grpc::Messages<Received>>, Stop),
    Streamed(Box<Received>),
}

impl Content {
    pub fn empty() -> Self {
        Self::Collected(Collected::default())
    }

    /// The same content once more, where it is in memory.
    pub fn replay(&self) -> Option<Self> {
        match self {
            Self::Collected(collected) => Some(Self::Collected(collected.clone())),
            Self::Scanned(..) | Self::Messages(..) | Self::Streamed(_) => None,
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Collected(collected) => Poll::Ready(collected.next_frame().map(Ok)),
            Self::Scanned(body, stop) => Pin::new(body.as_mut()).poll_frame(cx).map_err(|error| stop.scanned(error)),
            Self::Messages(body, stop) => Pin::new(body.as_mut()).poll_frame(cx).map_err(|error| stop.scanned(error)),
            Self::Streamed(body) => Pin::new(body.as_mut()).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Collected(collected) => collected.is_sent(),
            Self::Scanned(body, _) => body.is_end_stream(),
            Self::Messages(body, _) => body.is_end_stream(),
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Collected(collected) => collected.size_hint(),
            Self::Scanned(body, _) => body.size_hint(),
            Self::Messages(body, _) => body.size_hint(),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}

/// Content that is whole in memory. Cloning it copies no bytes.
#[derive(Clone, Default)]
pub struct Collected {
    chunks: Vec<Bytes>,
    sent: usize,
    pub trailers: Option<HeaderMap>,
    /// Memory set aside for this content; free again when its last copy is gone.
    _reservation: Option<Arc<OwnedSemaphorePermit>>,
}

impl From<Vec<u8>> for Collected {
    fn from(bytes: Vec<u8>) -> Self {
        Self { chunks: vec![bytes.into()], ..Self::default() }
    }
}

impl Collected {
    /// Reads content to its end.
    ///
    /// # Errors
    /// More than `limit` bytes, a client that is silent for too long or leaves, or trailers that may not be sent.
    pub async fn read(mut body: Received, limit: usize, silence: Duration) -> Result<Self, ExchangeError> {
        let mut collected = Self::default();
        let stop = body.stop();
        let mut length = 0;
        let deadline = Instant::now() + COLLECT_TOTAL;
        loop {
            let next = timeout_at(deadline.min(Instant::now() + silence), body.frame()).await;
            let Some(frame) = next.map_err(|_| ExchangeError::Slow)? else { return Ok(collected) };
            match frame.map_err(|_| stop.take().unwrap_or(ExchangeError::Slow))?.into_data() {
                Ok(chunk) => {
                    length += chunk.len();
                    if length > limit {
                        return Err(ExchangeError::ContentTooLarge { limit });
                    }
                    collected.push(chunk);
                }
                Err(frame) => collected.trailers = frame.into_trailers().ok(),
            }
        }
    }

    pub fn reserved(self, reservation: OwnedSemaphorePermit) -> Self {
        Self { _reservation: Some(Arc::new(reservation)), ..self }
    }

    pub fn with_trailers(self, trailers: Option<HeaderMap>) -> Self {
        Self { trailers, ..self }
    }

    pub fn without_trailers(&self) -> Self {
        Self { trailers: None, ..self.clone() }
    }

    /// Appends a chunk to content that is being read.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.chunks.push(chunk);
        }
    }

    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks[self.sent..]
    }

    pub fn remaining(&self) -> usize {
        self.chunks().iter().map(Bytes::len).sum()
    }

    /// Whether nothing is left to send.
    pub fn is_sent(&self) -> bool {
        self.trailers.is_none() && self.chunks().iter().all(Bytes::is_empty)
    }

    /// With trailers the length stays open, so that HTTP/1.1 frames it in chunks, which can carry them.
    pub fn size_hint(&self) -> SizeHint {
        match self.trailers {
            None => SizeHint::with_exact(self.remaining() as u64),
            Some(_) => SizeHint::default(),
        }
    }

    /// What is to be sent next, trailers last.
    pub fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        if let Some(chunk) = self.chunks.get(self.sent) {
            self.sent += 1;
            return Some(Frame::data(chunk.clone()));
        }
        self.trailers.take().map(Frame::trailers)
    }
}

/// What comes from the client: counted, its trailers judged and stripped; ended where the table changes its mind.
pub struct Received {
    body: Incoming,
    revocation: ContentRevocation,
    recording: Arc<Recording>,
    table: Arc<Table>,
    route: Arc<Route>,
    stop: Stop,
}

impl Received {
    pub fn new(
        body: Incoming,
        revocation: ContentRevocation,
        recording: Arc<Recording>,
        permit: &RequestPermit,
    ) -> Self {
        let (table, route) = (permit.table().clone(), permit.route().clone());
        let stop = Stop { reason: Arc::default(), recording: recording.clone() };
        Self { body, revocation, recording, table, route, stop }
    }

    /// Where to read why this content stopped.
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.revocation.poll_revoked(cx) {
            return Poll::Ready(Some(Err(self.stop.put(Revoked.into()))));
        }
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(self.stop.put(ExchangeError::Content(error))))),
            Some(Ok(frame)) => frame,
        };
        if let Some(data) = frame.data_ref() {
            self.recording.request_content(data);
            return Poll::Ready(Some(Ok(frame)));
        }
        Poll::Ready(match frame.into_trailers() {
            Ok(trailers) => {
                let judged = judged_trailers(trailers, &self.table, &self.route);
                Some(judged.map(Frame::trailers).map_err(|error| self.stop.put(error)))
            }
            Err(_) => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn judged_trailers(mut trailers: HeaderMap, table: &Table, route: &Route) -> Result<HeaderMap, ExchangeError> {
    own_fields::check(&trailers).map_err(|OwnField(name)| ExchangeError::OwnField(name))?;
    table.check_trailers(&trailers)?;
    route.check_trailers(&trailers).map_err(Denied::Table)?;
    table.strip.strip(&mut trailers, &[]);
    hop_by_hop::strip(&mut trailers);
    Ok(trailers)
}

/// Why content stopped on its way out. It is told beside the body, for an HTTP library may swallow a body's own error;
/// and written down at once, for the answer may be on its way to the client already.
#[derive(Clone)]
pub struct Stop {
    reason: Arc<Mutex<Option<ExchangeError>>>,
    recording: Arc<Recording>,
}

impl Stop {
    /// The reason, once.
    pub fn take(&self) -> Option<ExchangeError> {
        self.lock().take()
    }

    /// Keeps the reason; what the library gets says only that there is one.
    fn put(&self, reason: ExchangeError) -> BodyError {
        respond::end(&reason, &self.recording);
        *self.lock() = Some(reason);
        "the content was stopped".into()
    }

    /// Keeps a finding; the end of the body itself is known already.
    fn scanned(&self, error: ScanError<BodyError>) -> BodyError {
        match error {
            ScanError::Body(error) => error,
            ScanError::Found(finding) => self.put(ExchangeError::Scan(finding)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<ExchangeError>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
