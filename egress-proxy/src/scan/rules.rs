//! What a rule is: a format that a secret has, and how a match of it is told from what only looks alike.
//!
//! A rule never runs over a content: it is asked at a place where one of its keywords stands, and reads a bounded
//! stretch around it. Its regular expression is compiled when it is first asked.

mod expression;
mod placeholder;
mod shipped;
pub(super) mod structure;

use std::{borrow::Cow, ops::Range};

use scan_rules::{
    Allowlist, Case, Condition, Definition, Expression, Ground, Keyword, Shape, Start, Structure, Target,
};

pub(super) use self::shipped::{anchors as shipped_anchors, patterns as shipped_patterns, rules as shipped_rules};
use self::{expression::Machine, structure::holds};

/// One format of secrets.
///
/// Has no `Debug`: it may hold what it looks for.
pub struct Rule {
    definition: Cow<'static, Definition>,
    matcher: Matcher,
    /// How much its keywords say.
    certainty: Certainty,
    /// Of each allowlist's expressions.
    allowed: Vec<Vec<Machine>>,
}

enum Matcher {
    Expression(Machine),
    /// These bytes, whatever they are.
    Exact(Keyword),
    /// Words of a list with a checksum; found without a keyword.
    SeedPhrase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Certainty {
    /// Three letters, or few different ones, and a run of any others: a match amid a longer text means nothing.
    Faint,
    Fair,
}

impl Rule {
    pub(super) fn of(definition: Cow<'static, Definition>) -> Rule {
        let matcher = match definition.expression {
            Some(_) => Matcher::Expression(Machine::default()),
            None => Matcher::SeedPhrase,
        };
        let machines = |list: &Allowlist| list.expressions.iter().map(|_| Machine::default()).collect();
        let allowed = definition.allowlists.iter().map(machines).collect();
        let faint = |definition: &Definition| definition.keywords.iter().any(|keyword| is_faint(&keyword.text));
        let certainty = match &definition {
            // A rule that its author believes in must work.
            Cow::Borrowed(shipped) if faint(shipped) => Certainty::Faint,
            _ => Certainty::Fair,
        };
        Rule { definition, matcher, certainty, allowed }
    }

    /// A rule that finds one value.
    pub(super) fn exact(id: String, description: String, value: Box<[u8]>) -> Rule {
        let definition = Definition {
            id: id.into(),
            description: description.into(),
            group: "credentials".into(),
            source: None,
            check: None,
            expression: None,
            keywords: Cow::Borrowed(&[]),
            entropy: None,
            allowlists: Cow::Borrowed(&[]),
        };
        let value = Keyword { text: value.into_vec().into(), case: Case::Counts, completions: Vec::new() };
        Rule {
            definition: Cow::Owned(definition),
            matcher: Matcher::Exact(value),
            certainty: Certainty::Fair,
            allowed: Vec::new(),
        }
    }

    /// Its name, as in findings and exemptions.
    pub fn id(&self) -> &str {
        &self.definition.id
    }

    /// What it finds, in words.
    pub fn description(&self) -> &str {
        &self.definition.description
    }

    /// What kind of service its secrets belong to.
    pub fn group(&self) -> &str {
        &self.definition.group
    }

    /// Where the format is documented.
    pub fn source(&self) -> Option<&str> {
        self.definition.source.as_deref()
    }

    /// What is checked besides the expression.
    pub fn check(&self) -> Option<Structure> {
        self.definition.check
    }

    /// The regular expression, as written in the rules file.
    pub fn expression(&self) -> Option<&str> {
        self.definition.expression.as_ref().map(|expression| &*expression.text)
    }

    /// The literals of which one must stand in a match.
    pub fn keywords(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.definition.keywords.iter().map(|keyword| String::from_utf8_lossy(&keyword.text))
    }

    /// What is looked for so that this rule is asked.
    pub(super) fn anchored_by(&self) -> &[Keyword] {
        match &self.matcher {
            Matcher::Exact(value) => std::slice::from_ref(value),
            Matcher::Expression(_) | Matcher::SeedPhrase => &self.definition.keywords,
        }
    }

    /// Where in a content that is looked for.
    pub(super) fn ground(&self) -> Ground {
        match &self.matcher {
            Matcher::Exact(value) => Ground::of_value(&value.text),
            Matcher::Expression(_) | Matcher::SeedPhrase => self.definition.ground(),
        }
    }

    pub(super) fn is_seed_phrase(&self) -> bool {
        matches!(self.matcher, Matcher::SeedPhrase)
    }

    /// The most bytes after its keyword that a match may need.
    pub(super) fn longest(&self) -> usize {
        match &self.matcher {
            Matcher::Exact(value) => value.text.len(),
            Matcher::Expression(_) | Matcher::SeedPhrase => self.definition.longest(),
        }
    }

