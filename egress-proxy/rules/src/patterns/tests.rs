//! The pass against one that compares at every position and skips nothing.

use std::{borrow::Cow, collections::HashMap, path::Path};

use super::*;
use crate::{Keyword, anchors, shipped};

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
                let there = at.checked_sub(entry.offset.into()).and_then(|start| Some((start, text.get(start..)?)));
                if let Some((start, there)) = there
                    && there.len() >= record.bytes().len()
                    && record.stands_in(there)
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

fn packed() -> Packed {
    let rules = shipped(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the rules are valid");
    anchors(0, rules.iter().map(|rule| &*rule.keywords)).1.build()
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
    let packed = anchors(0, [&[credential()][..]].into_iter()).1.build_sparse();
    let patterns = Patterns::of(packed.clone());
    assert!(patterns.is_sparse());
    assert_finds_what_a_plain_pass_finds(&patterns, &packed);
}

#[test]
fn further_patterns_are_found_beside_the_first() {
    let build = |sparse: bool| {
        let builder = anchors(0, [&[credential()][..]].into_iter()).1;
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
