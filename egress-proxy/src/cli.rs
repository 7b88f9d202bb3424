//! The command line: flags to settings, verbs to functions, errors to exit codes. The only place that exits.

mod ca;
mod canary;
mod check;
mod healthcheck;
mod learn;
mod records;
mod replay;
mod routes;
mod run;

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    scan::command::{ScanArgs, run as scan},
    settings::RunArgs,
};

/// A forward proxy that ends the client's TLS, grants what its route table says, scans what leaves and adds credentials
/// that its clients never see.
///
/// Exit codes: 0 done, allowed, nothing found; 2 wrong usage; 3 refused (`check`), found (`scan`), changed (`replay`) or
/// not refused (`canary`); 125 it could not be done.
#[derive(Debug, Parser)]
#[command(name = "egress-proxy", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the proxy until SIGTERM or SIGINT.
    Run(Box<RunArgs>),
    /// Say whether a table allows a request, and which rule decides.
    Check(check::CheckArgs),
    /// Judge text or files as the proxy judges what leaves.
    Scan(ScanArgs),
    /// Make or show a certificate authority.
    #[command(subcommand)]
    Ca(ca::CaVerb),
    /// Validate a route table, or print its JSON Schema.
    #[command(subcommand)]
    Routes(routes::RoutesVerb),
    /// Show exchanges in the terminal, as they are recorded.
    #[cfg(feature = "watch")]
    Watch(crate::watch::WatchArgs),
    /// Judge recorded traffic again, by another table: what would change.
    Replay(replay::ReplayArgs),
    /// Propose the smallest table that grants what was recorded.
    Learn(learn::LearnArgs),
    /// Print the schema of records.
    #[command(subcommand)]
    Records(records::RecordsVerb),
    /// Ask a running proxy whether it may be used.
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Send a made-up key through a running proxy, which must refuse it.
    Canary(canary::CanaryArgs),
}

/// The exit code of a verb that did its work and says no.
const REFUSED: u8 = 3;
/// The exit code where the work could not be done.
const FAILED: u8 = 125;

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = std::io::stdout();
    let outcome = match cli.verb {
        Verb::Run(args) => run::run(&args).map(|()| 0),
        Verb::Check(args) => check::run(&args, &mut out),
        Verb::Scan(args) => scan(&args, &mut std::io::stdin().lock(), &mut out).map_err(Into::into),
        Verb::Ca(verb) => ca::run(&verb, &mut out),
        Verb::Routes(verb) => routes::run(&verb, &mut out),
        #[cfg(feature = "watch")]
        Verb::Watch(args) => crate::watch::run(args.source()).map(|()| 0),
        Verb::Replay(args) => replay::run(&args, &mut std::io::stdin().lock(), &mut out),
        Verb::Learn(args) => learn::run(&args, &mut std::io::stdin().lock(), &mut out),
        Verb::Records(verb) => records::run(&verb, &mut out),
        Verb::Healthcheck(args) => healthcheck::run(&args),
        Verb::Canary(args) => canary::run(&args),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error);
            ExitCode::from(FAILED)
        }
    }
}

/// `error: …` with its causes, on stderr.
fn tell(error: &anyhow::Error) {
    let bold = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let label = if bold { "\u{1b}[1;31merror:\u{1b}[0m" } else { "error:" };
    let mut text = format!("{label} {error}\n");
    for cause in error.chain().skip(1) {
        text.push_str(&format!("  caused by: {cause}\n"));
    }
    let _unwritable = std::io::stderr().write_all(text.as_bytes());
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
