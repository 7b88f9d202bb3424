//! The stand-in's server: reads a request, judges it as pipelock does, asks the inner face.

use std::io::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::url::Refusal;
use super::{Answers, Destination, answer, request};
use crate::h1::{self, Framing, Head, Message, Reader};

/// Unread content up to this much is read and forgotten so that the connection can go on; beyond it, it ends.
const SKIPPED: u64 = 256 * 1024;

/// How long Go's server leaves a connection half closed before it closes it.
const RESET_AVOIDANCE: Duration = Duration::from_millis(500);

/// A server that answers as pipelock v2.3.0 does in the recordings.
#[derive(Debug)]
pub struct StandIn {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

struct Shared {
    destination: Destination,
    answers: Answers,
    /// Kept-alive connections to the inner face, two as Go keeps.
    idle: Mutex<Vec<TcpStream>>,
}

impl StandIn {
    pub async fn start(destination: Destination, answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("a bound port");
        let shared = Arc::new(Shared { destination, answers, idle: Mutex::default() });
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    // A client that leaves is what some tests are about.
                    let _ = shared.serve(stream).await;
                });
            }
        });
        Self { address, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Whether a connection carries another request.
enum Next {
    Keep,
    Close,
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) -> Result<()> {
        client.set_nodelay(true)?;
        let mut reader = Reader::new();
        while let Some(head) = reader.head(&mut client).await? {
            if let Next::Close = self.exchange(&mut client, &mut reader, head).await? {
                client.shutdown().await?;
                // What is closed with unread bytes is reset, and the answer may be lost with it.
                tokio::time::sleep(RESET_AVOIDANCE).await;
                return Ok(());
            }
        }
        Ok(())
    }

    async fn exchange(&self, client: &mut TcpStream, reader: &mut Reader, head: Head) -> Result<Next> {
        let Some((method, whole)) = request::start_line(&head) else {
            h1::write(client, answer::BAD_REQUEST).await?;
            return Ok(Next::Close);
        };
        let framing = h1::request_framing(&head);
        let target = match request::judge_target(&whole, &self.destination.host) {
            Ok(target) => target,
            Err(Refusal::Unparsable) => {
                h1::write(client, answer::BAD_REQUEST).await?;
                return Ok(Next::Close);
            }
            Err(Refusal::Blocked(reason)) => {
                h1::write(client, &answer::blocked(&reason)).await?;
                return skip(client, reader, framing).await;
            }
        };
        if framing != Framing::Empty && head.lists("expect", "100-continue") {
            h1::write(client, b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let (content, trailers) = reader.content(client, framing).await?;
        let message = Message { head: head.clone(), content, trailers };
        match request::judge_message(&message) {
            Err(Refusal::Blocked(reason)) => h1::write(client, &answer::blocked(&reason)).await?,
            Err(Refusal::Unparsable) => h1::write(client, answer::BAD_REQUEST).await?,
            Ok(()) => {
                let bytes = request::forwarded(&message, framing, method, &target);
                self.ask_inner_face(client, &target.authority, method, &bytes).await?;
            }
        }
        Ok(if head.lists("connection", "close") { Next::Close } else { Next::Keep })
    }

    async fn ask_inner_face(&self, client: &mut TcpStream, authority: &str, method: &str, bytes: &[u8]) -> Result<()> {
        let Ok(mut inner) = self.inner_face(authority).await else {
            return h1::write(client, &answer::error("502 Bad Gateway", "forward proxy fetch failed")).await;
        };
        let asking = async {
            let _ = h1::write(&mut inner, bytes).await;
            answer::relay(&mut inner, &mut *client, method, self.answers).await
        };
        asking.await?;
        let mut idle = self.idle.lock().await;
        if idle.len() < 2 {
            idle.push(inner);
        }
        Ok(())
    }

    /// An idle connection that still lives, or a new one.
    async fn inner_face(&self, authority: &str) -> Result<TcpStream> {
        while let Some(mut stream) = self.idle.lock().await.pop() {
            let mut nothing = [0; 1];
            let unread = tokio::select! {
                biased;
                read = stream.read(&mut nothing) => Some(read),
                () = std::future::ready(()) => None,
            };
            if unread.is_none() {
                return Ok(stream);
            }
        }
        match self.destination.address {
            Some(address) => TcpStream::connect(address).await,
            None => TcpStream::connect(authority).await,
        }
    }
}

async fn skip(client: &mut TcpStream, reader: &mut Reader, framing: Framing) -> Result<Next> {
    match framing {
        Framing::Length(length) if length > SKIPPED => Ok(Next::Close),
        framing => {
            reader.content(client, framing).await?;
            Ok(Next::Keep)
        }
    }
}
