//! Clients of the proxy: HTTP/1.1 and HTTP/2 through CONNECT, plain HTTP in absolute form, WebSockets, and bytes.
//!
//! Nothing is corrected on the way: a test that wants a wrong request can send it.

mod frames;
mod raw;
mod web_socket;

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::h1::{self, Message, Reader};
use crate::origin::{Content, full};
use crate::{pki, within};

pub use frames::{Ending, Field, Frames};
pub use raw::RawConnection;
pub use web_socket::WebSocket;

/// Anything that ended an exchange without an answer.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a client negotiates inside a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    H1,
    H2,
}

impl Protocol {
    fn alpn(self) -> &'static [&'static str] {
        match self {
            Self::H1 => &["http/1.1"],
            Self::H2 => &["h2"],
        }
    }
}

/// A client that uses one proxy and trusts one file of anchors.
#[derive(Debug, Clone)]
pub struct Client {
    proxy: SocketAddr,
    trust: String,
    protocol: Protocol,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub version: Version,
    pub fields: HeaderMap,
    pub content: Bytes,
    pub trailers: HeaderMap,
}

impl Answer {
    /// Reads an answer to its end.
    pub async fn read(response: Response<Incoming>) -> Result<Self, Failure> {
        let (parts, body) = response.into_parts();
        let collected = within("the end of an answer", body.collect()).await?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let content = collected.to_bytes();
        Ok(Self { status: parts.status, version: parts.version, fields: parts.headers, content, trailers })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.content).unwrap_or_else(|e| panic!("{e}: `{}`", self.text()))
    }

    /// A field as text, empty when it is not there.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Fails unless the status is this one and the content says all of this.
    #[track_caller]
    pub fn says(&self, status: u16, words: &[&str]) {
        assert_eq!(self.status.as_u16(), status, "`{}`", self.text());
        for word in words {
            assert!(self.text().contains(word), "no `{word}` in `{}`", self.text());
        }
    }
}

impl Client {
    pub fn new(proxy: SocketAddr, trust: impl Into<String>) -> Self {
        Self { proxy, trust: trust.into(), protocol: Protocol::H1 }
    }

    /// The same client with another protocol inside its tunnels.
    pub fn speaking(&self, protocol: Protocol) -> Self {
        Self { protocol, ..self.clone() }
    }

    pub fn h2(&self) -> Self {
        self.speaking(Protocol::H2)
    }

    /// One GET on a connection of its own.
    pub async fn get(&self, url: &str) -> Answer {
        self.send(get(url)).await
    }

    /// One exchange on a connection of its own.
    pub async fn send(&self, request: Request<Content>) -> Answer {
        self.try_send(request).await.unwrap_or_else(|e| panic!("no answer: {e}"))
    }

    /// One exchange on a connection of its own, which may fail.
    pub async fn try_send(&self, request: Request<Content>) -> Result<Answer, Failure> {
        Answer::read(self.open(request).await?).await
    }

    /// The head of an answer whose content is read as it comes.
    pub async fn open(&self, request: Request<Content>) -> Result<Response<Incoming>, Failure> {
        let mut session = match request.uri().scheme_str() {
            Some("https") => self.session(&authority_of(request.uri())).await?,
            _ => self.plain().await?,
        };
        session.open(request).await
    }

    /// A tunnel with TLS and HTTP in it, for several exchanges.
    pub async fn session(&self, authority: &str) -> Result<Session, Failure> {
        let stream = self.tls(authority, Some(host_of(authority))).await?;
        Session::over(TokioIo::new(stream), self.protocol, Form::Origin).await
    }

    /// A connection for plain HTTP in absolute form.
    pub async fn plain(&self) -> Result<Session, Failure> {
        let stream = TcpStream::connect(self.proxy).await?;
        Session::over(TokioIo::new(stream), Protocol::H1, Form::Absolute).await
    }

    /// The answer to a CONNECT, and the connection it came on.
    pub async fn connect(&self, authority: &str) -> Result<(Message, TcpStream), Failure> {
        let mut stream = TcpStream::connect(self.proxy).await?;
        stream.set_nodelay(true)?;
        let connect = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        h1::write(&mut stream, connect.as_bytes()).await?;
        let mut reader = Reader::new();
        let head = within("the answer to a CONNECT", reader.head(&mut stream)).await?;
        let head = head.ok_or("closed instead of an answer to CONNECT")?;
        let content = match head.status() {
            200 => Vec::new(),
            _ => reader.content(&mut stream, h1::answer_framing(&head, "CONNECT")).await?.0,
        };
        Ok((Message { head, content, trailers: Vec::new() }, stream))
    }

