//! The next hop: sends a permitted request to its origin over a pooled connection and gives the answer's head back.
//! Nothing is sent without a [`RequestPermit`].
//!
//! A client that speaks h2 gets an h2 connection where the origin has it, a client that speaks HTTP/1.1 gets its own
//! HTTP/1.1 connections: the least translation. No two tunnels share an h2 connection at a time, so that neither one
//! client's resets nor what it leaves unread hurt another's requests.

mod connect;
mod exceptions;
mod http1;
mod http2;
mod origin_content;
mod pool;
mod upstream;

use std::{sync::Arc, time::Instant};

use http::{HeaderValue, Method, Request, Response, Uri, Version, header, uri};
use hyper::{body::Body, client::conn::TrySendError};
use shared::{
    authority::{Authority, Host},
    routes::Scheme,
};
use thiserror::Error;

use self::{
    connect::Connector,
    http1::AnswerError,
    origin_content::Incoming,
    pool::{Key, Pools, Sender},
};
pub use self::{
    exceptions::{Exception, Exceptions},
    http2::Stream,
    origin_content::OriginContent,
    pool::REAP,
    upstream::{Inside, Upstream, UpstreamAddress, UpstreamError, credential as upstream_credential},
};
use crate::{
    content::Content,
    dial::{DialError, Dialer},
    policy::RequestPermit,
    record::Id,
    tls::anchors::Anchors,
    websocket::Handshake,
};

/// What is offered to an origin (RFC 7301), by what the client speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Offer {
    Http1,
    Http2,
}

impl Offer {
    fn for_client(version: Version) -> Self {
        if version == Version::HTTP_2 { Self::Http2 } else { Self::Http1 }
    }
}

/// The way to all origins.
pub struct NextHops {
    connector: Connector,
    pools: Arc<Pools>,
}

/// An answer whose head has come.
pub struct Answer {
    pub response: Response<OriginContent>,
    /// The address that was dialled.
    pub peer: Arc<str>,
    pub protocol: &'static str,
    /// Milliseconds to a new connection; `None` where a pooled one was used.
    pub connect_ms: Option<f64>,
}

impl NextHops {
    pub fn new(dialer: Dialer, upstream: Option<Upstream>, anchors: Anchors) -> Self {
        Self { connector: Connector::new(dialer, upstream, anchors), pools: Arc::default() }
    }

    /// What is offered to an origin for a client that speaks this version.
    pub fn offer(&self, authority: &Authority, version: Version) -> Offer {
        let for_client = Offer::for_client(version);
        self.connector.upstream(authority).map_or(for_client, |upstream| upstream.offer(for_client))
    }

    /// The proxy between us and origins.
    pub fn upstream(&self) -> Option<&Upstream> {
        self.connector.any_upstream()
    }

    /// Sends one request. What its connection took nothing of is sent again; an idempotent request whose content
    /// is in memory is sent once more, made by `again`, after a loss before the answer's first byte.
    ///
    /// # Errors
    /// No connection came about, or it was lost.
    pub async fn forward(
        &self,
        permit: &RequestPermit,
        mut request: Request<Content>,
        again: impl Fn(Content) -> Option<Request<Content>>,
        offer: Offer,
        tunnel: Option<Id>,
    ) -> Result<Answer, ForwardError> {
        let key = Key { authority: permit.authority().clone(), scheme: permit.scheme(), offer };
        let mut replays = u8::from(is_idempotent(request.method()));
        let mut lost = false;
        for attempt in 0_u8.. {
            // After a loss, and last of all, on no connection that was idle.
            let pooled = if lost || attempt == LAST { None } else { self.pools.take(&key, tunnel) };
            let (mut connection, connect_ms) = match pooled {
                Some(connection) => (connection, None),
                None => {
                    let started = Instant::now();
                    // Apart from the exchange's own state, which every request moves and this would make a hundred times as large.
                    let connection = Box::pin(self.connector.connect(permit, &key, tunnel, &self.pools)).await?;
                    (connection, Some(started.elapsed().as_secs_f64() * 1e3))
                }
            };
            address(&mut request, permit, &connection.sender);
            let replay = if replays > 0 { request.body().replay() } else { None };
            let sent = match &mut connection.sender {
                Sender::Http1(sender) => sender.exchange(request).await,
                Sender::Http2(sender) => sender
                    .send(request, &connection.users)
                    .await
                    .map(|answer| answer.map(Incoming::Http2))
                    .map_err(Lost::from),
            };
            let lost_one = match sent {
                Ok(response) => {
                    let (peer, protocol) = (connection.peer.clone(), connection.sender.protocol());
                    let lease = self.pools.lease(key, connection);
                    let response = response.map(|incoming| OriginContent::new(incoming, lease));
                    return Ok(Answer { response, peer, protocol, connect_ms });
                }
                Err(lost_one) => lost_one,
            };
            let next = match (lost_one.unsent, replay) {
                (Some(unsent), _) if attempt < LAST => Some(unsent),
                (None, Some(content)) if lost_one.is_of_connection => {
                    replays -= 1;
                    lost = true;
                    again(content)
                }
                _ => None,
            };
            request = next.ok_or(lost_one.error)?;
        }
        unreachable!("every path of the last attempt returns")
    }

