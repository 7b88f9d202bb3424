//! What a rule is: a format that a secret has, and how a match of it is told from what only looks alike.
//!
//! A rule never runs over a content: it is asked at a place where one of its keywords stands, and reads a bounded
//! stretch around it. Its regular expression is compiled when it is first asked.

mod builtin;
mod file;
mod placeholder;
pub(super) mod structure;

use std::{ops::Range, sync::OnceLock};

use regex_automata::{Anchored, Input, meta};
use regex_syntax::hir::{Class, Hir, HirKind, literal::Extractor};

pub(super) use self::builtin::builtin;
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
    /// One of many that stand for a shorter one.
    pub completed: bool,
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

/// A regular expression and where to try it. Understood and compiled when it is first asked.
#[derive(Debug)]
pub(super) struct Expression {
    pub text: String,
    keywords: Vec<Keyword>,
    tail: Tail,
    group: Option<usize>,
    compiled: OnceLock<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    regex: Option<meta::Regex>,
    start: Start,
    longest: usize,
    /// Bytes that would make the match longer than the format allows.
    tail: Option<Box<[bool; 256]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Every match begins with the keyword.
    AtKeyword,
    /// The keyword may be anywhere in a match.
    Around,
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
            Matcher::Expression(expression) => expression.compiled().longest,
            Matcher::Exact(value) => value.len(),
            Matcher::SeedPhrase => 0,
        }
    }

    /// The secret that stands in `text` where a keyword was found, if there is one that is worth a refusal.
    pub(super) fn find(&self, text: &[u8], keyword: usize) -> Option<Range<usize>> {
        match &self.matcher {
            Matcher::SeedPhrase => None,
            Matcher::Exact(value) => text.get(keyword..)?.starts_with(value).then_some(keyword..keyword + value.len()),
            Matcher::Expression(expression) => {
                let Compiled { start, longest, .. } = expression.compiled();
                let mut from = match start {
                    Start::AtKeyword => keyword,
                    Start::Around => keyword.saturating_sub(*longest),
                };
                loop {
                    let (whole, secret) = expression.next(text, from)?;
                    if whole.start > keyword {
                        return None;
                    }
                    if whole.end > keyword && self.accepts(text, &whole, &secret) {
                        return Some(secret);
                    }
                    if *start == Start::AtKeyword {
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

impl Expression {
    pub(super) fn new(text: &str, keywords: &[Keyword], group: Option<usize>, tail: Tail) -> Expression {
        Expression { text: text.to_owned(), keywords: keywords.to_vec(), tail, group, compiled: OnceLock::new() }
    }

    fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| {
            // Its file was checked: an expression that cannot be used is not in a rule.
            let Ok(hir) = parse(&self.text) else { return Compiled::NEVER };
            let longest = hir.properties().maximum_len().unwrap_or(LONGEST_MATCH).min(LONGEST_MATCH);
            Compiled {
                start: if begins_with_keyword(&hir, &self.keywords) { Start::AtKeyword } else { Start::Around },
                longest,
                tail: match self.tail {
                    Tail::OwnAlphabet => last_class(&hir),
                    Tail::Anything => None,
                },
                regex: compile(&hir),
            }
        })
    }

    /// The next match at or after `from` (exactly there when it must begin with the keyword), and the secret in it.
    fn next(&self, text: &[u8], from: usize) -> Option<(Range<usize>, Range<usize>)> {
        let Compiled { regex, start, longest, tail } = self.compiled();
        let regex = regex.as_ref()?;
        let past = text.len().min(from.saturating_add(2 * longest + 64));
        let (anchored, span) = match start {
            Start::AtKeyword => (Anchored::Yes, from..text.len().min(from + longest + 1)),
            Start::Around => (Anchored::No, from..past),
        };
        let mut captures = regex.create_captures();
        let mut from = span.start;
        loop {
            let input = Input::new(text).range(from..span.end).anchored(anchored);
            regex.search_captures(&input, &mut captures);
            let whole = captures.get_match()?.range();
            let grows = tail.as_ref().zip(text.get(whole.end)).is_some_and(|(tail, next)| tail[usize::from(*next)]);
            if !grows {
                let secret = match self.group {
                    Some(group) => captures.get_group(group),
                    None => (1..captures.group_len()).find_map(|group| captures.get_group(group)),
                };
                return Some((whole.clone(), secret.map_or(whole, |span| span.range())));
            }
            if anchored == Anchored::Yes {
                return None;
            }
            from = whole.start + 1;
        }
    }
}

/// Whether a match may be followed by more of the characters that it ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    OwnAlphabet,
    Anything,
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

pub(super) fn parse(text: &str) -> Result<Hir, Box<regex_syntax::Error>> {
    let bytes = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(text);
    match bytes {
        Ok(hir) => Ok(hir),
        // Classes such as `\p{L}` need the other mode.
        Err(_) => regex_syntax::ParserBuilder::new().utf8(false).build().parse(text).map_err(Box::new),
    }
}

/// Small before fast: a rule reads some hundred bytes at a time, and there are many rules.
fn compile(hir: &Hir) -> Option<meta::Regex> {
    let config =
        meta::Config::new().utf8_empty(false).auto_prefilter(false).hybrid(false).onepass_size_limit(Some(64 << 10));
    meta::Builder::new().configure(config).build_from_hir(hir).ok()
}

impl Compiled {
    const NEVER: Compiled = Compiled { regex: None, start: Start::AtKeyword, longest: 0, tail: None };
}

/// Whether every match begins with one of the keywords.
fn begins_with_keyword(hir: &Hir, keywords: &[Keyword]) -> bool {
    match hir.kind() {
        HirKind::Capture(capture) => begins_with_keyword(&capture.sub, keywords),
        HirKind::Alternation(ways) => ways.iter().all(|way| begins_with_keyword(way, keywords)),
        HirKind::Concat(parts) => {
            let first = parts.iter().find(|part| !matches!(part.kind(), HirKind::Look(_)));
            let alone = first.is_some_and(|part| {
                matches!(part.kind(), HirKind::Alternation(_) | HirKind::Capture(_))
                    && begins_with_keyword(part, keywords)
            });
            alone || prefixes_are_keywords(hir, keywords)
        }
        _ => prefixes_are_keywords(hir, keywords),
    }
}

fn prefixes_are_keywords(hir: &Hir, keywords: &[Keyword]) -> bool {
    let begins = |keyword: &Keyword| spells(hir, keyword, &mut &*keyword.text) == Spelled::Whole;
    if keywords.iter().any(begins) {
        return true;
    }
    // Several keywords that share a beginning: every literal beginning must be one of them.
    let mut extractor = Extractor::new();
    extractor.limit_total(4096).limit_repeat(8);
    extractor.extract(hir).literals().is_some_and(|literals| {
        !literals.is_empty()
            && literals.iter().all(|literal| {
                let begins = |keyword: &Keyword| match keyword.case {
                    Case::Counts => literal.as_bytes().starts_with(&keyword.text),
                    Case::Ignored => literal
                        .as_bytes()
                        .get(..keyword.text.len())
                        .is_some_and(|start| start.eq_ignore_ascii_case(&keyword.text)),
                };
                keywords.iter().any(begins)
            })
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelled {
    /// The expression is over before the keyword.
    Part,
    Whole,
    Otherwise,
}

/// Whether an expression spells out a keyword, character by character.
fn spells(hir: &Hir, keyword: &Keyword, rest: &mut &[u8]) -> Spelled {
    let mut take = |matches: &dyn Fn(u8) -> bool| match rest.split_first() {
        Some((first, tail)) if matches(*first) => {
            *rest = tail;
            if tail.is_empty() { Spelled::Whole } else { Spelled::Part }
        }
        _ => Spelled::Otherwise,
    };
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Spelled::Part,
        HirKind::Literal(literal) => {
            let mut spelled = Spelled::Part;
            for byte in &literal.0 {
                spelled = take(&|next| next == *byte);
                if spelled != Spelled::Part {
                    break;
                }
            }
            spelled
        }
        HirKind::Class(Class::Bytes(class)) => take(&|next| {
            class.ranges().iter().all(|range| {
                (range.start()..=range.end()).all(|member| match keyword.case {
                    Case::Counts => member == next,
                    Case::Ignored => member.eq_ignore_ascii_case(&next),
                })
            })
        }),
        HirKind::Capture(capture) => spells(&capture.sub, keyword, rest),
        HirKind::Concat(parts) => {
            for part in parts {
                match spells(part, keyword, rest) {
                    Spelled::Part => {}
                    end => return end,
                }
            }
            Spelled::Part
        }
        _ => Spelled::Otherwise,
    }
}

/// The beginnings of this length that a match may have, if there are not too many.
pub(super) fn beginnings(hir: &Hir, length: usize) -> Option<Vec<Box<[u8]>>> {
    let mut extractor = Extractor::new();
    extractor.limit_class(128).limit_literal_len(length).limit_total(8192);
    let mut prefixes = extractor.extract(hir);
    prefixes.keep_first_bytes(length);
    prefixes.dedup();
    let literals = prefixes.literals()?;
    let whole = literals.iter().all(|literal| literal.len() == length);
    whole.then(|| literals.iter().map(|literal| literal.as_bytes().into()).collect())
}

/// The class of the last character of every match, when the expression ends with a class that is repeated greedily: a
/// lazy repetition says that the rest does not matter.
fn last_class(hir: &Hir) -> Option<Box<[bool; 256]>> {
    match hir.kind() {
        HirKind::Concat(parts) => last_class(parts.last()?),
        HirKind::Capture(capture) => last_class(&capture.sub),
        HirKind::Repetition(repetition) if repetition.greedy => last_class(&repetition.sub),
        HirKind::Class(Class::Bytes(class)) => {
            let mut members = Box::new([false; 256]);
            for range in class.ranges() {
                for byte in range.start()..=range.end() {
                    members[usize::from(byte)] = true;
                }
            }
            Some(members)
        }
        _ => None,
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
