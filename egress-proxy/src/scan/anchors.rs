//! Where to look: one pass over the bytes that finds every place where a rule's keyword stands, as written or encoded.
//!
//! Each keyword is known in every form in which it may travel (plain, base64 in its three alignments, hex, UTF-16, and
//! two of these on top of each other), as a short byte pattern. Of each pattern four bytes are entered in a bitmap; the
//! pass hashes the four bytes at every position and looks them up, which costs about one cycle a byte and never depends
//! on how many rules there are. Only where the bitmap says "perhaps" is the pattern compared, and only where the
//! pattern stands does a rule look closer. So encoded content is found without being decoded.
//!
//! It must never miss a pattern: what is not reported here is not looked at by anybody.

use super::{
    encoding::{Encoded, Step, forms},
    rules::{Case, Keyword},
    search::DEPTH,
};

/// Longest stretch of a pattern that is compared here; the rest is the rule's business.
pub(super) const LONGEST: usize = 24;
/// Bytes that decide whether a position is worth a comparison.
const GRAM: usize = 4;
const BITS: u32 = 19;
const BUCKETS: u32 = 14;
/// Longest part of a keyword that is looked for.
const CORE: usize = 16;

/// A place where a keyword stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hit {
    /// Where its pattern begins.
    pub at: usize,
    /// Which one: index into [`Anchors::pattern`].
    pub pattern: u32,
}

/// One keyword in one form.
#[derive(Debug)]
pub(super) struct Pattern {
    bytes: Box<[u8]>,
    fold: bool,
    /// What must be undone to see the keyword, outermost first.
    pub steps: Box<[Step]>,
    /// Whose keyword it is: the number that was given to [`Builder::add_keyword`].
    pub keyword: u32,
}

/// The compiled set of patterns.
pub(super) struct Anchors {
    bitmap: Box<[u64; 1 << (BITS - 6)]>,
    /// Where a bucket's entries begin; one more than there are buckets.
    starts: Box<[u32]>,
    entries: Box<[Entry]>,
    patterns: Box<[Pattern]>,
}

#[derive(Clone, Copy)]
struct Entry {
    gram: u32,
    pattern: u32,
    /// Where in the pattern the gram stands.
    offset: u32,
}

#[derive(Default)]
pub(super) struct Builder {
    patterns: Vec<Pattern>,
}

impl Builder {
    /// Adds a keyword in all its forms; answers where in it the part begins that the patterns stand for.
    pub(super) fn add_keyword(&mut self, index: u32, keyword: &Keyword) -> usize {
        let (start, core) = core(&keyword.text);
        // Too short to be looked for: with every character that may follow. Enough of them for one layer.
        let (completions, depth): (Vec<Vec<u8>>, usize) = if core.len() < GRAM {
            let next = (0..128_u8).filter(|byte| byte.is_ascii_alphanumeric() || b"_-:/[".contains(byte));
            (next.map(|next| [core, &[next]].concat()).collect(), 1)
        } else {
            (vec![core.to_vec()], DEPTH)
        };
        for core in completions {
            match keyword.case {
                Case::Counts => forms(&core, depth).iter().for_each(|form| self.add(index, form, false)),
                Case::Ignored => {
                    for (number, spelling) in common_spellings(&core).into_iter().enumerate() {
                        for form in forms(&spelling, depth) {
                            let plain = form.steps.is_empty();
                            if !plain || number == 0 {
                                self.add(index, &form, plain);
                            }
                        }
                    }
                }
            }
        }
        start
    }

    /// Adds one form of a keyword. A pattern shorter than four bytes cannot be looked for and is ignored.
    fn add(&mut self, keyword: u32, form: &Encoded, fold: bool) {
        if form.bytes.len() >= GRAM {
            self.patterns.push(Pattern {
                bytes: form.bytes[..form.bytes.len().min(LONGEST)].into(),
                fold,
                steps: form.steps.as_slice().into(),
                keyword,
            });
        }
    }

