//! `--timings`, of every verb that launches a bottle.

use std::time::Instant;

use clap::Args;

use crate::printer::Printer;

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Timings {
    /// Say when each step of the launch ended, and how long it took
    #[arg(long)]
    timings: bool,
}

impl Timings {
    /// The printer that also tells them where they are asked for, reckoned from now on.
    pub(crate) fn told_by(self, printer: Printer) -> Printer {
        if self.timings { Printer::Timing(Instant::now()) } else { printer }
    }
}
