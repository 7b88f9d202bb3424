//! The listener: HTTP/1.1 with limits, and the MCP service behind it. Without sessions: a call carries all that it needs, so
//! that a client that leaves leaves nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use shared::contract::SUPERVISE_ALIAS;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::counter::Counter;
use crate::tools::Tools;

/// Serves for ever.
pub async fn serve(listener: TcpListener, counter: Arc<Counter>, patience: Duration) {
    let tools = Tools::new(counter, patience);
    let service =
        StreamableHttpService::new(move || Ok(tools.clone()), Arc::new(NeverSessionManager::default()), config());
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(seat) = seats.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of descriptors, most likely: whoever ends gives some back.
                sleep(PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(MAX_HEAD)
                .serve_connection(TokioIo::new(stream), service);
            let _closed = connection.await; // a client that leaves is no failure of ours
            drop(seat);
        });
    }
}

fn config() -> StreamableHttpServerConfig {
    let mut config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        // No page in a browser of the agent's speaks for the agent.
        .with_allowed_hosts([SUPERVISE_ALIAS.to_owned(), IpAddr::from([127, 0, 0, 1]).to_string()])
        .enforce_origin_validation();
    config.max_request_body_bytes = MAX_CONTENT;
    config
}

const MAX_CONNECTIONS: usize = 32;
const MAX_HEAD: usize = 16 << 10;
const MAX_CONTENT: usize = 64 << 10;
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);
