//! The built-in scan: judges what is about to leave, before a credential is added, a name looked up or a byte sent.
//!
//! It knows nothing of HTTP clients or next hops: it is given heads and contents and answers with a [`Finding`] or with
//! the bytes that may go. Rules are data (`egress-proxy/rules/*.toml`, in the format of gitleaks); the credentials that
//! the proxy holds are rules too.
//!
//! ```text
//! head(method, authority, target, fields) ─┐
//! content(fields) ─ push ─ push ─ finish ──┼─► anchors (one pass) ─► rules (only where a keyword stands) ─► Finding
//! trailers(fields) ────────────────────────┘
//! ```
//!
//! Two promises: a verdict depends on the bytes alone, never on how they are cut or when they come; and what is found
//! is never shown, neither whole nor in part. Everything is local: a rule reads at most 4 KiB around a keyword, so that
//! a stream of any length needs a few pages of memory and is held back by at most [`HOLD_BACK`] bytes.

mod anchors;
pub mod coding;
pub mod command;
mod content;
mod encoding;
mod escape;
mod finding;
mod head;
mod rules;
mod search;
pub mod stream;
mod tape;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, OnceLock},
};

use self::anchors::Anchors;
use self::rules::{Keyword, Matcher};
pub use self::{
    content::{ContentScan, Released},
    finding::{Finding, Layer, Place},
    rules::{Rule, RulesError, RulesFile, structure::Structure},
};

/// The most bytes of a content that wait for their verdict.
pub const HOLD_BACK: usize = 4096;

/// The compiled rules. Cheap to share in an `Arc`; immutable.
pub struct Scanner {
    rules: Vec<Arc<Rule>>,
    anchors: Anchors,
    keywords: Vec<Anchor>,
    /// The rule for seed phrases, which have no keyword.
    seeds: Option<usize>,
}

/// What stands behind the patterns of one keyword.
struct Anchor {
    keyword: Keyword,
    /// Where in the keyword the part begins that is looked for.
    core: usize,
    /// The rules that need this keyword.
    rules: Vec<usize>,
    /// How many bytes from a pattern's begin on the rules may need, with escapes; known when it is first found.
    reach: OnceLock<usize>,
}

/// Values that must not leave whatever they look like: the credentials that the proxy holds.
///
/// Has no `Debug`: it holds what it protects.
#[derive(Default)]
pub struct ExactValues(Vec<Arc<Rule>>);

/// Rules that do not apply. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exemptions(Arc<[usize]>);

/// An exemption that names no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scan rule `{id}`{}", .nearest.as_ref().map(|rule| format!("; did you mean `{rule}`?")).unwrap_or_default())]
pub struct UnknownRule {
    pub id: String,
    /// The rule with the most similar name.
    pub nearest: Option<String>,
}

impl ExactValues {
    /// Adds a credential under the name by which findings may speak of it. Values under eight bytes are ignored: they
    /// would be found everywhere.
    pub fn add(&mut self, name: impl Into<String>, value: &[u8]) {
        let name = name.into();
        let description = format!("the credential `{name}`, which the proxy itself adds");
        self.push(format!("{}{name}", finding::CREDENTIAL), description, value);
    }

    /// Adds the stand-in for a credential: it has no business in what is scanned.
    pub fn add_stand_in(&mut self, name: impl Into<String>, value: &[u8]) {
        let name = name.into();
        self.push(format!("{}{name}", finding::STAND_IN), format!("the stand-in for `{name}`"), value);
    }

    /// A scan for these values and nothing else; `None` where there are none.
    pub fn scanner(&self) -> Option<Scanner> {
        (!self.0.is_empty()).then(|| Scanner::compile(self.0.clone()))
    }

    fn push(&mut self, id: String, description: String, value: &[u8]) {
        if value.len() >= 8 {
            self.0.push(Arc::new(Rule::exact(id, description, value.into())));
        }
    }
}

impl Exemptions {
    fn covers(&self, rule: usize) -> bool {
        self.0.contains(&rule)
    }
}

