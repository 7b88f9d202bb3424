//! Where in a content a match can be at all: a pass over it that costs a quarter of looking for every pattern at every
//! position, and leaves a tenth or so of most texts for that.
//!
//! Each byte is classified by its two halves, many at a time. Of what comes out, words of 64 bits, runs of token characters
//! are found by shifting: a word and its neighbours are all that a sign touches, so that signs are kept, and reach, by
//! words. What is looked for everywhere is found by the halves of its bytes, in eight groups at once.
//!
//! It needs a processor that can look up bytes within a register; without one, every pattern is looked for everywhere.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "nothing is surveyed there"))]

use fearless_simd::{Simd, prelude::*, u8x32};

use super::{GRAM, gram, is_escape};
use crate::{
    LONGEST,
    signs::{self, BEHIND, FAR, LONG_RUN, LOOSE_RUN, NEAR, PHRASE_BLOCK, PHRASE_STRIDE, RUN, URL},
};

/// Positions in a word.
pub(super) const WORD: usize = 64;
/// Words for which there is room.
const WORDS: usize = u64::BITS as usize;
/// Words after one whose signs may reach it, and before it.
const AHEAD: usize = URL / WORD + 1;
const BACK: usize = 1;
/// Behind a run, a sign reaches no further than to the word after that in which it was found: from there on it is as long as
/// a sign has to be, and what is looked for may be found by the last bytes of a pattern.
const _: () = assert!(LOOSE_RUN + BEHIND + LONGEST <= WORD + GRAM);
/// Bytes that are classified at a time.
const LANES: usize = 32;
/// The positions of a block that may be of a phrase, which begins in every half of a word.
const BLOCK: u64 = (1 << PHRASE_BLOCK) - 1;
const _: () = assert!(PHRASE_STRIDE == LANES);
/// The most words that are looked for everywhere: more of them make too many places look like one.
const MOST: usize = 64;
/// In so many groups.
const GROUPS: usize = 8;

/// What is needed to survey a text on this processor.
#[derive(Clone, Copy)]
pub(super) struct Means(
    #[cfg(target_arch = "x86_64")] fearless_simd::Avx2,
    #[cfg(not(target_arch = "x86_64"))] std::convert::Infallible,
);

impl Means {
    pub(super) fn new() -> Option<Means> {
        #[cfg(target_arch = "x86_64")]
        return fearless_simd::Level::new().as_avx2().map(Means);
        #[cfg(not(target_arch = "x86_64"))]
        None
    }
}

/// Sets of bytes, in eight bits: a byte is of the sets that its lower and its upper half have in common.
#[derive(Clone, Copy)]
struct Classes {
    low: [u8; LANES],
    high: [u8; LANES],
}

impl Classes {
    const NONE: Classes = Classes { low: [0; LANES], high: [0; LANES] };

    /// Adds all bytes with one of these upper halves and one of these lower.
    fn add(&mut self, set: u8, high: u16, low: u16) {
        for (place, (of_low, of_high)) in self.low.iter_mut().zip(&mut self.high).enumerate() {
            let bit = |halves: u16| (halves >> (place % 16) & 1) as u8 * set;
            *of_low |= bit(low);
            *of_high |= bit(high);
        }
    }

    /// Adds some of the first 128 bytes, beginning with this set: as many sets as there are different rows of sixteen.
    fn add_all(&mut self, first: u8, is_member: fn(u8) -> bool) -> u8 {
        let row = |high: u8| (0..16).fold(0, |row, low| row | u16::from(is_member(high << 4 | low)) << low);
        let mut set = first;
        for high in 0..8 {
            let alike = (0..8).filter(|other| row(*other) == row(high)).fold(0, |all: u16, other| all | 1 << other);
            if row(high) != 0 && alike.trailing_zeros() == u32::from(high) {
                self.add(set, alike, row(high));
                set <<= 1;
            }
        }
        set
    }

    #[inline(always)]
    fn load<S: Simd>(&self, simd: S) -> [u8x32<S>; 2] {
        [u8x32::from_slice(simd, &self.low), u8x32::from_slice(simd, &self.high)]
    }
}

/// What to look out for.
pub(super) struct Lookout {
    /// Token characters, then looser ones.
    tokens: Classes,
    /// The sets of the first.
    token: u8,
    phrases: Classes,
    /// What is looked for everywhere, by each of four bytes.
    everywhere: [Classes; GRAM],
}

