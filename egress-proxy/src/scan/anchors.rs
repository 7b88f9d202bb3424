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
    encoding::{Encoded, Steps, forms},
    rules::{Case, Keyword},
    search::DEPTH,
};

/// Bytes that decide whether a position is worth a comparison.
const GRAM: usize = 4;
/// The bitmap has so many words, as a power of two: 128 KiB, which a processor's second cache holds.
const WORDS: u32 = 14;
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
pub(super) struct Pattern {
    form: Encoded,
    fold: bool,
    /// Whose keyword it is: the number that was given to [`Builder::add_keyword`].
    pub keyword: u32,
}

impl Pattern {
    /// What must be undone to see the keyword.
    pub(super) fn steps(&self) -> Steps {
        self.form.steps
    }
}

/// The compiled set of patterns.
pub(super) struct Anchors {
    /// Each four bytes set two bits of one word: what has not both is no pattern's.
    bitmap: Box<[u64; 1 << WORDS]>,
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
        if !keyword.completions.is_empty() {
            // Many of them look alike where an encoding cuts their last bits off.
            let mut all: Vec<Encoded> = keyword.completions.iter().flat_map(|text| forms(text, 1)).collect();
            all.sort_unstable();
            all.dedup();
            all.into_iter().for_each(|form| self.add(index, form, false));
        } else if core.len() < GRAM {
            // Too short to be looked for: with what may follow. Enough of them for one layer.
            for next in following(&keyword.text[start + core.len()..]) {
                self.add_forms(index, &[core, &[next]].concat(), 1);
            }
        } else if keyword.case == Case::Ignored {
            // The word alone proves nothing, and each encoding of it has many spellings: one layer is enough.
            self.add(index, Encoded::plain(core), true);
            for spelling in common_spellings(core) {
                forms(&spelling, 1).into_iter().skip(1).for_each(|form| self.add(index, form, false));
            }
        } else {
            self.add_forms(index, core, DEPTH);
        }
        if core.len() == keyword.text.len() && !core.iter().all(|byte| stays_plain(*byte)) {
            // No part of it is safe from being escaped: as URLs and JSON write it.
            let signs = |sign: &dyn Fn(u8) -> Vec<u8>| core.iter().flat_map(|byte| sign(*byte)).collect::<Vec<u8>>();
            let plain = |byte| if stays_plain(byte) { vec![byte] } else { format!("%{byte:02X}").into_bytes() };
            self.add(index, Encoded::plain(&signs(&plain)), true);
            if core.contains(&b'/') {
                let escaped = |byte| if byte == b'/' { b"\\/".to_vec() } else { vec![byte] };
                self.add(index, Encoded::plain(&signs(&escaped)), false);
            }
        }
        start
    }

    fn add_forms(&mut self, index: u32, core: &[u8], depth: usize) {
        forms(core, depth).into_iter().for_each(|form| self.add(index, form, false));
    }

    /// Adds one form of a keyword. A pattern shorter than four bytes cannot be looked for and is ignored.
    fn add(&mut self, keyword: u32, form: Encoded, fold: bool) {
        if form.bytes().len() >= GRAM {
            self.patterns.push(Pattern { form, fold, keyword });
        }
    }

    pub(super) fn build(self) -> Anchors {
        let mut bitmap = Box::new([0_u64; 1 << WORDS]);
        let mut entries = Vec::with_capacity(self.patterns.len() * 2);
        for (index, pattern) in self.patterns.iter().enumerate() {
            let bytes = pattern.form.bytes();
            let offset = rarest_gram(bytes, pattern.fold);
            for gram in spellings(&bytes[offset..offset + GRAM], pattern.fold) {
                let place = Place::of(gram);
                bitmap[place.word] |= 1 << place.bits.0 | 1 << place.bits.1;
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
        Anchors { bitmap, starts: starts.into(), entries: entries.into(), patterns: self.patterns.into() }
    }
}

impl Anchors {
    pub(super) fn pattern(&self, hit: Hit) -> &Pattern {
        &self.patterns[hit.pattern as usize]
    }

    /// Reports every pattern whose deciding four bytes begin within `from..to`.
    ///
    /// A pattern that is not wholly within `text` is not reported: whoever reads a stream leaves [`super::encoding::LONGEST`] bytes
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
            for (offset, gram) in grams.into_iter().enumerate() {
                perhaps |= self.perhaps(gram) << offset;
            }
            while perhaps != 0 {
                let offset = perhaps.trailing_zeros() as usize;
                self.compare(text, at + offset, grams[offset & 7], &mut found);
                perhaps &= perhaps - 1;
            }
            at += 8;
        }
        while at < to {
            let gram = u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]);
            if self.perhaps(gram) != 0 {
                self.compare(text, at, gram, &mut found);
            }
            at += 1;
        }
    }

    /// 1 if some pattern may have these four bytes, else 0.
    #[inline(always)]
    fn perhaps(&self, gram: u32) -> u64 {
        let place = Place::of(gram);
        let word = self.bitmap[place.word];
        word >> place.bits.0 & word >> place.bits.1 & 1
    }

    fn compare(&self, text: &[u8], at: usize, gram: u32, found: &mut impl FnMut(Hit)) {
        let bucket = bucket(gram);
        let entries = &self.entries[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
        for entry in entries.iter().filter(|entry| entry.gram == gram) {
            let pattern = &self.patterns[entry.pattern as usize];
            let Some(start) = at.checked_sub(entry.offset as usize) else {
                continue;
            };
            let bytes = pattern.form.bytes();
            let Some(there) = text.get(start..start + bytes.len()) else {
                continue;
            };
            let same = if pattern.fold { there.eq_ignore_ascii_case(bytes) } else { there == bytes };
            if same {
                found(Hit { at: start, pattern: entry.pattern });
            }
        }
    }
}