impl Scanner {
    /// The rules that we ship.
    pub fn builtin() -> Scanner {
        Scanner::compile(rules::builtin().to_vec())
    }

    /// The user's own rules, after the built-in ones where the file extends them.
    pub fn with_rules_file(path: &Path) -> Result<Scanner, RulesError> {
        Scanner::of(Some(path), ExactValues::default())
    }

    /// The rules of a file or, without one, those that we ship, and these values in every form in which they may travel.
    pub fn of(file: Option<&Path>, values: ExactValues) -> Result<Scanner, RulesError> {
        let mut all = match file {
            Some(path) => own_rules(path)?,
            None => rules::builtin().to_vec(),
        };
        all.extend(values.0);
        Ok(Scanner::compile(all))
    }

    /// The same rules, and these values in every form in which they may travel.
    pub fn with_exact(self, values: ExactValues) -> Scanner {
        let mut all = self.rules;
        all.extend(values.0);
        Scanner::compile(all)
    }

    /// All rules, in the order in which they are asked.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map(Arc::as_ref)
    }

    /// The rules with these ids, so that they do not apply.
    pub fn exemptions(&self, ids: &[String]) -> Result<Exemptions, UnknownRule> {
        let mut rules = Vec::with_capacity(ids.len());
        for id in ids {
            match self.rules.iter().position(|rule| rule.id == *id) {
                Some(index) => rules.push(index),
                None => return Err(self.unknown(id)),
            }
        }
        Ok(Exemptions(rules.into()))
    }

    fn unknown(&self, id: &str) -> UnknownRule {
        let nearest = self
            .rules
            .iter()
            .map(|rule| (strsim::jaro_winkler(id, &rule.id), &rule.id))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, rule)| rule.clone());
        UnknownRule { id: id.to_owned(), nearest }
    }

    fn compile(rules: Vec<Arc<Rule>>) -> Scanner {
        let mut keywords: Vec<Anchor> = Vec::new();
        let mut known = HashMap::new();
        for (index, rule) in rules.iter().enumerate() {
            for keyword in &rule.keywords {
                let place = *known.entry((&keyword.text, keyword.case)).or_insert_with(|| {
                    let keyword = Keyword { completions: Box::default(), ..keyword.clone() };
                    keywords.push(Anchor { keyword, core: 0, rules: Vec::new(), reach: OnceLock::new() });
                    keywords.len() - 1
                });
                let anchor = &mut keywords[place];
                anchor.rules.push(index);
                let completions = anchor.keyword.completions.iter().chain(&keyword.completions).cloned();
                anchor.keyword.completions = completions.collect();
            }
        }
        let mut builder = anchors::Builder::default();
        for (index, anchor) in keywords.iter_mut().enumerate() {
            anchor.core = builder.add_keyword(index as u32, &anchor.keyword);
        }
        let seeds = rules.iter().position(|rule| matches!(rule.matcher, Matcher::SeedPhrase));
        Scanner { rules, anchors: builder.build(), keywords, seeds }
    }
}

/// The rules of a user's file, after the built-in ones where it extends them.
fn own_rules(path: &Path) -> Result<Vec<Arc<Rule>>, RulesError> {
    let file = RulesFile::read(path)?;
    let mut all = Vec::new();
    if file.extends {
        let kept =
            |rule: &&Arc<Rule>| !file.disabled.contains(&rule.id) && !file.rules.iter().any(|own| own.id == rule.id);
        all.extend(rules::builtin().iter().filter(kept).cloned());
    }
    all.extend(file.rules.into_iter().map(Arc::new));
    Ok(all)
}

impl Rule {
    /// A rule that finds one value, by a part of it that no escape would change.
    fn exact(id: String, description: String, value: Box<[u8]>) -> Rule {
        Rule {
            id,
            description,
            group: "credentials".to_owned(),
            source: None,
            check: None,
            keywords: vec![Keyword { text: value.clone(), case: rules::Case::Counts, completions: Box::default() }],
            matcher: Matcher::Exact(value),
            entropy: None,
            allowlists: Vec::new(),
        }
    }
}
