//! A wire between two parties that a test can hold, cut and mend, and whose bytes it can search.
//!
//! It stands in front of pipelock, the real one as the stand-in: frozen, slow, down and back again are states of
//! the wire, and what it carried is what pipelock was shown.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use crate::tap::Log;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Open,
    Held,
}

/// A relay from its own address to another.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    target: SocketAddr,
    carried: Log,
    flow: watch::Sender<Flow>,
    accepting: Option<JoinHandle<()>>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Wire {
    /// A new wire, open, on a loopback port of its own.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("a bound port");
        let mut wire = Self {
            address,
            target,
            carried: Log::default(),
            flow: watch::Sender::new(Flow::Open),
            accepting: None,
            connections: Arc::default(),
        };
        wire.accept(listener);
        wire
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was sent into the wire, held or not.
    pub fn carried(&self) -> &Log {
        &self.carried
    }

    /// Accepts and reads, and passes nothing on.
    pub fn hold(&self) {
        self.flow.send_replace(Flow::Held);
    }

    /// Passes on what was held, and what follows.
    pub fn release(&self) {
        self.flow.send_replace(Flow::Open);
    }

    /// Breaks every connection; new ones are refused.
    pub async fn cut(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            // Ends with the listener closed, so that the next connection is refused.
            let _ = accepting.await;
        }
        self.break_connections();
    }

    /// Listens again where it did before.
    pub async fn mend(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is free again");
        self.accept(listener);
    }

    fn accept(&mut self, listener: TcpListener) {
        let (target, carried, flow) = (self.target, self.carried.clone(), self.flow.clone());
        let connections = Arc::clone(&self.connections);
        self.accepting = Some(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let relayed = tokio::spawn(relay(client, target, carried.clone(), flow.subscribe()));
                connections.lock().expect("no relay panicked").push(relayed.abort_handle());
            }
        }));
    }

    fn break_connections(&self) {
        for connection in self.connections.lock().expect("no relay panicked").drain(..) {
            connection.abort();
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
        self.break_connections();
    }
}

async fn relay(client: TcpStream, target: SocketAddr, carried: Log, flow: watch::Receiver<Flow>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let back = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::join!(forth(from_client, to_server, carried, flow), back);
}

async fn forth(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, carried: Log, mut flow: watch::Receiver<Flow>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        carried.append(&buffer[..read]);
        let open = flow.wait_for(|flow| *flow == Flow::Open).await.is_ok();
        if !open || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