    /// Whether a match may begin at a place, by its first bytes: `false` is certain, whatever escapes may follow.
    pub(super) fn may_begin(&self, text: &[u8], keyword: usize) -> bool {
        self.definition.expression.as_ref().is_none_or(|expression| expression.shape.may_stand(text, keyword))
    }

    /// Whether a run that every match holds is missing where one would begin: `true` is certain.
    pub(super) fn lacks_run(&self, text: &[u8], keyword: usize) -> bool {
        let run = self.definition.expression.as_ref().and_then(|expression| expression.shape.run);
        run.is_some_and(|run| run.is_missing(&text[keyword..]))
    }

    /// Whether a sign that every match holds is missing all around a place, and nothing can hide it: `true` is certain.
    pub(super) fn lacks_sign(&self, text: &[u8], keyword: usize) -> bool {
        let Some(Expression { shape: Shape { longest, needs: Some(sign), .. }, .. }) = self.definition.expression
        else {
            return false;
        };
        // Short escapes double what they stand for, and only the others stand for a sign.
        let far = 2 * longest;
        let Some(near) = text.get(keyword.saturating_sub(far)..keyword + far) else { return false };
        let hides = |at: usize| matches!(near.get(at + 1), None | Some(b'u' | b'U' | b'x' | b'X'));
        memchr::memchr2(sign, b'%', near).is_none() && !memchr::memchr_iter(b'\\', near).any(hides)
    }

    /// The secret that stands in `text` where a keyword was found, if there is one that is worth a refusal.
    pub(super) fn find(&self, text: &[u8], keyword: usize) -> Option<Range<usize>> {
        let machine = match &self.matcher {
            Matcher::SeedPhrase => return None,
            Matcher::Exact(value) => {
                let value = &*value.text;
                return text.get(keyword..)?.starts_with(value).then_some(keyword..keyword + value.len());
            }
            Matcher::Expression(machine) => machine,
        };
        let expression = self.definition.expression.as_ref()?;
        let Shape { start, longest, needs, .. } = expression.shape;
        let past = text.len().min(keyword.saturating_add(longest));
        if needs.is_some_and(|byte| memchr::memchr(byte, &text[keyword.saturating_sub(longest)..past]).is_none()) {
            return None;
        }
        let mut from = match start {
            Start::AtKeyword => keyword,
            Start::Around => keyword.saturating_sub(longest),
        };
        loop {
            let (whole, secret) = machine.next(expression, text, from)?;
            if whole.start > keyword {
                return None;
            }
            if whole.end > keyword && self.accepts(text, &whole, &secret) {
                return Some(secret);
            }
            if start == Start::AtKeyword {
                return None;
            }
            from = whole.start + 1;
        }
    }

    fn accepts(&self, text: &[u8], whole: &Range<usize>, secret: &Range<usize>) -> bool {
        let value = &text[secret.clone()];
        if self.definition.entropy.is_some_and(|least| entropy(value) <= least) {
            return false;
        }
        if self.definition.check.is_some_and(|check| !holds(check, value)) {
            return false;
        }
        if self.certainty == Certainty::Faint && placeholder::is_in_base64(text, whole) {
            return false;
        }
        let mut lists = self.definition.allowlists.iter().zip(&self.allowed);
        !placeholder::is_placeholder(value)
            && !lists.any(|(list, machines)| allows(list, machines, text, whole, secret))
    }
}

fn is_faint(keyword: &[u8]) -> bool {
    keyword.len() < 4 || (keyword.len() == 4 && keyword[1..].iter().all(|byte| *byte == keyword[1]))
}

fn allows(list: &Allowlist, machines: &[Machine], text: &[u8], whole: &Range<usize>, secret: &Range<usize>) -> bool {
    let target = match list.target {
        Target::Secret => &text[secret.clone()],
        Target::Match => &text[whole.clone()],
        Target::Line => {
            let start = memchr::memrchr(b'\n', &text[..whole.start]).map_or(0, |at| at + 1);
            let end = memchr::memchr(b'\n', &text[whole.end..]).map_or(text.len(), |at| whole.end + at);
            &text[start..end]
        }
    };
    let expression = || list.expressions.iter().zip(machines).any(|(text, machine)| machine.is_match(text, target));
    let stopword = || {
        let lower = text[secret.clone()].to_ascii_lowercase();
        list.stopwords.iter().any(|word| memchr::memmem::find(&lower, word.as_bytes()).is_some())
    };
    match list.condition {
        Condition::All => (list.expressions.is_empty() || expression()) && (list.stopwords.is_empty() || stopword()),
        Condition::Any => expression() || stopword(),
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
