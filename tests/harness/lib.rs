//! Real origins, clients, PKI, proxy processes and a pipelock for tests and benches, all on loopback with port 0.
//!
//! What cannot be set up panics with the reason: a test has nothing to recover. Nothing here sleeps; whoever
//! waits, waits on a socket, a channel or a process, under the one deadline of [`within`].

pub mod client;
pub mod connect_proxy;
pub mod h1;
pub mod origin;
pub mod pipelock;
pub mod pki;
pub mod programs;
pub mod proxy;
pub mod supervise;
pub mod tap;
pub mod wire;

use std::time::Duration;

/// The longest that any single event may take, on a machine that is busy with the rest of the suite.
const DEADLINE: Duration = Duration::from_secs(60);

/// Awaits what must happen; panics, naming it, when it does not.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}
