//! A tunnel: the CONNECT was answered, and what the client sends now is intercepted and served as HTTP. Nothing was
//! dialled, and nothing is relayed unseen.

use std::{
    io::Cursor,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use shared::record::Outcome;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, join},
    net::TcpStream,
    sync::watch,
};
use tokio_rustls::server::TlsStream;

use crate::{
    accept::{Seat, Shutdown},
    connection::{HEAD_TIMEOUT, MAX_HEAD, until_done},
    discretion,
    exchange::{self, Origin},
    intercept::intercept,
    policy::ConnectPermit,
    proxy::Proxy,
    record::TunnelRecording,
    respond,
};

/// Streams that one h2 connection may have open.
const MAX_STREAMS: u32 = 256;
/// Flow-control windows toward clients, in bytes: what one upload, and all on a connection, may have under way.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Serves a tunnel until its client is done.
pub async fn serve(
    proxy: Arc<Proxy>,
    permit: ConnectPermit,
    upgrade: OnUpgrade,
    mut recording: TunnelRecording,
    seat: Seat,
    shutdown: Shutdown,
) {
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => return recording.fail(Outcome::Aborted, "connection_terminated", error.to_string()),
    };
    // The bare socket where there is one: every layer between costs on every read and write.
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) if parts.read_buf.is_empty() => {
            run(&proxy, &permit, parts.io.into_inner(), recording, seat, shutdown).await;
        }
        Ok(parts) => {
            // The client did not wait for the 200 and has sent its ClientHello already.
            let (read, write) = parts.io.into_inner().into_split();
            let stream = join(Cursor::new(parts.read_buf).chain(read), write);
            run(&proxy, &permit, stream, recording, seat, shutdown).await;
        }
        Err(upgraded) => run(&proxy, &permit, TokioIo::<Upgraded>::new(upgraded), recording, seat, shutdown).await,
    }
}

async fn run<S>(
    proxy: &Arc<Proxy>,
    permit: &ConnectPermit,
    stream: S,
    mut recording: TunnelRecording,
    seat: Seat,
    shutdown: Shutdown,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // What only the handshake needs is not kept for as long as the tunnel lives.
    let stream = match Box::pin(intercept(&proxy.leaves, permit, stream)).await {
        Ok(stream) => Box::new(stream),
        Err(error) => {
            let reason = respond::chain(&error);
            // The client may have put anything into its SNI.
            let reason = proxy.policy.check_name(&reason).map_or_else(|sent| sent.to_string(), |()| reason);
            let reason = discretion::shown(&proxy.policy, reason);
            return recording.fail(Outcome::Denied, error.token(), reason);
        }
    };
    let protocol = if stream.get_ref().1.alpn_protocol() == Some(b"h2") { "h2" } else { "http/1.1" };
    recording.client_protocol = Some(protocol);
    let origin = Origin::Tunnel(permit.authority().clone(), recording.id, seat);
    match speak(proxy, origin, stream, protocol, recording.counter(), shutdown).await {
        Ok(()) => recording.outcome = Outcome::Completed,
        Err(error) => recording.fail(Outcome::Aborted, "http_protocol", respond::chain(&error)),
    }
}

async fn speak<S>(
    proxy: &Arc<Proxy>,
    origin: Origin,
    stream: Box<TlsStream<S>>,
    protocol: &str,
    exchanges: Arc<AtomicU64>,
    shutdown: watch::Receiver<bool>,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let origin = Arc::new(origin);
    let service = {
        let proxy = proxy.clone();
        service_fn(move |request| {
            exchanges.fetch_add(1, Ordering::Relaxed);
            let (proxy, origin) = (proxy.clone(), origin.clone());
            // An exchange is some thousand bytes while it lives; a connection between two of them keeps none.
            Box::pin(async move { Ok::<_, std::convert::Infallible>(exchange::serve(&proxy, &origin, request).await) })
        })
    };
    let stream = TokioIo::new(stream);
    if protocol == "h2" {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD as u32)
            .serve_connection(stream, service);
        return until_done(connection, shutdown).await;
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(MAX_HEAD)
        .max_headers(512)
        .serve_connection(stream, service)
        .with_upgrades();
    until_done(connection, shutdown).await
}
