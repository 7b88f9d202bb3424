//! An HTTP/1.1 connection to an origin that the exchange on it writes and reads itself (RFC 9112): no task, no channel, and
//! no buffer while it is idle. A request is in memory as a whole; an answer is streamed.

use std::{
    future::poll_fn,
    io,
    ops::Range,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::{Frame, SizeHint};
use hyper::ext::ReasonPhrase;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    task::unconstrained,
};

use super::MAX_HEAD;
use crate::{
    content::Collected,
    socket::{PIECE, Place},
};

/// The most fields that an origin's head or trailers may have.
const MAX_FIELDS: usize = 100;
/// The longest line that announces a chunk, extensions included.
const MAX_CHUNK_LINE: usize = 4 * 1024;
/// Room for most heads, for longer ones, and for what comes of a content at a time: a TLS record holds no more. Where it is
/// filled at once there is more to come, for which there is room for a [`PIECE`].
const SHORT_HEAD: usize = 1024;
const HEAD_ROOM: usize = 8 * 1024;
const CONTENT_ROOM: usize = 16 * 1024;

/// A transport to an origin.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection; driven by one exchange at a time.
pub struct Direct {
    stream: Box<dyn Stream>,
    /// The request, and how much of it was written.
    outgoing: Vec<u8>,
    written: usize,
    /// What was read of the answer and not given on.
    incoming: BytesMut,
    /// So much of that holds no end of a head.
    seen: usize,
    framing: Framing,
    is_held: bool,
    /// Whether the last read of a content filled its room, and where there is a place for more at a time, that.
    is_bulk: bool,
    place: Option<Arc<Place>>,
    /// Whether it can be used again once the answer has ended.
    is_reusable: bool,
}

/// How the end of a content is known (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Framing {
    /// Bytes that are left.
    Length(u64),
    Chunked(Chunk),
    UntilClose,
    Ended,
}

/// What comes next of a content in chunks (RFC 9112 §7.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Chunk {
    Line,
    Data(u64),
    EndOfData,
    Trailers,
}

impl Direct {
    /// One whose handshake's end, if `is_held`, was written and waits for the first request.
    pub fn new(stream: Box<dyn Stream>, is_held: bool) -> Self {
        Self {
            stream,
            outgoing: Vec::new(),
            written: 0,
            incoming: BytesMut::new(),
            seen: 0,
            framing: Framing::Ended,
            is_held,
            is_bulk: false,
            place: None,
            is_reusable: true,
        }
    }

