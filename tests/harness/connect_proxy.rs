//! An HTTP proxy that knows CONNECT only, for tests that want to see what it is told or choose what it answers. The real
//! ones are in `tests/clients`.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::h1::{self, Head, Reader};
use crate::within;

/// What it does with a CONNECT.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Connects to the port on loopback, whatever the name.
    Tunnels,
    /// The same, for this value of `Proxy-Authorization`; else 407.
    TunnelsFor(String),
    /// Answers with these bytes and leaves the connection open.
    Says(Vec<u8>),
    /// Answers with these bytes and closes.
    SaysAndCloses(Vec<u8>),
    /// Answers with these bytes, again and again.
    SaysForEver(Vec<u8>),
}

/// A proxy that runs until it is dropped.
pub struct ConnectProxy {
    address: SocketAddr,
    asked: mpsc::UnboundedReceiver<Head>,
    accepting: JoinHandle<()>,
}

impl ConnectProxy {
    pub async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("a bound port");
        let (told, asked) = mpsc::unbounded_channel();
        let behaviour = Arc::new(behaviour);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (told, behaviour) = (told.clone(), Arc::clone(&behaviour));
                tokio::spawn(async move {
                    // A client that leaves is what some tests are about.
                    let _ = serve(stream, &told, &behaviour).await;
                });
            }
        });
        Self { address, asked, accepting }
    }

    /// For `--upstream`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request that it was asked.
    pub async fn asked(&mut self) -> Head {
        within("a CONNECT", self.asked.recv()).await.expect("the proxy runs")
    }

    /// Fails when it was asked something more.
    #[track_caller]
    pub fn was_asked_nothing_more(&mut self) {
        if let Ok(head) = self.asked.try_recv() {
            panic!("the upstream proxy was asked `{}`", head.start);
        }
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    mut client: TcpStream,
    told: &mpsc::UnboundedSender<Head>,
    behaviour: &Behaviour,
) -> std::io::Result<()> {
    let Some(head) = Reader::new().head(&mut client).await? else { return Ok(()) };
    let _ = told.send(head.clone());
    match behaviour {
        Behaviour::Tunnels => tunnel(client, &head).await,
        Behaviour::TunnelsFor(credential) if head.field("proxy-authorization") == Some(credential) => {
            tunnel(client, &head).await
        }
        Behaviour::TunnelsFor(_) => {
            let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\
                          Content-Length: 9\r\n\r\nnot today";
            h1::write(&mut client, answer.as_bytes()).await
        }
        Behaviour::Says(bytes) => {
            h1::write(&mut client, bytes).await?;
            std::future::pending().await
        }
        Behaviour::SaysAndCloses(bytes) => h1::write(&mut client, bytes).await,
        Behaviour::SaysForEver(bytes) => loop {
            h1::write(&mut client, bytes).await?;
        },
    }
}

async fn tunnel(mut client: TcpStream, head: &Head) -> std::io::Result<()> {
    let authority = head.start.split(' ').nth(1).unwrap_or_default();
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
    let mut origin = TcpStream::connect(("127.0.0.1", port)).await?;
    h1::write(&mut client, b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut client, &mut origin).await.map(drop)
}
