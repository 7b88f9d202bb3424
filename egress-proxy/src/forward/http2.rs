//! One h2 connection to an origin. Exchanges send on it and wait for their answers themselves: an answer costs no task of
//! its own and no way through a channel. Only content that cannot leave at once has a task, and the connection.

mod stream;

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{Builder, SendRequest},
};
use http::{HeaderValue, Method, Request, Response, header, request::Parts};
use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
    time::sleep,
};

pub use self::stream::Stream;
use super::http1::MAX_HEAD;
use crate::content::Content;

/// Flow-control windows toward origins, in bytes: what one answer, and all on a connection, may have under way.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// What of a request may be handed on beyond what the origin takes at the moment, in bytes.
const SEND_BUFFER: usize = 1 << 20;
/// Streams at a time before the origin has said how many it allows.
const STREAMS: usize = 100;
/// Content up to this many bytes leaves with its head, where the origin takes it at once.
const SHORT: usize = 16 << 10;
/// How long content may wait for an origin that has answered already.
const PATIENCE: Duration = Duration::from_secs(60);

/// A way to send on a connection; each exchange has its own.
#[derive(Clone)]
pub struct Http2(SendRequest<Bytes>);

/// Why there is no answer.
pub struct Lost {
    pub error: h2::Error,
    /// Nothing was sent of it.
    pub unsent: Option<Request<Content>>,
}

impl Http2 {
    /// # Errors
    /// The connection was lost.
    pub async fn new(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self, h2::Error> {
        let (sender, connection) = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD as u32)
            .max_send_buffer_size(SEND_BUFFER)
            .initial_max_send_streams(STREAMS)
            .enable_push(false)
            .handshake(stream)
            .await?;
        // How it ends is told to whoever waits for an answer or for content.
        tokio::spawn(last_of_all(connection));
        Ok(Self(sender))
    }

    /// Whether a request can be sent now.
    pub fn is_ready(&mut self) -> bool {
        matches!(self.0.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
    }

    /// Whether none can be sent any more.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.0.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Err(_)))
    }

    /// Sends a request and waits for its answer. Content goes out meanwhile and, where the answer is over first, for as
    /// long as the origin takes it; it stops with an answer that is dropped before. It holds `users` like an exchange.
    ///
    /// # Errors
    /// The connection was lost, or the origin refused the stream.
    pub async fn send(&mut self, request: Request<Content>, users: &Arc<()>) -> Result<Response<Incoming>, Lost> {
        if let Err(error) = poll_fn(|cx| self.0.poll_ready(cx)).await {
            return Err(Lost { error, unsent: Some(request) });
        }
        let (mut head, content) = request.into_parts();
        announce(&mut head, &content);
        let is_connect = head.method == Method::CONNECT;
        if let Some(protocol) = head.extensions.remove::<hyper::ext::Protocol>() {
            head.extensions.insert(h2::ext::Protocol::from(protocol.as_str()));
        }
        let ends = !is_connect && content.is_end_stream();
        let lost = |error| Lost { error, unsent: None };
        let (answer, mut sending) = self.0.send_request(Request::from_parts(head, ()), ends).map_err(lost)?;
        let (mut upload, mut kept) = (None, None);
        match content {
            _ if is_connect => kept = Some(sending),
            _ if ends => {}
            Content::Collected(mut collected) if has_room(&mut sending, collected.remaining()) => {
                while let Some(frame) = collected.next_frame() {
                    // The origin may have answered and reset the stream already: whoever waits for the answer hears of it.
                    if put(&mut sending, frame, collected.is_sent()).is_err() {
                        break;
                    }
                }
            }
            content => upload = Some(Upload::begin(content, sending, users.clone())),
        }
        let answer = answer.await.map_err(lost)?;
        Ok(Incoming::of(answer, upload, kept))
    }
}

