//! Where records go, as flags say it.

use std::{
    io::{IsTerminal, stdout},
    path::PathBuf,
};

use clap::{Args, ValueEnum};

use crate::{
    events::Events,
    record::{Format, HarFile, LogFile, Output, Rotation, Sink, Values, Wish, pretty::Colour},
};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Records")]
pub struct LogArgs {
    /// How records look on stdout; `pretty` where stdout is a terminal.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Short for `--log-format pretty`.
    #[arg(long, conflicts_with = "log_format")]
    pub pretty: bool,

    /// Write records to this file, as JSON; then stdout has them only where it is a terminal or a format is named.
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,

    /// Set the log file aside when it has grown to so many MiB.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub log_size: u64,

    /// So many files that were set aside are kept, as FILE.1, FILE.2 and so on.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=999))]
    pub log_keep: u32,

    /// Also write a HAR, which opens in a browser's network panel, for debugging: fields and contents, credentials masked.
    #[arg(long, value_name = "FILE")]
    pub har: Option<PathBuf>,

    /// So many KiB of each content are in the HAR.
    #[arg(long, value_name = "KIB", default_value_t = 64, requires = "har", value_parser = clap::value_parser!(u32).range(0..=16 << 10))]
    pub har_content: u32,

    /// Show the values of query parameters in the HAR; those that carry credentials by their name stay masked.
    #[arg(long, requires = "har")]
    pub har_queries: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// One line for people.
    Pretty,
}

impl LogArgs {
    /// What is written on stdout.
    fn format(&self) -> Option<Format> {
        match self.log_format {
            Some(LogFormat::Json) => Some(Format::Json),
            Some(LogFormat::Pretty) => Some(Format::Pretty),
            None if self.pretty || stdout().is_terminal() => Some(Format::Pretty),
            None => self.log_file.is_none().then_some(Format::Json),
        }
    }

    /// # Errors
    /// The log file or the HAR cannot be written.
    pub fn outputs(&self) -> std::io::Result<Vec<Output>> {
        let mut outputs = Vec::new();
        if let Some(path) = &self.log_file {
            let rotation = Rotation { size: self.log_size << 20, keep: self.log_keep };
            outputs.push(Output { format: Format::Json, sink: Sink::File(LogFile::open(path, rotation)?) });
        }
        if let Some(path) = &self.har {
            let values = if self.har_queries { Values::Shown } else { Values::Masked };
            let wish = Wish { content: (self.har_content << 10) as usize, values };
            outputs.push(Output { format: Format::Har(wish), sink: Sink::Har(HarFile::create(path)?) });
        }
        outputs.extend(self.format().map(|format| Output { format, sink: Sink::Stdout(stdout()) }));
        Ok(outputs)
    }

    pub fn colour(&self) -> Colour {
        match stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
            true => Colour::Ansi,
            false => Colour::None,
        }
    }

    pub fn events(&self) -> Events {
        if self.format() == Some(Format::Pretty) { Events::Words } else { Events::Json }
    }
}
