//! Where to look: one pass over the bytes that finds every place where a rule's keyword stands, as written or encoded.
//!
//! Each keyword is known in every form in which it may travel (plain, base64 in its three alignments, hex, UTF-16, and
//! two of these on top of each other), as a short byte pattern. Of each pattern four bytes are entered in a table; the
//! pass looks the four bytes at every position up in it ([`sieve`]), which costs about one cycle a byte and never depends
//! on how many rules there are. Only where the table says "perhaps" is the pattern compared, and only where the
//! pattern stands does a rule look closer. So encoded content is found without being decoded.
//!
//! Where every pattern is long, as a credential's are, the pass looks at one position of several: each pattern is entered at
//! as many of its places in a row, so that one of them is looked at wherever it stands.
//!
//! It must never miss a pattern: what is not reported here is not looked at by anybody.

mod builder;
mod sieve;
mod sparse;
mod survey;
#[cfg(test)]
mod tests;

use std::{ops::Range, sync::OnceLock};

use super::{
    Case, List,
    encoding::Steps,
    signs::{PHRASE_BLOCK, PHRASE_STRIDE, is_block_of_phrase},
};

pub(super) use self::builder::core;
pub use self::{builder::Builder, sieve::Sieve};
use self::{
    builder::Pattern,
    sieve::{ROW, Row},
    sparse::Sparse,
    survey::{Lookout, Means, Survey, WORD, ones},
};

/// Bytes that decide whether a position is worth a comparison.
const GRAM: usize = 4;
/// So many positions are looked at before it is asked whether one of them is worth a comparison, where few are.
const STRIDE: usize = 8;

/// A part of a content that is no longer than this is not surveyed: signs may reach all of it from beyond.
const SHORT: usize = 1024;

/// A place where a keyword stands, or an escape that may hide one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// Where its pattern begins.
    pub at: usize,
    /// Which one, as [`Patterns::found`] knows it; [`Hit::ESCAPE`] for an escape.
    pub pattern: u32,
}

impl Hit {
    /// A backslash before a character in hexadecimal, as in JSON and most programming languages.
    pub const ESCAPE: u32 = u32::MAX;
    /// A percent sign, which may begin an escape.
    pub const PERCENT: u32 = u32::MAX - 1;
    /// A block that may be of a seed phrase.
    pub const PHRASE: u32 = u32::MAX - 2;
}

/// Patterns as they are kept: plain numbers, which a build script can write down.
#[derive(Clone, Debug)]
pub struct Packed {
    /// How many buckets there are, as a power of two.
    pub bits: u32,
    /// Where a bucket's entries begin; one more than there are buckets.
    pub starts: List<u32>,
    /// Four bytes, the pattern that has them, and where in it: see [`Entry`].
    pub entries: List<u64>,
    /// One after the other, each as long as its pattern needs; a pattern's number is where its record begins: see
    /// [`Record`].
    pub records: List<u8>,
    /// Four bytes each of what is looked for everywhere.
    pub everywhere: List<u32>,
    /// How many keywords the patterns stand for.
    pub keywords: u32,
    /// How far apart the positions may be that are looked at.
    pub gap: usize,
}

/// Everything that is looked for in one pass.
pub struct Patterns {
    entered: Entered,
    parts: Vec<Part>,
    /// Prepared when the first content comes.
    survey: OnceLock<Option<(Means, Box<Lookout>)>>,
}

enum Entered {
    Shipped(&'static Sieve),
    Own(Box<Sieve>),
    /// With how far apart the positions are that are looked at.
    Sparse(Box<Sparse>, usize),
}

struct Part {
    packed: Packed,
    /// The numbers of its first pattern and of its first keyword.
    first: (u32, u32),
}

/// An entry of a bucket, as 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    gram: u32,
    pattern: u32,
    /// Where in the pattern the gram stands.
    offset: u8,
}

/// Four bits are kept of an offset.
const _: () = assert!(super::encoding::LONGEST - GRAM < 16);

