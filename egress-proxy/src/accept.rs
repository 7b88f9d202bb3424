//! Accepts clients: bounded, with back-off when descriptors run out, until told to stop; then lets what is under way
//! finish. The caller binds, and decides when to stop.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use crate::{connection, proxy::Proxy, record::Journal};

/// Becomes `true` when the proxy drains.
pub type Shutdown = watch::Receiver<bool>;

/// A client's place among those that may be connected. Held for as long as anything of its connection lives, tunnels
/// and WebSockets too.
pub type Seat = Arc<Taken>;

/// One place that is taken, and counted.
pub struct Taken {
    journal: Journal,
    _permit: OwnedSemaphorePermit,
}

impl Taken {
    fn new(journal: Journal, permit: OwnedSemaphorePermit) -> Self {
        journal.metrics().connections_open.enter();
        Self { journal, _permit: permit }
    }
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Taken")
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.journal.metrics().connections_open.leave();
    }
}

/// How long a listener rests when no client could be taken: out of descriptors, others must finish first.
const BACK_OFF: Duration = Duration::from_millis(20);

/// Serves the outer face until `shutdown`.
pub async fn serve(proxy: Arc<Proxy>, listener: TcpListener, mut shutdown: Shutdown) {
    let room = Arc::new(Semaphore::new(proxy.limits.connections));
    loop {
        let seat = tokio::select! {
            biased;
            _ = shutdown.wait_for(|draining| *draining) => return,
            seat = room.clone().acquire_owned() => seat,
        };
        let (Ok(seat), Some(stream)) = (seat, next(&listener, &mut shutdown).await) else { return };
        let seat = Arc::new(Taken::new(proxy.journal.clone(), seat));
        proxy.tasks.spawn(connection::serve(proxy.clone(), stream, seat, shutdown.clone()));
    }
}

/// The next client of a listener; `None` once the proxy drains.
pub async fn next(listener: &TcpListener, shutdown: &mut Shutdown) -> Option<TcpStream> {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|draining| *draining) => return None,
            accepted = listener.accept() => accepted,
        };
        // Small answers leave at once: without this a new connection costs 40 ms of delayed acknowledgement.
        match accepted.and_then(|(stream, _)| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => return Some(stream),
            Err(_) => tokio::time::sleep(BACK_OFF).await,
        }
    }
}
