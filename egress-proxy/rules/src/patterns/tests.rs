//! The pass against one that compares at every position and skips nothing.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    path::Path,
};

use super::*;
use crate::{Ground, Keyword, anchors, shipped};

/// What a pass that looks at every entry at every position finds.
struct Plain<'p> {
    packed: &'p Packed,
    entries: HashMap<u32, Vec<Entry>>,
}

impl Plain<'_> {
    fn of(packed: &Packed) -> Plain<'_> {
        let mut entries: HashMap<u32, Vec<Entry>> = HashMap::new();
        for entry in packed.entries.iter().map(|entry| Entry::unpack(*entry)) {
            entries.entry(entry.gram).or_default().push(entry);
        }
        Plain { packed, entries }
    }

    fn hits(&self, text: &[u8], from: usize, to: usize) -> Vec<Hit> {
        let mut hits = Vec::new();
        for at in from..to.min((text.len() + 1).saturating_sub(GRAM)) {
            let gram = gram(&text[at..]);
            hits.extend(is_hexadecimal_escape(gram).then_some(Hit { at, pattern: Hit::ESCAPE }));
            for entry in self.entries.get(&gram).into_iter().flatten() {
                let record = self.packed.record(entry.pattern);
                if let Some(start) = at.checked_sub(entry.offset.into())
                    && record.stands_at(text, start)
                {
                    hits.push(Hit { at: start, pattern: entry.pattern });
                }
            }
        }
        hits.sort_unstable();
        hits.dedup();
        hits
    }
}

/// An escape without its digits may be reported or not: nobody looks at it.
fn is_hexadecimal_escape(gram: u32) -> bool {
    is_escape(gram) && gram.to_le_bytes()[3].is_ascii_hexdigit()
}

fn hits(patterns: &Patterns, text: &[u8], from: usize, to: usize) -> Vec<Hit> {
    let mut hits = Vec::new();
    patterns.sweep(text, from, to, |hit| {
        if hit.pattern != Hit::ESCAPE || is_hexadecimal_escape(gram(&text[hit.at..])) {
            hits.push(hit);
        }
    });
    hits.sort_unstable();
    hits.dedup();
    hits
}

/// The same patterns with every means to survey that this processor has, and with none.
fn with_all_means(packed: &Packed) -> impl Iterator<Item = Patterns> {
    Means::all().map(Some).chain([None]).map(|means| {
        let patterns = Patterns::of(packed.clone());
        let lookout = || Box::new(Lookout::of(packed.everywhere.iter().copied()).expect("they are few"));
        assert!(patterns.survey.set(means.map(|means| (means, lookout()))).is_ok());
        patterns
    })
}

fn packed() -> Packed {
    let rules = shipped(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the rules are valid");
    anchors(0, rules.iter().map(|rule| (&*rule.keywords, rule.ground()))).1.build()
}

/// Each once.
fn records(packed: &Packed) -> Vec<Record<'_>> {
    let mut numbers: Vec<u32> = packed.entries.iter().map(|entry| Entry::unpack(*entry).pattern).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into_iter().map(|number| packed.record(number)).collect()
}

fn credential() -> Keyword {
    let text = Cow::Borrowed(&b"q7Zt-93kfLw0_xPa5RbV"[..]);
    Keyword { text, case: Case::Counts, completions: Vec::new() }
}

