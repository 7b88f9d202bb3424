//! The operator's listener: `/healthz` (the process serves), `/readyz` (it may be used: the log is writable and the
//! inspector has proved itself), `/allowlist` (the table in force), `/metrics`, `/records` (live). Never on a network of the
//! agent's.

mod answer;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::{Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use self::answer::Answer;
use crate::{
    accept::{self, Shutdown},
    metrics::Page,
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

fn answer(proxy: &Proxy, request: &Request<Incoming>) -> Response<Answer> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n");
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match proxy.readiness.reason_against(proxy) {
            None => text(StatusCode::OK, "ready\n"),
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        },
        "/allowlist" => typed("application/json", Answer::whole(proxy.policy.table().routes.to_json().to_string())),
        "/metrics" => typed("text/plain; version=0.0.4; charset=utf-8", Answer::whole(metrics(proxy))),
        "/records" => typed("text/event-stream", Answer::live(proxy.journal.subscribe())),
        _ => text(StatusCode::NOT_FOUND, "only /healthz, /readyz, /allowlist, /metrics and /records are here\n"),
    }
}

fn metrics(proxy: &Proxy) -> String {
    let mut page = Page::default();
    proxy.journal.metrics().write(&mut page);
    page.gauge("egress_proxy_log_writable", "Whether records can be written.", u64::from(proxy.journal.is_writable()));
    proxy.leaves.metrics().write(&mut page);
    page.into_text()
}

fn text(status: StatusCode, text: impl Into<String>) -> Response<Answer> {
    let mut response = typed("text/plain; charset=utf-8", Answer::whole(text.into()));
    *response.status_mut() = status;
    response
}

fn typed(content_type: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    fields.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
