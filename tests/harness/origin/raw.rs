//! An origin that is only bytes: it reads one request as it stands on the wire and answers what the test wrote.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::h1::{self, Head, Message, Reader, Stream};
use crate::pki::Pki;
use crate::tap::{Log, Tap};
use crate::within;

/// Answers every connection's first request with the same bytes, then closes.
pub struct RawOrigin {
    name: String,
    address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Request>,
    accepting: JoinHandle<()>,
}

/// A request and the very bytes that it came as.
#[derive(Debug)]
pub struct Request {
    pub message: Message,
    pub bytes: Vec<u8>,
}

impl Request {
    pub fn head(&self) -> &Head {
        &self.message.head
    }
}

impl RawOrigin {
    /// TLS, HTTP/1.1.
    pub async fn tls(pki: &Pki, name: &str, answer: impl Into<Vec<u8>>) -> Self {
        Self::start(name, Some(pki.server(&[name], &["http/1.1"])), answer.into()).await
    }

    /// Clear text.
    pub async fn clear(name: &str, answer: impl Into<Vec<u8>>) -> Self {
        Self::start(name, None, answer.into()).await
    }

    pub fn authority(&self) -> String {
        format!("{}:{}", self.name, self.address.port())
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The next request.
    pub async fn request(&mut self) -> Request {
        within("a request at the raw origin", self.requests.recv()).await.expect("the origin runs")
    }

    /// Fails when a request has come that nobody asked for.
    #[track_caller]
    pub fn saw_nothing_more(&mut self) {
        if let Ok(request) = self.requests.try_recv() {
            panic!("the raw origin was asked: {}", h1::from_latin1(&request.bytes));
        }
    }

    /// Clear text; resets its connections instead of closing them.
    pub async fn resetting(name: &str, answer: impl Into<Vec<u8>>) -> Self {
        Self::start_as(name, None, answer.into(), End::Reset).await
    }

    async fn start(name: &str, tls: Option<Arc<ServerConfig>>, answer: Vec<u8>) -> Self {
        Self::start_as(name, tls, answer, End::Close).await
    }

    async fn start_as(name: &str, tls: Option<Arc<ServerConfig>>, answer: Vec<u8>, end: End) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("a bound port");
        let (told, requests) = mpsc::unbounded_channel();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, told, answer) = (tls.clone(), told.clone(), answer.clone());
                if end == End::Reset {
                    stream.set_zero_linger().expect("a connection that can be reset");
                }
                tokio::spawn(async move {
                    let Some(tls) = tls else { return serve(stream, &answer, told, end).await };
                    if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                        serve(stream, &answer, told, end).await;
                    }
                });
            }
        });
        Self { name: name.to_owned(), address, requests, accepting }
    }
}

impl Drop for RawOrigin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Close,
    Reset,
}

async fn serve(stream: impl Stream, answer: &[u8], told: mpsc::UnboundedSender<Request>, end: End) {
    let log = Log::default();
    let mut stream = Tap::new(stream, log.clone());
    let mut reader = Reader::new();
    let Ok(Some(head)) = reader.head(&mut stream).await else { return };
    let Ok((content, trailers)) = reader.content(&mut stream, h1::request_framing(&head)).await else { return };
    let _ = told.send(Request { message: Message { head, content, trailers }, bytes: log.bytes() });
    let _ = h1::write(&mut stream, answer).await;
    if end == End::Close {
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
    }
}