    /// Drops pooled connections that have been idle for long; to be called every [`REAP`], for nothing else does.
    pub fn reap(&self) {
        self.pools.reap();
    }
}

/// A request without an answer.
struct Lost {
    error: ForwardError,
    /// It was lost with its connection or stream; nobody here is to blame.
    is_of_connection: bool,
    /// Nothing was sent of it.
    unsent: Option<Request<Content>>,
}

impl From<TrySendError<Request<Content>>> for Lost {
    fn from(mut error: TrySendError<Request<Content>>) -> Self {
        let (unsent, is_of_connection) = (error.take_message(), !error.error().is_user());
        Self { error: ForwardError::Exchange(error.into_error()), is_of_connection, unsent }
    }
}

impl From<AnswerError> for Lost {
    fn from(error: AnswerError) -> Self {
        Self { error: ForwardError::Answer(error), is_of_connection: true, unsent: None }
    }
}

impl From<ForwardError> for Lost {
    fn from(error: ForwardError) -> Self {
        Self { error, is_of_connection: false, unsent: None }
    }
}

impl From<http2::Lost> for Lost {
    fn from(http2::Lost { error, unsent }: http2::Lost) -> Self {
        let is_of_connection = error.is_io() || error.is_go_away() || error.is_reset();
        Self { error: ForwardError::Stream(error), is_of_connection, unsent }
    }
}

/// Writes the target and `Host` in the form that the connection's protocol wants.
fn address(request: &mut Request<Content>, permit: &RequestPermit, sender: &Sender) {
    let target = crate::target::path_and_query(request.uri());
    match sender {
        Sender::Http1(_) => {
            // One spelling: a server may take a trailing dot, say, for another site than the one that was judged.
            let named = request.headers().get(header::HOST);
            if !named.is_some_and(|named| is_plain(named.as_bytes(), permit.authority())) {
                let host = HeaderValue::from_str(&shown_authority(permit.authority(), permit.scheme()));
                if let Ok(host) = host {
                    request.headers_mut().insert(header::HOST, host);
                }
            }
            // Without this the HTTP library takes a GET whose content has no known length for one without content.
            if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
                let chunked = HeaderValue::from_static("chunked");
                request.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
            }
            if let Some(handshake) = request.extensions().get::<Handshake>().copied() {
                handshake.as_upgrade(request);
            }
            *request.version_mut() = Version::HTTP_11;
            *request.uri_mut() = Uri::from(target);
        }
        Sender::Http2(_) => {
            for name in [header::HOST, header::TRANSFER_ENCODING] {
                request.headers_mut().remove(name);
            }
            if let Some(handshake) = request.extensions().get::<Handshake>().copied() {
                handshake.as_connect(request);
            }
            *request.version_mut() = Version::HTTP_2;
            let mut parts = uri::Parts::default();
            parts.scheme = permit.scheme().name().parse().ok();
            let named = request.uri().authority();
            let named = named.filter(|named| is_plain(named.as_str().as_bytes(), permit.authority())).cloned();
            parts.authority = named.or_else(|| shown_authority(permit.authority(), permit.scheme()).parse().ok());
            parts.path_and_query = Some(target);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
}

/// Whether a `Host` or `:authority` that names this authority does so in its plain spelling.
fn is_plain(named: &[u8], authority: &Authority) -> bool {
    let Host::Name(name) = &authority.host else { return false };
    named.strip_prefix(name.as_bytes()).is_some_and(|port| matches!(port, [] | [b':', b'1'..=b'9', ..]))
}

/// An authority as `Host` shows it: without the scheme's own port.
fn shown_authority(authority: &Authority, scheme: Scheme) -> String {
    if authority.port == scheme.default_port() { authority.host.to_string() } else { authority.to_string() }
}

/// So often is sent again what was not sent.
const LAST: u8 = 3;

/// RFC 9110 §9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE)
}

/// Why no answer came.
#[derive(Debug, Error)]
pub enum ForwardError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the exchange with the origin failed")]
    Answer(#[source] AnswerError),
    #[error("the origin's certificate could not be verified")]
    Certificate { source: std::io::Error },
    #[error("the exchange with the origin failed")]
    Exchange(#[source] hyper::Error),
    #[error("the exchange with the origin failed")]
    Stream(#[source] h2::Error),
    #[error("the origin did not answer in time")]
    Silent,
    #[error("the origin does not speak HTTP")]
    Handshake(#[source] hyper::Error),
    #[error("`{0}` cannot be a TLS server name")]
    Name(String),
    #[error("TLS could not be agreed on with the origin")]
    Tls { source: std::io::Error },
    #[error("{0} did not finish its TLS handshake in time")]
    TlsTimeout(Authority),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("the origin switched protocols without being asked on this connection")]
    Upgrade,
    #[error("the origin did not open the WebSocket as it should: {0}")]
    WebSocket(&'static str),
}
