//! A wire between two parties that a test can hold, cut and mend, and whose bytes it can search.
//!
//! It stands in front of pipelock, the real one as the stand-in: frozen, slow, down and back again are states of
//! the wire, and what it carried is what pipelock was shown.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
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
    /// Bound and never listening: while the wire is cut, connections are refused and the port is nobody else's.
    #[expect(dead_code, reason = "holds the port")]
    port: TcpSocket,
    target: SocketAddr,
    carried: Log,
    carried_back: Log,
    flow: watch::Sender<Flow>,
    flow_back: watch::Sender<Flow>,
    accepting: Option<JoinHandle<()>>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Wire {
    /// A new wire, open, on a loopback port of its own.
    pub async fn to(target: SocketAddr) -> Self {
        let port = bound((Ipv4Addr::LOCALHOST, 0).into());
        let address = port.local_addr().expect("a bound port");
        let mut wire = Self {
            address,
            port,
            target,
            carried: Log::default(),
            carried_back: Log::default(),
            flow: watch::Sender::new(Flow::Open),
            flow_back: watch::Sender::new(Flow::Open),
            accepting: None,
            connections: Arc::default(),
        };
        wire.mend();
        wire
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was sent into the wire, held or not.
    pub fn carried(&self) -> &Log {
        &self.carried
    }

    /// What came back, held or not.
    pub fn carried_back(&self) -> &Log {
        &self.carried_back
    }

    /// Accepts and reads, and passes nothing on.
    pub fn hold(&self) {
        self.flow.send_replace(Flow::Held);
    }

    /// Passes nothing back; what goes forth still goes.
    pub fn hold_answers(&self) {
        self.flow_back.send_replace(Flow::Held);
    }

    /// Passes on what was held, and what follows.
    pub fn release(&self) {
        self.flow.send_replace(Flow::Open);
        self.flow_back.send_replace(Flow::Open);
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
    pub fn mend(&mut self) {
        self.accept(bound(self.address).listen(1024).expect("nobody else listens there"));
    }

    fn accept(&mut self, listener: TcpListener) {
        let target = self.target;
        let (forth, back) =
            ((self.carried.clone(), self.flow.clone()), (self.carried_back.clone(), self.flow_back.clone()));
        let connections = Arc::clone(&self.connections);
        self.accepting = Some(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let relayed = tokio::spawn(relay(
                    client,
                    target,
                    (forth.0.clone(), forth.1.subscribe()),
                    (back.0.clone(), back.1.subscribe()),
                ));
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

/// A socket at an address that others of ours may be bound to as well, as long as none of them listens.
fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option of every TCP socket");
    socket.bind(address).expect("a loopback port");
    socket
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
        self.break_connections();
    }
}

/// What one direction carries, and whether it may.
type Direction = (Log, watch::Receiver<Flow>);

async fn relay(client: TcpStream, target: SocketAddr, forth: Direction, back: Direction) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(pass(from_client, to_server, forth), pass(from_server, to_client, back));
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, (carried, mut flow): Direction) {
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
