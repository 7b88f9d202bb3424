//! Whether answers are scanned too, as a flag says it.

use clap::{Args, ValueEnum};

#[derive(Clone, Copy, Debug, Args)]
pub struct AnswerArgs {
    /// What happens when the scan's rules find something in an answer. Nothing is ever blocked.
    #[arg(long, value_name = "MODE", default_value = "off")]
    pub scan_answers: AnswerMode,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum AnswerMode {
    /// The finding is written into the record, as one of `answer_findings`.
    Record,
    /// Answers are not scanned.
    Off,
}
