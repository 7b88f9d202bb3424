//! The long-lived parts of one proxy, built once and shared. No behaviour.

use tokio_util::task::TaskTracker;

use crate::{forward::NextHops, inspect::Inspection, live::Live, policy::Policy, record::Journal, tls::leaves::Leaves};

/// All parts of a proxy.
pub struct Proxy {
    pub policy: Policy,
    pub live: Live,
    pub leaves: Leaves,
    pub next_hops: NextHops,
    pub inspection: Option<Inspection>,
    pub journal: Journal,
    pub limits: Limits,
    /// Tunnels and relays that outlive the connection task which began them.
    pub tasks: TaskTracker,
    pub readiness: crate::admin::Readiness,
}

/// Sizes and times with which clients are served.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Client connections at a time.
    pub connections: usize,
    /// Content up to this many bytes is scanned whole before anything is dialled.
    pub scan_buffer: usize,
}
