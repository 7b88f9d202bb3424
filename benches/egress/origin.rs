//! The origin: a TLS server for h1 and h2 that answers fast, in a process of its own.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ServerConfig, sign::SingleCertAndKey};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{
    HOST,
    client::Content,
    contender::{self, process},
    load,
    tls::{self, Authority},
};

/// What a small GET is answered with.
pub const SMALL: &[u8] = br#"{"id":"msg_01","type":"message","role":"assistant","content":"ok"}"#;
/// Events of one stream, and the time between two.
pub const EVENTS: usize = 100;
const EVENT_GAP: Duration = Duration::from_millis(5);

/// Serves until killed; leaves its root in `folder`.
pub async fn run(folder: &Path) -> anyhow::Result<()> {
    let authority = Authority::new()?;
    std::fs::write(folder.join(contender::ORIGINS), authority.pem())?;
    let names = [HOST, &format!("*.{HOST}"), "localhost"];
    let leaf = authority.leaf(&names)?;
    let (fixed, key) = authority.leaf_pem(&names)?;
    std::fs::write(folder.join(contender::FIXED), fixed)?;
    std::fs::write(folder.join(contender::FIXED_KEY), key)?;
    let mut tls = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(leaf)));
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = Arc::new(tls);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    // Its names have both addresses: who resolves them is not to fail on the first.
    let other = TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await.ok();
    process::announce(address);
    loop {
        let stream = tokio::select! {
            accepted = accept(Some(&listener)) => accepted?,
            accepted = accept(other.as_ref()) => accepted?,
        };
        let tls = tls.clone();
        tokio::spawn(async move {
            // A client that went away is none of the origin's business.
            let _served = serve(stream, tls).await;
        });
    }
}

async fn accept(listener: Option<&TcpListener>) -> std::io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn serve(stream: TcpStream, tls: Arc<ServerConfig>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let stream = TlsAcceptor::from(tls).accept(stream).await?;
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    if is_h2 {
        let builder = &mut http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(1 << 20).initial_connection_window_size(4 << 20);
        builder.serve_connection(stream, service_fn(answer)).await?;
    } else {
        http1::Builder::new().serve_connection(stream, service_fn(answer)).await?;
    }
    Ok(())
}

async fn answer(request: Request<Incoming>) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut response = Response::new(Full::from(SMALL).boxed_unsync());
    let fields = response.headers_mut();
    fields.insert("content-type", http::HeaderValue::from_static("application/json"));
    fields.insert("cache-control", http::HeaderValue::from_static("no-store"));
    match path.as_str() {
        "/small" => {}
        "/injected" if !is_injected(&request) => *response.status_mut() = StatusCode::UNAUTHORIZED,
        "/injected" => {}
        "/sink" => {
            let mut content = request.into_body();
            let mut length = 0;
            while let Some(Ok(frame)) = content.frame().await {
                length += frame.data_ref().map_or(0, Bytes::len);
            }
            *response.body_mut() = Full::from(length.to_string()).boxed_unsync();
        }
        "/events" => {
            response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/event-stream"));
            *response.body_mut() = events().boxed_unsync();
        }
        path => match path.strip_prefix("/bytes/").and_then(|length| length.parse().ok()) {
            Some(length) => *response.body_mut() = Content::of(length).boxed_unsync(),
            None => *response.status_mut() = StatusCode::NOT_FOUND,
        },
    }
    Ok(response)
}

fn is_injected(request: &Request<Incoming>) -> bool {
    let sent: Vec<_> = request.headers().get_all(http::header::AUTHORIZATION).iter().collect();
    sent.len() == 1 && sent[0].as_bytes().strip_prefix(b"Bearer ") == Some(contender::CREDENTIAL.as_bytes())
}

/// Events that say when they were sent.
fn events() -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send {
    StreamBody::new(stream::unfold(0, |sent| async move {
        if sent == EVENTS {
            return None;
        }
        tokio::time::sleep(EVENT_GAP).await;
        let event = format!("data: {}\n\n", load::clock());
        Some((Ok(Frame::data(Bytes::from(event))), sent + 1))
    }))
}
