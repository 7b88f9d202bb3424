//! The inner face: what the inspector dials. It looks at the id only, and at whether the content is what was asked
//! about; target and `Host` are ignored. It never forwards anything: an origin's answer is brought to it.

use std::{sync::Arc, time::Duration};

use http::{Request, Response, StatusCode, request::Parts};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use shared::{contract::EXCHANGE_FIELD, record::Outcome};
use tokio::net::TcpListener;

use super::{
    reply::ReplyBody,
    waiting::{Claim, Confirmed, Waiting},
};
use crate::{
    accept::{self, Shutdown},
    connection::until_done,
    proxy::Proxy,
    record::{Destination, Recording},
};

/// Longer than the 90 s for which the inspector keeps its idle connections.
const IDLE: Duration = Duration::from_secs(150);

/// Serves the inspector until `shutdown`; what is being asked then is still answered.
pub async fn serve(proxy: Arc<Proxy>, waiting: Arc<Waiting>, listener: TcpListener, mut shutdown: Shutdown) {
    while let Some(stream) = accept::next(&listener, &mut shutdown).await {
        let (proxy, waiting, shutdown) = (proxy.clone(), waiting.clone(), shutdown.clone());
        let tasks = proxy.tasks.clone();
        tasks.spawn(async move {
            let service = service_fn(|request| {
                let (proxy, waiting) = (proxy.clone(), waiting.clone());
                async move { Ok::<_, std::convert::Infallible>(answer(&proxy, &waiting, request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE)
                .max_header_size(4 * proxy.limits.head_bytes as usize)
                .max_headers(600)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            // What cannot be read is answered and closed by the HTTP library; the waiting exchange fails by itself.
            let _closed = until_done(connection, shutdown).await;
        });
    }
}

/// For an exchange that is waiting, with exactly its content: an empty 200, or the origin's answer where that is asked
/// about too. Otherwise a 403 and a record.
async fn answer(proxy: &Proxy, waiting: &Arc<Waiting>, request: Request<Incoming>) -> Response<ReplyBody> {
    let (head, body) = request.into_parts();
    let id = head.headers.get(EXCHANGE_FIELD).and_then(|value| value.to_str().ok());
    let reason = match id.and_then(|id| waiting.claim(id)) {
        None => "no exchange with this id is waiting",
        Some(claim) => match confirmed(claim, body).await {
            Some(Confirmed::Nothing) => return Response::new(ReplyBody::empty()),
            // An exchange that ended meanwhile has its record.
            Some(Confirmed::Answer(reply)) => {
                return reply.await.map_or_else(|_| without_content(StatusCode::BAD_GATEWAY), Into::into);
            }
            None => "the content is not what was asked about",
        },
    };
    record_refusal(proxy, &head, reason).await;
    without_content(StatusCode::FORBIDDEN)
}

async fn confirmed(mut claim: Claim, mut body: Incoming) -> Option<Confirmed> {
    while let Some(frame) = body.frame().await {
        if frame.ok()?.data_ref().is_some_and(|chunk| !claim.continues_with(chunk)) {
            return None;
        }
    }
    claim.confirm()
}

fn without_content(status: StatusCode) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = status;
    response
}

async fn record_refusal(proxy: &Proxy, head: &Parts, reason: &str) {
    let Ok(room) = proxy.journal.room().await else { return };
    let recording = Recording::begin(room, head.method.clone(), head.version, Destination::UNKNOWN);
    recording.note(|draft| {
        draft.outcome = Outcome::Denied;
        draft.by = Some("inner face");
        draft.error = Some("exchange_unknown");
        draft.reason = Some(reason.to_owned());
        draft.status = Some(StatusCode::FORBIDDEN);
    });
}
