//! A stream that remembers what was read from it, so that tests can assert on bytes and search them.

use std::io::Result;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use crate::h1::find;
use crate::within;

/// Enough for every head and every content that a test searches; a download's bulk is not kept.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Bytes that were read so far; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<watch::Sender<Vec<u8>>>);

impl Log {
    pub fn bytes(&self) -> Vec<u8> {
        self.0.borrow().clone()
    }

    pub fn contains(&self, needle: &str) -> bool {
        find(&self.0.borrow(), needle.as_bytes()).is_some()
    }

    pub fn append(&self, bytes: &[u8]) {
        self.0.send_modify(|kept| {
            let room = KEPT_BYTES.saturating_sub(kept.len());
            kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        });
    }

    /// Waits for more than there is now.
    pub async fn grows(&self) {
        let mut bytes = self.0.subscribe();
        let before = bytes.borrow().len();
        let grown = bytes.wait_for(|bytes| bytes.len() > before);
        within("more on the wire", grown).await.expect("the log outlives its reader");
    }

    /// Waits until these bytes have been read.
    pub async fn saw(&self, needle: &str) {
        let mut bytes = self.0.subscribe();
        let found = bytes.wait_for(|bytes| find(bytes, needle.as_bytes()).is_some());
        within(&format!("`{needle}` on the wire"), found).await.expect("the log outlives its reader");
    }
}

/// A stream and the log of what was read from it.
#[derive(Debug)]
pub struct Tap<S> {
    stream: S,
    log: Log,
}

impl<S> Tap<S> {
    pub fn new(stream: S, log: Log) -> Self {
        Self { stream, log }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.log.append(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
