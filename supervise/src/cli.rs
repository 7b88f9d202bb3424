//! The command line, and how the parts are joined: listener, counter, stdin and stdout. The only exit.

use std::io::{Write as _, stderr};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;
use shared::contract::SUPERVISE_PORT;
use tokio::net::TcpListener;

use crate::counter::Counter;
use crate::{lines, server};

/// Passes an agent's proposals on: one JSON line each on stdout, answered on stdin. Ends with its stdin.
#[derive(Debug, Parser)]
#[command(name = "supervise", version, max_term_width = 100)]
struct Cli {
    /// Where the MCP server (streamable HTTP, at `/mcp`) listens
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from(([0, 0, 0, 0], SUPERVISE_PORT)))]
    listen: SocketAddr,
    /// How long one call waits for the operator; clients give up after a minute
    #[arg(long, value_name = "SECONDS", default_value_t = 45)]
    patience: u64,
}

/// Serves until stdin ends.
pub fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "error: {error:#}"); // nobody is left to hear of a failure to print
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(serve(cli));
    // A read of stdin that is under way cannot be ended, and must not be waited for.
    runtime.shutdown_background();
    served
}

async fn serve(cli: &Cli) -> anyhow::Result<()> {
    let listener = TcpListener::bind(cli.listen).await.with_context(|| format!("cannot listen at {}", cli.listen))?;
    let address = listener.local_addr()?;
    let (counter, asked) = Counter::new();
    let counter = Arc::new(counter);
    writeln!(stderr(), "{}", json!({ "event": READY, "listen": address.to_string() }))?;
    tokio::select! {
        read = lines::read_answers(&counter) => read.context("stdin cannot be read"),
        written = lines::write_asked(asked) => written.context("stdout cannot be written"),
        () = server::serve(listener, counter.clone(), Duration::from_secs(cli.patience)) => Ok(()),
    }
}

const READY: &str = "supervise.ready";
