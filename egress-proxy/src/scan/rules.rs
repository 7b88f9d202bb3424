//! What a rule is: a format that a secret has, and how a match of it is told from what only looks alike.
//!
//! A rule never runs over a content: it is asked at a place where one of its keywords stands, and reads a bounded
//! stretch around it. Its regular expression is compiled when it is first asked.

mod builtin;
mod expression;
mod file;
mod placeholder;
mod shape;
pub(super) mod structure;

use std::ops::Range;

pub(super) use self::builtin::builtin;
use self::expression::{Expression, Start};
pub use self::file::{RulesError, RulesFile};
use self::structure::Structure;

/// The longest match: what does not fit is judged by what does.
pub(super) const LONGEST_MATCH: usize = 3800;

/// One format of secrets.
#[derive(Debug)]
pub struct Rule {
    /// Its name, as in findings and exemptions.
    pub id: String,
    /// What it finds, in words.
    pub description: String,
    /// What kind of service its secrets belong to.
    pub group: String,
    /// Where the format is documented.
    pub source: Option<String>,
    /// What is checked besides the expression.
    pub check: Option<Structure>,
    pub(super) matcher: Matcher,
    pub(super) keywords: Vec<Keyword>,
    pub(super) entropy: Option<f64>,
    pub(super) allowlists: Vec<Allowlist>,
}

/// A literal without which a rule cannot match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Keyword {
    pub text: Box<[u8]>,
    pub case: Case,
    /// What a keyword that is too short to be looked for may begin with.
    pub completions: Box<[Box<[u8]>]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Case {
    Counts,
    Ignored,
}

#[derive(Debug)]
pub(super) enum Matcher {
    Expression(Expression),
    /// These bytes, whatever they are.
    Exact(Box<[u8]>),
    /// Words of a list with a checksum; found without a keyword.
    SeedPhrase,
}

/// What a match must not be, or not hold.
#[derive(Debug)]
pub(super) struct Allowlist {
    pub all: bool,
    pub target: Target,
    pub expressions: Vec<regex::bytes::Regex>,
    pub stopwords: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Secret,
    Match,
    Line,
}

impl Rule {
    /// The regular expression, as written in the rules file.
    pub fn expression(&self) -> Option<&str> {
        match &self.matcher {
            Matcher::Expression(expression) => Some(&expression.text),
            Matcher::Exact(_) | Matcher::SeedPhrase => None,
        }
    }

    /// The literals of which one must stand in a match.
    pub fn keywords(&self) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
        self.keywords.iter().map(|keyword| String::from_utf8_lossy(&keyword.text))
    }

    /// The most bytes after its keyword that a match may need.
    pub(super) fn longest(&self) -> usize {
        match &self.matcher {
            Matcher::Expression(expression) => expression.longest(),
            Matcher::Exact(value) => value.len(),
            Matcher::SeedPhrase => 0,
        }
    }

    /// Whether a match may begin at a place, by its first bytes: `false` is certain, whatever escapes may follow.
    pub(super) fn may_begin(&self, text: &[u8], keyword: usize) -> bool {
        match &self.matcher {
            Matcher::Expression(expression) => expression.lead().may_stand(text, keyword),
            Matcher::Exact(_) | Matcher::SeedPhrase => true,
        }
    }

    /// The secret that stands in `text` where a keyword was found, if there is one that is worth a refusal.
    pub(super) fn find(&self, text: &[u8], keyword: usize) -> Option<Range<usize>> {
        match &self.matcher {
            Matcher::SeedPhrase => None,
            Matcher::Exact(value) => text.get(keyword..)?.starts_with(value).then_some(keyword..keyword + value.len()),
            Matcher::Expression(expression) => {
                let mut from = match expression.start() {
                    Start::AtKeyword => keyword,
                    Start::Around => keyword.saturating_sub(expression.longest()),
                };
                loop {
                    let (whole, secret) = expression.next(text, from)?;
                    if whole.start > keyword {
                        return None;
                    }
                    if whole.end > keyword && self.accepts(text, &whole, &secret) {
                        return Some(secret);
                    }
                    if expression.start() == Start::AtKeyword {
                        return None;
                    }
                    from = whole.start + 1;
                }
            }
        }
    }

    fn accepts(&self, text: &[u8], whole: &Range<usize>, secret: &Range<usize>) -> bool {
        let value = &text[secret.clone()];
        if self.entropy.is_some_and(|least| entropy(value) <= least) {
            return false;
        }
        if let Some(check) = self.check
            && !check.holds(value)
        {
            return false;
        }
        !placeholder::is_placeholder(value) && !self.allowlists.iter().any(|list| list.allows(text, whole, secret))
    }
}

impl Allowlist {
    fn allows(&self, text: &[u8], whole: &Range<usize>, secret: &Range<usize>) -> bool {
        let target = match self.target {
            Target::Secret => &text[secret.clone()],
            Target::Match => &text[whole.clone()],
            Target::Line => {
                let start = memchr::memrchr(b'\n', &text[..whole.start]).map_or(0, |at| at + 1);
                let end = memchr::memchr(b'\n', &text[whole.end..]).map_or(text.len(), |at| whole.end + at);
                &text[start..end]
            }
        };
        let expression = || self.expressions.iter().any(|expression| expression.is_match(target));
        let stopword = || {
            let lower = text[secret.clone()].to_ascii_lowercase();
            self.stopwords.iter().any(|word| memchr::memmem::find(&lower, word.as_bytes()).is_some())
        };
        if self.all {
            (self.expressions.is_empty() || expression()) && (self.stopwords.is_empty() || stopword())
        } else {
            expression() || stopword()
        }
    }
}

/// Shannon's, in bits per byte.
fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in value {
        counts[usize::from(*byte)] += 1;
    }
    let total = value.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / total;
            -share * share.log2()
        })
        .sum()
}
