//! Real origin servers: TLS or clear, HTTP/1.1 or HTTP/2, with routes that tests need and a memory of what came.
//!
//! They listen on loopback; names below `localhost` lead there without any set-up (RFC 6761 section 6.3).

pub mod raw;
mod routes;
mod seen;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::h1::Stream;
use crate::pki::Pki;
use crate::tap::{Log, Tap};
use crate::within;

pub use seen::{Arrival, End, Seen};

/// Content of an answer.
pub type Content = UnsyncBoxBody<Bytes, std::io::Error>;

/// What answers requests.
pub type Handler = Arc<dyn Fn(Request<Incoming>, Arc<Site>) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = Response<Content>> + Send>>;

/// What every connection of an origin shares with the test.
pub struct Site {
    pub seen: Seen,
    feed: Mutex<mpsc::UnboundedReceiver<Fed>>,
}

/// One step of a stream that the test controls.
enum Fed {
    Bytes(Bytes),
    End,
}

/// A server that runs until it is dropped.
pub struct Origin {
    name: String,
    scheme: &'static str,
    address: SocketAddr,
    site: Arc<Site>,
    feed: mpsc::UnboundedSender<Fed>,
    accepting: JoinHandle<()>,
}

/// An origin that does not listen yet.
pub struct Opening {
    name: String,
    bind: IpAddr,
    tls: Option<Arc<ServerConfig>>,
    handler: Handler,
}

impl Origin {
    /// HTTPS for one name (or address), HTTP/2 and HTTP/1.1 as the client prefers.
    pub async fn https(pki: &Pki, name: &str) -> Self {
        Self::opening(name).tls(pki.server(&[bare(name)], &["h2", "http/1.1"])).start().await
    }

    /// HTTPS, HTTP/1.1 only.
    pub async fn https_h1(pki: &Pki, name: &str) -> Self {
        Self::opening(name).tls(pki.server(&[bare(name)], &["http/1.1"])).start().await
    }

    /// HTTPS, HTTP/2 only.
    pub async fn https_h2(pki: &Pki, name: &str) -> Self {
        Self::opening(name).tls(pki.server(&[bare(name)], &["h2"])).start().await
    }

    /// Plain HTTP.
    pub async fn http(name: &str) -> Self {
        Self::opening(name).start().await
    }

    /// Everything that can be chosen.
    pub fn opening(name: &str) -> Opening {
        let handler: Handler = Arc::new(|request, site| Box::pin(routes::answer(request, site)));
        let bind = if name.starts_with('[') { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        Opening { name: name.to_owned(), bind, tls: None, handler }
    }

    /// `NAME:PORT`.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.name, self.address.port())
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path here.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.authority())
    }

    /// What came in.
    pub fn seen(&self) -> &Seen {
        &self.site.seen
    }

    /// The next request that has not been asked for yet; its content may still be coming.
    pub async fn next_arrival(&self) -> Arrival {
        within("a request at the origin", self.site.seen.next()).await
    }

    /// Everything that clients sent, TLS taken off, one log per connection.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.site.seen.received()
    }

    /// Fails when so much as a connection was made.
    #[track_caller]
    pub fn saw_nothing(&self) {
        let connections = self.site.seen.connections();
        assert_eq!(connections, 0, "{} was connected to: {:?}", self.name, self.site.seen.arrivals());
    }

    /// Fails when any request arrived; connections without one are allowed.
    #[track_caller]
    pub fn saw_no_request(&self) {
        let arrivals = self.site.seen.arrivals();
        assert!(arrivals.is_empty(), "{} was asked: {arrivals:?}", self.name);
    }

    /// Sends bytes on the `/feed` that is open, or will be.
    pub fn feed(&self, bytes: impl Into<Bytes>) {
        self.feed.send(Fed::Bytes(bytes.into())).expect("the origin runs");
    }

    /// Ends that `/feed` cleanly.
    pub fn end_feed(&self) {
        self.feed.send(Fed::End).expect("the origin runs");
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Opening {
    /// Listens on this address of the machine, where containers find it.
    pub fn on(mut self, address: IpAddr) -> Self {
        self.bind = address;
        self
    }

    pub fn tls(mut self, config: Arc<ServerConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// Answers in the test's own way; what comes is still remembered.
    pub fn answering<F, A>(mut self, answer: F) -> Self
    where
        F: Fn(Request<Incoming>, Arc<Site>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<Content>> + Send + 'static,
    {
        self.handler = Arc::new(move |request, site| Box::pin(answer(request, site)));
        self
    }

    pub async fn start(self) -> Origin {
        let listener = TcpListener::bind((self.bind, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let (feed, fed) = mpsc::unbounded_channel();
        let site = Arc::new(Site { seen: Seen::default(), feed: Mutex::new(fed) });
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let accepting = tokio::spawn(accept(listener, self.tls, self.handler, Arc::clone(&site)));
        Origin { name: self.name, scheme, address, site, feed, accepting }
    }
}

/// Whole content.
pub fn full(bytes: impl Into<Bytes>) -> Content {
    http_body_util::Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

async fn accept(listener: TcpListener, tls: Option<Arc<ServerConfig>>, handler: Handler, site: Arc<Site>) {
    while let Ok((stream, _)) = listener.accept().await {
        let received = site.seen.connected();
        tokio::spawn(connection(stream, tls.clone(), Arc::clone(&handler), Arc::clone(&site), received));
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    handler: Handler,
    site: Arc<Site>,
    received: Log,
) {
    let _ = stream.set_nodelay(true);
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(tls) => match TlsAcceptor::from(tls).accept(stream).await {
            Ok(stream) => Box::new(stream),
            Err(_) => return,
        },
    };
    let service = service_fn(move |request| {
        let answering = handler(request, Arc::clone(&site));
        async move { Ok::<_, std::convert::Infallible>(answering.await) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().preserve_header_case(true).max_buf_size(256 * 1024);
    server.http2().enable_connect_protocol().max_header_list_size(256 * 1024);
    // A client that breaks off is what some tests are about.
    let _ = server.serve_connection_with_upgrades(TokioIo::new(Tap::new(stream, received)), service).await;
}

fn bare(name: &str) -> &str {
    name.trim_start_matches('[').trim_end_matches(']')
}
