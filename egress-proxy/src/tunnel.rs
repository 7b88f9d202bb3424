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
    connection::{ConnectionError, until_quiet},
    discretion,
    exchange::{self, Origin},
    intercept::intercept,
    linger::Lingering,
    pace::{Attended, Heard, Pace, Quiet},
    policy::ConnectPermit,
    proxy::Proxy,
    record::TunnelRecording,
    respond,
    socket::{CLIENT_UNSENT, Socket, UNREAD},
};

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
    match upgraded.downcast::<TokioIo<Heard<TcpStream>>>() {
        Ok(parts) if parts.read_buf.is_empty() => {
            run(&proxy, &permit, Socket::new(parts.io.into_inner().into_inner()), recording, seat, shutdown).await;
        }
        Ok(parts) => {
            // The client did not wait for the 200 and has sent its ClientHello already.
            let (read, write) = parts.io.into_inner().into_inner().into_split();
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
    let mut stream = match Box::pin(intercept(&proxy.leaves, permit, stream, proxy.limits.handshake)).await {
        Ok(stream) => Box::new(stream),
        Err(error) => {
            let reason = respond::chain(&error);
            // The client may have put anything into its SNI.
            let reason = proxy.policy.check_name(&reason).map_or_else(|sent| sent.to_string(), |()| reason);
            let reason = discretion::shown(&proxy.policy, reason);
            return recording.fail(Outcome::Denied, error.token(), reason);
        }
    };
    stream.get_mut().1.set_buffer_limit(Some(CLIENT_UNSENT));
    let protocol = if stream.get_ref().1.alpn_protocol() == Some(b"h2") { "h2" } else { "http/1.1" };
    recording.client_protocol = Some(protocol);
    let origin = Origin::Tunnel(permit.authority().clone(), recording.id, seat);
    match speak(proxy, origin, stream, protocol, recording.counter(), shutdown).await {
        Ok(()) => recording.outcome = Outcome::Completed,
        Err(error @ ConnectionError::SlowHead) => recording.fail(Outcome::Denied, "head_slow", error.to_string()),
        Err(ConnectionError::Http(error)) => {
            recording.fail(Outcome::Aborted, "http_protocol", respond::chain(&error));
        }
    }
}

async fn speak<S>(
    proxy: &Arc<Proxy>,
    origin: Origin,
    stream: Box<TlsStream<S>>,
    protocol: &str,
    exchanges: Arc<AtomicU64>,
    shutdown: watch::Receiver<bool>,
) -> Result<(), ConnectionError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let origin = Arc::new(origin);
    // A session of h2 may be opened long before it is used.
    let pace = Pace::new(if protocol == "h2" { Quiet::Idle } else { Quiet::Head });
    let service = {
        let (proxy, pace) = (proxy.clone(), pace.clone());
        service_fn(move |request| {
            exchanges.fetch_add(1, Ordering::Relaxed);
            let (proxy, origin, under_way) = (proxy.clone(), origin.clone(), pace.begin());
            // An exchange is some thousand bytes while it lives; a connection between two of them keeps none.
            Box::pin(async move {
                let response = exchange::serve(&proxy, &origin, request).await;
                Ok::<_, std::convert::Infallible>(response.map(|body| Attended { body, under_way }))
            })
        })
    };
    let limits = proxy.limits;
    if protocol == "h2" {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(limits.head_bytes)
            // WebSocket over h2 (RFC 8441).
            .enable_connect_protocol()
            // Its client sends WINDOW_UPDATEs for as long as it reads.
            .serve_connection(TokioIo::new(Lingering::new(stream)), service);
        return until_quiet(Box::pin(connection), shutdown, &pace, limits.patience).await;
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_header_size(limits.head_bytes as usize)
        .max_headers(512)
        .max_buf_size(UNREAD.max(limits.head_bytes as usize))
        .serve_connection(TokioIo::new(Heard::new(stream, pace.clone())), service)
        .with_upgrades();
    until_quiet(Box::pin(connection), shutdown, &pace, limits.patience).await
}
