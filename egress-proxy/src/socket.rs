//! What is below TLS, so that bulk passes in large pieces: the TLS library asks its socket for one record at a time. Each
//! read of a socket is answered with an acknowledgement, which may wake the sender, and each write wakes a receiver: that
//! costs more than what it is for.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::coop::poll_proceed,
};

/// How much of bulk passes at a time.
pub const PIECE: usize = 256 * 1024;
/// Reads that give less are none of bulk.
const BULK: usize = 4 * 1024;
/// So many slices leave at once with what was held.
const AT_ONCE: usize = 8;
/// How much TLS may hold until an origin takes it: a piece leaves as one, with what the scan kept back of another.
pub const ORIGIN_UNSENT: usize = PIECE + 16 * 1024;
/// The same for a client: clients that read nothing are as many as an agent likes, and a piece may as well leave in two.
pub const CLIENT_UNSENT: usize = PIECE / 2 + 16 * 1024;
/// So much the HTTP library reads of a client before somebody takes it, and keeps for one until its stream takes it.
pub const UNREAD: usize = PIECE / 2;
/// So many places there are: pieces stay in memory where nobody takes them, as many as a client likes to begin. Who gets
/// none passes bulk a record at a time.
pub const PLACES: usize = 64;

/// How many are taken.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// A place among the few that keep pieces of bulk in memory.
pub struct Place(());

