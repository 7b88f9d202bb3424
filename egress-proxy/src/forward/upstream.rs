//! The way to origins through an HTTP proxy of the operator's (`--upstream`): a tunnel by CONNECT (RFC 9110 §9.3.6) for
//! each connection. The proxy is told the authority and its own credential, and nothing of any request.
//!
//! It resolves names by itself, so that addresses are checked here only where a request names one.

use std::{path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use shared::{
    authority::Authority,
    routes::{Auth, AuthScheme, CredentialSource},
};
use thiserror::Error;
use tokio::{net::TcpStream, time::timeout};

use super::{Offer, exceptions::Exceptions};
use crate::{
    credentials::{Credential, CredentialError, SecretStore},
    dial::{self, DialError, Dialer},
    policy::RequestPermit,
};

/// The most that the proxy's answer to a CONNECT may take, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Where the proxy is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamAddress {
    pub host: String,
    pub port: u16,
}

/// What is spoken inside tunnels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Inside {
    AsTheClient,
    /// With a proxy that intercepts: there are some whose HTTP/1.1 ends after one exchange.
    Http2,
}

/// How long a tunnel takes new exchanges: such proxies end one after 300 s, streams in flight too.
pub const TUNNEL_AGE: Duration = Duration::from_secs(240);

/// An HTTP proxy between us and origins.
pub struct Upstream {
    address: UpstreamAddress,
    exceptions: Exceptions,
    inside: Inside,
    /// `Proxy-Authorization`, marked sensitive.
    credential: ArcSwapOption<HeaderValue>,
    limit: Duration,
}

impl Upstream {
    /// `limit` holds for the connection and again for the answer.
    pub fn new(address: UpstreamAddress, exceptions: Exceptions, inside: Inside, limit: Duration) -> Self {
        Self { address, exceptions, inside, credential: ArcSwapOption::empty(), limit }
    }

    /// What is offered inside a tunnel.
    pub fn offer(&self, for_client: Offer) -> Offer {
        match self.inside {
            Inside::AsTheClient => for_client,
            Inside::Http2 => Offer::Http2,
        }
    }

    /// What is sent to the proxy from now on.
    pub fn renew(&self, credential: Option<HeaderValue>) {
        self.credential.store(credential.map(Arc::new));
    }

    /// Whether an origin is reached through the proxy.
    pub fn covers(&self, authority: &Authority) -> bool {
        !self.exceptions.cover(authority)
    }

    /// A tunnel to the permit's authority.
    ///
    /// # Errors
    /// The address may not be dialled, or whatever kept the proxy from a tunnel.
    pub async fn tunnel(&self, dialer: &Dialer, permit: &RequestPermit) -> Result<TcpStream, UpstreamError> {
        dialer.admit_literal(permit)?;
        let UpstreamAddress { host, port } = &self.address;
        let stream = dial::configured(host, *port, self.limit).await.map_err(UpstreamError::Unreachable)?;
        let asking = self.connect(stream, permit.authority());
        timeout(self.limit, asking).await.map_err(|_| UpstreamError::Timeout)?
    }

    async fn connect(&self, stream: TcpStream, authority: &Authority) -> Result<TcpStream, UpstreamError> {
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(UpstreamError::Answer)?;
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::connect(authority.to_string()).body(Empty::<Bytes>::new());
        if let Ok(request) = &mut request {
            let fields = request.headers_mut();
            fields.extend(HeaderValue::from_str(&authority.to_string()).map(|host| (header::HOST, host)));
            if let Some(credential) = &*self.credential.load() {
                fields.insert(header::PROXY_AUTHORIZATION, (**credential).clone());
            }
        }
        let request = request.map_err(|_| UpstreamError::Garbage)?;
        let response = sender.send_request(request).await.map_err(UpstreamError::Answer)?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => return Err(UpstreamError::Credential),
            status => return Err(UpstreamError::Refused { authority: authority.clone(), status }),
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(UpstreamError::Answer)?;
        let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| UpstreamError::Garbage)?;
        // Nobody has asked anything inside yet.
        if parts.read_buf.is_empty() { Ok(parts.io.into_inner()) } else { Err(UpstreamError::Garbage) }
    }
}

/// The field value for the proxy's credential, where there is one: `user:password` in a file, or under this name.
///
/// # Errors
/// There is one, and it cannot be used.
pub fn credential(
    store: &SecretStore,
    file: Option<&Path>,
    variable: &str,
) -> Result<Option<HeaderValue>, CredentialError> {
    let source = match file {
        Some(file) => CredentialSource::File(file.to_owned()),
        None => CredentialSource::Env(variable.to_owned()),
    };
    let auth = Auth { scheme: AuthScheme::Basic { username: None }, source, placeholder: None };
    match Credential::resolve(&auth, store) {
        Err(CredentialError::Missing(_)) => Ok(None),
        resolved => Ok(resolved?.field_value().cloned()),
    }
}

/// Why there is no tunnel.
#[derive(Debug, Error)]
pub enum UpstreamError {
    #[error("the upstream proxy's answer to CONNECT could not be read")]
    Answer(#[source] hyper::Error),
    #[error("the upstream proxy wants a credential, or another one (407)")]
    Credential,
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the upstream proxy answered CONNECT with something else than an answer")]
    Garbage,
    #[error("the upstream proxy refuses to connect to {authority} ({})", status.as_u16())]
    Refused { authority: Authority, status: StatusCode },
    #[error("the upstream proxy did not answer CONNECT in time")]
    Timeout,
    #[error("the upstream proxy cannot be reached")]
    Unreachable(#[source] std::io::Error),
}