    /// Leaves the transport of an idle connection to somebody else.
    pub fn take_stream(&mut self) -> Box<dyn Stream> {
        std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()))
    }

    /// Whether the last answer has ended, and another request may follow.
    pub fn is_done(&self) -> bool {
        self.is_reusable && self.framing == Framing::Ended
    }

    /// Whether the end of its handshake waits for the first request: who reads before that parts the two.
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Whether a request can be sent now: an origin that has closed the connection, or says something unasked, is asked
    /// nothing on it.
    pub fn is_ready(&mut self) -> bool {
        if !self.is_done() {
            return false;
        }
        self.is_held = false;
        let mut byte = [0];
        let read = poll_fn(|cx| Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut byte)));
        // No exchange is to be woken by a connection that it has given back; and a task that has used up its turn would be
        // told that there is nothing to read, whatever there is.
        let mut cx = Context::from_waker(Waker::noop());
        pin!(unconstrained(read)).poll(&mut cx).is_pending()
    }

    /// Sends a request and waits for the answer's head; its content is to be read with [`Direct::poll_frame`].
    ///
    /// # Errors
    /// The connection was lost, or the answer is none.
    pub async fn exchange<C>(
        &mut self,
        request: &Request<C>,
        content: &Collected,
    ) -> Result<Response<()>, AnswerError> {
        self.outgoing = written(request, content);
        (self.written, self.seen, self.is_held, self.is_bulk) = (0, 0, false, false);
        let answer = poll_fn(|cx| self.poll_head(cx, request.method())).await;
        self.is_reusable &= answer.is_ok();
        answer
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, method: &Method) -> Poll<Result<Response<()>, AnswerError>> {
        loop {
            self.send(cx);
            if let Some(head) = self.head(method)? {
                return Poll::Ready(Ok(head));
            }
            if self.incoming.len() >= MAX_HEAD {
                return Poll::Ready(Err(AnswerError::TooLong));
            }
            let room = if self.incoming.is_empty() { SHORT_HEAD } else { HEAD_ROOM };
            if ready!(self.poll_read(cx, room))? == 0 {
                return Poll::Ready(Err(AnswerError::Incomplete));
            }
        }
    }

    /// Writes what can be written now. An origin that takes no more may have answered already, so that reading goes on.
    fn send(&mut self, cx: &mut Context<'_>) {
        while self.written < self.outgoing.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.outgoing[self.written..]) {
                Poll::Ready(Ok(length @ 1..)) => self.written += length,
                Poll::Ready(Ok(0) | Err(_)) => return self.give_up_sending(),
                Poll::Pending => return,
            }
        }
        if self.outgoing.is_empty() {
            return;
        }
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Ok(())) => self.outgoing = Vec::new(),
            Poll::Ready(Err(_)) => self.give_up_sending(),
            Poll::Pending => {}
        }
    }

    fn give_up_sending(&mut self) {
        (self.outgoing, self.is_reusable) = (Vec::new(), false);
        self.written = 0;
    }

    /// Reads some of a content.
    fn poll_read_content(&mut self, cx: &mut Context<'_>, left: usize) -> Poll<io::Result<usize>> {
        if self.is_bulk && self.place.is_none() {
            self.place = Place::take().map(Arc::new);
        } else if !self.is_bulk && self.incoming.is_empty() && self.place.take().is_some() {
            self.incoming = BytesMut::new();
        }
        let room = if self.place.is_some() { PIECE } else { CONTENT_ROOM };
        let length = ready!(self.poll_read(cx, left.min(room)))?;
        self.is_bulk = length >= CONTENT_ROOM;
        Poll::Ready(Ok(length))
    }

    /// So much of what was read, which keeps its place until the last byte of it has left.
    fn data(&mut self, length: usize) -> Bytes {
        let bytes = self.incoming.split_to(length).freeze();
        match &self.place {
            Some(place) => Bytes::from_owner(Placed { bytes, _place: place.clone() }),
            None => bytes,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        if self.incoming.capacity() - self.incoming.len() < room.div_ceil(4) {
            self.incoming.reserve(room);
        }
        pin!(self.stream.read_buf(&mut self.incoming)).poll(cx)
    }

    /// The head of the answer, once it is there; others that come before it tell nothing (RFC 9110 §15.2).
    fn head(&mut self, method: &Method) -> Result<Option<Response<()>>, AnswerError> {
        loop {
            self.skip_empty_lines();
            if !self.holds_end_of_head() {
                return Ok(None);
            }
            let Some((length, response, fields)) = parsed(&self.incoming)? else { return Ok(None) };
            let mut response = response;
            let head = self.incoming.split_to(length).freeze();
            self.seen = 0;
            response.headers_mut().reserve(fields.len());
            for (name, place) in fields {
                let value = HeaderValue::from_maybe_shared(head.slice(place)).map_err(|_| AnswerError::Field)?;
                response.headers_mut().append(name, value);
            }
            if response.status().is_informational() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                continue;
            }
            let has = Has::of(response.headers());
            self.framing = framing(&response, has, method)?;
            self.is_reusable &= may_go_on(&response, has);
            if self.framing == Framing::Length(0) {
                self.framing = Framing::Ended;
            }
            self.end_if_ended();
            return Ok(Some(response));
        }
    }

    /// What may stand before a head (RFC 9112 §2.2), so that it is not read again with each that comes.
    fn skip_empty_lines(&mut self) {
        let length = self.incoming.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if length > 0 {
            self.incoming.advance(length);
            self.seen = 0;
        }
    }

    /// Whether an empty line is among what came: a head that comes in many pieces is read once, not with each.
    fn holds_end_of_head(&mut self) -> bool {
        let from = self.seen.saturating_sub(3);
        self.seen = self.incoming.len();
        let ends = |at: usize| matches!(self.incoming[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]);
        memchr::memchr_iter(b'\n', &self.incoming[from..]).any(|at| ends(from + at))
    }

    pub fn is_end_stream(&self) -> bool {
        self.framing == Framing::Ended
    }

    pub fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Length(left) => SizeHint::with_exact(left),
            Framing::Ended => SizeHint::with_exact(0),
            Framing::Chunked(_) | Framing::UntilClose => SizeHint::default(),
        }
    }

    /// What comes next of the answer's content, trailers last.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        self.send(cx);
        let frame = ready!(self.poll_content(cx));
        if frame.is_err() {
            (self.framing, self.is_reusable) = (Framing::Ended, false);
        }
        self.end_if_ended();
        Poll::Ready(frame.transpose())
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, AnswerError>> {
        loop {
            match self.framing {
                Framing::Ended => return Poll::Ready(Ok(None)),
                Framing::Length(left) => {
                    let data = ready!(self.poll_data(cx, left))?;
                    self.framing = match left - data.len() as u64 {
                        0 => Framing::Ended,
                        left => Framing::Length(left),
                    };
                    return Poll::Ready(Ok(Some(Frame::data(data))));
                }
                Framing::Chunked(Chunk::Data(left)) => {
                    let data = ready!(self.poll_data(cx, left))?;
                    self.framing = Framing::Chunked(match left - data.len() as u64 {
                        0 => Chunk::EndOfData,
                        left => Chunk::Data(left),
                    });
                    return Poll::Ready(Ok(Some(Frame::data(data))));
                }
                Framing::Chunked(next) => {
                    if let Some(trailers) = self.between_chunks(next)? {
                        return Poll::Ready(Ok(trailers.map(Frame::trailers)));
                    }
                    if matches!(self.framing, Framing::Chunked(now) if now == next)
                        && ready!(self.poll_read_content(cx, usize::MAX))? == 0
                    {
                        return Poll::Ready(Err(AnswerError::Incomplete));
                    }
                }
                Framing::UntilClose => {
                    if self.incoming.is_empty() && ready!(self.poll_read_content(cx, usize::MAX))? == 0 {
                        (self.framing, self.is_reusable) = (Framing::Ended, false);
                        return Poll::Ready(Ok(None));
                    }
                    return Poll::Ready(Ok(Some(Frame::data(self.data(self.incoming.len())))));
                }
            }
        }
    }

    /// Some of so many bytes that are to come.
    fn poll_data(&mut self, cx: &mut Context<'_>, left: u64) -> Poll<Result<Bytes, AnswerError>> {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        if self.incoming.is_empty() && ready!(self.poll_read_content(cx, left))? == 0 {
            return Poll::Ready(Err(AnswerError::Incomplete));
        }
        let length = left.min(self.incoming.len());
        Poll::Ready(Ok(self.data(length)))
    }

    /// Reads what is between the data of chunks; where that is not there yet, nothing changes. Answers the trailers, if any,
    /// once the content has ended.
    fn between_chunks(&mut self, next: Chunk) -> Result<Option<Option<HeaderMap>>, AnswerError> {
        match next {
            Chunk::Line => {
                match self.incoming.first() {
                    None => return Ok(None),
                    // The library takes a line without a digit for the last chunk.
                    Some(digit) if !digit.is_ascii_hexdigit() => return Err(AnswerError::Chunk),
                    Some(_) => {}
                }
                match httparse::parse_chunk_size(&self.incoming).map_err(|_| AnswerError::Chunk)? {
                    httparse::Status::Complete((length, size)) => {
                        self.incoming.advance(length);
                        self.framing = Framing::Chunked(if size == 0 { Chunk::Trailers } else { Chunk::Data(size) });
                        self.seen = 0;
                    }
                    httparse::Status::Partial if self.incoming.len() > MAX_CHUNK_LINE => {
                        return Err(AnswerError::Chunk);
                    }
                    httparse::Status::Partial => {}
                }
            }
            Chunk::EndOfData => match self.incoming[..] {
                [b'\r', b'\n', ..] => {
                    self.incoming.advance(2);
                    self.framing = Framing::Chunked(Chunk::Line);
                }
                [] | [b'\r'] => {}
                _ => return Err(AnswerError::Chunk),
            },
            Chunk::Trailers => {
                let is_whole =
                    matches!(self.incoming[..], [b'\n', ..] | [b'\r', b'\n', ..]) || self.holds_end_of_head();
                if !is_whole {
                    return if self.incoming.len() > MAX_HEAD { Err(AnswerError::TooLong) } else { Ok(None) };
                }
                let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
                match httparse::parse_headers(&self.incoming, &mut fields).map_err(AnswerError::Head)? {
                    httparse::Status::Complete((length, _)) if length > MAX_HEAD => return Err(AnswerError::TooLong),
                    httparse::Status::Complete((length, fields)) => {
                        let mut trailers = HeaderMap::with_capacity(fields.len());
                        for field in fields {
                            let value = HeaderValue::from_bytes(field.value).map_err(|_| AnswerError::Field)?;
                            trailers.append(name(field)?, value);
                        }
                        self.incoming.advance(length);
                        self.framing = Framing::Ended;
                        return Ok(Some((!trailers.is_empty()).then_some(trailers)));
                    }
                    httparse::Status::Partial => return Err(AnswerError::Head(httparse::Error::NewLine)),
                }
            }
            Chunk::Data(_) => {}
        }
        Ok(None)
    }

    /// After an answer nothing is kept. What an origin says unasked, or has not been told, belongs to no other exchange.
    fn end_if_ended(&mut self) {
        if self.framing == Framing::Ended {
            self.is_reusable &= self.incoming.is_empty() && self.outgoing.is_empty();
            (self.incoming, self.outgoing, self.place) = (BytesMut::new(), Vec::new(), None);
        }
    }
}