/// Numbers as they come, the same on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    /// A text of patterns whole, cut and spoiled, and of what stands between them.
    fn text(&mut self, records: &[Record<'_>], length: usize) -> Vec<u8> {
        const BETWEEN: [&[u8]; 4] = [b"\\u0041\\x41\\x4\\u00zz\\\\\\X7f", b"aaaaaaaa", b"\0\0\0\0", b"    "];
        const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = Vec::new();
        while text.len() < length {
            let pattern = records[self.below(records.len())].bytes();
            match self.below(8) {
                0 => text.extend((0..self.below(40)).map(|_| self.below(256) as u8)),
                1 => text.extend((0..self.below(40)).map(|_| BASE64[self.below(64)])),
                2 => text.extend(BETWEEN[self.below(4)]),
                3 => text.extend(&pattern[..self.below(pattern.len())]),
                4 => text.extend(&pattern[self.below(pattern.len())..]),
                5 => {
                    text.extend(pattern);
                    let spoiled = text.len() - 1 - self.below(pattern.len());
                    text[spoiled] ^= 1 << self.below(8);
                }
                _ => text.extend(pattern),
            }
        }
        text.truncate(length);
        text
    }

    /// A text of words, and once in a while of something that is a sign, a pattern or nearly one.
    fn content(&mut self, records: &[Record<'_>], length: usize) -> Vec<u8> {
        const WORDS: [&[u8]; 8] =
            [b"as ", b"it was, ", b"(so) ", b"on and on; ", b"a: b\n", b"letter ", b"\\n ", b"= "];
        const SIGNS: [&[u8]; 8] = [
            b"ada:hunter2@host ",
            b"\xff@b ",
            b"x%40y ",
            b"\\u0040 ",
            b"a\0b\0",
            b"\\\\u005cx ",
            b"one.two=three~four.five=six~seven.eight ",
            b"100% @home ",
        ];
        let mut text = Vec::new();
        while text.len() < length {
            match self.below(40) {
                0 => text.extend((0..8 + self.below(30)).map(|_| b"abcXYZ019_-+/%\\\r\n"[self.below(17)])),
                1 => text.extend(SIGNS[self.below(8)]),
                2..8 => {
                    text.extend(records[self.below(records.len())].bytes());
                    text.push(b' ');
                }
                _ => (0..1 + self.below(12)).for_each(|_| text.extend(WORDS[self.below(8)])),
            }
        }
        text.truncate(length);
        text
    }
}

fn assert_finds_what_a_plain_pass_finds(patterns: &Patterns, packed: &Packed) {
    let plain = Plain::of(packed);
    let records = records(packed);
    let mut numbers = Numbers(0x5eed);
    for round in 0..600 {
        let length = if round < 60 { round } else { numbers.below(3 * ROW) };
        let text = numbers.text(&records, length);
        let whole = plain.hits(&text, 0, length);
        // A part as it lies in a stream: the text goes on to either side.
        let cut = numbers.below(length + 1);
        let parts = [hits(patterns, &text, 0, cut), hits(patterns, &text, cut, length)];
        let mut both = parts.concat();
        both.sort_unstable();
        both.dedup();
        if !patterns.is_sparse() {
            assert_eq!(parts[0], plain.hits(&text, 0, cut), "up to {cut} of {text:?}");
        }
        assert_eq!(both, whole, "cut at {cut}: {text:?}");
    }
}

#[test]
fn every_pattern_is_found_wherever_it_stands() {
    let packed = packed();
    let patterns = Patterns::of(packed.clone());
    let plain = Plain::of(&packed);
    let mut text = Vec::new();
    for record in records(&packed) {
        text.extend(record.bytes());
    }
    for begin in 0..4 {
        let text = &text[begin..];
        assert_eq!(hits(&patterns, text, 0, text.len()), plain.hits(text, 0, text.len()));
    }
}

#[test]
fn the_pass_finds_what_a_plain_one_finds() {
    let packed = packed();
    assert_finds_what_a_plain_pass_finds(&Patterns::of(packed.clone()), &packed);
}

#[test]
fn the_sparse_pass_finds_what_a_plain_one_finds() {
    let packed = anchors(0, [(&[credential()][..], Ground::NearSigns)].into_iter()).1.build_sparse();
    let patterns = Patterns::of(packed.clone());
    assert!(patterns.is_sparse());
    assert_finds_what_a_plain_pass_finds(&patterns, &packed);
}

#[test]
fn further_patterns_are_found_beside_the_first() {
    let build = |sparse: bool| {
        let builder = anchors(0, [(&[credential()][..], Ground::NearSigns)].into_iter()).1;
        if sparse { builder.build_sparse() } else { builder.build() }
    };
    let text = [&b"x".repeat(ROW - 7)[..], b"AKIA q7Zt-93kfLw0_xPa5RbV"].concat();
    let keywords = |patterns: &Patterns| {
        let mut all: Vec<usize> =
            hits(patterns, &text, 0, text.len()).iter().map(|hit| patterns.found(*hit).0).collect();
        all.dedup();
        all
    };
    let first = packed().keywords as usize;
    let both = Patterns::of(packed()).and(build(false));
    assert!(keywords(&both).contains(&first), "the credential is the first after the others");
    let turned = Patterns::of(build(true)).and(packed());
    assert!(!turned.is_sparse());
    assert_eq!(keywords(&turned).first(), Some(&1), "AKIA's comes after the credential's");
    assert!(keywords(&turned).contains(&0));
}

/// What a sweep of a content reports, but for patterns; escapes and percent signs everywhere, phrases at every second half
/// of a word.
fn others(text: &[u8], part: Range<usize>, offset: usize) -> Vec<Hit> {
    let mut hits = Vec::new();
    for at in part {
        let is_escape = text.get(at..at + GRAM).is_some_and(|four| is_escape(gram(four)));
        hits.extend(is_escape.then_some(Hit { at, pattern: Hit::ESCAPE }));
        hits.extend((text[at] == b'%').then_some(Hit { at, pattern: Hit::PERCENT }));
        let is_block = (offset + at).is_multiple_of(PHRASE_STRIDE) && is_block_of_phrase(text, at);
        hits.extend(is_block.then_some(Hit { at, pattern: Hit::PHRASE }));
    }
    hits.sort_unstable();
    hits
}

#[test]
fn a_sweep_of_a_content_leaves_out_only_what_no_sign_reaches() {
    let packed = packed();
    for patterns in with_all_means(&packed) {
        assert_leaves_out_only_what_no_sign_reaches(&patterns, &packed);
    }
}

fn assert_leaves_out_only_what_no_sign_reaches(patterns: &Patterns, packed: &Packed) {
    let plain = Plain::of(packed);
    let records = records(packed);
    let mut everywhere: HashMap<u32, Vec<Entry>> = HashMap::new();
    let grams: HashSet<u32> = packed.everywhere.iter().copied().collect();
    for entry in packed.entries.iter().map(|entry| Entry::unpack(*entry)).filter(|entry| grams.contains(&entry.gram)) {
        everywhere.entry(entry.pattern).or_default().push(entry);
    }
    let mut numbers = Numbers(0x516e);
    let (mut near, mut far) = (0, 0);
    for round in 0..80 {
        let length = if round < 20 { 1010 + round } else { 1000 + numbers.below(9000) };
        let text = numbers.content(&records, length);
        // A part as it lies in a stream.
        let offset = 64 * numbers.below(3);
        let start = numbers.below(length / 3);
        let ends = numbers.below(2) == 0;
        let past = if ends { length } else { length - numbers.below(length / 3) };
        let (there, end) = (&text[..past], if ends { past } else { past.saturating_sub(24).max(start) });
        let mut hits = Vec::new();
        patterns.sweep_content(there, start..end, offset as u64, !ends, true, |hit| hits.push(hit));
        hits.sort_unstable();
        hits.dedup();
        let (found, other): (Vec<Hit>, Vec<Hit>) = hits.into_iter().partition(|hit| hit.pattern < Hit::PHRASE);
        assert_eq!(other, others(there, start..end, offset));
        let whole: Vec<Hit> =
            plain.hits(there, start, end).into_iter().filter(|hit| hit.pattern < Hit::PHRASE).collect();
        assert!(found.iter().all(|hit| whole.binary_search(hit).is_ok()));
        for hit in whole {
            let is_everywhere = || {
                everywhere.get(&hit.pattern).into_iter().flatten().any(|entry| {
                    let four = text.get(hit.at + usize::from(entry.offset)..).filter(|rest| rest.len() >= GRAM);
                    four.is_some_and(|four| gram(four) == entry.gram)
                })
            };
            if crate::is_near_sign(&text, hit.at) || is_everywhere() {
                near += 1;
                assert!(
                    found.binary_search(&hit).is_ok(),
                    "{hit:?} of {start}..{end} in {}",
                    String::from_utf8_lossy(there)
                );
            } else {
                far += usize::from(found.binary_search(&hit).is_err());
            }
        }
    }
    assert!(near > 500, "{near} are near a sign");
    if patterns.survey().is_some() {
        assert!(far > 200, "{far} are near none, and left out");
    }
}

#[test]
fn a_sign_reaches_behind_itself_wherever_it_stands() {
    let packed = packed();
    for patterns in with_all_means(&packed) {
        // What is read at once ends in here.
        for past in 3200..3800 {
            let mut text = vec![b' '; 6000];
            text[past - 32..past].fill(b'x');
            let at = past + 12;
            text[at..at + 4].copy_from_slice(b"AKIA");
            assert!(crate::is_near_sign(&text, at));
            let mut is_found = false;
            patterns.sweep_content(&text, 0..text.len(), 0, false, false, |hit| {
                is_found |= hit.at == at && hit.pattern < Hit::PHRASE;
            });
            assert!(is_found, "a run ends at {past}");
        }
    }
}
