//! One client connection to the outer face: reads the request target and picks tunnel or exchange.

use std::{
    pin::{Pin, pin},
    sync::Arc,
};

use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::{TokioIo, TokioTimer};
use shared::record::Outcome;
use thiserror::Error;
use tokio::net::TcpStream;

use crate::{
    accept::{Seat, Shutdown},
    beside::{self, First},
    discretion,
    error::ExchangeError,
    exchange::{self, Origin},
    pace::{Attended, Heard, Pace, Patience, Quiet},
    proxy::Proxy,
    record::{Destination, Recording, TunnelRecording},
    relay::ClientBody,
    respond,
    socket::UNREAD,
    target::RequestTarget,
    tunnel,
};

/// Serves a connection until its client is done or quiet for too long, or the proxy drains.
pub async fn serve(proxy: Arc<Proxy>, stream: TcpStream, seat: Seat, shutdown: Shutdown) {
    let pace = Pace::new(Quiet::Head);
    let service = {
        let (proxy, shutdown, pace) = (proxy.clone(), shutdown.clone(), pace.clone());
        service_fn(move |request| {
            let (proxy, seat, shutdown, under_way) = (proxy.clone(), seat.clone(), shutdown.clone(), pace.begin());
            async move {
                let response = answer(&proxy, request, seat, shutdown).await;
                Ok::<_, std::convert::Infallible>(response.map(|body| Attended { body, under_way }))
            }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_header_size(proxy.limits.head_bytes as usize)
        .max_headers(512)
        .max_buf_size(UNREAD.max(proxy.limits.head_bytes as usize))
        .serve_connection(TokioIo::new(Heard::new(stream, pace.clone())), service)
        .with_upgrades();
    if let Err(error) = until_quiet(Box::pin(connection), shutdown, &pace, proxy.limits.patience).await {
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
            let recording = Recording::begin(room, request.method().clone(), request.version(), Destination::UNKNOWN);
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

/// The same, and to the end of our patience with a client that is quiet.
///
/// The connection is boxed by the caller: handed on by value it would have a place in each future that it passes.
pub async fn until_quiet<C>(
    mut connection: Pin<Box<C>>,
    mut shutdown: Shutdown,
    pace: &Pace,
    patience: Patience,
) -> Result<(), ConnectionError>
where
    C: Future<Output = hyper::Result<()>> + Graceful,
{
    let quiet = {
        let end = pin!(async {
            tokio::select! {
                _ = shutdown.wait_for(|draining| *draining) => None,
                quiet = pace.exhausted(patience) => Some(quiet),
            }
        });
        match beside::first(connection.as_mut(), end).await {
            First::Often(done) => return Ok(done?),
            First::Seldom(quiet) => quiet,
        }
    };
    // Nothing is under way: what is dropped is a request that has not begun.
    if quiet == Some(Quiet::Head) {
        return Err(ConnectionError::SlowHead);
    }
    connection.as_mut().begin_graceful();
    match (connection.await, quiet) {
        // A client that leaves while an idle connection is closed has missed nothing.
        (Ok(()), _) | (Err(_), Some(Quiet::Idle)) => Ok(()),
        (Err(error), _) => Err(error.into()),
    }
}

/// Why a connection ended before its client was done.
#[derive(Debug, Error)]
pub enum ConnectionError {
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the client did not send the head of a request in time")]
    SlowHead,
}

/// Connections that can be told to finish.
pub trait Graceful {
    fn begin_graceful(self: Pin<&mut Self>);
}

impl<I, S> Graceful for http1::UpgradeableConnection<I, S>
where
    S: hyper::service::HttpService<Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    S::ResBody: http_body::Body + 'static,
    <S::ResBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn begin_graceful(self: Pin<&mut Self>) {
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
    fn begin_graceful(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Bytes that the HTTP library could not read as a request were answered and the connection closed by it, and a head that
/// does not come to its end is not answered at all; the record is ours.
async fn record_unreadable(proxy: &Proxy, error: &ConnectionError) {
    let token = match error {
        ConnectionError::Http(error) if error.is_parse() => "http_protocol",
        ConnectionError::Http(_) => return,
        ConnectionError::SlowHead => "head_slow",
    };
    let Ok(room) = proxy.journal.room().await else { return };
    let recording = Recording::begin(room, http::Method::default(), http::Version::HTTP_11, Destination::UNKNOWN);
    recording.note(|draft| {
        draft.outcome = Outcome::Denied;
        draft.by = Some("egress-proxy");
        draft.error = Some(token);
        draft.reason = Some(respond::chain(error));
    });
}
