//! Accepts clients: bounded, with back-off when descriptors run out, until told to stop; then lets what is under way
//! finish. The caller binds, and decides when to stop.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use crate::{connection, proxy::Proxy};

/// Becomes `true` when the proxy drains.
pub type Shutdown = watch::Receiver<bool>;

/// A client's place among those that may be connected. Held for as long as anything of its connection lives, tunnels
/// and WebSockets too.
pub type Seat = Arc<OwnedSemaphorePermit>;

/// Serves the outer face until `shutdown`.
pub async fn serve(proxy: Arc<Proxy>, listener: TcpListener, mut shutdown: Shutdown) {
    let room = Arc::new(Semaphore::new(proxy.limits.connections));
    loop {
        let stream = tokio::select! {
            biased;
            _ = shutdown.wait_for(|draining| *draining) => return,
            stream = accept(&listener, &room) => stream,
        };
        let Some((stream, seat)) = stream else { continue };
        proxy.tasks.spawn(connection::serve(proxy.clone(), stream, Arc::new(seat), shutdown.clone()));
    }
}

/// The next client, and its seat among the permitted number.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, OwnedSemaphorePermit)> {
    let seat = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Small answers leave at once: without this a new connection costs 40 ms of delayed acknowledgement.
            stream.set_nodelay(true).ok()?;
            Some((stream, seat))
        }
        Err(_) => {
            // Out of descriptors, or a client that left already: let others finish first.
            tokio::time::sleep(Duration::from_millis(20)).await;
            None
        }
    }
}