/// Where four bytes are entered in the bitmap.
struct Place {
    word: usize,
    bits: (u32, u32),
}

impl Place {
    #[inline(always)]
    fn of(gram: u32) -> Place {
        let hash = hash(gram);
        Place { word: (hash >> (32 - WORDS)) as usize, bits: (hash >> 12 & 63, hash >> 6 & 63) }
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
        if !keyword.get(place).is_some_and(|byte| stays_plain(*byte)) {
            if place - start > best.len() {
                best = start..place;
            }
            start = place + 1;
        }
    }
    if best.len() < GRAM - 1 {
        best = 0..keyword.len();
    }
    let end = best.end.min(best.start + CORE);
    (best.start, &keyword[best.start..end])
}

fn stays_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)
}

/// What may stand after the part of a keyword that is looked for: its next character, or an escape.
fn following(rest: &[u8]) -> Vec<u8> {
    match rest.first() {
        Some(next) => vec![*next, b'%', b'\\'],
        None => (0..128_u8).filter(|byte| byte.is_ascii_alphanumeric() || b"_-~:/[$".contains(byte)).collect(),
    }
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
    let weight = |at: usize| bytes[at..at + GRAM].iter().map(|byte| commonness(*byte, fold)).sum::<u32>();
    (0..=bytes.len() - GRAM).min_by_key(|at| weight(*at)).unwrap_or(0)
}

/// A rough rank of how often a byte stands in source text and JSON.
fn commonness(byte: u8, fold: bool) -> u32 {
    const RANKS: [u8; 256] = ranks();
    // A letter that may have either case is two bytes' worth of positions.
    let either = if fold { byte.to_ascii_lowercase() } else { byte };
    u32::from(RANKS[usize::from(either)])
}

const fn ranks() -> [u8; 256] {
    let mut ranks = [2; 256];
    let mut byte = 0;
    while byte < 128 {
        ranks[byte] = match byte as u8 {
            b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' => 12,
            b' ' | b'0' | b'"' | b'l' | b'd' | b'c' | b'u' | b'p' | b'm' => 9,
            b'a'..=b'z' => 6,
            b'_' | b'-' | b'.' | b':' | b'/' | b'1' | b'A' => 5,
            b'0'..=b'9' => 3,
            _ => 2,
        };
        byte += 1;
    }
    ranks
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
