//! Connections between exchanges, keyed by authority, scheme and offer. An HTTP/1.1 connection is either here or in one
//! exchange; an h2 connection is shared.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hyper::client::conn::{http1, http2};
use shared::{authority::Authority, routes::Scheme};

use super::Offer;
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
    Http1(http1::SendRequest<Content>),
    Http2(http2::SendRequest<Content>),
}

impl Sender {
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Http1(_) => "http/1.1",
            Self::Http2(_) => "h2",
        }
    }
}

/// A connection that can take a request.
pub struct Connection {
    pub sender: Sender,
    pub peer: SocketAddr,
}

/// All idle and shared connections.
#[derive(Default)]
pub struct Pools {
    by_key: Mutex<HashMap<Key, Pool>>,
}

#[derive(Default)]
struct Pool {
    idle: Vec<(Connection, Instant)>,
    shared: Option<(http2::SendRequest<Content>, SocketAddr)>,
}

impl Pools {
    /// A connection that is ready now.
    pub fn take(&self, key: &Key) -> Option<Connection> {
        let mut by_key = self.lock();
        let pool = by_key.get_mut(key)?;
        if let Some((sender, peer)) = &pool.shared {
            if sender.is_ready() {
                return Some(Connection { sender: Sender::Http2(sender.clone()), peer: *peer });
            }
            pool.shared = None;
        }
        while let Some((connection, since)) = pool.idle.pop() {
            let ready = matches!(&connection.sender, Sender::Http1(sender) if sender.is_ready());
            if ready && since.elapsed() < IDLE {
                return Some(connection);
            }
        }
        None
    }

    /// Makes an h2 connection available to every exchange of its key.
    pub fn share(&self, key: &Key, sender: &http2::SendRequest<Content>, peer: SocketAddr) {
        self.lock().entry(key.clone()).or_default().shared = Some((sender.clone(), peer));
    }

    pub fn lease(self: &Arc<Self>, key: Key, connection: Connection) -> Lease {
        Lease { pools: self.clone(), key, connection }
    }

    pub fn reap(&self) {
        self.lock().retain(|_, pool| {
            pool.idle.retain(|(connection, since)| {
                since.elapsed() < IDLE && matches!(&connection.sender, Sender::Http1(sender) if !sender.is_closed())
            });
            if pool.shared.as_ref().is_some_and(|(sender, _)| sender.is_closed()) {
                pool.shared = None;
            }
            !pool.idle.is_empty() || pool.shared.is_some()
        });
    }

    fn put(&self, key: Key, connection: Connection) {
        let mut by_key = self.lock();
        let pool = by_key.entry(key).or_default();
        if pool.idle.len() < IDLE_PER_KEY {
            pool.idle.push((connection, Instant::now()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Pool>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in use. Dropped before the content has ended it closes an HTTP/1.1 connection, whose framing nobody
/// knows then.
pub struct Lease {
    pools: Arc<Pools>,
    key: Key,
    connection: Connection,
}

impl Lease {
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
