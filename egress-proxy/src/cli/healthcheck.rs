//! `egress-proxy healthcheck`: asks a running proxy whether it may be used, and can wait until it may.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::dial;

/// Ask a running proxy whether it may be used.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// The proxy's admin listener.
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from(([127, 0, 0, 1], shared::contract::ADMIN_PORT)))]
    admin: SocketAddr,
    /// Wait for it, at most this long.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    wait: f64,
}

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(10);

pub fn run(args: &HealthcheckArgs) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(args.ready())?;
    Ok(0)
}

impl HealthcheckArgs {
    /// Returns when the proxy is ready.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        let wait = Duration::try_from_secs_f64(self.wait).context("`--wait` takes seconds")?;
        let deadline = Instant::now() + wait;
        loop {
            match ask(self.admin, "/readyz").await {
                Ok(_ready) => return Ok(()),
                Err(error) if Instant::now() >= deadline => {
                    return Err(error.context(format!("the proxy at {} is not ready", self.admin)));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

/// What the admin listener of a running proxy answers.
pub(super) async fn ask(admin: SocketAddr, path: &str) -> anyhow::Result<Bytes> {
    let stream = dial::configured(&admin.ip().to_string(), admin.port(), Duration::from_secs(2)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path).header("host", admin.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let text = response.into_body().collect().await?.to_bytes();
    anyhow::ensure!(status.is_success(), "{}", String::from_utf8_lossy(&text).trim());
    Ok(text)
}