impl Lookout {
    /// For four bytes each that are looked for everywhere; `None` where these are too many.
    pub(super) fn of(grams: impl Iterator<Item = u32>) -> Option<Lookout> {
        let groups = groups(grams.map(Halves::of).collect())?;
        let mut everywhere = [Classes::NONE; GRAM];
        for (set, group) in groups.into_iter().enumerate() {
            for (classes, [high, low]) in everywhere.iter_mut().zip(group.0) {
                classes.add(1 << set, high, low);
            }
        }
        let (mut tokens, mut phrases) = (Classes::NONE, Classes::NONE);
        let loose = tokens.add_all(1, signs::is_token);
        tokens.add_all(loose, signs::is_loose);
        phrases.add_all(1, signs::is_of_phrase);
        Some(Lookout { tokens, token: loose - 1, phrases, everywhere })
    }
}

/// Which upper and which lower halves each byte may have.
#[derive(Clone, Copy)]
struct Halves([[u16; 2]; GRAM]);

impl Halves {
    fn of(gram: u32) -> Halves {
        Halves(gram.to_le_bytes().map(|byte| [1 << (byte >> 4), 1 << (byte & 15)]))
    }

    fn or(self, other: Halves) -> Halves {
        Halves(std::array::from_fn(|byte| std::array::from_fn(|half| self.0[byte][half] | other.0[byte][half])))
    }

    /// How many words have such halves.
    fn count(self) -> u64 {
        self.0.iter().flatten().map(|half| u64::from(half.count_ones())).product()
    }
}

