//! Connections between exchanges, keyed by authority, scheme and offer. An HTTP/1.1 connection is either here or in one
//! exchange; an h2 connection is shared.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Context,
    time::{Duration, Instant},
};

use hyper::client::conn::http2;
use shared::{authority::Authority, routes::Scheme};

use super::{Offer, http1::Http1};
use crate::content::Content;

/// How long a connection may idle: below the 60 s after which common servers close theirs.
const IDLE: Duration = Duration::from_secs(50);
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
    Http2(http2::SendRequest<Content>),
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
    pub peer: SocketAddr,
    /// When it takes no more.
    pub expires: Option<Instant>,
}

impl Connection {
    /// The same connection for another exchange, where exchanges can share one.
    fn copy(&self) -> Option<Self> {
        let Sender::Http2(sender) = &self.sender else { return None };
        Some(Self { sender: Sender::Http2(sender.clone()), ..*self })
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

/// All idle and shared connections.
#[derive(Default)]
pub struct Pools {
    by_key: Mutex<HashMap<Key, Pool>>,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Idle>,
    shared: Option<Connection>,
}

/// An HTTP/1.1 connection that nobody uses.
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pools {
    /// A connection that is ready now.
    pub fn take(&self, key: &Key) -> Option<Connection> {
        let mut by_key = self.lock();
        let pool = by_key.get_mut(key)?;
        if let Some(connection) = &mut pool.shared {
            if connection.is_usable() {
                return connection.copy();
            }
            pool.shared = None;
        }
        while let Some(Idle { mut connection, since }) = pool.idle.pop() {
            if connection.is_usable() && since.elapsed() < IDLE {
                return Some(connection);
            }
        }
        None
    }

    /// Makes an h2 connection available to every exchange of its key.
    pub fn share(&self, key: &Key, connection: &Connection) {
        if let Some(copy) = connection.copy() {
            self.lock().entry(key.clone()).or_default().shared = Some(copy);
        }
    }

    pub fn lease(self: &Arc<Self>, key: Key, connection: Connection) -> Lease {
        Lease { pools: self.clone(), key, connection }
    }

    pub fn reap(&self) {
        self.lock().retain(|_, pool| {
            pool.idle.retain_mut(|idle| idle.since.elapsed() < IDLE && !idle.connection.is_over());
            pool.shared.take_if(Connection::is_over);
            !pool.idle.is_empty() || pool.shared.is_some()
        });
    }

    fn put(&self, key: Key, connection: Connection) {
        let mut by_key = self.lock();
        let pool = by_key.entry(key).or_default();
        if pool.idle.len() < IDLE_PER_KEY {
            pool.idle.push(Idle { connection, since: Instant::now() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Pool>> {
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

    /// The content has been read to its end.
    pub fn give_back(self) {
        let Self { pools, key, mut connection } = self;
        let Sender::Http1(sender) = &mut connection.sender else { return };
        if sender.is_ready() {
            return pools.put(key, connection);
        }
        if sender.is_closed() {
            return;
        }
        // The request's content may still be on its way; the connection is free when that is done.
        tokio::spawn(async move {
            let Sender::Http1(sender) = &mut connection.sender else { return };
            if sender.ready().await.is_ok() {
                pools.put(key, connection);
            }
        });
    }
}
