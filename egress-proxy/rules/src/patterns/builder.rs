//! How keywords become patterns: every form of each, the places by which it is looked for, and the tables in which these
//! are found.

use super::{Entry, GRAM, Neighbours, Packed, Record, bucket};
use crate::{
    Case, DEPTH, Ground, Keyword,
    encoding::{Encoded, forms},
    rarity::rarity,
};

/// How far apart the positions may be that are looked at, the best first: a pattern that is looked for at every eighth
/// position has eleven bytes at least.
const GAPS: [usize; 2] = [8, 4];
/// The most buckets, as a power of two.
const BITS: u32 = 14;
/// Longest part of a keyword that is looked for.
const CORE: usize = 16;

/// One keyword in one form.
pub(super) struct Pattern {
    pub form: Encoded,
    /// What it stands for.
    plain: Box<[u8]>,
    pub case: Case,
    pub keyword: u32,
    pub beside: Neighbours,
    /// Whether it is looked for where no sign is.
    is_everywhere: bool,
}

/// Makes patterns of keywords.
#[derive(Default)]
pub struct Builder {
    patterns: Vec<Pattern>,
    keywords: u32,
}

/// A keyword's number, and where it is looked for.
#[derive(Clone, Copy)]
struct Index(u32, Ground);

impl Builder {
    /// Adds a keyword in all its forms; answers where in it the part begins that the patterns stand for.
    pub fn add(&mut self, keyword: &Keyword, ground: Ground) -> usize {
        let index = Index(self.keywords, ground);
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
        let past = start + core.len();
        if keyword.completions.is_empty() && core.len() >= GRAM {
            let byte = |place: Option<usize>| place.and_then(|place| keyword.text.get(place)).copied().unwrap_or(0);
            let beside = Neighbours { before: byte(start.checked_sub(1)), after: byte(Some(past)) };
            let is_plain = |pattern: &&mut Pattern| pattern.keyword == index.0 && pattern.form.steps.depth() == 0;
            self.patterns.iter_mut().rev().find(is_plain).into_iter().for_each(|pattern| pattern.beside = beside);
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
    fn add_completed(&mut self, index: Index, completed: impl Iterator<Item = Vec<u8>>) {
        let shortest = |text: Vec<u8>| forms(&text, DEPTH).into_iter().map(move |form| (form.shortest(), text.clone()));
        let mut all: Vec<(Encoded, Vec<u8>)> = completed.flat_map(shortest).collect();
        all.sort_unstable();
        all.dedup_by_key(|(form, _)| *form);
        all.into_iter().for_each(|(form, text)| self.enter(index, &text, form, Case::Counts));
    }

    /// Adds one form of a keyword. A pattern shorter than four bytes cannot be looked for and is ignored.
    fn enter(&mut self, Index(keyword, ground): Index, plain: &[u8], form: Encoded, case: Case) {
        let is_everywhere = match ground {
            Ground::NearSigns => false,
            Ground::Everywhere => form.steps.depth() == 0,
            Ground::EverywhereInAnyForm => true,
        };
        if form.bytes().len() >= GRAM {
            let beside = Neighbours::NONE;
            self.patterns.push(Pattern { form, plain: plain.into(), case, keyword, beside, is_everywhere });
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
        let mut records = Vec::new();
        let mut everywhere = Vec::new();
        for pattern in &self.patterns {
            let number = records.len() as u32;
            Record::write(pattern, &mut records);
            let bytes = pattern.form.bytes();
            let first = rarest_grams(pattern, gap);
            for offset in first..first + gap {
                for gram in spellings(&bytes[offset..offset + GRAM], pattern.case) {
                    entries.push(Entry { gram, pattern: number, offset: offset as u8 });
                    everywhere.extend(pattern.is_everywhere.then_some(gram));
                }
            }
        }
        // An entry has room for so many: twenty million patterns.
        assert!(records.len() < 1 << 28, "too many patterns");
        let bits = entries.len().next_power_of_two().ilog2().clamp(1, BITS);
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
            records: records.into(),
            everywhere: everywhere.into(),
            keywords: self.keywords,
            gap,
        }
    }
}

/// The part of a keyword to look for: the longest that no encoder of URLs or JSON would touch.
pub(crate) fn core(keyword: &[u8]) -> (usize, &[u8]) {
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
