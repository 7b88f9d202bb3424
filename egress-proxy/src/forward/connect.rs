//! A new connection to an origin: dial or ask an upstream proxy, TLS with full verification, HTTP handshake. A tunnel's h2
//! connection is opened under single flight.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustls::pki_types::{DnsName, ServerName};
use shared::{
    authority::{Authority, Host},
    routes::Scheme,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    ForwardError, Offer,
    http1::{Http1, Stream},
    http2::Http2,
    pool::{Connection, Key, Pools, Sender},
    upstream::{TUNNEL_AGE, Upstream},
};
use crate::{
    dial::Dialer,
    policy::RequestPermit,
    record::Id,
    socket::{ORIGIN_UNSENT, Socket},
    tls::anchors::Anchors,
};

/// How long an origin may take over its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Opens connections.
pub struct Connector {
    dialer: Dialer,
    upstream: Option<Upstream>,
    anchors: Anchors,
    opening: Mutex<HashMap<Flight, Arc<tokio::sync::Mutex<()>>>>,
}

/// Which h2 connection is being opened.
type Flight = (Key, Option<Id>);

/// A place in the row for an h2 connection; the last one to leave closes the row.
struct Opening<'c> {
    connector: &'c Connector,
    flight: Flight,
    row: Arc<tokio::sync::Mutex<()>>,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut opening = self.connector.opening.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's and ours.
        if Arc::strong_count(&self.row) == 2 {
            opening.remove(&self.flight);
        }
    }
}

impl Connector {
    pub fn new(dialer: Dialer, upstream: Option<Upstream>, anchors: Anchors) -> Self {
        Self { dialer, upstream, anchors, opening: Mutex::default() }
    }

    /// The proxy on the way to this origin.
    pub fn upstream(&self, authority: &Authority) -> Option<&Upstream> {
        self.upstream.as_ref().filter(|upstream| upstream.covers(authority))
    }

    /// The proxy on the way to origins that are no exceptions.
    pub fn any_upstream(&self) -> Option<&Upstream> {
        self.upstream.as_ref()
    }

    /// Opens a connection for one request.
    ///
    /// # Errors
    /// The stage that failed.
    pub async fn connect(
        &self,
        permit: &RequestPermit,
        key: &Key,
        tunnel: Option<Id>,
        pools: &Arc<Pools>,
    ) -> Result<Connection, ForwardError> {
        if key.scheme == Scheme::Http {
            let stream = self.stream(permit).await?;
            let peer = peer(&stream);
            return Ok(self.connection(permit, http1(stream, false), peer));
        }
        if key.offer == Offer::Http1 {
            return match self.secured(permit, Offer::Http1).await {
                // The origin speaks h2 alone (RFC 7301 §3.2).
                Err(ForwardError::Tls { source }) if is_no_protocol(&source) => {
                    let (stream, peer) = self.secured(permit, Offer::Http2).await?;
                    Ok(self.connection(permit, negotiated(stream).await?, peer))
                }
                Err(error) => Err(error),
                Ok((stream, peer)) => Ok(self.connection(permit, http1(stream, true), peer)),
            };
        }
        let opening = self.opening((key.clone(), tunnel));
        let _first = opening.row.lock().await;
        if let Some(connection) = pools.take(key, tunnel) {
            return Ok(connection);
        }
        let (stream, peer) = self.secured(permit, Offer::Http2).await?;
        let connection = self.connection(permit, negotiated(stream).await?, peer);
        pools.share(key, tunnel, &connection);
        Ok(connection)
    }

    fn opening(&self, flight: Flight) -> Opening<'_> {
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let row = opening.entry(flight.clone()).or_default().clone();
        Opening { connector: self, flight, row }
    }

    fn connection(&self, permit: &RequestPermit, sender: Sender, peer: Arc<str>) -> Connection {
        let expires = self.upstream(permit.authority()).map(|_| Instant::now() + TUNNEL_AGE);
        Connection { sender, peer, expires, users: Arc::default() }
    }

    async fn stream(&self, permit: &RequestPermit) -> Result<TcpStream, ForwardError> {
        match self.upstream(permit.authority()) {
            Some(upstream) => Ok(upstream.tunnel(&self.dialer, permit).await?),
            None => Ok(self.dialer.origin(permit).await?),
        }
    }

    async fn secured(
        &self,
        permit: &RequestPermit,
        offer: Offer,
    ) -> Result<(TlsStream<Socket>, Arc<str>), ForwardError> {
        let authority: &Authority = permit.authority();
        let name = server_name(&authority.host)?;
        let stream = self.stream(permit).await?;
        let peer = peer(&stream);
        let config = match offer {
            Offer::Http1 => &self.anchors.h1,
            Offer::Http2 => &self.anchors.h2,
        };
        let handshake = TlsConnector::from(config.clone()).connect(name, Socket::holding(stream));
        let stream = timeout(HANDSHAKE, handshake).await.map_err(|_| ForwardError::TlsTimeout(authority.clone()))?;
        let failed = |source: std::io::Error| match rustls_error(&source) {
            Some(rustls::Error::InvalidCertificate(_)) => ForwardError::Certificate { source },
            _ => ForwardError::Tls { source },
        };
        let mut stream = stream.map_err(failed)?;
        let (socket, session) = stream.get_mut();
        socket.release();
        session.set_buffer_limit(Some(ORIGIN_UNSENT));
        Ok((stream, peer))
    }
}

async fn negotiated(stream: TlsStream<Socket>) -> Result<Sender, ForwardError> {
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Ok(http1(stream, true));
    }
    Http2::new(stream).await.map(Sender::Http2).map_err(ForwardError::Stream)
}

fn http1(stream: impl Stream + 'static, is_held: bool) -> Sender {
    Sender::Http1(Http1::new(Box::new(stream), is_held))
}

fn server_name(host: &Host) -> Result<ServerName<'static>, ForwardError> {
    match host {
        Host::Ip(address) => Ok(ServerName::from(*address)),
        Host::Name(name) => DnsName::try_from(name.to_string())
            .map(ServerName::DnsName)
            .map_err(|_| ForwardError::Name(name.to_string())),
    }
}

fn is_no_protocol(error: &std::io::Error) -> bool {
    let alert = rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol);
    rustls_error(error).is_some_and(|error| *error == alert)
}

fn rustls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// In words at once: every exchange on the connection records it.
fn peer(stream: &TcpStream) -> Arc<str> {
    stream.peer_addr().map(|address| address.to_string()).unwrap_or_default().into()
}
