//! What can be read off an expression without running it: how its matches begin and end, and how long they are.

use std::borrow::Cow;

use regex_automata::{
    nfa::thompson::{NFA, State, WhichCaptures},
    util::primitives::StateID,
};
use regex_syntax::hir::{Class, ClassBytes, Hir, HirKind, literal::Extractor};

use super::{Case, Ground, Keyword, LONGEST_MATCH, List, Run};

/// So many first bytes tell most places that only look alike from matches.
const LEAD: usize = 24;
/// So many first bytes are looked at for the run that a match needs.
const GLANCE: usize = 112;
/// An expression that needs more memory than this, compiled, is none for a proxy.
const LARGEST: usize = 4 << 20;

/// Reads an expression as the scan does: over bytes, not characters.
///
/// # Errors
/// It is none, or has look-arounds or back-references.
pub fn parse(text: &str) -> Result<Hir, Box<regex_syntax::Error>> {
    let bytes = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(text);
    match bytes {
        Ok(hir) => Ok(hir),
        // Classes such as `\p{L}` need the other mode.
        Err(_) => regex_syntax::ParserBuilder::new().utf8(false).build().parse(text).map_err(Box::new),
    }
}

/// What is known of every match of an expression before it runs.
#[derive(Clone, Debug)]
pub struct Shape {
    pub start: Start,
    /// The length of the longest match, as far as one is looked for.
    pub longest: usize,
    /// For each of the first bytes of a match that begins with the keyword, which there may be.
    pub lead: List<ByteSet>,
    /// Bytes that would make the match longer than the format allows.
    pub tail: Option<ByteSet>,
    /// A byte without which there is no match, and which is in none of the keywords.
    pub needs: Option<u8>,
    /// Where the keywords are looked for.
    pub ground: Ground,
    /// A run that is near the begin of every match that begins with the keyword.
    pub run: Option<Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Every match begins with the keyword.
    AtKeyword,
    /// The keyword may be anywhere in a match.
    Around,
}

/// Some of the 256 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteSet(pub [u64; 4]);

impl ByteSet {
    pub fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    fn add(&mut self, first: u8, last: u8) {
        (first..=last).for_each(|byte| self.0[usize::from(byte >> 6)] |= 1 << (byte & 63));
    }
}

/// An expression that would need too much memory.
#[derive(Debug, thiserror::Error)]
#[error("the regular expression cannot be used: it needs more than {} MiB when compiled", LARGEST >> 20)]
pub struct TooLarge;

impl Shape {
    /// # Errors
    /// The expression is too large to be compiled.
    pub fn of(hir: &Hir, keywords: &[Keyword], closed: Closed) -> Result<Shape, TooLarge> {
        let config = NFA::config().which_captures(WhichCaptures::All).nfa_size_limit(Some(LARGEST));
        let nfa = NFA::compiler().configure(config).build_from_hir(hir).map_err(|_| TooLarge)?;
        let start = match begins_with_keyword(hir, keywords) {
            true => Start::AtKeyword,
            false => Start::Around,
        };
        Ok(Shape {
            start,
            longest: hir.properties().maximum_len().unwrap_or(LONGEST_MATCH).min(LONGEST_MATCH),
            lead: match start {
                Start::AtKeyword => lead(&nfa),
                Start::Around => Cow::Borrowed(&[]),
            },
            tail: match closed {
                Closed::ByItsAlphabet => last_class(hir),
                Closed::AsWritten => None,
            },
            needs: needed(hir).filter(|byte| keywords.iter().all(|keyword| !keyword.text.contains(byte))),
            ground: Ground::of(hir, keywords, start == Start::AtKeyword),
            run: if start == Start::AtKeyword { Run::of(hir, GLANCE) } else { None },
        })
    }

    /// Whether a match may stand at a place, by its first bytes: `false` is certain; where an escape stands, anything may.
    pub fn may_stand(&self, text: &[u8], at: usize) -> bool {
        for (offset, bytes) in self.lead.iter().enumerate() {
            match text.get(at + offset) {
                Some(b'\\' | b'%') => return true,
                Some(byte) if bytes.has(*byte) => {}
                _ => return false,
            }
        }
        true
    }
}

