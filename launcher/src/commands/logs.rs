//! `bottle logs`: what the proxy of a running bottle recorded.

use super::block_on;
use crate::backend::{Backend, Extent};
use crate::cli::LogsArgs;
use crate::diagnostics::Failure;
use crate::exit::Exit;
use crate::host::Host;
use crate::printer::Printer;

pub(super) fn run(args: &LogsArgs, host: &Host, printer: Printer) -> Result<Exit, Failure> {
    let backend = super::backend(host)?;
    let extent = if args.follow { Extent::Following } else { Extent::SoFar };
    block_on(async { Ok(backend.logs(&args.identity, extent, printer).await?) })?;
    Ok(Exit::Success)
}
