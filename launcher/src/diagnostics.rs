//! How a failure is told: `error:`, `caused by:` lines, `hint:` lines. The only place that renders an error; the error types
//! know their own hints.

use std::error::Error;
use std::fmt::Write as _;

/// An error that knows what the user can do about it.
pub trait Explain: Error {
    /// A longer text between the error and its hints, such as the lines of a file.
    fn details(&self) -> Option<String> {
        None
    }

    /// Whole sentences or commands, without `hint:`; the most useful first.
    fn hints(&self) -> Vec<String> {
        vec![]
    }
}

/// Any failure of a verb, on its way to the one place that prints it.
pub struct Failure(Box<dyn Explain + Send + Sync>);

impl<E: Explain + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl Failure {
    pub fn render(&self) -> String {
        let mut text = format!("error: {}\n", self.0);
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let _ = writeln!(text, "caused by: {error}");
            cause = error.source();
        }
        if let Some(details) = self.0.details() {
            let _ = writeln!(text, "{details}");
        }
        for hint in self.0.hints() {
            let _ = writeln!(text, "hint: {hint}");
        }
        text
    }
}
