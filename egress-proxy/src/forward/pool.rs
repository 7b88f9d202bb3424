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
    idle: Vec<Idle>,
    shared: Option<(http2::SendRequest<Content>, SocketAddr)>,
}

/// An HTTP/1.1 connection that nobody uses.
struct Idle {
    sender: Http1,
    peer: SocketAddr,
    since: Instant,
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
        while let Some(Idle { mut sender, peer, since }) = pool.idle.pop() {
            if sender.is_ready() && since.elapsed() < IDLE {
                return Some(Connection { sender: Sender::Http1(sender), peer });
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
            pool.idle.retain_mut(|idle| idle.since.elapsed() < IDLE && !idle.sender.is_closed());
            if pool.shared.as_ref().is_some_and(|(sender, _)| sender.is_closed()) {
                pool.shared = None;
            }
            !pool.idle.is_empty() || pool.shared.is_some()
        });
    }

    fn put(&self, key: Key, sender: Http1, peer: SocketAddr) {
        let mut by_key = self.lock();
        let pool = by_key.entry(key).or_default();
        if pool.idle.len() < IDLE_PER_KEY {
            pool.idle.push(Idle { sender, peer, since: Instant::now() });
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
        let Self { pools, key, connection: Connection { sender, peer } } = self;
        let Sender::Http1(mut sender) = sender else { return };
        if sender.is_ready() {
            return pools.put(key, sender, peer);
        }
        if sender.is_closed() {
            return;
        }
        // The request's content may still be on its way; the connection is free when that is done.
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                pools.put(key, sender, peer);
            }
        });
    }
}
