//! Sizes and times with which clients are served. Nothing limits how long a stream may take.

use std::time::Duration;

use clap::Args;

use crate::{pace::Patience, proxy::Limits};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Client connections at a time; further ones wait.
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = positive)]
    pub max_connections: usize,

    /// Exchanges that a client may have under way on one h2 connection.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_streams: u32,

    /// The most that the head of a request may take, in KiB; a larger one is answered 431.
    #[arg(long, value_name = "KIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(8..=1024))]
    pub max_head: u32,

    /// How long a client may take over its TLS handshake, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    pub handshake_timeout: Duration,

    /// How long a client may take to send the head of a request, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub head_timeout: Duration,

    /// How long a client's connection may idle between two requests, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    pub idle_timeout: Duration,

    /// How long a client may be silent while content that is judged whole is read, in seconds; then 408.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub content_timeout: Duration,

    /// How long an origin may take to accept a connection, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub connect_timeout: Duration,

    /// How long an origin may take to begin its answer once nothing more goes out to it, in seconds; then 504. The default
    /// is longer than the ten minutes after which SDKs of model providers give up by themselves.
    #[arg(long, value_name = "SECONDS", default_value = "900", value_parser = seconds)]
    pub response_timeout: Duration,

    /// Content up to this many bytes is scanned whole before anything is dialled.
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024)]
    pub scan_buffer: usize,

    /// How long exchanges under way may take to finish after SIGTERM, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub drain_seconds: u64,
}

impl LimitArgs {
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            streams: self.max_streams,
            head_bytes: self.max_head << 10,
            handshake: self.handshake_timeout,
            patience: Patience { head: self.head_timeout, idle: self.idle_timeout },
            content_silence: self.content_timeout,
            scan_buffer: self.scan_buffer,
        }
    }

    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "a number above 0 is needed".to_owned())
}

/// Seconds, with a fraction where one is written.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is needed, as in `30` or `0.5`".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() && seconds <= LONGEST => Ok(duration),
        _ => Err(format!("a number of seconds above 0 and up to {LONGEST} is needed")),
    }
}

/// A day, in seconds.
const LONGEST: f64 = 86_400.0;
