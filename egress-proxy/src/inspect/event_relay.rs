//! Server-sent events on their way through the inspector, one by one: an event goes on to the client when the inspector
//! has given it back, and comments as empty ones at once. A stream that the inspector ends early is an error for the
//! client, never a clean end.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, sleep_until},
};

use super::{
    InspectError, Inspection,
    answer::{EVENT_PATIENCE, OriginAnswer, masked},
    events::{Event, Item, MAX_EVENT, Parser, TooLarge},
    outer::{Verdict, WayBack},
    reply::{Reply, ReplyBody},
};
use crate::{
    error::{BodyError, ExchangeError},
    forward::OriginContent,
    mask::Mask,
    record::Recording,
    respond,
    scan::coding::Codings,
};

/// The client's end.
pub struct EventRelay(mpsc::Receiver<Result<Frame<Bytes>, BodyError>>);

impl EventRelay {
    /// Begins to relay. Dropped, it ends everything behind it.
    ///
    /// # Errors
    /// The events are coded in a way that cannot be undone, or there is no memory for them.
    pub async fn begin(
        inspection: &Inspection,
        way_back: WayBack,
        fields: &HeaderMap,
        mut origin: OriginAnswer,
    ) -> Result<Self, ExchangeError> {
        let codings = Codings::of_answer(fields).map_err(InspectError::AnswerCoding)?;
        if let Some(mask) = &mut origin.mask {
            // What is masked is the text, which is what the client gets.
            mask.expect(&HeaderMap::new())?;
        }
        let reserved = inspection.reserve(2 * MAX_EVENT).await?;
        let (shown, body) = mpsc::unbounded_channel();
        let content_type = fields.get(header::CONTENT_TYPE).cloned();
        let _gone = way_back.slot.send(Reply { content_type, body: ReplyBody::Events(body) });
        let (client, receiver) = mpsc::channel(1);
        let OriginAnswer { body, mask, recording } = origin;
        let relaying = Relaying {
            origin: body,
            text: Text { codings, mask, parser: Parser::default() },
            shown: Some(shown),
            unjudged: VecDeque::new(),
            size: 0,
            client: client.clone(),
            _reserved: reserved,
        };
        let returned = Returned { verdict: way_back.verdict, head: Head::Awaited, parser: Parser::default() };
        tokio::spawn(async move {
            let relayed = tokio::select! {
                relayed = relaying.run(returned, &recording) => relayed,
                // Nobody reads any more.
                () = client.closed() => Ok(()),
            };
            if let Err(error) = relayed {
                respond::end(&error, &recording);
                drop(recording);
                let _left = client.send(Err("the answer was stopped".into())).await;
            }
        });
        Ok(Self(receiver))
    }

    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx)
    }
}

/// The origin's bytes on their way to be events.
struct Text {
    codings: Codings,
    mask: Option<Mask>,
    parser: Parser,
}

struct Relaying {
    origin: OriginContent,
    text: Text,
    /// Where the inspector reads; gone once the origin is done.
    shown: Option<mpsc::UnboundedSender<Bytes>>,
    /// What the inspector was shown and has not given back.
    unjudged: VecDeque<Event>,
    size: usize,
    client: mpsc::Sender<Result<Frame<Bytes>, BodyError>>,
    _reserved: OwnedSemaphorePermit,
}

impl Relaying {
    async fn run(mut self, mut returned: Returned, recording: &Recording) -> Result<(), ExchangeError> {
        let mut trailers = None;
        let mut deadline = Instant::now();
        loop {
            let waits = !self.unjudged.is_empty() || self.shown.is_none();
            tokio::select! {
                biased;
                events = returned.next() => match events? {
                    Some(events) => {
                        for event in events {
                            self.pass(&event).await?;
                        }
                        deadline = Instant::now() + EVENT_PATIENCE;
                    }
                    None if !self.unjudged.is_empty() => {
                        return Err(InspectError::AnswerBlocked("an event of the stream".to_owned()).into());
                    }
                    None if self.shown.is_some() => return Err(InspectError::AnswerChanged.into()),
                    None => break,
                },
                frame = self.origin.frame(), if self.shown.is_some() && self.size < MAX_EVENT => {
                    if !waits {
                        deadline = Instant::now() + EVENT_PATIENCE;
                    }
                    match frame {
                        None => {
                            self.end(recording).await?;
                            deadline = Instant::now() + EVENT_PATIENCE;
                        }
                        Some(Err(error)) => return Err(error.into()),
                        Some(Ok(frame)) => match frame.into_data() {
                            Ok(chunk) => self.take(chunk, recording).await?,
                            Err(frame) => trailers = frame.into_trailers().ok(),
                        },
                    }
                }
                () = sleep_until(deadline), if waits => return Err(InspectError::Timeout.into()),
            }
        }
        returned.verdict.give_back();
        if let Some(mut trailers) = trailers {
            recording.count_masked(self.text.mask.as_ref().map_or(0, |mask| mask.fields(&mut trailers)));
            let _left = self.client.send(Ok(Frame::trailers(trailers))).await;
        }
        Ok(())
    }

