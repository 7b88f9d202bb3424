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

use std::{borrow::Cow, sync::Arc};

pub use scan_rules::{Author, RulesError, RulesFile, Structure};
use scan_rules::{Ground, LONGEST, LONGEST_MATCH, List, Patterns, REACH, anchors};

use self::rules::{shipped_anchors, shipped_patterns, shipped_rules};
pub use self::{
    content::{ContentScan, Released},
    finding::{Finding, Layer, Place},
    rules::Rule,
};

/// The most bytes of a content that wait for their verdict.
pub const HOLD_BACK: usize = 4096;

/// The rules in force. Cheap to share in an `Arc`; what they say never changes.
pub struct Scanner {
    /// By their numbers; `None` for what a user's file turned off.
    rules: Vec<Option<Arc<Rule>>>,
    patterns: Patterns,
    anchors: Vec<Anchor>,
    /// The rule for seed phrases, which have no keyword.
    seeds: Option<usize>,
    /// From this rule on they are for the proxy's own values.
    guarded: usize,
    /// Parts of heads in which these rules found nothing.
    known: head::Known,
}

/// What stands behind the patterns of one keyword.
struct Anchor {
    keyword: scan_rules::Keyword,
    /// Where in the keyword the part begins that is looked for.
    core: usize,
    /// Where in a content it is looked for.
    ground: Ground,
    /// The rules that need this keyword.
    rules: List<usize>,
    /// How many bytes from a pattern's begin on the rules may need, with escapes.
    reach: usize,
    /// How many of them when nothing is escaped.
    longest: usize,
}

/// Values that must not leave whatever they look like: the credentials that the proxy holds.
///
/// Has no `Debug`: it holds what it protects.
#[derive(Default)]
pub struct ExactValues(Vec<Arc<Rule>>);

/// Rules that do not apply. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exemptions {
    rules: Arc<[usize]>,
    /// None before this one applies either.
    before: usize,
}

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
        (!self.0.is_empty()).then(|| Scanner::alone(self.0.clone()))
    }

    fn push(&mut self, id: String, description: String, value: &[u8]) {
        if value.len() >= 8 {
            self.0.push(Arc::new(Rule::exact(id, description, value.into())));
        }
    }
}

impl Exemptions {
    fn covers(&self, rule: usize) -> bool {
        rule < self.before || self.rules.contains(&rule)
    }
}

impl Scanner {
    /// The rules that we ship.
    pub fn builtin() -> Scanner {
        Scanner::new(None, ExactValues::default())
    }

    /// The rules of a user's file or, without one, those that we ship, and these values in every form in which they may
    /// travel.
    pub fn new(file: Option<RulesFile>, values: ExactValues) -> Scanner {
        let (disabled, own) = match file {
            None => (Some(Vec::new()), Vec::new()),
            Some(file) => (file.extends.then_some(file.disabled), file.rules),
        };
        let own = own.into_iter().map(|rule| Arc::new(Rule::of(Cow::Owned(rule)))).chain(values.0).collect();
        match disabled {
            Some(disabled) => Scanner::extended(&disabled, own),
            None => Scanner::alone(own),
        }
    }

    /// These rules and none that we ship.
    fn alone(rules: Vec<Arc<Rule>>) -> Scanner {
        let (own_anchors, patterns) = anchors(0, rules.iter().map(|rule| (rule.anchored_by(), rule.ground())));
        Scanner::of(rules.into_iter().map(Some).collect(), &[], own_anchors, Patterns::of(patterns.build_sparse()))
    }

    /// The rules that we ship but these, and others.
    fn extended(disabled: &[String], own: Vec<Arc<Rule>>) -> Scanner {
        let off = |rule: &Rule| {
            disabled.iter().any(|id| id == rule.id()) || own.iter().any(|replaced| replaced.id() == rule.id())
        };
        let shipped = shipped_rules();
        let mut rules: Vec<_> = shipped.iter().map(|rule| (!off(rule)).then(|| Arc::clone(rule))).collect();
        if own.is_empty() {
            return Scanner::of(rules, shipped_anchors(), Vec::new(), shipped_patterns());
        }
        let (own_anchors, patterns) =
            anchors(shipped.len(), own.iter().map(|rule| (rule.anchored_by(), rule.ground())));
        rules.extend(own.into_iter().map(Some));
        Scanner::of(rules, shipped_anchors(), own_anchors, shipped_patterns().and(patterns.build()))
    }

    fn of(
        rules: Vec<Option<Arc<Rule>>>,
        shipped: &'static [scan_rules::Anchor],
        own: Vec<scan_rules::Anchor>,
        patterns: Patterns,
    ) -> Scanner {
        let longest = |rule: &usize| rules[*rule].as_ref().map_or(0, |rule| rule.longest());
        let anchors = shipped
            .iter()
            .cloned()
            .chain(own)
            .map(|scan_rules::Anchor { keyword, core, ground, rules }| {
                let longest = rules.iter().map(longest).max().unwrap_or(0);
                let reach = (6 * (longest + LONGEST)).clamp(REACH, LONGEST_MATCH);
                Anchor { keyword, core, ground, rules, reach, longest: longest + LONGEST + 64 }
            })
            .collect();
        let seeds = rules.iter().position(|rule| rule.as_ref().is_some_and(|rule| rule.is_seed_phrase()));
        let others = rules.iter().rposition(|rule| rule.as_ref().is_none_or(|rule| !finding::is_guarded(rule.id())));
        let guarded = others.map_or(0, |last| last + 1);
        Scanner { rules, patterns, anchors, seeds, guarded, known: head::Known::default() }
    }

    /// All rules, in the order in which they are asked.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().flatten().map(Arc::as_ref)
    }

    /// The rules with these ids, so that they do not apply.
    pub fn exemptions(&self, ids: &[String]) -> Result<Exemptions, UnknownRule> {
        let mut rules = Vec::with_capacity(ids.len());
        for id in ids {
            match self.rules.iter().position(|rule| rule.as_ref().is_some_and(|rule| rule.id() == id)) {
                Some(index) => rules.push(index),
                None => return Err(self.unknown(id)),
            }
        }
        Ok(Exemptions { rules: rules.into(), before: 0 })
    }

    /// With these no rule applies but those for the proxy's own values, which no mode lets pass.
    pub fn all_but_guarded(&self) -> Exemptions {
        Exemptions { rules: Arc::default(), before: self.guarded }
    }

    fn unknown(&self, id: &str) -> UnknownRule {
        let nearest = self
            .rules()
            .map(|rule| (strsim::jaro_winkler(id, rule.id()), rule.id()))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, rule)| rule.to_owned());
        UnknownRule { id: id.to_owned(), nearest }
    }
}
