//! How long a client connection may be quiet: between two requests, and from a head's first byte to its last. While an
//! exchange is under way there is no limit. Time is counted in looks, which one task takes now and then: an exchange pays
//! two stores for it, a read one load, and neither reads a clock.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The limits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From a head's first byte to its last, and from a connection to its first head.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
}

/// What a connection waits for when no exchange is under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Quiet {
    /// The rest of a head.
    Head,
    /// Another request.
    Idle,
}

/// What one connection is doing.
#[derive(Debug)]
pub struct Pace {
    under_way: AtomicUsize,
    /// How often it was looked whether the client is quiet.
    looks: AtomicU64,
    /// After how many looks that began, and in the lowest bit whether a head has begun.
    quiet_since: AtomicU64,
}

impl Pace {
    pub fn new(quiet: Quiet) -> Arc<Self> {
        let quiet_since = AtomicU64::new(u64::from(quiet == Quiet::Head));
        Arc::new(Self { under_way: AtomicUsize::new(0), looks: AtomicU64::new(0), quiet_since })
    }

    /// An exchange begins; it ends when what is given back is dropped.
    pub fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    /// Ends when the client has been quiet for too long, and tells in which way.
    pub async fn exhausted(&self, patience: Patience) -> Quiet {
        let look = (patience.head.min(patience.idle) / 4).max(SHORTEST_LOOK);
        // What is quiet since the look before has been so for less than the time between the two.
        let looks = |limit: Duration| limit.as_nanos().div_ceil(look.as_nanos()) as u64 + 1;
        let (head, idle) = (looks(patience.head), looks(patience.idle));
        loop {
            tokio::time::sleep(look).await;
            self.looks.fetch_add(1, Ordering::Relaxed);
            if self.under_way.load(Ordering::Relaxed) > 0 {
                continue;
            }
            let since = self.quiet_since.load(Ordering::Relaxed);
            let (quiet, limit) = match since & 1 {
                1 => (Quiet::Head, head),
                _ => (Quiet::Idle, idle),
            };
            if self.now().saturating_sub(since >> 1) >= limit {
                return quiet;
            }
        }
    }

    fn heard(&self) {
        if self.quiet_since.load(Ordering::Relaxed) & 1 == 0 && self.under_way.load(Ordering::Relaxed) == 0 {
            self.quiet_since.store(self.now() << 1 | 1, Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }
}

/// An exchange of a connection.
#[derive(Debug)]
pub struct UnderWay(Arc<Pace>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.quiet_since.store(self.0.now() << 1, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer with which its exchange ends.
pub struct Attended<B> {
    pub body: B,
    pub under_way: UnderWay,
}

impl<B: Body + Unpin> Body for Attended<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that is listened to: the first bytes after an exchange begin a head.
pub struct Heard<S> {
    stream: S,
    pace: Arc<Pace>,
}

impl<S> Heard<S> {
    pub fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self { stream, pace }
    }

    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pace.heard();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// A limit is kept to within two looks; shorter ones than a few of these less exactly.
const SHORTEST_LOOK: Duration = Duration::from_millis(10);
