//! Where to look: one pass over the bytes that finds every place where a rule's keyword stands, as written or encoded.
//!
//! Each keyword is known in every form in which it may travel (plain, base64 in its three alignments, hex, UTF-16, and
//! two of these on top of each other), as a short byte pattern. Of each pattern four bytes are entered in a bitmap; the
//! pass hashes the four bytes at every position and looks them up, which costs about one cycle a byte and never depends
//! on how many rules there are. Only where the bitmap says "perhaps" is the pattern compared, and only where the
//! pattern stands does a rule look closer. So encoded content is found without being decoded.
//!
//! Where every pattern is long, as a credential's are, each is entered at several of its places, one after the other, and
//! the pass looks at so many positions less: wherever a pattern stands, one of those places is looked at.
//!
//! It must never miss a pattern: what is not reported here is not looked at by anybody.

use super::{
    Case, DEPTH, Keyword, List,
    encoding::{Encoded, LONGEST, Steps, forms},
    rarity::rarity,
};

/// Bytes that decide whether a position is worth a comparison.
const GRAM: usize = 4;
/// So many positions are looked up before it is asked whether one of them is worth a comparison.
const STRIDE: usize = 8;
/// How far apart those positions may be, the best first: a pattern that is looked for at every eighth position has eleven
/// bytes at least.
const GAPS: [usize; 2] = [8, 4];
/// The bitmap has so many words, as a power of two: 128 KiB, which a processor's second cache holds.
const WORDS: u32 = 14;
/// Longest part of a keyword that is looked for.
const CORE: usize = 16;

/// A place where a keyword stands, or an escape that may hide one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// Where its pattern begins.
    pub at: usize,
    /// Which one, as [`Patterns::keyword`] and [`Patterns::steps`] know it; [`Hit::ESCAPE`] for an escape.
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
    /// Of [`RECORD`] bytes each: see [`Record`].
    pub records: List<u8>,
    /// How many keywords the patterns stand for.
    pub keywords: u32,
    /// How far apart the positions may be that are looked at.
    pub gap: usize,
}

/// The words of a bitmap. Each four bytes set two bits of one word: what has not both is no pattern's.
pub type Bitmap = [u64; 1 << WORDS];

/// Everything that is looked for in one pass.
pub struct Patterns {
    bitmap: Entered,
    parts: Vec<Part>,
    /// How far apart the positions are that are looked at.
    gap: usize,
}

enum Entered {
    Shipped(&'static Bitmap),
    Own(Box<Bitmap>),
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

impl Entry {
    fn pack(self) -> u64 {
        u64::from(self.gram) | u64::from(self.pattern) << 32 | u64::from(self.offset) << 56
    }

    #[inline(always)]
    fn unpack(packed: u64) -> Entry {
        Entry { gram: packed as u32, pattern: (packed >> 32) as u32 & 0xff_ffff, offset: (packed >> 56) as u8 }
    }
}

/// A pattern: its bytes, their number and whether case counts, what is to be undone, whose keyword it is.
const RECORD: usize = LONGEST + 5;
/// Beside the number of bytes: case is ignored.
const FOLD: u8 = 0x80;

#[derive(Clone, Copy)]
struct Record<'a>(&'a [u8]);

impl Record<'_> {
    fn of(pattern: &Pattern) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        let bytes = pattern.form.bytes();
        record[..bytes.len()].copy_from_slice(bytes);
        record[LONGEST] = bytes.len() as u8 | if pattern.case == Case::Ignored { FOLD } else { 0 };
        record[LONGEST + 1] = pattern.form.steps.to_byte();
        record[LONGEST + 2..].copy_from_slice(&pattern.keyword.to_le_bytes()[..3]);
        record
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        &self.0[..usize::from(self.0[LONGEST] & !FOLD)]
    }

    /// Most differ within a few bytes, so that a call to compare them all would cost more.
    #[inline(always)]
    fn stands_in(&self, there: &[u8]) -> bool {
        let mut pairs = self.bytes().iter().zip(there);
        match self.0[LONGEST] & FOLD {
            0 => pairs.all(|(byte, there)| byte == there),
            _ => pairs.all(|(byte, there)| byte.eq_ignore_ascii_case(there)),
        }
    }

    fn steps(&self) -> Steps {
        Steps::from_byte(self.0[LONGEST + 1])
    }

    fn keyword(&self) -> u32 {
        self.0[LONGEST + 2..].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
    }
}

