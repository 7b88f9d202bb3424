//! One manifest file: its text, its frontmatter, its body; and the errors found in files, collected until all are known.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shared::yaml::{Diagnostic, Diagnostics, Located, Report};
use thiserror::Error;

use crate::diagnostics::Explain;

/// A Markdown file with YAML frontmatter.
#[derive(Debug)]
pub struct Source {
    pub path: PathBuf,
    /// As errors name it.
    pub shown: String,
    pub text: String,
    frontmatter: std::ops::Range<usize>,
    body: usize,
}

impl Source {
    /// # Errors
    /// The text does not begin with a frontmatter between two lines `---`.
    pub fn new(path: &Path, shown: String, text: String) -> Result<Arc<Self>, InvalidManifest> {
        match split(&text) {
            Ok((frontmatter, body)) => Ok(Arc::new(Self { path: path.to_owned(), shown, text, frontmatter, body })),
            Err(error) => {
                let mut log = Diagnostics::default();
                log.push(error);
                Err(InvalidManifest(vec![log.report(shown, &text)]))
            }
        }
    }

    /// A file that a manifest names, for errors that point into it.
    pub fn named(path: &Path, shown: String, text: String) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), shown, text, frontmatter: 0..0, body: 0 })
    }

    /// The YAML between the fences; it starts on line [`FRONTMATTER_LINE`].
    pub fn frontmatter(&self) -> &str {
        self.text.get(self.frontmatter.clone()).unwrap_or_default()
    }

    pub fn body(&self) -> &str {
        self.text.get(self.body..).unwrap_or_default().trim()
    }
}

/// A value, and the file and place that it came from.
#[derive(Debug, Clone)]
pub struct Placed<T> {
    pub at: Located<T>,
    pub source: Arc<Source>,
}

impl<T> Placed<T> {
    pub fn value(&self) -> &T {
        &self.at.value
    }

    /// `FILE:LINE`, for explanations.
    pub fn place(&self) -> String {
        format!("{}:{}", self.source.shown, self.at.line)
    }
}

/// Errors of several files, on their way to one report each.
#[derive(Debug, Default)]
pub struct Problems(Vec<(Arc<Source>, Diagnostics)>);

impl Problems {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn push(&mut self, source: &Arc<Source>, diagnostic: Diagnostic) {
        let known = self.0.iter_mut().find(|(known, _)| Arc::ptr_eq(known, source));
        match known {
            Some((_, log)) => log.push(diagnostic),
            None => {
                let mut log = Diagnostics::default();
                log.push(diagnostic);
                self.0.push((source.clone(), log));
            }
        }
    }

    pub fn extend(&mut self, source: &Arc<Source>, log: &Diagnostics) {
        for diagnostic in log.iter() {
            self.push(source, diagnostic.clone());
        }
    }

    /// One report for each file.
    pub fn into_reports(self) -> Vec<Report> {
        self.0.into_iter().map(|(source, log)| log.report(source.shown.clone(), &source.text)).collect()
    }
}

/// Valid manifests that ask for what this host does not have.
#[derive(Debug, Error)]
#[error("the manifest asks for what this host does not have{}", count(.0))]
pub struct Unmet(pub Vec<Report>);

impl Explain for Unmet {
    fn details(&self) -> Option<String> {
        Some(joined(&self.0))
    }
}

/// One or more files, each with all of its errors.
#[derive(Debug, Error)]
#[error("{}", summary(.0))]
pub struct InvalidManifest(pub Vec<Report>);

impl Explain for InvalidManifest {
    fn details(&self) -> Option<String> {
        Some(joined(&self.0))
    }
}

fn summary(reports: &[Report]) -> String {
    match reports {
        [_] => format!("a manifest cannot be used as it is{}", count(reports)),
        _ => format!("{} manifests cannot be used as they are{}", reports.len(), count(reports)),
    }
}

fn count(reports: &[Report]) -> String {
    let errors: usize = reports.iter().map(|report| report.diagnostics().iter().count()).sum();
    if errors == 1 { String::new() } else { format!(": {errors} errors") }
}

fn joined(reports: &[Report]) -> String {
    reports.iter().map(Report::to_string).collect::<Vec<_>>().join("\n\n")
}

/// The frontmatter's bytes and the first byte of the body.
fn split(text: &str) -> Result<(std::ops::Range<usize>, usize), Diagnostic> {
    let error = |line, message: &str, hint: &str| Diagnostic {
        line,
        column: 1,
        length: 1,
        message: message.to_owned(),
        hint: Some(hint.to_owned()),
    };
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().unwrap_or_default();
    if first.trim_end() != FENCE {
        return Err(error(1, "no frontmatter", "the first line must be `---`, then YAML, then another line `---`"));
    }
    let start = first.len();
    let mut end = start;
    for line in lines {
        if line.trim_end() == FENCE {
            return Ok((start..end, end + line.len()));
        }
        end += line.len();
    }
    Err(error(1, "the frontmatter does not end", "close it with a line `---`"))
}

/// The line of the file on which the frontmatter's YAML begins.
pub const FRONTMATTER_LINE: usize = 2;

const FENCE: &str = "---";

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Result<Arc<Source>, InvalidManifest> {
        Source::new(Path::new("/x.md"), "x.md".to_owned(), text.to_owned())
    }

    #[test]
    fn frontmatter_and_body_are_told_apart() {
        let source = source("---\r\na: 1\r\n---\r\n\r\nHello\n---\nmore\n").unwrap();
        assert_eq!(source.frontmatter(), "a: 1\r\n");
        assert_eq!(source.body(), "Hello\n---\nmore");
    }

    #[test]
    fn a_file_without_fences_is_refused() {
        for text in ["", "a: 1\n", "---\na: 1\n", "\n---\n---\n"] {
            assert!(source(text).is_err(), "{text:?}");
        }
    }
}