impl Entry {
    fn pack(self) -> u64 {
        u64::from(self.gram) | u64::from(self.pattern) << 32 | u64::from(self.offset) << 60
    }

    #[inline(always)]
    fn unpack(packed: u64) -> Entry {
        Entry { gram: packed as u32, pattern: (packed >> 32) as u32 & 0xfff_ffff, offset: (packed >> 60) as u8 }
    }
}

/// A pattern: the number of its bytes and whether case counts, what is to be undone, whose keyword it is, its bytes, and
/// what must stand beside them where that is a part of the keyword.
#[derive(Clone, Copy)]
struct Record<'a>(&'a [u8]);

/// What of a record is before its pattern's bytes.
const HEAD: usize = 5;
/// Beside the number of bytes: case is ignored.
const FOLD: u8 = 0x80;
/// Two bytes more follow: the [`Neighbours`].
const BESIDE: u8 = 0x40;

/// What of a keyword stands before a pattern and after it; zero where nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Neighbours {
    before: u8,
    after: u8,
}

impl Neighbours {
    const NONE: Neighbours = Neighbours { before: 0, after: 0 };

    /// Whether they may stand around a stretch of a text, escaped or not.
    #[inline(always)]
    fn may_stand(self, text: &[u8], start: usize, end: usize) -> bool {
        let is = |there: u8, byte: u8| there.eq_ignore_ascii_case(&byte);
        let before = self.before == 0
            || start.checked_sub(1).and_then(|at| text.get(at)).is_some_and(|there| {
                // The last of an escape: a digit, or a letter that stands for a control character.
                let is_digit = (*there as char).to_digit(16) == Some(u32::from(self.before & 15));
                is(*there, self.before) || is_digit || (self.before.is_ascii_control() && there.is_ascii_lowercase())
            });
        let after = self.after == 0
            || text.get(end).is_some_and(|there| is(*there, self.after) || matches!(there, b'\\' | b'%'));
        before && after
    }
}

impl Record<'_> {
    fn write(pattern: &Pattern, records: &mut Vec<u8>) {
        let bytes = pattern.form.bytes();
        let fold = if pattern.case == Case::Ignored { FOLD } else { 0 };
        let beside = if pattern.beside == Neighbours::NONE { 0 } else { BESIDE };
        records.push(bytes.len() as u8 | fold | beside);
        records.push(pattern.form.steps.to_byte());
        records.extend_from_slice(&pattern.keyword.to_le_bytes()[..3]);
        records.extend_from_slice(bytes);
        if beside != 0 {
            records.extend_from_slice(&[pattern.beside.before, pattern.beside.after]);
        }
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        &self.0[HEAD..][..usize::from(self.0[0] & !(FOLD | BESIDE))]
    }

    fn beside(&self) -> Neighbours {
        match self.0[HEAD + self.bytes().len()..] {
            [before, after, ..] if self.0[0] & BESIDE != 0 => Neighbours { before, after },
            _ => Neighbours::NONE,
        }
    }

    /// Most differ within a few bytes, so that a call to compare them all would cost more.
    #[inline(always)]
    fn stands_at(&self, text: &[u8], start: usize) -> bool {
        let bytes = self.bytes();
        let Some(there) = text.get(start..start + bytes.len()) else { return false };
        let mut pairs = bytes.iter().zip(there);
        let is_same = match self.0[0] & FOLD {
            0 => pairs.all(|(byte, there)| byte == there),
            _ => pairs.all(|(byte, there)| byte.eq_ignore_ascii_case(there)),
        };
        is_same && self.beside().may_stand(text, start, start + bytes.len())
    }

    fn steps(&self) -> Steps {
        Steps::from_byte(self.0[1])
    }

    fn keyword(&self) -> u32 {
        self.0[2..HEAD].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
    }
}

