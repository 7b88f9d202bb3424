//! The long-lived parts of one proxy, built once and shared. No behaviour.

use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::{
    budget::Budget, forward::NextHops, inspect::Inspection, live::Live, pace::Patience, policy::Policy,
    record::Journal, tls::leaves::Leaves,
};

/// All parts of a proxy.
pub struct Proxy {
    pub policy: Policy,
    pub live: Live,
    pub leaves: Leaves,
    pub next_hops: NextHops,
    pub inspection: Option<Inspection>,
    pub journal: Journal,
    pub limits: Limits,
    /// For content that is collected to be scanned whole.
    pub scanning: Budget,
    /// Tunnels and relays that outlive the connection task which began them.
    pub tasks: TaskTracker,
    pub readiness: crate::admin::Readiness,
}

/// Sizes and times with which clients are served.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Client connections at a time.
    pub connections: usize,
    /// Exchanges under way on one h2 connection.
    pub streams: u32,
    /// The head of a request, in bytes.
    pub head_bytes: u32,
    /// A client's TLS handshake.
    pub handshake: Duration,
    pub patience: Patience,
    /// How long a client may be silent while its content is collected.
    pub content_silence: Duration,
    /// Content up to this many bytes is scanned whole before anything is dialled.
    pub scan_buffer: usize,
}