    /// Shows what the origin sent.
    async fn take(&mut self, chunk: Bytes, recording: &Recording) -> Result<(), ExchangeError> {
        if self.text.codings.is_plain() {
            return self.show(chunk, recording).await;
        }
        for piece in chunk.chunks(PIECE) {
            let text = self.text.codings.decode(piece).map_err(InspectError::AnswerCoding)?;
            self.show(text.into(), recording).await?;
        }
        Ok(())
    }

    async fn show(&mut self, text: Bytes, recording: &Recording) -> Result<(), ExchangeError> {
        let text = masked(&mut self.text.mask, recording, text)?;
        for item in self.text.parser.push(&text).map_err(|TooLarge| InspectError::AnswerTooLarge)? {
            self.show_item(item).await;
        }
        Ok(())
    }

    async fn show_item(&mut self, item: Item) {
        match item {
            // A client that has left ends all of this elsewhere.
            Item::Comment => drop(self.client.send(Ok(Frame::data(Bytes::from_static(SIGN_OF_LIFE)))).await),
            Item::Event(event) => {
                let shown = event.shown();
                self.size += shown.len();
                if let Some(inspector) = &self.shown {
                    let _gone = inspector.send(shown);
                }
                self.unjudged.push_back(event);
            }
        }
    }

    /// The origin is done.
    async fn end(&mut self, recording: &Recording) -> Result<(), ExchangeError> {
        let rest = self.text.codings.finish().map_err(InspectError::AnswerCoding)?;
        self.show(rest.into(), recording).await?;
        let (held, masked) = self.text.mask.as_mut().map(Mask::finish).unwrap_or_default();
        recording.count_masked(masked);
        let items = self.text.parser.push(&held).map_err(|TooLarge| InspectError::AnswerTooLarge)?;
        let last = self.text.parser.finish();
        for item in items.into_iter().chain(last) {
            self.show_item(item).await;
        }
        self.shown = None;
        Ok(())
    }

    /// Lets the next event go on, if it is the one that came back.
    async fn pass(&mut self, returned: &Event) -> Result<(), ExchangeError> {
        let event = self.unjudged.pop_front().filter(|event| event.came_back_as(returned));
        let event = event.ok_or(InspectError::AnswerChanged)?;
        self.size = self.size.saturating_sub(event.shown().len());
        let _left = self.client.send(Ok(Frame::data(event.written()))).await;
        Ok(())
    }
}

/// What the inspector gives back.
struct Returned {
    verdict: Verdict,
    head: Head,
    parser: Parser,
}

enum Head {
    Awaited,
    Reading(Incoming),
    Ended,
}

impl Returned {
    /// The next events, or the end. Cancelled, it loses nothing.
    async fn next(&mut self) -> Result<Option<Vec<Event>>, InspectError> {
        loop {
            let body = match &mut self.head {
                Head::Ended => return Ok(None),
                Head::Reading(body) => body,
                Head::Awaited => {
                    let response: Response<Incoming> = self.verdict.head().await?;
                    if response.status() != StatusCode::OK {
                        return Err(Verdict::on_answer(response).await);
                    }
                    self.head = Head::Reading(response.into_body());
                    continue;
                }
            };
            let items = match body.frame().await {
                Some(frame) => {
                    let frame = frame.map_err(InspectError::Exchange)?;
                    let chunk = frame.data_ref().map(Bytes::as_ref).unwrap_or_default();
                    self.parser.push(chunk).map_err(|TooLarge| InspectError::AnswerChanged)?
                }
                None => {
                    self.head = Head::Ended;
                    self.parser.finish().into_iter().collect()
                }
            };
            let events = items.into_iter().filter_map(|item| match item {
                Item::Event(event) => Some(event),
                Item::Comment => None,
            });
            return Ok(Some(events.collect()));
        }
    }
}

/// Coded bytes decoded at a time.
const PIECE: usize = 16 * 1024;
/// A comment that says nothing.
const SIGN_OF_LIFE: &[u8] = b":\n\n";