impl Place {
    /// One, unless all are taken.
    pub fn take() -> Option<Self> {
        let one_more = |taken| (taken < PLACES).then_some(taken + 1);
        TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Self(()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket under TLS. Where there is more to read than it is asked for it reads ahead. What leaves is one piece nearly
/// always: written with `send`, which costs the kernel less than a vector of one.
pub struct Socket {
    stream: TcpStream,
    ahead: Option<Ahead>,
    /// Whether the last read has left something in the socket, as far as is known.
    has_more: bool,
    /// What was written and waits for more, and whether what is written does so.
    held: Vec<u8>,
    holds: bool,
}

/// What was read and not asked for yet, for as long as there is more.
struct Ahead {
    bytes: BytesMut,
    _place: Place,
}

impl Ahead {
    fn begin() -> Option<Self> {
        Some(Self { _place: Place::take()?, bytes: BytesMut::with_capacity(PIECE) })
    }
}

impl Socket {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, ahead: None, has_more: false, held: Vec::new(), holds: false }
    }

    /// One that holds what is written until something is read: so the end of a client's handshake leaves with the first
    /// request, and wakes the origin once.
    pub fn holding(stream: TcpStream) -> Self {
        let mut socket = Self::new(stream);
        socket.holds = true;
        socket
    }

    /// Holds no more of what is written from now on, which takes with it what is held.
    pub fn release(&mut self) {
        self.holds = false;
    }

    /// Writes what is held, and of these what goes with it; answers how much of these.
    fn poll_held(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Self { stream, held, .. } = self;
        while !held.is_empty() {
            let mut all = [IoSlice::new(&[]); AT_ONCE];
            let (first, rest) = all.split_at_mut(1);
            first[0] = IoSlice::new(held);
            rest.iter_mut().zip(slices).for_each(|(into, slice)| *into = *slice);
            let written =
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &all[..AT_ONCE.min(1 + slices.len())]))?;
            let of_held = written.min(held.len());
            if of_held == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            held.drain(..of_held);
            if held.is_empty() {
                *held = Vec::new();
                return Poll::Ready(Ok(written - of_held));
            }
        }
        Poll::Ready(Ok(0))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.held.is_empty() {
            ready!(this.poll_held(cx, &[]))?;
        }
        let Self { stream, ahead, has_more, holds, .. } = this;
        // A handshake is none of bulk, however many certificates it has.
        if ahead.is_none() && *has_more && !*holds {
            *ahead = Ahead::begin();
        }
        let Some(Ahead { bytes, .. }) = ahead else {
            let asked = buf.remaining();
            let read = Pin::new(stream).poll_read(cx, buf);
            *has_more = asked >= BULK && buf.remaining() == 0;
            return read;
        };
        if bytes.is_empty() {
            bytes.reserve(PIECE);
            let read = pin!(stream.read_buf(bytes)).poll(cx);
            *has_more = bytes.len() == bytes.capacity();
            if bytes.is_empty() {
                *ahead = None;
                return read.map_ok(|_| ());
            }
        } else {
            // As a read of the socket does, so that no task goes on for as long as a client can write.
            ready!(poll_proceed(cx)).made_progress();
        }
        let length = buf.remaining().min(bytes.len());
        buf.put_slice(&bytes[..length]);
        bytes.advance(length);
        if bytes.is_empty() && !*has_more {
            *ahead = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.holds {
            slices.iter().for_each(|slice| this.held.extend_from_slice(slice));
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        if !this.held.is_empty() {
            let written = ready!(this.poll_held(cx, slices))?;
            if written > 0 {
                return Poll::Ready(Ok(written));
            }
        }
        match slices {
            [one] => Pin::new(&mut this.stream).poll_write(cx, one),
            several => Pin::new(&mut this.stream).poll_write_vectored(cx, several),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.holds && !self.held.is_empty() {
            ready!(self.poll_held(cx, &[]))?;
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx, &[]))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Drop for Socket {
    /// A handshake that fails ends with an alert, which nothing follows.
    fn drop(&mut self) {
        if !self.held.is_empty() {
            // Whether it arrives matters to nobody here.
            let _ = self.stream.try_write(&self.held);
        }
    }
}

#[cfg(test)]
pub mod tests {
    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    const LONG: usize = 3 * PIECE + 5000;

    /// Held by those who count on there being a place, or none.
    pub static ALL_PLACES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    /// Both ends of a connection.
    async fn connection() -> (Socket, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (Socket::new(near.expect("it is listened to")), far.expect("it is connected to").0)
    }

    #[tokio::test]
    async fn what_is_read_ahead_comes_in_order_and_once_and_leaves_no_memory() {
        let _alone = ALL_PLACES.lock().await;
        for asked in [5, BULK, 16_406] {
            let (mut near, mut far) = connection().await;
            let writer = tokio::spawn(async move { far.write_all(&bytes(LONG)).await });
            let (mut read, mut longest) = (Vec::new(), 0);
            let mut part = vec![0; asked];
            loop {
                let length = near.read(&mut part).await.expect("it is connected");
                if length == 0 {
                    break;
                }
                read.extend_from_slice(&part[..length]);
                longest = longest.max(near.ahead.as_ref().map_or(0, |ahead| ahead.bytes.len()));
            }
            assert!(read == bytes(LONG), "asked for {asked}");
            assert!(near.ahead.is_none(), "asked for {asked}");
            assert_eq!(longest > 0, asked >= BULK, "asked for {asked}, ahead by {longest}");
            assert!(writer.await.is_ok_and(|written| written.is_ok()));
        }
    }

    #[tokio::test]
    async fn too_many_read_what_they_are_asked_for_and_all_of_it() {
        let _alone = ALL_PLACES.lock().await;
        let all: Vec<_> = std::iter::from_fn(Place::take).collect();
        assert_eq!(all.len(), PLACES);
        let (mut near, mut far) = connection().await;
        let writer = tokio::spawn(async move { far.write_all(&bytes(LONG)).await });
        let (mut read, mut part) = (Vec::new(), vec![0; BULK]);
        while let Ok(length @ 1..) = near.read(&mut part).await {
            read.extend_from_slice(&part[..length]);
            assert!(near.ahead.is_none());
        }
        assert!(read == bytes(LONG) && writer.await.is_ok_and(|written| written.is_ok()));
        drop(all);
        assert_eq!(TAKEN.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_is_in_memory_holds_no_task_up_for_longer_than_a_socket_would() {
        let _alone = ALL_PLACES.lock().await;
        let (mut near, mut far) = connection().await;
        far.write_all(&bytes(PIECE / 4)).await.expect("it is connected, and its buffers hold that");
        let mut part = [0; BULK];
        for _ in 0..2 {
            near.read_exact(&mut part).await.expect("it is connected");
        }
        assert!(near.ahead.is_some());
        tokio::task::yield_now().await;
        let reads_at_once = std::future::poll_fn(|cx| {
            let reads = (0..PIECE).take_while(|_| {
                let mut byte = [0];
                Pin::new(&mut near).poll_read(cx, &mut ReadBuf::new(&mut byte)).is_ready()
            });
            Poll::Ready(reads.count())
        });
        assert!((1..1000).contains(&reads_at_once.await));
    }

    #[tokio::test]
    async fn a_handshake_takes_no_place() {
        let _alone = ALL_PLACES.lock().await;
        let (mut near, mut far) = connection().await;
        near.holds = true;
        far.write_all(&bytes(PIECE / 4)).await.expect("it is connected, and its buffers hold that");
        let mut part = [0; BULK];
        for _ in 0..4 {
            near.read_exact(&mut part).await.expect("it is connected");
            assert!(near.ahead.is_none());
        }
    }

    async fn arrived(far: &mut TcpStream) -> Vec<u8> {
        let mut room = [0; 64];
        let length = far.read(&mut room).await.expect("it is connected");
        room[..length].to_vec()
    }

    #[tokio::test]
    async fn what_is_held_leaves_with_what_follows_and_before_anything_is_read_and_at_the_end() {
        let (mut near, mut far) = connection().await;
        near.holds = true;
        near.write_all(b"hello ").await.expect("it is held");
        near.flush().await.expect("it is held");
        assert!(far.try_read(&mut [0; 64]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
        far.write_all(b"!").await.expect("it is connected");
        assert_eq!(near.read_u8().await.expect("it is there"), b'!');
        assert_eq!(arrived(&mut far).await, b"hello ");

        near.write_all(b"finished ").await.expect("it is held");
        near.release();
        let slices = [IoSlice::new(b"GET "), IoSlice::new(b"/")];
        assert_eq!(near.write_vectored(&slices).await.expect("it is connected"), 5);
        assert_eq!(arrived(&mut far).await, b"finished GET /");
        assert_eq!(near.held.capacity(), 0);

        near.holds = true;
        near.write_all(b"alert").await.expect("it is held");
        drop(near);
        assert_eq!(arrived(&mut far).await, b"alert");
    }
}
