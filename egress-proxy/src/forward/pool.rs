//! Connections between exchanges, keyed by authority, scheme and offer. An HTTP/1.1 connection is either here or in one
//! exchange. An h2 connection is shared by the exchanges of one tunnel, never by two at a time: its flow-control window
//! and its streams are what a client could use up to hold others up. Once idle it goes on to the next tunnel.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Context,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use shared::{authority::Authority, routes::Scheme};

use super::{
    Offer,
    http1::{Direct, Http1},
    http2::Http2,
};
use crate::record::Id;

/// The time between two reaps.
pub const REAP: Duration = Duration::from_secs(5);
/// So many reaps an idle connection survives: with that it is closed before the 60 s after which common servers close
/// theirs. Counted, for an exchange is to read no clock for it.
const REAPS: u8 = 10;
/// Idle HTTP/1.1 connections kept for one key.
const IDLE_PER_KEY: usize = 64;

/// What a pool is for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Key {
    pub authority: Arc<Authority>,
    pub scheme: Scheme,
    pub offer: Offer,
}

/// A way to send on one connection.
pub enum Sender {
    Http1(Http1),
    Http2(Http2),
}

impl Sender {
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Http1(_) => "http/1.1",
            Self::Http2(_) => "h2",
        }
    }

    fn is_ready(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_ready(),
            Self::Http2(sender) => sender.is_ready(),
        }
    }

    fn is_closed(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }
}

/// A connection that can take a request.
pub struct Connection {
    pub sender: Sender,
    /// The address that was dialled.
    pub peer: Arc<str>,
    /// When it takes no more.
    pub expires: Option<Instant>,
    /// Held by the pool and by every exchange on it.
    pub users: Arc<()>,
}

impl Connection {
    /// The same connection for another exchange, where exchanges can share one.
    fn copy(&self) -> Option<Self> {
        let Sender::Http2(sender) = &self.sender else { return None };
        let users = self.users.clone();
        Some(Self { sender: Sender::Http2(sender.clone()), peer: self.peer.clone(), expires: self.expires, users })
    }

    /// Whether it takes a request now.
    fn is_usable(&mut self) -> bool {
        self.is_fresh() && self.sender.is_ready()
    }

    /// Whether it will never take one again.
    fn is_over(&mut self) -> bool {
        !self.is_fresh() || self.sender.is_closed()
    }

    fn is_fresh(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() < expires)
    }
}

type ByKey = HashMap<Key, Pool, RandomState>;

/// All idle and shared connections.
#[derive(Default)]
pub struct Pools {
    by_key: Mutex<ByKey>,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Idle>,
    shared: Vec<Shared>,
}

/// An h2 connection and the tunnel whose exchanges use it, or used it last.
struct Shared {
    connection: Connection,
    tunnel: Option<Id>,
    /// Survived since it was taken last.
    reaps: u8,
}

impl Shared {
    /// Whether no exchange is on it.
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.connection.users) == 1
    }
}

impl Pool {
    /// The h2 connection of this tunnel, or one that no tunnel uses.
    fn shared(&mut self, tunnel: Option<Id>) -> Option<Connection> {
        while let Some(place) = self.place(tunnel) {
            let shared = &mut self.shared[place];
            if shared.connection.is_usable() {
                (shared.tunnel, shared.reaps) = (tunnel, 0);
                return shared.connection.copy();
            }
            self.shared.swap_remove(place);
        }
        None
    }

    fn place(&self, tunnel: Option<Id>) -> Option<usize> {
        let own = self.shared.iter().position(|shared| shared.tunnel == tunnel);
        own.or_else(|| self.shared.iter().position(Shared::is_idle))
    }
}

/// An HTTP/1.1 connection that nobody uses.
struct Idle {
    connection: Connection,
    reaps: u8,
}

impl Pools {
    /// A connection that is ready now for an exchange in this tunnel.
    pub fn take(&self, key: &Key, tunnel: Option<Id>) -> Option<Connection> {
        let mut by_key = self.lock();
        let pool = by_key.get_mut(key)?;
        if let Some(connection) = pool.shared(tunnel) {
            return Some(connection);
        }
        // One that its origin has closed meanwhile gives the request back unsent: it sees the end before it writes.
        std::iter::from_fn(|| pool.idle.pop()).map(|idle| idle.connection).find(Connection::is_fresh)
    }

    /// Makes an h2 connection available to every exchange in this tunnel.
    pub fn share(&self, key: &Key, tunnel: Option<Id>, connection: &Connection) {
        if let Some(connection) = connection.copy() {
            let shared = Shared { connection, tunnel, reaps: 0 };
            self.lock().entry(key.clone()).or_default().shared.push(shared);
        }
    }

    pub fn lease(self: &Arc<Self>, key: Key, connection: Connection) -> Lease {
        Lease { pools: self.clone(), key, connection }
    }

    pub fn reap(&self) {
        self.lock().retain(|_, pool| {
            pool.idle.retain_mut(|idle| {
                idle.reaps += 1;
                idle.reaps <= REAPS && !idle.connection.is_over()
            });
            pool.shared.retain_mut(|shared| {
                shared.reaps = if shared.is_idle() { shared.reaps + 1 } else { 0 };
                shared.reaps <= REAPS && !shared.connection.is_over()
            });
            !pool.idle.is_empty() || !pool.shared.is_empty()
        });
    }

    fn put(&self, key: Key, connection: Connection) {
        let mut by_key = self.lock();
        let pool = by_key.entry(key).or_default();
        if pool.idle.len() < IDLE_PER_KEY {
            pool.idle.push(Idle { connection, reaps: 0 });
        }
    }

    fn lock(&self) -> MutexGuard<'_, ByKey> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use; dropped, it closes where it is not shared.
pub struct Lease {
    pools: Arc<Pools>,
    key: Key,
    connection: Connection,
}

impl Lease {
    /// Moves the connection on, where no task of its own does; wakes `cx` when there is more to read or write.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if let Sender::Http1(sender) = &mut self.connection.sender {
            sender.drive(cx);
        }
    }

    /// The connection, where it reads content by itself.
    pub fn direct(&self) -> Option<&Direct> {
        match &self.connection.sender {
            Sender::Http1(Http1::Direct(direct)) => Some(direct),
            _ => None,
        }
    }

    pub fn direct_mut(&mut self) -> Option<&mut Direct> {
        match &mut self.connection.sender {
            Sender::Http1(Http1::Direct(direct)) => Some(direct),
            _ => None,
        }
    }

    /// The content has been read to its end.
    pub fn give_back(self) {
        let Self { pools, key, mut connection } = self;
        let (is_free, is_over) = match &mut connection.sender {
            Sender::Http1(Http1::Direct(direct)) => (direct.is_done(), true),
            Sender::Http1(Http1::Library(library)) => (library.is_ready(), library.is_closed()),
            Sender::Http2(_) => (false, true),
        };
        if is_free {
            return pools.put(key, connection);
        }
        if is_over {
            return;
        }
        // The request's content may still be on its way; the connection is free when that is done.
        tokio::spawn(async move {
            let Sender::Http1(Http1::Library(library)) = &mut connection.sender else { return };
            if library.ready().await.is_ok() {
                pools.put(key, connection);
            }
        });
    }
}
