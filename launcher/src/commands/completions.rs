//! `bottle completions`: a script for the shell, to stdout.

use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs};
use crate::exit::Exit;
use crate::printer::Printer;

pub(super) fn run(args: &CompletionsArgs, printer: Printer) -> Exit {
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut Cli::command(), "bottle", &mut script);
    printer.data(&String::from_utf8_lossy(&script));
    Exit::Success
}
