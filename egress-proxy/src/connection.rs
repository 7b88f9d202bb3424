//! One client connection to the outer face: reads the request target and picks tunnel or exchange.

use std::{sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::{TokioIo, TokioTimer};
use shared::{record::Outcome, routes::Scheme};
use tokio::net::TcpStream;

use crate::{
    accept::{Seat, Shutdown},
    discretion,
    error::ExchangeError,
    exchange::{self, Origin},
    proxy::Proxy,
    record::{Recording, TunnelRecording},
    relay::ClientBody,
    respond,
    target::RequestTarget,
    tunnel,
};

/// How long a client may take to send a head, and may idle between two.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// The most that a head may take, in bytes; larger ones are answered 431 by the HTTP library.
pub const MAX_HEAD: usize = 64 * 1024;

/// Serves a connection until its client is done or the proxy drains.
pub async fn serve(proxy: Arc<Proxy>, stream: TcpStream, seat: Seat, shutdown: Shutdown) {
    let service = {
        let (proxy, shutdown) = (proxy.clone(), shutdown.clone());
        service_fn(move |request| {
            let (proxy, seat, shutdown) = (proxy.clone(), seat.clone(), shutdown.clone());
            async move { Ok::<_, std::convert::Infallible>(answer(&proxy, request, seat, shutdown).await) }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(MAX_HEAD)
        .max_headers(512)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = until_done(connection, shutdown).await {
        record_unreadable(&proxy, &error).await;
    }
}

async fn answer(
    proxy: &Arc<Proxy>,
    mut request: Request<Incoming>,
    seat: Seat,
    shutdown: Shutdown,
) -> Response<ClientBody> {
    match target(proxy, &request) {
        Ok(RequestTarget::Absolute { authority, .. }) => {
            exchange::serve(proxy, &Origin::Clear(Arc::new(authority), seat), request).await
        }
        Ok(RequestTarget::Tunnel(authority)) => {
            let upgrade = request.extensions_mut().remove::<OnUpgrade>();
            let (Ok(room), Some(upgrade)) = (proxy.journal.room().await, upgrade) else {
                return respond::unrecorded(StatusCode::SERVICE_UNAVAILABLE, "the log cannot be written", None);
            };
            let recording = TunnelRecording::begin(room, discretion::shown(&proxy.policy, authority.to_string()));
            let permit = proxy.policy.connect(authority);
            proxy.tasks.spawn(tunnel::serve(proxy.clone(), permit, upgrade, recording, seat, shutdown));
            Response::new(ClientBody::full(bytes::Bytes::new()))
        }
        Err(error) => {
            let Ok(room) = proxy.journal.room().await else {
                return respond::unrecorded(StatusCode::SERVICE_UNAVAILABLE, "the log cannot be written", None);
            };
            let recording = Recording::begin(room, request.method().clone(), Scheme::Http, request.version(), None);
            let response = respond::refuse(&error, &recording);
            discretion::withhold(&proxy.policy, &recording);
            response
        }
    }
}

/// What the request is for, told by a host in which there is no credential: it will be written into a record.
fn target(proxy: &Proxy, request: &Request<Incoming>) -> Result<RequestTarget, ExchangeError> {
    if let Some(named) = request.uri().authority() {
        proxy.policy.check_name(named.as_str())?;
    }
    Ok(RequestTarget::of(request.method(), request.uri())?)
}

/// Polls a connection to its end; when the proxy drains, what is under way is completed and nothing new is begun.
pub async fn until_done<C>(connection: C, mut shutdown: Shutdown) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>> + Graceful,
{
    let mut connection = Box::pin(connection);
    tokio::select! {
        done = connection.as_mut() => return done,
        _ = shutdown.wait_for(|draining| *draining) => {}
    }
    connection.as_mut().begin_graceful();
    connection.await
}

/// Connections that can be told to finish.
pub trait Graceful {
    fn begin_graceful(self: std::pin::Pin<&mut Self>);
}

impl<I, S> Graceful for http1::UpgradeableConnection<I, S>
where
    S: hyper::service::HttpService<Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    S::ResBody: http_body::Body + 'static,
    <S::ResBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn begin_graceful(self: std::pin::Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, E> Graceful for hyper::server::conn::http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S::ResBody: http_body::Body + 'static,
    <S::ResBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, S::ResBody>,
{
    fn begin_graceful(self: std::pin::Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Bytes that the HTTP library could not read as a request were answered and the connection closed by it; the record is
/// ours.
async fn record_unreadable(proxy: &Proxy, error: &hyper::Error) {
    if !error.is_parse() {
        return;
    }
    let Ok(room) = proxy.journal.room().await else { return };
    let recording = Recording::begin(room, http::Method::default(), Scheme::Http, http::Version::HTTP_11, None);
    recording.note(|draft| {
        draft.outcome = Outcome::Denied;
        draft.by = Some("egress-proxy");
        draft.error = Some("http_protocol");
        draft.reason = Some(respond::chain(error));
    });
}