impl Packed {
    #[inline(always)]
    fn record(&self, pattern: u32) -> Record<'_> {
        let at = pattern as usize * RECORD;
        Record(&self.records[at..at + RECORD])
    }

    fn patterns(&self) -> u32 {
        (self.records.len() / RECORD) as u32
    }

    /// The bitmap in which every pattern is entered.
    pub fn bitmap(&self) -> Box<Bitmap> {
        let mut bitmap = Box::new([0; 1 << WORDS]);
        for first in [*b"\\u00", *b"\\U00"] {
            enter(&mut bitmap, u32::from_le_bytes(first));
        }
        for (letter, high) in [b'x', b'X'].into_iter().flat_map(|letter| (b'2'..=b'7').map(move |high| (letter, high)))
        {
            for low in (b'0'..=b'9').chain(b'a'..=b'f').chain(b'A'..=b'F') {
                enter(&mut bitmap, u32::from_le_bytes([b'\\', letter, high, low]));
            }
        }
        self.enter(&mut bitmap);
        bitmap
    }

    fn enter(&self, bitmap: &mut Bitmap) {
        self.entries.iter().for_each(|entry| enter(bitmap, *entry as u32));
    }
}

fn enter(bitmap: &mut Bitmap, gram: u32) {
    let place = Place::of(gram);
    bitmap[place.word] |= 1 << place.bits.0 | 1 << place.bits.1;
}

impl Patterns {
    /// Patterns whose bitmap is known.
    pub fn shipped(packed: Packed, bitmap: &'static Bitmap) -> Patterns {
        let gap = packed.gap;
        Patterns { bitmap: Entered::Shipped(bitmap), parts: vec![Part { packed, first: (0, 0) }], gap }
    }

    pub fn of(packed: Packed) -> Patterns {
        let (bitmap, gap) = (Entered::Own(packed.bitmap()), packed.gap);
        Patterns { bitmap, parts: vec![Part { packed, first: (0, 0) }], gap }
    }

    /// With further patterns, whose keywords are counted on from those that are there.
    pub fn and(mut self, packed: Packed) -> Patterns {
        let mut bitmap = match self.bitmap {
            Entered::Shipped(shipped) => Box::new(*shipped),
            Entered::Own(own) => own,
        };
        packed.enter(&mut bitmap);
        self.bitmap = Entered::Own(bitmap);
        self.gap = self.gap.min(packed.gap);
        let first = self.parts.last().map_or((0, 0), |last| {
            let (pattern, keyword) = last.first;
            (pattern + last.packed.patterns(), keyword + last.packed.keywords)
        });
        self.parts.push(Part { packed, first });
        self
    }

    /// Whose keyword was found.
    pub fn keyword(&self, hit: Hit) -> usize {
        let part = self.part(hit);
        (part.packed.record(hit.pattern - part.first.0).keyword() + part.first.1) as usize
    }

    /// What must be undone to see it.
    pub fn steps(&self, hit: Hit) -> Steps {
        let part = self.part(hit);
        part.packed.record(hit.pattern - part.first.0).steps()
    }

    fn part(&self, hit: Hit) -> &Part {
        let place = self.parts.partition_point(|part| part.first.0 <= hit.pattern);
        &self.parts[place - 1]
    }

    /// Reports every pattern whose deciding four bytes begin within `from..to`.
    ///
    /// A pattern that is not wholly within `text` is not reported: whoever reads a stream leaves [`LONGEST`] bytes
    /// after `to` and before `from`, except at the stream's two ends.
    pub fn sweep(&self, text: &[u8], from: usize, to: usize, mut found: impl FnMut(Hit)) {
        let bitmap = match &self.bitmap {
            Entered::Shipped(shipped) => shipped,
            Entered::Own(own) => &**own,
        };
        let to = to.min((text.len() + 1).saturating_sub(GRAM));
        match self.gap {
            8 => return self.sweep_sparsely::<8>(bitmap, text, from, to, found),
            4 => return self.sweep_sparsely::<4>(bitmap, text, from, to, found),
            _ => {}
        }
        let mut at = from;
        while at + STRIDE <= to
            && let Some(block) = text[at..].first_chunk()
        {
            if places(block).fold(0, |any, (_, gram)| any | perhaps(bitmap, gram)) & 1 != 0 {
                self.look(bitmap, text, at, block, &mut found);
            }
            at += STRIDE;
        }
        for at in at..to {
            let gram = gram(&text[at..]);
            if perhaps(bitmap, gram) & 1 != 0 {
                self.compare_or_escape(text, at, gram, &mut found);
            }
        }
    }

