//! One file for each verb. A command takes what it needs, prints through the printer, and returns how `bottle` exits.

mod check;
mod cleanup;
mod completions;
mod dashboard;
mod doctor;
mod edit;
mod info;
mod init;
mod list;
mod logs;
mod resume;
mod schema;
mod selftest;
mod session;
mod start;

pub(crate) use self::check::Field;
pub(crate) use self::dashboard::Proposed;

use std::future::Future;
use std::io;

use thiserror::Error;

use crate::backend::{BackendError, docker::Docker};
use crate::cli::Verb;
use crate::diagnostics::{Explain, Failure};
use crate::exit::Exit;
use crate::host::Host;
use crate::printer::Printer;

/// # Errors
/// Whatever the verb failed at.
pub(crate) fn run(verb: Verb, printer: Printer) -> Result<Exit, Failure> {
    match verb {
        Verb::Check(args) => check::run(&args, &Host::current()?, printer),
        Verb::Cleanup(args) => cleanup::run(&args, &Host::current()?, printer),
        Verb::Completions(args) => Ok(completions::run(&args, printer)),
        Verb::Dashboard(args) => dashboard::run(args, &Host::current()?, printer),
        Verb::Doctor(args) => doctor::run(&args, &Host::current()?, printer),
        Verb::Edit(args) => edit::run(&args, &Host::current()?, printer),
        Verb::Info(args) => info::run(&args, &Host::current()?, printer),
        Verb::Init(args) => init::run(&args, &Host::current()?, printer),
        Verb::List(args) => list::run(&args, &Host::current()?, printer),
        Verb::Logs(args) => logs::run(&args, &Host::current()?, printer),
        Verb::Resume(args) => resume::run(&args, Host::current()?, printer),
        Verb::Schema(args) => Ok(schema::run(&args, printer)),
        Verb::Selftest(args) => selftest::run(args, &Host::current()?, printer),
        Verb::Start(args) => start::run(args, &Host::current()?, printer),
    }
}

/// The backend that the host asks for.
fn backend(host: &Host) -> Result<Docker, BackendError> {
    match host.backend() {
        "docker" => Ok(Docker::new(host.home.path())),
        unknown => Err(BackendError::UnknownBackend(unknown.to_owned())),
    }
}

/// Runs a future to its end on this thread.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(CommandError::Runtime)?.block_on(future)
}

/// Prints one JSON value as data.
fn print_json(value: &serde_json::Value, printer: Printer) {
    printer.data(&format!("{value:#}\n"));
}

/// What is no stage's own failure.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    #[error("the asynchronous runtime cannot be started")]
    Runtime(#[source] io::Error),
    #[error("signals cannot be listened to")]
    Signals(#[source] io::Error),
    #[error("`{variable}` is to be asked, and there is no terminal")]
    NoTerminal { variable: String, source: io::Error },
}

impl Explain for CommandError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Runtime(_) | Self::Signals(_) => vec!["the machine may be out of file descriptors or memory".into()],
            Self::NoTerminal { variable, .. } => vec![
                "run `bottle start` on a terminal".into(),
                format!("or take the value from the host: `{variable}: ${{{variable}}}` in the manifest"),
            ],
        }
    }
}