/// What was read of bulk.
struct Placed {
    bytes: Bytes,
    _place: Arc<Place>,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn name(field: &httparse::Header<'_>) -> Result<HeaderName, AnswerError> {
    HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| AnswerError::Field)
}

/// A request as it is sent.
fn written<C>(request: &Request<C>, content: &Collected) -> Vec<u8> {
    let fields = request.headers();
    let is_of_framing = |name: &HeaderName| *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING;
    let length = content.remaining();
    // A path that is empty is written as `/`.
    let (path, query) = (request.uri().path(), request.uri().query());
    let [mark, query] = query.map_or(["", ""], |query| ["?", query]);
    let head = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
    let mut bytes = Vec::with_capacity(64 + path.len() + query.len() + head + length);
    for part in [request.method().as_str(), " ", path, mark, query, " HTTP/1.1\r\n"] {
        bytes.extend_from_slice(part.as_bytes());
    }
    // How long the content is, nobody says but us.
    for (name, value) in fields.iter().filter(|(name, _)| !is_of_framing(name)) {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    // Said of no content too where it means something (RFC 9110 §8.6).
    if length > 0 || !matches!(*request.method(), Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS) {
        bytes.extend_from_slice(b"content-length: ");
        bytes.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    content.chunks().iter().for_each(|chunk| bytes.extend_from_slice(chunk));
    bytes
}

/// A head, how long it is, and where in it each field's value stands.
type Parsed = (usize, Response<()>, Vec<(HeaderName, Range<usize>)>);

fn parsed(bytes: &[u8]) -> Result<Option<Parsed>, AnswerError> {
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; MAX_FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let status = config.parse_response_with_uninit_headers(&mut head, bytes, &mut fields).map_err(AnswerError::Head)?;
    let httparse::Status::Complete(length) = status else { return Ok(None) };
    let mut response = Response::new(());
    *response.status_mut() =
        head.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(AnswerError::Head(httparse::Error::Status))?;
    *response.version_mut() = if head.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    if let Some(reason) = head.reason.filter(|reason| Some(*reason) != response.status().canonical_reason())
        && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
    {
        response.extensions_mut().insert(reason);
    }
    let place = |value: &[u8]| match value.is_empty() {
        true => 0..0,
        false => {
            let start = value.as_ptr() as usize - bytes.as_ptr() as usize;
            start..start + value.len()
        }
    };
    let fields = head.headers.iter().map(|field| Ok((name(field)?, place(field.value))));
    Ok(Some((length, response, fields.collect::<Result<_, AnswerError>>()?)))
}

/// Which of the fields that say where an answer ends are there: a look at each name costs less than looking for each of these.
#[derive(Clone, Copy, Default)]
struct Has {
    connection: bool,
    length: bool,
    coding: bool,
}

impl Has {
    fn of(fields: &HeaderMap) -> Self {
        fields.keys().fold(Self::default(), |has, name| Self {
            connection: has.connection || *name == header::CONNECTION,
            length: has.length || *name == header::CONTENT_LENGTH,
            coding: has.coding || *name == header::TRANSFER_ENCODING,
        })
    }
}

/// RFC 9112 §6.3.
fn framing(response: &Response<()>, has: Has, method: &Method) -> Result<Framing, AnswerError> {
    let fields = response.headers();
    let has_none = matches!(
        response.status(),
        StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    if has_none || *method == Method::HEAD {
        return Ok(Framing::Ended);
    }
    if has.coding
        && let Some(coding) = fields.get_all(header::TRANSFER_ENCODING).iter().next_back()
    {
        if response.version() == Version::HTTP_10 {
            return Err(AnswerError::Framing);
        }
        let last = coding.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        let is_chunked = last.eq_ignore_ascii_case(b"chunked");
        return Ok(if is_chunked { Framing::Chunked(Chunk::Line) } else { Framing::UntilClose });
    }
    let mut length = None;
    for value in fields.get_all(header::CONTENT_LENGTH) {
        // The same length more than once is allowed, as a list too.
        for value in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let number = std::str::from_utf8(value).ok().filter(|_| is_number).and_then(|value| value.parse().ok());
            match (number, length) {
                (Some(number), None) => length = Some(number),
                (Some(number), Some(length)) if number == length => {}
                _ => return Err(AnswerError::Framing),
            }
        }
    }
    Ok(length.map_or(Framing::UntilClose, Framing::Length))
}

/// Whether the connection outlasts an answer (RFC 9112 §9.3), and where it ends is beyond doubt.
fn may_go_on(response: &Response<()>, has: Has) -> bool {
    let closes = |value: &HeaderValue| {
        value.as_bytes().split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    };
    let closes = has.connection && response.headers().get_all(header::CONNECTION).iter().any(closes);
    let is_ambiguous = has.coding && has.length;
    let is_switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    response.version() == Version::HTTP_11 && !closes && !is_ambiguous && !is_switched
}

/// Why an answer could not be read.
#[derive(Debug, Error)]
pub enum AnswerError {
    #[error("a chunk of the answer's content cannot be read")]
    Chunk,
    #[error("a field of the answer cannot be read")]
    Field,
    #[error("the answer does not say clearly where it ends")]
    Framing,
    #[error("the answer's head or trailers cannot be read")]
    Head(#[source] httparse::Error),
    #[error("the connection was closed before the answer had ended")]
    Incomplete,
    #[error("the connection was lost")]
    Io(#[from] io::Error),
    #[error("the answer's head or trailers are longer than {MAX_HEAD} bytes")]
    TooLong,
}

#[cfg(test)]
mod tests;
