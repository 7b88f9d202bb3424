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
#[cfg(test)]
mod tests;

use super::{Case, List, encoding::Steps};

pub use self::{builder::Builder, sieve::Sieve};
use self::{
    builder::Pattern,
    sieve::{ROW, Row},
    sparse::Sparse,
};

/// Bytes that decide whether a position is worth a comparison.
const GRAM: usize = 4;
/// So many positions are looked at before it is asked whether one of them is worth a comparison, where few are.
const STRIDE: usize = 8;

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
    /// How many keywords the patterns stand for.
    pub keywords: u32,
    /// How far apart the positions may be that are looked at.
    pub gap: usize,
}

/// Everything that is looked for in one pass.
pub struct Patterns {
    entered: Entered,
    parts: Vec<Part>,
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

/// A pattern: the number of its bytes and whether case counts, what is to be undone, whose keyword it is, and its bytes.
#[derive(Clone, Copy)]
struct Record<'a>(&'a [u8]);

/// What of a record is before its pattern's bytes.
const HEAD: usize = 5;
/// Beside the number of bytes: case is ignored.
const FOLD: u8 = 0x80;

impl Record<'_> {
    fn write(pattern: &Pattern, records: &mut Vec<u8>) {
        let bytes = pattern.form.bytes();
        records.push(bytes.len() as u8 | if pattern.case == Case::Ignored { FOLD } else { 0 });
        records.push(pattern.form.steps.to_byte());
        records.extend_from_slice(&pattern.keyword.to_le_bytes()[..3]);
        records.extend_from_slice(bytes);
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        &self.0[HEAD..][..usize::from(self.0[0] & !FOLD)]
    }

    /// Most differ within a few bytes, so that a call to compare them all would cost more.
    #[inline(always)]
    fn stands_in(&self, there: &[u8]) -> bool {
        let mut pairs = self.bytes().iter().zip(there);
        match self.0[0] & FOLD {
            0 => pairs.all(|(byte, there)| byte == there),
            _ => pairs.all(|(byte, there)| byte.eq_ignore_ascii_case(there)),
        }
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
        Patterns { entered, parts: vec![Part { packed, first: (0, 0) }] }
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
    pub fn is_sparse(&self) -> bool {
        matches!(self.entered, Entered::Sparse(..))
    }

    /// Whose keyword was found, and what must be undone to see it.
    pub fn found(&self, hit: Hit) -> (usize, Steps) {
        // The first begins at 0, and there are few.
        let part = self.parts.iter().rfind(|part| part.first.0 <= hit.pattern).unwrap_or(&self.parts[0]);
        let record = part.packed.record(hit.pattern - part.first.0);
        ((record.keyword() + part.first.1) as usize, record.steps())
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
                let there = text.get(start..start + record.bytes().len());
                if there.is_some_and(|there| record.stands_in(there)) {
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