impl Packed {
    #[inline(always)]
    fn record(&self, pattern: u32) -> Record<'_> {
        Record(&self.records[pattern as usize..])
    }

    /// The table in which every pattern is entered.
    pub fn sieve(&self) -> Box<Sieve> {
        let mut sieve = Box::new(Sieve::EMPTY);
        for first in [*b"\\u00", *b"\\U00"] {
            sieve.enter(u32::from_le_bytes(first));
        }
        for (letter, high) in [b'x', b'X'].into_iter().flat_map(|letter| (b'2'..=b'7').map(move |high| (letter, high)))
        {
            for low in (b'0'..=b'9').chain(b'a'..=b'f').chain(b'A'..=b'F') {
                sieve.enter(u32::from_le_bytes([b'\\', letter, high, low]));
            }
        }
        self.enter(&mut sieve);
        sieve
    }

    fn enter(&self, sieve: &mut Sieve) {
        self.entries.iter().for_each(|entry| sieve.enter(*entry as u32));
    }
}

impl Patterns {
    /// Patterns whose table is known.
    pub fn shipped(packed: Packed, sieve: &'static Sieve) -> Patterns {
        Patterns::entered(Entered::Shipped(sieve), packed)
    }

    pub fn of(packed: Packed) -> Patterns {
        if packed.gap == 1 {
            return Patterns::entered(Entered::Own(packed.sieve()), packed);
        }
        let mut sparse = Box::new([0; 1 << 16]);
        packed.entries.iter().for_each(|entry| sparse::enter(&mut sparse, *entry as u32));
        Patterns::entered(Entered::Sparse(sparse, packed.gap), packed)
    }

    fn entered(entered: Entered, packed: Packed) -> Patterns {
        Patterns { entered, parts: vec![Part { packed, first: (0, 0) }], survey: OnceLock::new() }
    }

    /// What a survey needs; `None` where every pattern is looked for everywhere, as where few positions are looked at: there
    /// no survey is worth its cost.
    fn survey(&self) -> Option<(Means, &Lookout, &Sieve)> {
        let sieve = self.sieve()?;
        let prepared = self.survey.get_or_init(|| {
            let everywhere = self.parts.iter().flat_map(|part| part.packed.everywhere.iter().copied());
            Means::all().next().zip(Lookout::of(everywhere).map(Box::new))
        });
        prepared.as_ref().map(|(means, lookout)| (*means, &**lookout, sieve))
    }

    /// With further patterns, whose keywords are counted on from those that are there. From then on every position is
    /// looked at.
    pub fn and(mut self, packed: Packed) -> Patterns {
        let mut sieve = match self.entered {
            Entered::Shipped(shipped) => Box::new(shipped.clone()),
            Entered::Own(own) => own,
            Entered::Sparse(..) => self.parts[0].packed.sieve(),
        };
        packed.enter(&mut sieve);
        self.entered = Entered::Own(sieve);
        let first = self.parts.last().map_or((0, 0), |last| {
            let (pattern, keyword) = last.first;
            (pattern + last.packed.records.len() as u32, keyword + last.packed.keywords)
        });
        self.parts.push(Part { packed, first });
        self
    }

    /// Whether few positions are looked at.
    #[cfg(test)]
    fn is_sparse(&self) -> bool {
        matches!(self.entered, Entered::Sparse(..))
    }

    /// Whose keyword was found, and what must be undone to see it.
    pub fn found(&self, hit: Hit) -> (usize, Steps) {
        // The first begins at 0, and there are few.
        let part = self.parts.iter().rfind(|part| part.first.0 <= hit.pattern).unwrap_or(&self.parts[0]);
        let record = part.packed.record(hit.pattern - part.first.0);
        ((record.keyword() + part.first.1) as usize, record.steps())
    }

