//! Who hears what: data goes to stdout, everything else to stderr. The only place that writes to either.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write as _};
use std::time::Instant;

use anstyle::AnsiColor;

/// Cheap to copy, so that every step can report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Printer {
    Normal,
    /// Data and errors only.
    Quiet,
    /// And when each step of a launch ended, reckoned from here.
    Timing(Instant),
}

impl Printer {
    /// Data that was asked for. A reader that left (broken pipe) is no error.
    pub fn data(self, text: &str) {
        let _ = io::stdout().lock().write_all(harmless(text).as_bytes());
    }

    /// One line about what is being done, for the human.
    pub fn step(self, line: &str) {
        if self != Self::Quiet {
            self.complain(&format!("{line}\n"));
        }
    }

    /// Does one step of a launch. Who wants timings hears when it ended and how long it took.
    pub async fn timed<T>(self, step: &str, work: impl Future<Output = T>) -> T {
        let Self::Timing(first) = self else { return work.await };
        let began = Instant::now();
        let done = work.await;
        self.step(&format!("[{:4} ms] {step}: {} ms", first.elapsed().as_millis(), began.elapsed().as_millis()));
        done
    }

    /// What must be heard whatever the mode: warnings, errors, questions.
    pub fn complain(self, text: &str) {
        let mut stderr = anstream::stderr().lock();
        let _ = stderr.write_all(styled(&harmless(text)).as_bytes()).and_then(|()| stderr.flush());
    }
}

/// The text without what could drive a terminal or turn its words around: some of it comes from files of a cloned
/// repository, and from the engine.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmful = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(is_harmful) { text.replace(is_harmful, "\u{fffd}").into() } else { text.into() }
}

/// The same as one line, for a terminal's cell.
pub(crate) fn one_line(text: &str) -> String {
    harmless(text).replace(['\n', '\t'], " ")
}

/// The text with the words coloured that begin its lines. The stream takes the colours out again where nobody wants them:
/// no terminal, `NO_COLOR`, `TERM=dumb`.
fn styled(text: &str) -> String {
    let mut styled = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let word = WORDS.iter().find(|(word, _)| line.trim_start().starts_with(word));
        match word.and_then(|(word, colour)| Some((line.split_once(word)?, word, colour.on_default().bold()))) {
            Some(((before, after), word, style)) => styled.extend([before, &format!("{style}{word}{style:#}"), after]),
            None => styled.push_str(line),
        }
    }
    styled
}

const WORDS: [(&str, AnsiColor); 4] = [
    ("error:", AnsiColor::Red),
    ("warning:", AnsiColor::Yellow),
    ("caused by:", AnsiColor::Red),
    ("hint:", AnsiColor::Cyan),
];

/// Columns of text, as wide as they must be. `Display` ends each line with a line feed.
#[derive(Debug)]
pub struct Table<const COLUMNS: usize>(Vec<[String; COLUMNS]>);

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub fn new(head: [&str; COLUMNS]) -> Self {
        Self(vec![head.map(str::to_owned)])
    }

    pub fn push(&mut self, row: [String; COLUMNS]) {
        self.0.push(row);
    }
}

impl<const COLUMNS: usize> fmt::Display for Table<COLUMNS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| self.0.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        for row in &self.0 {
            let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:width$}", width = width(column)));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}
