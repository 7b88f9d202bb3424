//! A rule's regular expression: understood and compiled when it is first asked, tried only where a keyword stands.

use std::{ops::Range, sync::OnceLock};

use regex_automata::{Anchored, Input, meta};
use regex_syntax::hir::Hir;

use super::{
    Keyword, LONGEST_MATCH,
    shape::{Lead, begins_with_keyword, last_class, parse},
};

/// A regular expression and where to try it.
#[derive(Debug)]
pub(in crate::scan) struct Expression {
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
    lead: Lead,
    /// Bytes that would make the match longer than the format allows.
    tail: Option<Box<[bool; 256]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Every match begins with the keyword.
    AtKeyword,
    /// The keyword may be anywhere in a match.
    Around,
}

/// Whether a match may be followed by more of the characters that it ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    OwnAlphabet,
    Anything,
}

impl Expression {
    pub(super) fn new(text: &str, keywords: &[Keyword], group: Option<usize>, tail: Tail) -> Expression {
        Expression { text: text.to_owned(), keywords: keywords.to_vec(), tail, group, compiled: OnceLock::new() }
    }

    /// Where matches begin.
    pub(super) fn start(&self) -> Start {
        self.compiled().start
    }

    /// The length of the longest match, as far as one is looked for.
    pub(super) fn longest(&self) -> usize {
        self.compiled().longest
    }

    /// What every match begins with.
    pub(super) fn lead(&self) -> &Lead {
        &self.compiled().lead
    }

    fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| {
            // Its file was checked: an expression that cannot be used is not in a rule.
            let Ok(hir) = parse(&self.text) else { return Compiled::never() };
            let longest = hir.properties().maximum_len().unwrap_or(LONGEST_MATCH).min(LONGEST_MATCH);
            let start = match begins_with_keyword(&hir, &self.keywords) {
                true => Start::AtKeyword,
                false => Start::Around,
            };
            Compiled {
                start,
                longest,
                tail: match self.tail {
                    Tail::OwnAlphabet => last_class(&hir),
                    Tail::Anything => None,
                },
                lead: match start {
                    Start::AtKeyword => Lead::of(&hir),
                    Start::Around => Lead::default(),
                },
                regex: compile(&hir),
            }
        })
    }

    /// The next match at or after `from` (exactly there when it must begin with the keyword), and the secret in it.
    pub(super) fn next(&self, text: &[u8], from: usize) -> Option<(Range<usize>, Range<usize>)> {
        let Compiled { regex, start, longest, tail, .. } = self.compiled();
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

/// Small before fast: a rule reads some hundred bytes at a time, and there are many rules.
fn compile(hir: &Hir) -> Option<meta::Regex> {
    let config =
        meta::Config::new().utf8_empty(false).auto_prefilter(false).hybrid(false).onepass_size_limit(Some(64 << 10));
    meta::Builder::new().configure(config).build_from_hir(hir).ok()
}

impl Compiled {
    fn never() -> Compiled {
        Compiled { regex: None, start: Start::AtKeyword, longest: 0, tail: None, lead: Lead::default() }
    }
}