/// So few groups that together they hold as few other words as may be, one joined with another at a time.
fn groups(mut words: Vec<Halves>) -> Option<Vec<Halves>> {
    // First those that differ in their last byte, or in the case of letters.
    let key = |word: &Halves| word.0.map(|[high, low]| (low, high.trailing_zeros() & !2));
    words.sort_unstable_by_key(|word| key(word));
    words.dedup_by(|next, word| {
        let is_alike = key(next)[..GRAM - 1] == key(word)[..GRAM - 1];
        if is_alike {
            *word = word.or(*next);
        }
        is_alike
    });
    if words.len() > MOST {
        return None;
    }
    while words.len() > GROUPS {
        let pairs = (1..words.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
        let (one, other) = pairs.min_by_key(|(one, other)| {
            let (one, other) = (words[*one], words[*other]);
            one.or(other).count() - one.count().max(other.count())
        })?;
        words[other] = words[other].or(words[one]);
        words.swap_remove(one);
    }
    Some(words)
}

/// What a survey finds: of the words of a text, a bit for each position.
pub(super) struct Survey {
    means: Means,
    /// Where in the text the first word begins.
    start: usize,
    /// How many words were read, and how many of them told.
    read: usize,
    told: usize,
    tokens: Bits,
    loose: Bits,
    starts: Bits,
    marks: Bits,
    phrases: Bits,
    runs: Bits,
    long_runs: Bits,
    room: Bits,
    /// Which words hold an `@` that is a sign, and which a zero.
    at_signs: u64,
    zeros: u64,
}

/// For one word more than there is room for, so that each has one after it.
type Bits = [u64; WORDS + 1];

/// What there is to tell of a word; of positions a bit each.
pub(super) struct Told {
    /// Where in the text it begins.
    pub begin: usize,
    /// Whether a sign reaches it, so that every pattern may stand here.
    pub is_near: bool,
    /// Where what is looked for everywhere may begin.
    pub starts: u64,
    /// Percent signs, and backslashes that digits may follow.
    pub marks: u64,
    /// Where a block begins that may be of a phrase.
    pub phrases: u64,
}

impl Survey {
    /// For a text, from a place on.
    pub(super) fn of(means: Means, start: usize) -> Survey {
        Survey {
            means,
            start,
            read: 0,
            told: 0,
            tokens: [0; WORDS + 1],
            loose: [0; WORDS + 1],
            starts: [0; WORDS + 1],
            marks: [0; WORDS + 1],
            phrases: [0; WORDS + 1],
            runs: [0; WORDS + 1],
            long_runs: [0; WORDS + 1],
            room: [0; WORDS + 1],
            at_signs: 0,
            zeros: 0,
        }
    }

    /// Reads on in a text, as many words as there is room for, and calls with each word of which there is something to
    /// tell, in their order and once; `goes_on` is whether more of the text may come after its end.
    ///
    /// Answers whether there is more to read.
    pub(super) fn read(&mut self, lookout: &Lookout, text: &[u8], goes_on: bool, mut tell: impl FnMut(Told)) -> bool {
        self.forget();
        let first = self.read;
        let rest = text.get(self.start + first * WORD..).unwrap_or_default();
        let words = rest.len().div_ceil(WORD).min(WORDS - first);
        let whole = (rest.len().saturating_sub(GRAM - 1) / WORD).min(words);
        if whole > 0 {
            self.classify(lookout, first, &rest[..whole * WORD + GRAM - 1]);
        }
        if whole < words {
            // What is not there is nothing that is looked for.
            let mut padded = [b' '; 2 * WORD + GRAM - 1];
            let last = &rest[whole * WORD..];
            padded[..last.len()].copy_from_slice(last);
            self.classify(lookout, first + whole, &padded[..(words - whole) * WORD + GRAM - 1]);
        }
        self.read = first + words;
        for place in first..self.read {
            if self.marks[place] != 0 {
                self.look_closer(text, place);
            }
        }
        let is_over = words * WORD >= rest.len();
        let near = self.near(is_over && goes_on);
        let told = self.told;
        self.told = if is_over { self.read } else { self.read - AHEAD };
        for place in told..self.told {
            let is_near = near >> place & 1 == 1;
            let (starts, marks, phrases) = (self.starts[place], self.marks[place], self.phrases[place]);
            if is_near || starts | marks | phrases != 0 {
                tell(Told { begin: self.start + place * WORD, is_near, starts, marks, phrases });
            }
        }
        !is_over
    }

    /// Makes room: drops what was told, but for what matters for the next words.
    fn forget(&mut self) {
        let gone = self.told.saturating_sub(BACK);
        let kept = gone..self.read;
        for bits in [&mut self.tokens, &mut self.loose, &mut self.starts, &mut self.marks, &mut self.phrases] {
            bits.copy_within(kept.clone(), 0);
        }
        for signs in [&mut self.at_signs, &mut self.zeros] {
            *signs = signs.checked_shr(gone as u32).unwrap_or(0);
        }
        self.start += gone * WORD;
        self.read -= gone;
        self.told -= gone;
        self.tokens[self.read..].fill(0);
        self.loose[self.read..].fill(0);
    }

    /// Classifies whole words, and as many bytes more as the last position needs.
    fn classify(&mut self, lookout: &Lookout, first: usize, text: &[u8]) {
        #[cfg(target_arch = "x86_64")]
        classify_with_avx2(self.means.0, lookout, text, self, first);
        #[cfg(not(target_arch = "x86_64"))]
        match self.means.0 {}
    }

    /// Which words hold a run that is a sign, and a long one.
    fn find_runs(&mut self) -> [u64; 2] {
        #[cfg(target_arch = "x86_64")]
        return find_runs_with_avx2(self.means.0, self);
        #[cfg(not(target_arch = "x86_64"))]
        match self.means.0 {}
    }

    /// Sees to signs of several bytes, and leaves of the marks those that are to be told.
    fn look_closer(&mut self, text: &[u8], place: usize) {
        let start = self.start + place * WORD;
        let mut is_sign = false;
        for at in ones(self.marks[place]) {
            is_sign |= signs::is_at_sign(text, start + at);
            let is_told = match text[start + at] {
                b'%' => true,
                b'\\' => text.get(start + at..start + at + GRAM).is_some_and(|four| is_escape(gram(four))),
                _ => false,
            };
            self.marks[place] &= !(u64::from(!is_told) << at);
        }
        self.at_signs |= u64::from(is_sign) << place;
    }

    /// The words that a sign reaches: its own, the next, and so many before it. Where the text goes on one may begin in
    /// the last word but one.
    fn near(&mut self, goes_on: bool) -> u64 {
        let [runs, long_runs] = self.find_runs();
        let unknown = if goes_on { u64::MAX.checked_shl(self.read.saturating_sub(2) as u32).unwrap_or(0) } else { 0 };
        let before =
            |signs: u64, reach: usize| (0..=reach / WORD).fold(0, |all, words| all | (signs | unknown) >> words);
        let all = runs | long_runs | self.at_signs;
        before(runs, NEAR)
            | before(long_runs, FAR)
            | before(self.at_signs, URL)
            | all << 1
            | self.zeros
            | self.zeros >> 1
    }
}

/// The places of the bits that are set.
pub(super) fn ones(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (bits != 0).then(|| bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        place
    })
}

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    fn classify_with_avx2(avx2: Avx2, lookout: &Lookout, text: &[u8], survey: &mut Survey, first: usize) {
        classify(avx2, lookout, text, survey, first);
    }
);

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    fn find_runs_with_avx2(_avx2: Avx2, survey: &mut Survey) -> [u64; 2] {
        find_runs(survey)
    }
);

/// A lookout in registers.
struct Loaded<S: Simd> {
    simd: S,
    tokens: [u8x32<S>; 2],
    token: u8x32<S>,
    phrases: [u8x32<S>; 2],
    everywhere: [[u8x32<S>; 2]; GRAM],
}

/// Of half a word's positions a bit each.
#[derive(Clone, Copy)]
struct Half {
    tokens: u64,
    loose: u64,
    starts: u64,
    marks: u64,
    phrases: u64,
    zeros: u64,
}