    /// Reports what of a part of a content needs a closer look: patterns, where [`Ground`](crate::Ground) says that they
    /// are looked for, escapes of both kinds, and, where anybody asks for them, blocks of phrases.
    ///
    /// `text` is a stretch of the content that begins at the byte `offset` of it; whether it goes on after the text is
    /// `goes_on`. What is reported further may depend on where it is cut, but nothing comes of that: see
    /// [`is_near_sign`](crate::is_near_sign).
    pub fn sweep_content(
        &self,
        text: &[u8],
        part: Range<usize>,
        offset: u64,
        goes_on: bool,
        with_phrases: bool,
        mut found: impl FnMut(Hit),
    ) {
        let surveyed = if part.len() > SHORT { self.survey() } else { None };
        let Some((means, lookout, sieve)) = surveyed else {
            return self.sweep_everywhere(text, part, offset, with_phrases, found);
        };
        // Words lie alike in the content however it is cut; before the first is one that may reach it.
        let lead = part.start.min(((offset + part.start as u64) % WORD as u64) as usize);
        let start = part.start - lead;
        let mut survey = Survey::of(means, start.checked_sub(WORD).unwrap_or(start));
        let mut row = Row::EMPTY;
        let last = (text.len() + 1).saturating_sub(GRAM);
        loop {
            // The words before the next that a sign reaches.
            let mut near = part.start..part.start;
            let is_more = survey.read(lookout, text, goes_on, |told| {
                let begin = told.begin;
                let within = bits_within(begin, &part);
                let positions = |bits: u64| ones(bits & within).map(|place| begin + place);
                for at in positions(told.marks) {
                    let pattern = if text[at] == b'%' { Hit::PERCENT } else { Hit::ESCAPE };
                    found(Hit { at, pattern });
                }
                let phrases = if with_phrases { told.phrases } else { 0 };
                let blocks = positions(phrases).filter(|at| at + PHRASE_BLOCK <= text.len());
                blocks.for_each(|at| found(Hit { at, pattern: Hit::PHRASE }));
                if told.is_near {
                    if near.end != begin {
                        self.sweep_rows(&mut row, text, near.clone(), &mut found);
                        near.start = begin.max(part.start);
                    }
                    near.end = part.end.min(begin + WORD);
                    return;
                }
                for at in positions(told.starts).filter(|at| *at < last) {
                    let gram = gram(&text[at..]);
                    if sieve.may_hold(gram) {
                        self.compare(text, at, gram, &mut found);
                    }
                }
            });
            self.sweep_rows(&mut row, text, near, &mut found);
            if !is_more {
                break;
            }
        }
    }

    /// The same where every pattern is looked for everywhere.
    fn sweep_everywhere(
        &self,
        text: &[u8],
        part: Range<usize>,
        offset: u64,
        with_phrases: bool,
        mut found: impl FnMut(Hit),
    ) {
        let Range { start, end } = part;
        self.sweep(text, start, end, &mut found);
        memchr::memchr_iter(b'%', &text[start..end])
            .for_each(|at| found(Hit { at: start + at, pattern: Hit::PERCENT }));
        if !with_phrases {
            return;
        }
        let first = (offset + start as u64).next_multiple_of(PHRASE_STRIDE as u64) - offset;
        let blocks = (first as usize..end).step_by(PHRASE_STRIDE).filter(|at| is_block_of_phrase(text, *at));
        blocks.for_each(|at| found(Hit { at, pattern: Hit::PHRASE }));
    }

    /// Reports the patterns whose deciding four bytes begin within a part of a text.
    fn sweep_rows(&self, row: &mut Row, text: &[u8], part: Range<usize>, found: &mut impl FnMut(Hit)) {
        let Some(sieve) = self.sieve() else { return };
        let end = part.end.min((text.len() + 1).saturating_sub(GRAM));
        for at in (part.start..end).step_by(ROW) {
            let part = &text[at..end.min(at + ROW) + GRAM - 1];
            row.each_marked(sieve, part, |offset, gram| self.compare(text, at + offset, gram, found));
        }
    }

    fn sieve(&self) -> Option<&Sieve> {
        match &self.entered {
            Entered::Shipped(shipped) => Some(shipped),
            Entered::Own(own) => Some(own),
            Entered::Sparse(..) => None,
        }
    }