/// Lets every task that is ready go first, so that what they send leaves in one piece: a connection that is woken by one of
/// them would run next, and make a record and a write of each request.
async fn last_of_all<T>(connection: impl Future<Output = T>) -> T {
    let mut connection = pin!(connection);
    let mut others_first = true;
    poll_fn(|cx| {
        others_first = !others_first;
        if !others_first {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        connection.as_mut().poll(cx)
    })
    .await
}

/// What an unfinished answer is, whatever its origin calls it: a client of h2 is told the same reason, and some take these
/// two for an end.
fn broken_off(error: h2::Error) -> h2::Error {
    match error.reason() {
        Some(Reason::NO_ERROR | Reason::CANCEL) => Reason::INTERNAL_ERROR.into(),
        _ => error,
    }
}

/// Says how long content is, where that is known and means something (RFC 9110 §8.6).
fn announce(head: &mut Parts, content: &Content) {
    let Some(length) = content.size_hint().exact() else { return };
    if length > 0 || !matches!(head.method, Method::GET | Method::HEAD | Method::DELETE | Method::CONNECT) {
        head.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
}

/// Whether short content can leave at once. What waits for an origin's window must wait in its own task, with the memory
/// that was set aside for it.
fn has_room(sending: &mut SendStream<Bytes>, length: usize) -> bool {
    if length > SHORT {
        return false;
    }
    sending.reserve_capacity(length);
    sending.capacity() >= length
}

/// Content on its way to an origin; stops when dropped.
struct Upload {
    task: Option<AbortHandle>,
    sent: Arc<AtomicU64>,
}

impl Upload {
    fn begin(content: Content, sending: SendStream<Bytes>, users: Arc<()>) -> Self {
        let sent = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(upload(content, sending, sent.clone(), users));
        Self { task: Some(task.abort_handle()), sent }
    }

    /// Lets it go on alone, for as long as the origin takes some of it.
    fn go_on(mut self) {
        let Some(task) = self.task.take().filter(|task| !task.is_finished()) else { return };
        let sent = self.sent.clone();
        tokio::spawn(async move {
            let mut before = None;
            while !task.is_finished() {
                let now = Some(sent.load(Ordering::Relaxed));
                if now == before {
                    return task.abort();
                }
                before = now;
                sleep(PATIENCE).await;
            }
        });
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Sends content as fast as the origin takes it, and counts what it took.
async fn upload(mut content: Content, mut sending: SendStream<Bytes>, sent: Arc<AtomicU64>, _users: Arc<()>) {
    loop {
        let next = poll_fn(|cx| match sending.poll_reset(cx) {
            Poll::Ready(_) => Poll::Ready(Some(Err("the origin reset the stream".into()))),
            Poll::Pending => Pin::new(&mut content).poll_frame(cx),
        });
        let (frame, is_last) = match next.await {
            Some(Ok(frame)) => (frame, content.is_end_stream()),
            // Why is told beside the body; whoever waits for the answer is woken by the reset.
            Some(Err(_)) => return sending.send_reset(Reason::CANCEL),
            None => (Frame::data(Bytes::new()), true),
        };
        // Room is asked for once there is something to send: what is set aside for one stream, no other can have.
        if frame.data_ref().is_some_and(|data| !data.is_empty()) {
            sending.reserve_capacity(1);
            while sending.capacity() == 0 {
                let Some(Ok(_)) = poll_fn(|cx| sending.poll_capacity(cx)).await else { return };
            }
        }
        let length = frame.data_ref().map_or(0, Bytes::len);
        if put(&mut sending, frame, is_last).is_err() || is_last {
            return;
        }
        sent.fetch_add(length as u64, Ordering::Relaxed);
    }
}

fn put(sending: &mut SendStream<Bytes>, frame: Frame<Bytes>, is_last: bool) -> Result<(), h2::Error> {
    match frame.into_data() {
        Ok(data) => sending.send_data(data, is_last),
        Err(frame) => {
            sending.reserve_capacity(0);
            sending.send_trailers(frame.into_trailers().unwrap_or_default())
        }
    }
}

/// The content of an answer on a stream.
pub struct Incoming {
    receiving: RecvStream,
    /// What is left of the length that was announced.
    left: Option<u64>,
    data_done: bool,
    /// The request's content, where that is still going out.
    upload: Option<Upload>,
    /// Of a CONNECT: the way to the origin.
    sending: Option<SendStream<Bytes>>,
}

impl Incoming {
    fn of(answer: Response<RecvStream>, upload: Option<Upload>, sending: Option<SendStream<Bytes>>) -> Response<Self> {
        let length = answer.headers().get(header::CONTENT_LENGTH);
        let left = length.and_then(|length| length.to_str().ok()?.parse().ok());
        answer.map(|receiving| {
            let left = left.or(receiving.is_end_stream().then_some(0));
            let mut incoming = Self { receiving, left, data_done: false, upload, sending };
            incoming.look_for_end();
            incoming
        })
    }

    /// Both ways of a stream that CONNECT opened.
    pub fn into_stream(self) -> Option<Stream> {
        Some(Stream::new(self.receiving, self.sending?))
    }

    /// Content that the origin answered without reading may go on.
    fn look_for_end(&mut self) {
        if (self.receiving.is_end_stream() || self.left == Some(0))
            && let Some(upload) = self.upload.take()
        {
            upload.go_on();
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !self.data_done {
            match ready!(self.receiving.poll_data(cx)) {
                Some(Ok(data)) => {
                    // As much as came can be released.
                    let _released = self.receiving.flow_control().release_capacity(data.len());
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    self.look_for_end();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(broken_off(error)))),
                None => self.data_done = true,
            }
        }
        let trailers = ready!(self.receiving.poll_trailers(cx));
        self.look_for_end();
        Poll::Ready(trailers.map_err(broken_off).transpose().map(|trailers| trailers.map(Frame::trailers)))
    }

    fn is_end_stream(&self) -> bool {
        self.receiving.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