/// Whether a match may be followed by more of the characters that it ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    ByItsAlphabet,
    AsWritten,
}

/// A sign that every match holds, if there is one that text seldom does.
fn needed(hir: &Hir) -> Option<u8> {
    const SELDOM: &[u8] = b"@~|^";
    match hir.kind() {
        HirKind::Literal(literal) => literal.0.iter().copied().find(|byte| SELDOM.contains(byte)),
        HirKind::Capture(capture) => needed(&capture.sub),
        HirKind::Concat(parts) => parts.iter().find_map(needed),
        HirKind::Repetition(repetition) if repetition.min > 0 => needed(&repetition.sub),
        _ => None,
    }
}

/// As far as every match is sure to reach.
fn lead(nfa: &NFA) -> List<ByteSet> {
    let mut lead = Vec::with_capacity(LEAD);
    let mut now = vec![nfa.start_anchored()];
    while lead.len() < LEAD {
        let mut bytes = ByteSet::default();
        match step(nfa, now, &mut bytes) {
            Some(next) => now = next,
            None => break,
        }
        lead.push(bytes);
    }
    Cow::Owned(lead)
}

/// The states after one more byte, and which bytes lead there; `None` when a match may be over.
fn step(nfa: &NFA, mut open: Vec<StateID>, bytes: &mut ByteSet) -> Option<Vec<StateID>> {
    let mut seen = vec![false; nfa.states().len()];
    let mut next = Vec::new();
    while let Some(id) = open.pop() {
        if std::mem::replace(&mut seen[id.as_usize()], true) {
            continue;
        }
        let mut take = |first: u8, last: u8, to: StateID| {
            bytes.add(first, last);
            next.push(to);
        };
        match nfa.state(id) {
            State::ByteRange { trans } => take(trans.start, trans.end, trans.next),
            State::Sparse(sparse) => {
                sparse.transitions.iter().for_each(|trans| take(trans.start, trans.end, trans.next));
            }
            State::Dense(dense) => {
                for byte in 0..=255_u8 {
                    let to = dense.transitions[usize::from(byte)];
                    if to != StateID::ZERO {
                        take(byte, byte, to);
                    }
                }
            }
            State::Look { next, .. } | State::Capture { next, .. } => open.push(*next),
            State::Union { alternates } => open.extend(alternates.iter()),
            State::BinaryUnion { alt1, alt2 } => open.extend([*alt1, *alt2]),
            State::Fail => {}
            State::Match { .. } => return None,
        }
    }
    next.sort_unstable();
    next.dedup();
    Some(next)
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
        HirKind::Class(class) => take(&|next| {
            let Some(class) = byte_class(class) else { return false };
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

/// A class of characters as one of bytes: the parser makes either kind where only ASCII is in it.
pub(super) fn byte_class(class: &Class) -> Option<ClassBytes> {
    match class {
        Class::Bytes(class) => Some(class.clone()),
        Class::Unicode(class) => class.to_byte_class(),
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
fn last_class(hir: &Hir) -> Option<ByteSet> {
    match hir.kind() {
        HirKind::Concat(parts) => last_class(parts.last()?),
        HirKind::Capture(capture) => last_class(&capture.sub),
        HirKind::Alternation(ways) => {
            // What each of them could go on with.
            let common =
                |one: ByteSet, other: ByteSet| ByteSet(std::array::from_fn(|word| one.0[word] & other.0[word]));
            ways.iter().map(last_class).reduce(|one, other| Some(common(one?, other?)))?
        }
        HirKind::Repetition(repetition) if repetition.greedy => last_class(&repetition.sub),
        HirKind::Class(class) => {
            let mut members = ByteSet::default();
            byte_class(class)?.ranges().iter().for_each(|range| members.add(range.start(), range.end()));
            Some(members)
        }
        _ => None,
    }
}
