//! Who hears what: data goes to stdout, everything else to stderr. The only place that writes to either.

use std::io::{self, Write as _};

/// Cheap to copy, so that every step can report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Printer {
    Normal,
    /// Data and errors only.
    Quiet,
}

impl Printer {
    /// Data that was asked for. A reader that left (broken pipe) is no error.
    pub fn data(self, text: &str) {
        let _ = io::stdout().lock().write_all(text.as_bytes());
    }

    /// One line about what is being done, for the human.
    pub fn step(self, line: &str) {
        if self == Self::Normal {
            self.complain(&format!("{line}\n"));
        }
    }

    /// What must be heard whatever the mode: warnings, errors, questions.
    pub fn complain(self, text: &str) {
        let mut stderr = io::stderr().lock();
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }
}
