//! The demo's origin server: HTTPS with a CA of its own. It answers whoever brings the right credential and says on stderr
//! what it saw of each request. `demo-origin ADDRESS:PORT FOLDER` keeps its CA in FOLDER, so that the next demo finds the
//! same (`origin-ca.pem`, and the key beside it), writes its own port to stdout (port 0 takes a free one), and serves until it is
//! killed. `DEMO_TOKEN` is the credential.

#![allow(clippy::print_stdout, clippy::print_stderr)] // telling is what it is for

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use shared::issuer::CertificateAuthority;
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr = arguments.next().context("no ADDRESS:PORT")?.parse()?;
    let folder = PathBuf::from(arguments.next().context("no FOLDER")?);
    let credential: Arc<str> = format!("Bearer {}", std::env::var("DEMO_TOKEN").context("no DEMO_TOKEN")?).into();

    let authority = authority(&folder).with_context(|| format!("cannot keep a CA in {}", folder.display()))?;
    let acceptor = acceptor(&authority, address)?;
    let listener = TcpListener::bind(address).await.with_context(|| address.to_string())?;
    println!("{}", listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, credential) = (acceptor.clone(), credential.clone());
        tokio::spawn(async move {
            // Who comes without TLS, or leaves early, has nothing to be told.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(|request| answer(request, credential.clone()));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn authority(folder: &Path) -> anyhow::Result<CertificateAuthority> {
    let (cert_file, key_file) = (folder.join("origin-ca.pem"), folder.join("origin-ca-key.pem"));
    let now = OffsetDateTime::now_utc();
    if let (Ok(cert), Ok(key)) = (std::fs::read_to_string(&cert_file), std::fs::read_to_string(&key_file))
        && let Ok(authority) = CertificateAuthority::load(&cert, &key, now)
    {
        return Ok(authority);
    }
    let authority = CertificateAuthority::create(now, Duration::days(90))?;
    std::fs::write(key_file, authority.key_pem())?;
    std::fs::write(cert_file, authority.cert_pem())?;
    Ok(authority)
}

fn acceptor(authority: &CertificateAuthority, address: SocketAddr) -> anyhow::Result<TlsAcceptor> {
    let key = KeyPair::generate()?;
    let params = CertificateParams::new(vec![address.ip().to_string(), "localhost".to_owned()])?;
    let leaf = params.signed_by(&key, authority.issuer())?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn answer(request: Request<Incoming>, credential: Arc<str>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, content) = request.into_parts();
    let length = content.collect().await.map(|content| content.to_bytes().len()).unwrap_or_default();
    let is_right = head.headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes() == credential.as_bytes());
    let shown = if is_right { "the real credential" } else { "no credential of mine" };
    eprintln!("   origin saw: {} {} with {shown}, {length} bytes of content", head.method, head.uri.path());
    let (status, text) = if is_right {
        (StatusCode::OK, "{\"note\": \"buy milk\", \"reader\": \"ada\"}\n")
    } else {
        (StatusCode::UNAUTHORIZED, "{\"error\": \"who are you?\"}\n")
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    Ok(response)
}