    /// The same where each pattern is entered at `GAP` places of its own.
    fn sweep_sparsely<const GAP: usize>(
        &self,
        bitmap: &Bitmap,
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
            let any = block.chunks_exact(GAP).fold(0, |any, bytes| any | perhaps(bitmap, gram(bytes)));
            if any & 1 != 0 {
                for place in (at..at + block.len()).step_by(GAP) {
                    self.compare(text, place, gram(&text[place..]), &mut found);
                }
            }
            at += block.len();
        }
        for at in (at..to).step_by(GAP) {
            self.compare(text, at, gram(&text[at..]), &mut found);
        }
    }

    /// Compares at each place of a block that the bitmap does not rule out.
    #[inline(never)]
    fn look(&self, bitmap: &Bitmap, text: &[u8], at: usize, block: &Block, found: &mut impl FnMut(Hit)) {
        let mut left = places(block).fold(0, |left, (offset, gram)| left | (perhaps(bitmap, gram) & 1) << offset);
        while left != 0 {
            let offset = left.trailing_zeros() as usize;
            self.compare_or_escape(text, at + offset, gram(&text[at + offset..]), found);
            left &= left - 1;
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

/// Odd if some pattern may have these four bytes.
#[inline(always)]
fn perhaps(bitmap: &Bitmap, gram: u32) -> u64 {
    let place = Place::of(gram);
    let word = bitmap[place.word];
    word >> place.bits.0 & word >> place.bits.1
}

/// The first bytes of a text, as many as [`STRIDE`] positions need.
type Block = [u8; STRIDE + GRAM - 1];

/// The positions of a block, and the four bytes at each.
#[inline(always)]
fn places(block: &Block) -> impl Iterator<Item = (usize, u32)> {
    (0..STRIDE).map(|offset| (offset, gram(&block[offset..])))
}

/// The first four bytes.
#[inline(always)]
fn gram(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
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
fn bucket(gram: u32, bits: u32) -> usize {
    (hash(gram) >> (32 - bits)) as usize
}

/// One keyword in one form.
struct Pattern {
    form: Encoded,
    /// What it stands for.
    plain: Box<[u8]>,
    case: Case,
    keyword: u32,
}

/// Makes patterns of keywords.
#[derive(Default)]
pub struct Builder {
    patterns: Vec<Pattern>,
    keywords: u32,
}

impl Builder {
    /// Adds a keyword in all its forms; answers where in it the part begins that the patterns stand for.
    pub fn add(&mut self, keyword: &Keyword) -> usize {
        let index = self.keywords;
        self.keywords += 1;
        let (start, core) = core(&keyword.text);
        if !keyword.completions.is_empty() {
            self.add_completed(index, keyword.completions.iter().map(|text| text.to_vec()));
        } else if core.len() < GRAM {
            let rest = &keyword.text[start + core.len()..];
            let spellings = match keyword.case {
                Case::Counts => vec![core.to_vec()],
                Case::Ignored => every_spelling(core),
            };
            let next = following(rest);
            let completed =
                |text: Vec<u8>| next.iter().map(move |next| [&text[..], &[*next]].concat()).collect::<Vec<_>>();
            self.add_completed(index, spellings.into_iter().flat_map(completed));
        } else if keyword.case == Case::Ignored {
            self.enter(index, core, Encoded::plain(core), Case::Ignored);
            for spelling in common_spellings(core) {
                // The word alone proves nothing: of two layers only the likeliest.
                let likely = |form: &Encoded| form.steps.depth() == 1 || form.steps.is_base64_twice();
                forms(&spelling, DEPTH)
                    .into_iter()
                    .filter(likely)
                    .for_each(|form| self.enter(index, &spelling, form, Case::Counts));
            }
        } else {
            forms(core, DEPTH).into_iter().for_each(|form| self.enter(index, core, form, Case::Counts));
        }
        if core.len() == keyword.text.len() && !core.iter().all(|byte| stays_plain(*byte)) {
            // No part of it is safe from being escaped: as URLs and JSON write it.
            let signs = |sign: &dyn Fn(u8) -> Vec<u8>| core.iter().flat_map(|byte| sign(*byte)).collect::<Vec<u8>>();
            let plain = |byte| if stays_plain(byte) { vec![byte] } else { format!("%{byte:02X}").into_bytes() };
            let percent = signs(&plain);
            self.enter(index, &percent, Encoded::plain(&percent), Case::Ignored);
            if core.contains(&b'/') {
                let escaped = |byte| if byte == b'/' { b"\\/".to_vec() } else { vec![byte] };
                let escaped = signs(&escaped);
                self.enter(index, &escaped, Encoded::plain(&escaped), Case::Counts);
            }
        }
        start
    }

    /// Adds a keyword that is too short to be looked for, with what may follow it. Encoded, no more of that is looked at
    /// than four bytes need: most of them look alike there.
    fn add_completed(&mut self, index: u32, completed: impl Iterator<Item = Vec<u8>>) {
        let shortest = |text: Vec<u8>| forms(&text, DEPTH).into_iter().map(move |form| (form.shortest(), text.clone()));
        let mut all: Vec<(Encoded, Vec<u8>)> = completed.flat_map(shortest).collect();
        all.sort_unstable();
        all.dedup_by_key(|(form, _)| *form);
        all.into_iter().for_each(|(form, text)| self.enter(index, &text, form, Case::Counts));
    }

    /// Adds one form of a keyword. A pattern shorter than four bytes cannot be looked for and is ignored.
    fn enter(&mut self, keyword: u32, plain: &[u8], form: Encoded, case: Case) {
        if form.bytes().len() >= GRAM {
            self.patterns.push(Pattern { form, plain: plain.into(), case, keyword });
        }
    }

    /// The patterns of all keywords that were added, which are numbered in that order.
    pub fn build(self) -> Packed {
        self.packed(1)
    }

    /// The same, to be looked for at as few positions as their lengths allow.
    pub fn build_sparse(self) -> Packed {
        let shortest = self.patterns.iter().map(|pattern| pattern.form.bytes().len()).min().unwrap_or(GRAM);
        let gap = GAPS.into_iter().find(|gap| gap + GRAM - 1 <= shortest).unwrap_or(1);
        self.packed(gap)
    }

    fn packed(self, gap: usize) -> Packed {
        let mut entries = Vec::with_capacity(self.patterns.len() * 2 * gap);
        for (index, pattern) in self.patterns.iter().enumerate() {
            let bytes = pattern.form.bytes();
            let first = rarest_grams(pattern, gap);
            for offset in first..first + gap {
                for gram in spellings(&bytes[offset..offset + GRAM], pattern.case) {
                    entries.push(Entry { gram, pattern: index as u32, offset: offset as u8 });
                }
            }
        }
        let bits = entries.len().next_power_of_two().ilog2().clamp(1, WORDS);
        entries.sort_unstable_by_key(|entry| (bucket(entry.gram, bits), *entry));
        let mut starts = vec![0_u32; (1 << bits) + 1];
        for entry in &entries {
            starts[bucket(entry.gram, bits) + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        Packed {
            bits,
            starts: starts.into(),
            entries: entries.into_iter().map(Entry::pack).collect(),
            records: self.patterns.iter().flat_map(Record::of).collect(),
            keywords: self.keywords,
            gap,
        }
    }
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
        None => (0..128_u8).filter(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()).collect(),
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

/// A short word in all of its spellings.
fn every_spelling(word: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![word.to_vec()];
    for place in (0..word.len()).filter(|place| word[*place].is_ascii_alphabetic()) {
        let mut other = all.clone();
        other.iter_mut().for_each(|spelling| spelling[place] ^= 0x20);
        all.extend(other);
    }
    all
}

/// Where so many places in a row begin whose four bytes each text is least likely to hold, by what they say of the keyword.
fn rarest_grams(Pattern { form, plain, case, .. }: &Pattern, gap: usize) -> usize {
    let places = 0..=form.bytes().len() + 1 - GRAM - gap;
    let bits = |at: usize| rarity(&plain[form.plain_under(at..at + GRAM)], *case);
    places.rev().max_by_key(|first| (*first..first + gap).map(bits).min()).unwrap_or(0)
}

/// Every way to write four bytes when case does not count; else the one.
fn spellings(gram: &[u8], case: Case) -> Vec<u32> {
    let mut all = vec![[gram[0], gram[1], gram[2], gram[3]]];
    for place in 0..GRAM {
        if case == Case::Ignored && gram[place].is_ascii_alphabetic() {
            let mut other = all.clone();
            for spelling in &mut other {
                spelling[place] ^= 0x20;
            }
            all.extend(other);
        }
    }
    all.into_iter().map(u32::from_le_bytes).collect()
}
