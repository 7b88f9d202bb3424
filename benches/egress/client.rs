//! The load's own client: HTTP/1.1 and HTTP/2 over TLS, straight or through a CONNECT. Never resumes a TLS session, so
//! that every new connection costs the same.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, client::Resumption, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::tls;

/// What stands between the load and the origin.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    Straight,
    /// A proxy that is asked for a tunnel.
    Connect(SocketAddr),
    /// A server that takes the origin's place.
    InPlace(SocketAddr),
}

/// How an origin is reached, and whom to trust on the way.
#[derive(Clone)]
pub struct Way {
    /// The name that everything is asked for.
    pub host: &'static str,
    origin: SocketAddr,
    reach: Reach,
    h1: Arc<ClientConfig>,
    h2: Arc<ClientConfig>,
}

impl Way {
    pub fn new(host: &'static str, origin: SocketAddr, reach: Reach, trust: &str) -> anyhow::Result<Self> {
        let config = |protocol| {
            let mut config = tls::client(trust, protocol)?;
            config.resumption = Resumption::disabled();
            anyhow::Ok(Arc::new(config))
        };
        Ok(Self { host, origin, reach, h1: config("http/1.1")?, h2: config("h2")? })
    }

    pub async fn h1(&self, host: &str) -> anyhow::Result<Session> {
        let stream = TokioIo::new(self.tls(host, &self.h1).await?);
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Session { sender: Sender::H1(sender), authority: self.authority(host) })
    }

    pub async fn h2(&self, host: &str) -> anyhow::Result<Session> {
        let stream = TokioIo::new(self.tls(host, &self.h2).await?);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .handshake(stream)
            .await?;
        tokio::spawn(connection);
        Ok(Session { sender: Sender::H2(sender), authority: self.authority(host) })
    }

    fn authority(&self, host: &str) -> String {
        format!("{host}:{}", self.origin.port())
    }

    async fn tls(&self, host: &str, config: &Arc<ClientConfig>) -> anyhow::Result<TlsStream<TcpStream>> {
        let address = match self.reach {
            Reach::Straight => self.origin,
            Reach::Connect(proxy) => proxy,
            Reach::InPlace(server) => server,
        };
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        if let Reach::Connect(_) = self.reach {
            let authority = self.authority(host);
            let connect = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
            stream.write_all(connect.as_bytes()).await?;
            let mut answer = Vec::with_capacity(256);
            while !answer.ends_with(b"\r\n\r\n") {
                ensure!(stream.read_buf(&mut answer).await? > 0, "closed instead of an answer to CONNECT");
            }
            ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        }
        let name = ServerName::try_from(host.to_owned())?;
        TlsConnector::from(config.clone()).connect(name, stream).await.context("the TLS handshake failed")
    }
}

/// One HTTP connection.
pub struct Session {
    sender: Sender,
    authority: String,
}

enum Sender {
    H1(http1::SendRequest<Content>),
    H2(http2::SendRequest<Content>),
}

impl Session {
    /// Another handle to the same h2 connection.
    pub fn stream(&self) -> Option<Self> {
        match &self.sender {
            Sender::H1(_) => None,
            Sender::H2(sender) => Some(Self { sender: Sender::H2(sender.clone()), authority: self.authority.clone() }),
        }
    }

    /// A small GET, as an API client sends it, checked.
    pub async fn small(&mut self) -> anyhow::Result<()> {
        let answer = self.send("GET", "/small", Content::empty()).await?;
        let content = answer.into_body().collect().await?.to_bytes();
        ensure!(content == crate::origin::SMALL, "not the small answer: {}", String::from_utf8_lossy(&content));
        Ok(())
    }

    /// An answer of so many bytes, checked.
    pub async fn download(&mut self, length: u64) -> anyhow::Result<()> {
        let mut content = self.send("GET", &format!("/bytes/{length}"), Content::empty()).await?.into_body();
        let mut received = 0;
        while let Some(frame) = content.frame().await {
            received += frame?.data_ref().map_or(0, |data| data.len() as u64);
        }
        ensure!(received == length, "{received} bytes came of {length}");
        Ok(())
    }

    /// A request of so many bytes; the origin says how many came.
    pub async fn upload(&mut self, length: u64) -> anyhow::Result<()> {
        let answer = self.send("POST", "/sink", Content::of(length)).await?.into_body().collect().await?.to_bytes();
        ensure!(answer == length.to_string(), "{} of {length} bytes arrived", String::from_utf8_lossy(&answer));
        Ok(())
    }

    /// Sends a request; fails unless the answer is 200.
    pub async fn send(&mut self, method: &str, path: &str, content: Content) -> anyhow::Result<Response<Incoming>> {
        let answer = self.answer(method, path, content).await?;
        ensure!(answer.status() == 200, "{method} {path}: {}", answer.status());
        Ok(answer)
    }

    /// The status of an answer, whatever it is.
    pub async fn status(&mut self, path: &str) -> anyhow::Result<u16> {
        let answer = self.answer("GET", path, Content::empty()).await?;
        let status = answer.status().as_u16();
        answer.into_body().collect().await?;
        Ok(status)
    }

    async fn answer(&mut self, method: &str, path: &str, content: Content) -> anyhow::Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .header("user-agent", "bench/1.0")
            .header("accept", "application/json")
            .header("accept-encoding", "identity")
            // The client's own, which is to be stripped.
            .header("authorization", "Bearer of-the-client-itself")
            .header("x-api-version", "2026-01-01");
        Ok(match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await?;
                let request = request.uri(path).header("host", &self.authority).body(content)?;
                sender.send_request(request).await?
            }
            Sender::H2(sender) => {
                sender.ready().await?;
                let uri = format!("https://{}{path}", self.authority);
                sender.send_request(request.uri(uri).body(content)?).await?
            }
        })
    }
}

/// So many bytes of text, in chunks.
pub struct Content {
    left: u64,
}

impl Content {
    pub fn empty() -> Self {
        Self { left: 0 }
    }

    pub fn of(length: u64) -> Self {
        Self { left: length }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let chunk = TEXT.slice(..(self.left as usize).min(TEXT.len()));
        self.left -= chunk.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// 64 KiB of text that a coding agent could send.
static TEXT: std::sync::LazyLock<Bytes> = std::sync::LazyLock::new(|| {
    let source: &[u8] = include_bytes!("client.rs");
    source.iter().copied().cycle().take(64 << 10).collect()
});
