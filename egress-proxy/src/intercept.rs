//! Ends the client's TLS inside a tunnel: reads its ClientHello, compares the SNI with the tunnel's authority, completes
//! the handshake with that authority's leaf. Never looks at HTTP.

use std::time::Duration;

use rustls::server::Acceptor;
use shared::authority::Host;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{
    policy::ConnectPermit,
    tls::leaves::{Leaves, MintError},
};

/// Completes the handshake within `limit`.
///
/// # Errors
/// The client speaks no TLS, names another host, does not trust the leaf, or is too slow.
pub async fn intercept<S>(
    leaves: &Leaves,
    permit: &ConnectPermit,
    stream: S,
    limit: Duration,
) -> Result<TlsStream<S>, InterceptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    timeout(limit, handshake(leaves, permit, stream)).await.map_err(|_| InterceptError::Timeout)?
}

async fn handshake<S>(leaves: &Leaves, permit: &ConnectPermit, stream: S) -> Result<TlsStream<S>, InterceptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let host = &permit.authority().host;
    // Minted while the client reads its 200 and makes its ClientHello.
    let config = leaves.config(host, permit.listing());
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(InterceptError::Hello)?;
    // No SNI is allowed (RFC 6066 §3: literal addresses never have one): the authority of the tunnel stands.
    let named = hello.client_hello().server_name().map(str::to_owned);
    if let Some(name) = named.filter(|name| !name.parse::<Host>().is_ok_and(|name| name == *host)) {
        // The refusal's configuration has no leaf, so that the handshake ends with an alert.
        let _refused = hello.into_stream(leaves.refusal()).await;
        return Err(InterceptError::OtherName { sni: name.chars().take(253).collect() });
    }
    hello.into_stream(config?).await.map_err(InterceptError::Handshake)
}

/// Why a tunnel could not be intercepted.
#[derive(Debug, Error)]
pub enum InterceptError {
    #[error("the TLS handshake failed (does the client trust the bottle's authority?)")]
    Handshake(#[source] std::io::Error),
    #[error("the tunnel does not begin with a TLS ClientHello")]
    Hello(#[source] std::io::Error),
    #[error(transparent)]
    Mint(#[from] MintError),
    #[error("the SNI `{sni}` is not the tunnel's host")]
    OtherName { sni: String },
    #[error("the client did not finish its TLS handshake in time")]
    Timeout,
}

impl InterceptError {
    /// A fixed word for the record.
    pub fn token(&self) -> &'static str {
        match self {
            Self::Handshake(_) => "tls_handshake",
            Self::Hello(_) => "tls_hello",
            Self::Mint(_) => "mint",
            Self::OtherName { .. } => "sni_mismatch",
            Self::Timeout => "tls_timeout",
        }
    }
}