    /// A tunnel with nothing in it yet.
    pub async fn tunnel(&self, authority: &str) -> Result<TcpStream, Failure> {
        let (answer, stream) = self.connect(authority).await?;
        match answer.head.status() {
            200 => Ok(stream),
            _ => Err(format!("{}: {}", answer.head.start, answer.text()).into()),
        }
    }

    /// TLS inside a tunnel, with the server name as chosen (none: the extension is left out).
    pub async fn tls(&self, authority: &str, sni: Option<&str>) -> Result<TlsStream<TcpStream>, Failure> {
        let stream = self.tunnel(authority).await?;
        let mut config = (*pki::client(&self.trust, self.protocol.alpn())).clone();
        config.enable_sni = sni.is_some();
        let name = ServerName::try_from(sni.unwrap_or(host_of(authority)).to_owned())?;
        let connecting = TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream);
        Ok(within("a TLS handshake", connecting).await?)
    }

    /// Bytes to the proxy itself.
    pub async fn raw(&self) -> RawConnection {
        RawConnection::new(TcpStream::connect(self.proxy).await.expect("the proxy accepts"))
    }

    /// Bytes inside a tunnel's TLS.
    pub async fn raw_inside(&self, authority: &str) -> RawConnection {
        let stream = self.tls(authority, Some(host_of(authority))).await;
        RawConnection::new(stream.unwrap_or_else(|e| panic!("no TLS in the tunnel: {e}")))
    }
}

/// How the target of a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Origin,
    Absolute,
}

/// One HTTP connection.
pub struct Session {
    sender: Sender,
    form: Form,
}

enum Sender {
    H1(http1::SendRequest<Content>),
    H2(http2::SendRequest<Content>),
}

impl Session {
    async fn over<S>(stream: TokioIo<S>, protocol: Protocol, form: Form) -> Result<Self, Failure>
    where
        S: h1::Stream + 'static,
    {
        let sender = match protocol {
            Protocol::H1 => {
                let (sender, connection) = http1::Builder::new().max_buf_size(256 * 1024).handshake(stream).await?;
                tokio::spawn(connection.with_upgrades());
                Sender::H1(sender)
            }
            Protocol::H2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
                tokio::spawn(connection);
                Sender::H2(sender)
            }
        };
        Ok(Self { sender, form })
    }

    /// One exchange.
    pub async fn send(&mut self, request: Request<Content>) -> Result<Answer, Failure> {
        Answer::read(self.open(request).await?).await
    }

    /// Exchanges that are all under way at once, each a stream of the one h2 connection.
    pub async fn send_all(
        &mut self,
        requests: impl IntoIterator<Item = Request<Content>>,
    ) -> Vec<Result<Answer, Failure>> {
        let Sender::H2(sender) = &self.sender else { panic!("HTTP/1.1 has one exchange at a time") };
        let exchanges = requests.into_iter().map(|request| {
            let mut sender = sender.clone();
            async move {
                sender.ready().await?;
                Answer::read(within("an answer's head", sender.send_request(request)).await?).await
            }
        });
        futures_util::future::join_all(exchanges).await
    }

    /// The head of an answer.
    pub async fn open(&mut self, mut request: Request<Content>) -> Result<Response<Incoming>, Failure> {
        let answering = match &mut self.sender {
            Sender::H1(sender) => {
                write_h1_target(&mut request, self.form);
                sender.ready().await?;
                within("an answer's head", sender.send_request(request)).await
            }
            Sender::H2(sender) => {
                sender.ready().await?;
                within("an answer's head", sender.send_request(request)).await
            }
        };
        Ok(answering?)
    }
}

/// A GET.
pub fn get(url: &str) -> Request<Content> {
    Request::get(url).body(full("")).expect("a request")
}

/// A POST.
pub fn post(url: &str, content: impl Into<Bytes>) -> Request<Content> {
    Request::post(url).body(full(content)).expect("a request")
}

/// The same request with one more field.
pub fn with(mut request: Request<Content>, name: &'static str, value: &str) -> Request<Content> {
    let value = HeaderValue::from_bytes(value.as_bytes()).expect("a field value");
    request.headers_mut().append(name, value);
    request
}

fn write_h1_target(request: &mut Request<Content>, form: Form) {
    let authority = request.uri().authority().map(ToString::to_string);
    if let (false, Some(authority)) = (request.headers().contains_key(HOST), authority) {
        let host = HeaderValue::from_str(&authority).expect("an authority");
        request.headers_mut().insert(HOST, host);
    }
    if form == Form::Origin {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        *request.uri_mut() = target.parse().expect("a target");
    }
}

fn authority_of(uri: &Uri) -> String {
    let authority = uri.authority().unwrap_or_else(|| panic!("no authority in `{uri}`"));
    match authority.port() {
        Some(_) => authority.to_string(),
        None => format!("{authority}:443"),
    }
}

fn host_of(authority: &str) -> &str {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}