    pub(super) fn build(self) -> Anchors {
        let mut bitmap = vec![0_u64; 1 << (BITS - 6)].into_boxed_slice();
        let mut entries = Vec::with_capacity(self.patterns.len() * 2);
        for (index, pattern) in self.patterns.iter().enumerate() {
            let offset = rarest_gram(&pattern.bytes, pattern.fold);
            for gram in spellings(&pattern.bytes[offset..offset + GRAM], pattern.fold) {
                let hash = hash(gram);
                bitmap[(hash >> (32 - BITS + 6)) as usize] |= 1 << ((hash >> (32 - BITS)) & 63);
                entries.push(Entry { gram, pattern: index as u32, offset: offset as u32 });
            }
        }
        entries.sort_unstable_by_key(|entry| (bucket(entry.gram), entry.gram, entry.pattern));
        let mut starts = vec![0_u32; (1 << BUCKETS) + 1];
        for entry in &entries {
            starts[bucket(entry.gram) + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        let bitmap = match bitmap.try_into() {
            Ok(bitmap) => bitmap,
            Err(_) => unreachable!("the bitmap was made with this size"),
        };
        Anchors { bitmap, starts: starts.into(), entries: entries.into(), patterns: self.patterns.into() }
    }
}

impl Anchors {
    pub(super) fn pattern(&self, hit: Hit) -> &Pattern {
        &self.patterns[hit.pattern as usize]
    }

    /// Reports every pattern whose deciding four bytes begin within `from..to`.
    ///
    /// A pattern that is not wholly within `text` is not reported: whoever reads a stream leaves [`LONGEST`] bytes
    /// after `to` and before `from`, except at the stream's two ends.
    pub(super) fn sweep(&self, text: &[u8], from: usize, to: usize, mut found: impl FnMut(Hit)) {
        let to = to.min((text.len() + 1).saturating_sub(GRAM));
        let mut at = from;
        // Eight positions at a time: they need the eleven bytes from `at` on.
        while at + 8 <= to && at + 12 <= text.len() {
            let block = &text[at..at + 12];
            let low = word(&block[..8]);
            let high = word(&block[4..]);
            let grams = [
                low as u32,
                (low >> 8) as u32,
                (low >> 16) as u32,
                (low >> 24) as u32,
                high as u32,
                (high >> 8) as u32,
                (high >> 16) as u32,
                (high >> 24) as u32,
            ];
            let mut perhaps = 0;
            for gram in grams {
                perhaps |= self.perhaps(gram);
            }
            if perhaps & 1 != 0 {
                for (offset, gram) in grams.into_iter().enumerate() {
                    self.compare(text, at + offset, gram, &mut found);
                }
            }
            at += 8;
        }
        while at < to {
            let gram = u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]);
            self.compare(text, at, gram, &mut found);
            at += 1;
        }
    }

    /// In its lowest bit: whether some pattern may have these four bytes.
    #[inline(always)]
    fn perhaps(&self, gram: u32) -> u64 {
        let hash = hash(gram);
        self.bitmap[(hash >> (32 - BITS + 6)) as usize] >> ((hash >> (32 - BITS)) & 63)
    }

    #[inline]
    fn compare(&self, text: &[u8], at: usize, gram: u32, found: &mut impl FnMut(Hit)) {
        if self.perhaps(gram) & 1 == 0 {
            return;
        }
        let bucket = bucket(gram);
        let entries = &self.entries[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
        for entry in entries.iter().filter(|entry| entry.gram == gram) {
            let pattern = &self.patterns[entry.pattern as usize];
            let Some(start) = at.checked_sub(entry.offset as usize) else {
                continue;
            };
            let Some(there) = text.get(start..start + pattern.bytes.len()) else {
                continue;
            };
            let same = if pattern.fold { there.eq_ignore_ascii_case(&pattern.bytes) } else { *there == *pattern.bytes };
            if same {
                found(Hit { at: start, pattern: entry.pattern });
            }
        }
    }
}

#[inline(always)]
fn hash(gram: u32) -> u32 {
    gram.wrapping_mul(0x9e37_79b1)
}

#[inline(always)]
fn bucket(gram: u32) -> usize {
    (hash(gram) >> (32 - BUCKETS)) as usize
}

#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

/// The part of a keyword to look for: the longest that no encoder of URLs or JSON would touch.
fn core(keyword: &[u8]) -> (usize, &[u8]) {
    let (mut start, mut best) = (0, 0..0);
    for place in 0..=keyword.len() {
        let plain = keyword.get(place).is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte));
        if !plain {
            if place - start > best.len() {
                best = start..place;
            }
            start = place + 1;
        }
    }
    if best.len() < GRAM {
        best = 0..keyword.len();
    }
    let end = best.end.min(best.start + CORE);
    (best.start, &keyword[best.start..end])
}

/// How people write a word whose case does not count; an encoded one is looked for in these spellings.
fn common_spellings(word: &[u8]) -> Vec<Vec<u8>> {
    let lower = word.to_ascii_lowercase();
    let upper = word.to_ascii_uppercase();
    let title = [&upper[..1], &lower[1..]].concat();
    let mut all = vec![lower, upper, title];
    all.dedup();
    all
}

/// The place of the four bytes that text is least likely to hold.
fn rarest_gram(bytes: &[u8], fold: bool) -> usize {
    (0..=bytes.len() - GRAM)
        .min_by_key(|&at| bytes[at..at + GRAM].iter().map(|byte| commonness(*byte, fold)).sum::<u32>())
        .unwrap_or(0)
}

/// A rough rank of how often a byte stands in source text and JSON.
fn commonness(byte: u8, fold: bool) -> u32 {
    match byte {
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 12,
        b' ' | b'0' | b'"' | b'l' | b'd' | b'c' | b'u' | b'p' | b'm' => 9,
        b'a'..=b'z' => 6,
        b'_' | b'-' | b'.' | b':' | b'/' | b'1' | b'A' => 5,
        // A letter that may have either case is two bytes' worth of positions.
        b'A'..=b'Z' if fold => 6,
        b'0'..=b'9' => 3,
        _ => 2,
    }
}

/// Every way to write four bytes when case does not count; else the one.
fn spellings(gram: &[u8], fold: bool) -> Vec<u32> {
    let mut all = vec![[gram[0], gram[1], gram[2], gram[3]]];
    for place in 0..GRAM {
        if fold && gram[place].is_ascii_alphabetic() {
            let mut other = all.clone();
            for spelling in &mut other {
                spelling[place] ^= 0x20;
            }
            all.extend(other);
        }
    }
    all.into_iter().map(u32::from_le_bytes).collect()
}
