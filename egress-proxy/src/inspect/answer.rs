//! Mode `exchange`: an origin's answer on its way through the inspector, in the manner of ICAP's RESPMOD. Decoded content
//! and its type are shown; status, other fields and trailers travel beside it. What goes on to the client is what the
//! origin sent and the inspector gave back unchanged, never what the inspector made of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant as Deadline, timeout_at},
};

use super::{
    InspectError, Inspection, MAX_CONTENT,
    event_relay::EventRelay,
    outer::{Verdict, WayBack},
    patience, question,
    reply::{Reply, ReplyBody},
    share,
    waiting::Expected,
};
use crate::{
    budget::UNIT, content::Collected, error::ExchangeError, forward::OriginContent, mask::Mask, record::Recording,
    relay::AnswerBody, scan::coding::Codings,
};

/// What is judged of an answer, and what has to be done with it on the way.
pub struct OriginAnswer {
    pub body: OriginContent,
    pub mask: Option<Mask>,
    pub recording: Arc<Recording>,
}

impl Inspection {
    /// Takes an answer through the inspector. Events come out as they are judged, everything else once it is whole;
    /// `fields` lose what no longer holds for the content.
    ///
    /// # Errors
    /// The inspector's refusal, whatever kept it from a verdict, or a failure of the origin's.
    pub async fn answer(
        &self,
        way_back: WayBack,
        fields: &mut HeaderMap,
        origin: OriginAnswer,
    ) -> Result<AnswerBody, ExchangeError> {
        if is_events(fields) {
            let relay = EventRelay::begin(self, way_back, fields, origin).await?;
            for name in [header::CONTENT_ENCODING, header::CONTENT_LENGTH] {
                fields.remove(name);
            }
            return Ok(AnswerBody::Events(relay));
        }
        let recording = origin.recording.clone();
        let content = self.collect_answer(origin).await?;
        let started = Instant::now();
        let shown = self.show(way_back, fields, &content).await;
        recording.note(|draft| {
            let milliseconds = draft.inspect_ms.unwrap_or_default() + started.elapsed().as_secs_f64() * 1e3;
            draft.inspect_ms = Some((milliseconds * 1e3).round() / 1e3);
        });
        shown?;
        Ok(AnswerBody::Collected(content))
    }

    /// Reads an answer whole, its memory reserved as it grows.
    async fn collect_answer(&self, origin: OriginAnswer) -> Result<Collected, ExchangeError> {
        let OriginAnswer { mut body, mut mask, recording } = origin;
        let announced = body.size_hint().lower();
        if announced > MAX_CONTENT as u64 {
            return Err(InspectError::AnswerTooLarge.into());
        }
        let mut room = Room { inspection: self, reserved: self.reserve((announced as usize).max(FIRST)).await? };
        let mut content = Collected::default();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(ExchangeError::Forward)?;
            match frame.into_data() {
                Ok(chunk) => {
                    length += chunk.len();
                    room.hold(length).await?;
                    content.push(masked(&mut mask, &recording, chunk)?);
                }
                Err(frame) => {
                    content.trailers = frame.into_trailers().ok().map(|mut trailers| {
                        recording.count_masked(mask.as_ref().map_or(0, |mask| mask.fields(&mut trailers)));
                        trailers
                    });
                }
            }
        }
        let (held, masked) = mask.as_mut().map(Mask::finish).unwrap_or_default();
        recording.count_masked(masked);
        content.push(held);
        Ok(content.reserved(room.reserved))
    }

    /// Shows a whole answer.
    pub(super) async fn show(
        &self,
        way_back: WayBack,
        fields: &HeaderMap,
        content: &Collected,
    ) -> Result<(), InspectError> {
        let WayBack { slot, mut verdict } = way_back;
        let unfolding = match question::is_coded(fields) {
            true => Some(share(&self.unfolding, 1).await?),
            false => None,
        };
        let text = Codings::of_answer(fields)
            .and_then(|codings| question::unfolded(codings, content))
            .map_err(InspectError::AnswerCoding)?;
        let _share = share(&self.in_flight, text.remaining().div_ceil(UNIT).max(1)).await?;
        drop(unfolding);
        let deadline = Deadline::now() + patience(text.remaining());
        let mut expected = Expected::of(&text);
        let body = ReplyBody::Whole(text);
        // Where the inspector has left, its side of the connection says why.
        let _gone = slot.send(Reply { content_type: fields.get(header::CONTENT_TYPE).cloned(), body });
        let judging = async {
            let response = verdict.head().await?;
            if response.status() != StatusCode::OK {
                return Err(Verdict::on_answer(response).await);
            }
            let mut returned = response.into_body();
            while let Some(frame) = returned.frame().await {
                let frame = frame.map_err(InspectError::Exchange)?;
                if frame.data_ref().is_some_and(|chunk| !expected.continues_with(chunk)) {
                    return Err(InspectError::AnswerChanged);
                }
            }
            verdict.give_back();
            if expected.is_complete() { Ok(()) } else { Err(InspectError::AnswerChanged) }
        };
        timeout_at(deadline, judging).await.map_err(|_| InspectError::Timeout)?
    }
}

/// The memory of an answer whose length nobody announced: doubled as it fills, and given back where it gets no more.
struct Room<'i> {
    inspection: &'i Inspection,
    reserved: OwnedSemaphorePermit,
}

impl Room<'_> {
    async fn hold(&mut self, length: usize) -> Result<(), InspectError> {
        if length > MAX_CONTENT {
            return Err(InspectError::AnswerTooLarge);
        }
        let reserved = self.reserved.num_permits() * UNIT;
        if length > reserved {
            let more = length.max(2 * reserved).min(MAX_CONTENT) - reserved;
            self.reserved.merge(self.inspection.reserve(more).await?);
        }
        Ok(())
    }
}

/// A chunk with the injected value masked.
pub fn masked(
    mask: &mut Option<Mask>,
    recording: &Recording,
    chunk: bytes::Bytes,
) -> Result<bytes::Bytes, ExchangeError> {
    let Some(mask) = mask else { return Ok(chunk) };
    let (chunk, masked) = mask.push(chunk)?;
    recording.count_masked(masked);
    Ok(chunk)
}

/// As the inspector tells it: by the beginning of the first type.
fn is_events(fields: &HeaderMap) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let content_type = fields.get(header::CONTENT_TYPE).map(|value| value.as_bytes().trim_ascii_start());
    content_type.and_then(|value| value.get(..EVENTS.len())).is_some_and(|begin| begin.eq_ignore_ascii_case(EVENTS))
}

/// What is reserved for an answer before anything is known of it, in bytes.
const FIRST: usize = 64 * 1024;
/// The longest that one event may take.
pub const EVENT_PATIENCE: Duration = Duration::from_secs(30);
