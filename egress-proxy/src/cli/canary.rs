//! `egress-proxy canary`: sends a made-up key through a running proxy, as a client would, once it is ready, and says whether it
//! was refused by the scan. Whatever else happens to it is a failure: a guard that is silent is no guard.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use shared::authority::Authority;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{REFUSED, healthcheck::HealthcheckArgs, tell};
use crate::{dial, tls};

/// Send a made-up key through a running proxy once it is ready; its scan must refuse it.
#[derive(Debug, Args)]
pub struct CanaryArgs {
    /// The proxy's listener.
    #[arg(long, value_name = "ADDR")]
    proxy: SocketAddr,
    /// The certificate of the proxy's authority, as PEM text.
    #[arg(long, value_name = "PEM")]
    ca: String,
    #[arg(long, default_value = "GET")]
    method: Method,
    #[command(flatten)]
    health: HealthcheckArgs,
    /// A URL that the table grants; its origin never hears of it.
    url: Uri,
}

pub fn run(args: &CanaryArgs) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        args.health.ready().await?;
        match timeout(DEADLINE, sent(args)).await.context("the proxy does not answer").flatten() {
            Ok(()) => Ok(0),
            Err(unproved) => {
                tell(&unproved);
                Ok(REFUSED)
            }
        }
    })
}

/// Returns when the key has been sent and was refused.
async fn sent(args: &CanaryArgs) -> anyhow::Result<()> {
    let (status, text) = send(args).await?;
    let is_refused = status == StatusCode::FORBIDDEN && text.starts_with(REFUSAL);
    anyhow::ensure!(
        is_refused,
        "a made-up key was not refused by the scan, but answered with {status}: {}",
        text.trim()
    );
    Ok(())
}

/// The status and the first words of the answer.
async fn send(args: &CanaryArgs) -> anyhow::Result<(StatusCode, String)> {
    let host = args.url.host().context("the URL has no host")?;
    let authority = Authority::parse(args.url.authority().map_or(host, |authority| authority.as_str()), 443)?;
    let stream = dial::configured(&args.proxy.ip().to_string(), args.proxy.port(), DEADLINE).await?;
    let stream = encrypted(opened(stream, &authority).await?, host, &args.ca).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let path = args.url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::builder().method(&args.method).uri(path).header("host", authority.to_string());
    let response = sender.send_request(request.header(FIELD, made_up_key()).body(Empty::<Bytes>::new())?).await?;
    let status = response.status();
    let text = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
    let text = text.map(|text| text.to_bytes()).unwrap_or_default();
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}

/// A tunnel to the authority.
async fn opened(mut stream: TcpStream, authority: &Authority) -> anyhow::Result<TcpStream> {
    stream.write_all(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST_ANSWER {
        head.push(stream.read_u8().await.context("the proxy closed the connection")?);
    }
    let line = String::from_utf8_lossy(&head);
    let line = line.lines().next().unwrap_or_default();
    anyhow::ensure!(line.starts_with("HTTP/1.1 200"), "the proxy opens no tunnel: {line}");
    Ok(stream)
}

/// TLS with the proxy, which must show a leaf of its own authority for the host.
async fn encrypted(stream: TcpStream, host: &str, ca: &str) -> anyhow::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).context("`--ca` is no certificate")?)?;
    let builder = ClientConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions()?;
    let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
    TlsConnector::from(config).connect(name, stream).await.context("the proxy's certificate does not convince")
}

/// Put together here, so that no search for keys finds one in this program or its source.
fn made_up_key() -> String {
    ["AKIA", "QYLPMN5H", "FIQR7XYA"].concat()
}

const FIELD: &str = "x-canary";

/// How the scan's refusal begins.
const REFUSAL: &str = "blocked by scan";

const DEADLINE: Duration = Duration::from_secs(10);
const LONGEST_ANSWER: usize = 64 << 10;
