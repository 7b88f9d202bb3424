//! The operator's listener: `/healthz` (the process serves), `/readyz` (it may be used: the log is writable and the
//! inspector has proved itself). Never on a network of the agent's.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::{
    accept::{self, Shutdown},
    proxy::Proxy,
};

/// Whether the inspector, if any, has passed its canaries.
#[derive(Debug, Default)]
pub struct Readiness {
    proved: AtomicBool,
}

impl Readiness {
    pub fn set_proved(&self) {
        self.proved.store(true, Ordering::Release);
    }

    fn reason_against(&self, proxy: &Proxy) -> Option<&'static str> {
        if !proxy.journal.is_writable() {
            return Some("the log cannot be written");
        }
        if proxy.inspection.is_some() && !self.proved.load(Ordering::Acquire) {
            return Some("the inspector has not passed its canaries yet");
        }
        None
    }
}

/// Serves until `shutdown`.
pub async fn serve(proxy: Arc<Proxy>, listener: TcpListener, mut shutdown: Shutdown) {
    while let Some(stream) = accept::next(&listener, &mut shutdown).await {
        let proxy = proxy.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = answer(&proxy, &request);
                async { Ok::<_, std::convert::Infallible>(response) }
            });
            let connection =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            let _closed = connection.await;
        });
    }
}

fn answer(proxy: &Proxy, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, text) = match request.uri().path() {
        "/healthz" => (StatusCode::OK, "ok"),
        "/readyz" => match proxy.readiness.reason_against(proxy) {
            None => (StatusCode::OK, "ready"),
            Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
        },
        _ => (StatusCode::NOT_FOUND, "only /healthz and /readyz are here"),
    };
    let mut response = Response::new(Full::new(Bytes::from(format!("{text}\n"))));
    *response.status_mut() = status;
    response
}
