//! Podman's own API, which it serves beside Docker's on the same socket, for the one thing that Docker's cannot tell it: a
//! network on which the host has no address. Knows nothing of containers, and never speaks to an engine that is not Podman.

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::Labels;

/// Creates a bridge of its members only. Without a resolver of Podman's on it, it has no gateway either.
pub(super) async fn create_closed_network(address: &str, network: &str, labels: &Labels) -> Result<(), PodmanError> {
    let wanted = json!({
        "name": network,
        "driver": "bridge",
        "internal": true,
        "dns_enabled": false,
        "ipv6_enabled": false,
        "labels": labels,
    });
    match address.split_once("://") {
        Some(("unix", path)) => post(UnixStream::connect(path).await?, CREATE_NETWORK, wanted.to_string()).await,
        Some((_, host)) => post(TcpStream::connect(host).await?, CREATE_NETWORK, wanted.to_string()).await,
        None => Err(PodmanError::NotPodman),
    }
}

async fn post(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    content: String,
) -> Result<(), PodmanError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the answer: the sender is dropped then.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, "podman")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(bytes::Bytes::from(content)))?;
    let answer = sender.send_request(request).await?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        StatusCode::NOT_FOUND => Err(PodmanError::NotPodman),
        status => {
            let words = answer.into_body().collect().await?.to_bytes();
            Err(PodmanError::Refused { status, words: String::from_utf8_lossy(&words).trim().to_owned() })
        }
    }
}

/// Why Podman did not do it.
#[derive(Debug, Error)]
pub enum PodmanError {
    #[error("the engine is neither Docker nor Podman 4")]
    NotPodman,
    #[error("the engine cannot be reached")]
    Connect(#[from] std::io::Error),
    #[error("the engine's answer breaks off")]
    Answer(#[from] hyper::Error),
    #[error("no such request can be made")]
    Request(#[from] http::Error),
    #[error("{status}: {words}")]
    Refused { status: StatusCode, words: String },
}

const CREATE_NETWORK: &str = "/v4.0.0/libpod/networks/create";