    /// Reports every pattern whose deciding four bytes begin within `from..to`.
    ///
    /// A pattern that is not wholly within `text` is not reported: whoever reads a stream leaves as many bytes as the longest
    /// pattern has after `to` and before `from`, except at the stream's two ends.
    pub fn sweep(&self, text: &[u8], from: usize, to: usize, mut found: impl FnMut(Hit)) {
        let to = to.min((text.len() + 1).saturating_sub(GRAM));
        let sieve = match &self.entered {
            Entered::Shipped(shipped) => shipped,
            Entered::Own(own) => &**own,
            Entered::Sparse(sparse, 8) => return self.sweep_sparsely::<8>(sparse, text, from, to, found),
            Entered::Sparse(sparse, _) => return self.sweep_sparsely::<4>(sparse, text, from, to, found),
        };
        let mut row = Row::EMPTY;
        for at in (from..to).step_by(ROW) {
            let part = &text[at..to.min(at + ROW) + GRAM - 1];
            row.each_marked(sieve, part, |offset, gram| self.compare_or_escape(text, at + offset, gram, &mut found));
        }
    }

    /// The same where each pattern is entered at `GAP` places of its own.
    fn sweep_sparsely<const GAP: usize>(
        &self,
        sparse: &Sparse,
        text: &[u8],
        from: usize,
        to: usize,
        mut found: impl FnMut(Hit),
    ) {
        let Some(part) = text.get(from..to) else { return };
        for offset in memchr::memchr_iter(b'\\', part) {
            let at = from + offset;
            if is_escape(gram(&text[at..])) {
                found(Hit { at, pattern: Hit::ESCAPE });
            }
        }
        let mut blocks = part.chunks_exact(STRIDE * GAP);
        let mut at = from;
        for block in &mut blocks {
            if block.chunks_exact(GAP).fold(0, |any, bytes| any | sparse::glance(sparse, gram(bytes))) != 0 {
                for place in (at..at + block.len()).step_by(GAP) {
                    self.compare_if_held(sparse, text, place, &mut found);
                }
            }
            at += block.len();
        }
        for at in (at..to).step_by(GAP) {
            self.compare_if_held(sparse, text, at, &mut found);
        }
    }

    fn compare_if_held(&self, sparse: &Sparse, text: &[u8], at: usize, found: &mut impl FnMut(Hit)) {
        let gram = gram(&text[at..]);
        if sparse::may_hold(sparse, gram) {
            self.compare(text, at, gram, found);
        }
    }

    fn compare_or_escape(&self, text: &[u8], at: usize, gram: u32, found: &mut impl FnMut(Hit)) {
        if is_escape(gram) {
            found(Hit { at, pattern: Hit::ESCAPE });
        }
        self.compare(text, at, gram, found);
    }

    fn compare(&self, text: &[u8], at: usize, gram: u32, found: &mut impl FnMut(Hit)) {
        for Part { packed, first } in &self.parts {
            let bucket = bucket(gram, packed.bits);
            let entries = &packed.entries[packed.starts[bucket] as usize..packed.starts[bucket + 1] as usize];
            for entry in entries.iter().map(|entry| Entry::unpack(*entry)).filter(|entry| entry.gram == gram) {
                let record = packed.record(entry.pattern);
                let Some(start) = at.checked_sub(usize::from(entry.offset)) else { continue };
                if record.stands_at(text, start) {
                    found(Hit { at: start, pattern: first.0 + entry.pattern });
                }
            }
        }
    }
}

fn is_escape(gram: u32) -> bool {
    matches!(gram.to_le_bytes(), [b'\\', b'u' | b'U', b'0', b'0'] | [b'\\', b'x' | b'X', b'2'..=b'7', _])
}

/// The first four bytes.
#[inline(always)]
fn gram(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[inline(always)]
fn hash(gram: u32) -> u32 {
    gram.wrapping_mul(0x9e37_79b1)
}

#[inline(always)]
fn bucket(gram: u32, bits: u32) -> usize {
    (hash(gram) >> (32 - bits)) as usize
}

/// Of the positions in a word that begins at a place, those within a part of the text.
fn bits_within(begin: usize, part: &Range<usize>) -> u64 {
    let from = |place: usize| u64::MAX.checked_shl(place.saturating_sub(begin) as u32).unwrap_or(0);
    from(part.start) & !from(part.end)
}