#[inline(always)]
fn classify<S: Simd>(simd: S, lookout: &Lookout, text: &[u8], survey: &mut Survey, first: usize) {
    let [one, two, three, four] = &lookout.everywhere;
    let loaded = Loaded {
        simd,
        tokens: lookout.tokens.load(simd),
        token: u8x32::splat(simd, lookout.token),
        phrases: lookout.phrases.load(simd),
        everywhere: [one.load(simd), two.load(simd), three.load(simd), four.load(simd)],
    };
    let mut zeros = 0;
    for (place, begin) in (first..WORDS).zip((0..).step_by(WORD)) {
        let Some(word) = text.get(begin..).and_then(<[u8]>::first_chunk::<{ WORD + GRAM - 1 }>) else { break };
        let (left, right) = (loaded.half::<0>(word), loaded.half::<LANES>(word));
        survey.tokens[place] = left.tokens | right.tokens << LANES;
        survey.loose[place] = left.loose | right.loose << LANES;
        survey.starts[place] = left.starts | right.starts << LANES;
        survey.marks[place] = left.marks | right.marks << LANES;
        let block = |half: Half| u64::from(half.phrases & BLOCK == BLOCK);
        survey.phrases[place] = block(left) | block(right) << LANES;
        zeros |= u64::from(left.zeros | right.zeros != 0) << place;
    }
    survey.zeros |= zeros;
}

impl<S: Simd> Loaded<S> {
    #[inline(always)]
    fn half<const AT: usize>(&self, word: &[u8; WORD + GRAM - 1]) -> Half {
        let simd = self.simd;
        let bytes = u8x32::from_slice(simd, &word[AT..AT + LANES]);
        let (low, high) = self.halves(bytes);
        let classes = self.of(self.tokens, low, high);
        let starts = self.of(self.everywhere[0], low, high)
            & self.later::<AT, 1>(word)
            & self.later::<AT, 2>(word)
            & self.later::<AT, 3>(word);
        let is = |byte: u8| bytes.simd_eq(u8x32::splat(simd, byte));
        Half {
            tokens: self.members(classes & self.token),
            loose: self.members(classes),
            starts: self.members(starts),
            marks: simd.to_bitmask_mask8x32(is(b'\\') | is(b'%') | is(b'@')),
            phrases: self.members(self.of(self.phrases, low, high)),
            zeros: simd.to_bitmask_mask8x32(is(0)),
        }
    }

    /// The sets that a later byte is of.
    #[inline(always)]
    fn later<const AT: usize, const BY: usize>(&self, word: &[u8; WORD + GRAM - 1]) -> u8x32<S> {
        let (low, high) = self.halves(u8x32::from_slice(self.simd, &word[AT + BY..AT + BY + LANES]));
        self.of(self.everywhere[BY], low, high)
    }

    #[inline(always)]
    fn halves(&self, bytes: u8x32<S>) -> (u8x32<S>, u8x32<S>) {
        (bytes & u8x32::splat(self.simd, 0x0f), bytes >> 4)
    }

    /// The sets that bytes are of.
    #[inline(always)]
    fn of(&self, classes: [u8x32<S>; 2], low: u8x32<S>, high: u8x32<S>) -> u8x32<S> {
        let half = |sets: u8x32<S>, half: u8x32<S>| self.simd.swizzle_dyn_within_blocks_u8x32(sets, half);
        half(classes[0], low) & half(classes[1], high)
    }

    /// Where bytes are of any set.
    #[inline(always)]
    fn members(&self, sets: u8x32<S>) -> u64 {
        let others = self.simd.to_bitmask_mask8x32(sets.simd_eq(u8x32::splat(self.simd, 0)));
        !others & u64::from(u32::MAX)
    }
}

/// Finds where runs are long enough: a run of twice as many positions begins where one begins that is followed by another.
#[inline(always)]
fn find_runs(survey: &mut Survey) -> [u64; 2] {
    const _: () = assert!(RUN == 16 && LONG_RUN == 24 && LOOSE_RUN == 32);
    let Survey { tokens, loose, runs, long_runs, room, .. } = survey;
    followed::<1>(loose, room);
    followed::<2>(room, runs);
    followed::<4>(runs, room);
    followed::<8>(room, runs);
    followed::<16>(runs, room);
    let loose_runs = room;
    followed::<1>(tokens, long_runs);
    followed::<2>(long_runs, runs);
    followed::<4>(runs, long_runs);
    followed::<8>(long_runs, runs);
    followed::<8>(runs, long_runs);
    let (mut signs, mut long_signs) = (0, 0);
    for place in 0..WORDS {
        signs |= u64::from(runs[place] != 0) << place;
        long_signs |= u64::from(long_runs[place] | loose_runs[place] != 0) << place;
    }
    [signs, long_signs]
}

/// The bits that are set, and so many positions further too.
#[inline(always)]
fn followed<const BY: u32>(bits: &Bits, into: &mut Bits) {
    for place in 0..WORDS {
        into[place] = bits[place] & (bits[place] >> BY | bits[place + 1] << (u64::BITS - BY));
    }
}
