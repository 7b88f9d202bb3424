//! Where in a content a match can be at all: a pass over it that costs a quarter of looking for every pattern at every
//! position, and leaves a tenth or so of most texts for that.
//!
//! Many bytes are classified at a time: by their two halves, or whole where the processor can look them up so. Of what comes
//! out, words of 64 bits, runs of token characters are found by shifting: a word and its neighbours are all that a sign
//! touches, so that signs are kept, and reach, by words. What is looked for everywhere is found byte by byte, in eight
//! groups at once.
//!
//! It needs a processor that can look up bytes within a register; without one, every pattern is looked for everywhere.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "nothing is surveyed there"))]

#[cfg(target_arch = "x86_64")]
use fearless_simd::{Avx2, Avx512};
use fearless_simd::{Simd, prelude::*, u8x32, u8x64, u64x8};

use super::{GRAM, gram, is_escape};
use crate::{
    LONGEST,
    signs::{self, BEHIND, FAR, LONG_RUN, LOOSE_RUN, NEAR, PHRASE_STRIDE, RUN, URL, blocks_of_phrase},
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
/// Bytes that are classified by their halves at a time.
const LANES: usize = 32;
/// Blocks of phrases begin with a word, and in its middle.
const _: () = assert!(PHRASE_STRIDE == WORD / 2);
/// The most words that are looked for everywhere: more of them make too many places look like one.
const MOST: usize = 64;
/// In so many groups.
const GROUPS: usize = 8;

/// What is needed to survey a text on this processor.
#[derive(Clone, Copy)]
pub(super) enum Means {
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// With tables of 128 bytes (VBMI).
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Means {
    /// What this processor has, the fastest first.
    pub(super) fn all() -> impl Iterator<Item = Means> {
        #[cfg(target_arch = "x86_64")]
        {
            let level = fearless_simd::Level::new();
            let avx2 = level.as_avx2().map(Means::Avx2);
            level.as_avx512().map(Means::Avx512).into_iter().chain(avx2)
        }
        #[cfg(not(target_arch = "x86_64"))]
        std::iter::empty()
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

/// Something for each byte of ASCII.
type OfAscii = [u8; 128];

/// What a position may be: the number of a bit of its own kinds, and of a word of bits in a [`Word`].
const TOKEN: usize = 0;
const LOOSE: usize = 1;
const MARK: usize = 2;
const LETTER: usize = 3;
const OF_PHRASE: usize = 4;
const ZERO: usize = 5;
/// What is looked for everywhere may begin here.
const START: usize = 6;

fn kinds(byte: u8) -> u8 {
    let kind = |kind: usize, is: bool| u8::from(is) << kind;
    kind(TOKEN, signs::is_token(byte))
        | kind(LOOSE, signs::is_token(byte) || signs::is_loose(byte))
        | kind(MARK, is_mark(byte))
        | kind(LETTER, byte.is_ascii_lowercase())
        | kind(OF_PHRASE, signs::is_of_phrase(byte))
        | kind(ZERO, byte == 0)
}

/// Whether a byte may begin an escape or be a sign.
fn is_mark(byte: u8) -> bool {
    matches!(byte, b'\\' | b'%' | b'@')
}

/// What to look out for: twice, for both ways to classify.
pub(super) struct Lookout {
    by_halves: ByHalves,
    whole: WholeBytes,
}

struct ByHalves {
    /// Token characters, then looser ones.
    tokens: Classes,
    /// The sets of the first.
    token: u8,
    phrases: Classes,
    /// What is looked for everywhere, by each of four bytes.
    everywhere: [Classes; GRAM],
}

struct WholeBytes {
    kinds: OfAscii,
    /// Of which groups of what is looked for everywhere a byte may be, as each of four. One that is none of ASCII is taken
    /// for the one that differs in the highest bit.
    everywhere: [OfAscii; GRAM],
}

impl Lookout {
    /// For four bytes each that are looked for everywhere; `None` where these are too many.
    pub(super) fn of(grams: impl Iterator<Item = u32>) -> Option<Lookout> {
        let groups = groups(grams.map(Group::of).collect())?;
        let (mut tokens, mut phrases) = (Classes::NONE, Classes::NONE);
        let loose = tokens.add_all(1, signs::is_token);
        tokens.add_all(loose, signs::is_loose);
        phrases.add_all(1, signs::is_of_phrase);
        let mut by_halves = ByHalves { tokens, token: loose - 1, phrases, everywhere: [Classes::NONE; GRAM] };
        let mut whole =
            WholeBytes { kinds: std::array::from_fn(|byte| kinds(byte as u8)), everywhere: [[0; 128]; GRAM] };
        for (set, group) in groups.into_iter().enumerate() {
            for (place, Bytes { high, low, ascii }) in group.0.into_iter().enumerate() {
                by_halves.everywhere[place].add(1 << set, high, low);
                for (byte, groups) in whole.everywhere[place].iter_mut().enumerate() {
                    *groups |= ((ascii >> byte & 1) as u8) << set;
                }
            }
        }
        Some(Lookout { by_halves, whole })
    }
}

/// Which bytes each of four may be.
#[derive(Clone, Copy)]
struct Group([Bytes; GRAM]);

/// Bytes by their upper and their lower halves, and by their lower seven bits.
#[derive(Clone, Copy)]
struct Bytes {
    high: u16,
    low: u16,
    ascii: u128,
}

impl Bytes {
    fn of(byte: u8) -> Bytes {
        Bytes { high: 1 << (byte >> 4), low: 1 << (byte & 15), ascii: 1 << (byte & 127) }
    }

    fn or(self, other: Bytes) -> Bytes {
        Bytes { high: self.high | other.high, low: self.low | other.low, ascii: self.ascii | other.ascii }
    }
}

impl Group {
    fn of(gram: u32) -> Group {
        Group(gram.to_le_bytes().map(Bytes::of))
    }

    fn or(self, other: Group) -> Group {
        Group(std::array::from_fn(|place| self.0[place].or(other.0[place])))
    }

    /// How many words have such halves.
    fn count(self) -> u64 {
        self.0.iter().map(|Bytes { high, low, .. }| u64::from(high.count_ones() * low.count_ones())).product()
    }
}

/// So few groups that together they hold as few other words as may be, one joined with another at a time.
fn groups(mut words: Vec<Group>) -> Option<Vec<Group>> {
    // First those that differ in their last byte, or in the case of letters.
    let key = |word: &Group| word.0.map(|bytes| (bytes.low, bytes.high.trailing_zeros() & !2));
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

/// A survey of the words of a text.
pub(super) struct Survey {
    means: Means,
    /// Where in the text the first word begins.
    start: usize,
    /// How many words were read, and how many of them told.
    read: usize,
    told: usize,
    words: [Word; WORDS],
    /// Of the words that were read last, the positions where blocks begin that may be of a phrase.
    phrases: [u64; WORDS],
    /// Which words hold an `@` that is a sign.
    at_signs: u64,
}

/// For each kind, a bit for each position that is of it.
type Word = [u64; u8::BITS as usize];

const NONE: Word = [0; u8::BITS as usize];

/// So many words are looked at together.
const AT_ONCE: usize = 8;

/// What words hold, a bit for each.
struct Held {
    /// A run that is a sign, and a long one.
    runs: u64,
    long_runs: u64,
    zeros: u64,
    marks: u64,
    /// Anything that is to be told wherever it stands.
    any: u64,
}

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
        let (words, phrases) = ([NONE; WORDS], [0; WORDS]);
        Survey { means, start, read: 0, told: 0, words, phrases, at_signs: 0 }
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
        let held = self.held();
        for place in ones(held.marks & bits_from(first) & !bits_from(self.read)) {
            self.look_closer(text, place);
        }
        let is_over = words * WORD >= rest.len();
        let near = self.near(&held, is_over && goes_on);
        let told = self.told;
        self.told = if is_over { self.read } else { self.read - AHEAD };
        for place in ones((near | held.any) & bits_from(told) & !bits_from(self.told)) {
            let is_near = near >> place & 1 == 1;
            let (starts, marks, phrases) = (self.words[place][START], self.words[place][MARK], self.phrases[place]);
            tell(Told { begin: self.start + place * WORD, is_near, starts, marks, phrases });
        }
        !is_over
    }

    /// Makes room: drops what was told, but for what matters for the next words.
    fn forget(&mut self) {
        let gone = self.told.saturating_sub(BACK);
        self.words.copy_within(gone..self.read, 0);
        self.at_signs = self.at_signs.checked_shr(gone as u32).unwrap_or(0);
        self.start += gone * WORD;
        self.read -= gone;
        self.told -= gone;
    }

    /// Classifies whole words, and as many bytes more as the last position needs.
    fn classify(&mut self, lookout: &Lookout, first: usize, text: &[u8]) {
        let words = &mut self.words[first..];
        match self.means {
            #[cfg(target_arch = "x86_64")]
            Means::Avx2(avx2) => classify_with_avx2(avx2, &lookout.by_halves, text, words),
            #[cfg(target_arch = "x86_64")]
            Means::Avx512(avx512) => classify_with_avx512(avx512, &lookout.whole, text, words),
        }
    }

    /// What the words that were read hold.
    fn held(&mut self) -> Held {
        let past = self.read.next_multiple_of(AT_ONCE);
        self.words[self.read..past].fill(NONE);
        let (words, phrases) = (&self.words[..past], &mut self.phrases[..past]);
        match self.means {
            #[cfg(target_arch = "x86_64")]
            Means::Avx2(avx2) => held_with_avx2(avx2, words, phrases),
            #[cfg(target_arch = "x86_64")]
            Means::Avx512(avx512) => held_with_avx512(avx512, words, phrases),
        }
    }

    /// Sees to signs of several bytes, and leaves of the marks those that are to be told.
    fn look_closer(&mut self, text: &[u8], place: usize) {
        let start = self.start + place * WORD;
        let marks = &mut self.words[place][MARK];
        let mut is_sign = false;
        for at in ones(*marks) {
            is_sign |= signs::is_at_sign(text, start + at);
            let is_told = match text[start + at] {
                b'%' => true,
                b'\\' => text.get(start + at..start + at + GRAM).is_some_and(|four| is_escape(gram(four))),
                _ => false,
            };
            *marks &= !(u64::from(!is_told) << at);
        }
        self.at_signs |= u64::from(is_sign) << place;
    }

    /// The words that a sign reaches: its own, the next, and so many before it. Where the text goes on one may begin in
    /// the last word but one.
    fn near(&self, held: &Held, goes_on: bool) -> u64 {
        let Held { runs, long_runs, zeros, .. } = *held;
        let unknown = if goes_on { bits_from(self.read.saturating_sub(2)) } else { 0 };
        let before =
            |signs: u64, reach: usize| (0..=reach / WORD).fold(0, |all, words| all | (signs | unknown) >> words);
        let all = runs | long_runs | self.at_signs;
        before(runs, NEAR) | before(long_runs, FAR) | before(self.at_signs, URL) | all << 1 | zeros | zeros >> 1
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

/// The bits from a place on.
fn bits_from(place: usize) -> u64 {
    u64::MAX.checked_shl(place as u32).unwrap_or(0)
}

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    fn classify_with_avx2(avx2: Avx2, lookout: &ByHalves, text: &[u8], words: &mut [Word]) {
        let lookout = LoadedHalves::of(avx2, lookout);
        each_word(text, words, |bytes, word| *word = lookout.word(bytes));
    }
);

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    fn classify_with_avx512(avx512: Avx512, lookout: &WholeBytes, text: &[u8], words: &mut [Word]) {
        let lookout = LoadedBytes::of(avx512, lookout);
        each_word(text, words, |bytes, word| transposed_bits(avx512, lookout.kinds(bytes)).store_slice(word));
    }
);

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    fn held_with_avx2(avx2: Avx2, words: &[Word], phrases: &mut [u64]) -> Held {
        held(avx2, words, phrases)
    }
);

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    fn held_with_avx512(avx512: Avx512, words: &[Word], phrases: &mut [u64]) -> Held {
        held(avx512, words, phrases)
    }
);

/// The bytes of a word, and as many more as its last position needs.
type WordBytes = [u8; WORD + GRAM - 1];

#[inline(always)]
fn each_word(text: &[u8], words: &mut [Word], mut each: impl FnMut(&WordBytes, &mut Word)) {
    for (word, begin) in words.iter_mut().zip((0..).step_by(WORD)) {
        let Some(bytes) = text.get(begin..).and_then(<[u8]>::first_chunk) else { break };
        each(bytes, word);
    }
}

/// A lookout in registers, for bytes that are looked up whole, a word at a time.
struct LoadedBytes<S: Simd> {
    simd: S,
    kinds: [u8x64<S>; 2],
    everywhere: [[u8x64<S>; 2]; GRAM],
}

impl<S: Simd> LoadedBytes<S> {
    #[inline(always)]
    fn of(simd: S, lookout: &WholeBytes) -> Self {
        let [one, two, three, four] = &lookout.everywhere;
        let everywhere = [table(simd, one), table(simd, two), table(simd, three), table(simd, four)];
        Self { simd, kinds: table(simd, &lookout.kinds), everywhere }
    }

    /// The kinds of each position.
    #[inline(always)]
    fn kinds(&self, word: &WordBytes) -> u8x64<S> {
        let bytes = u8x64::from_slice(self.simd, &word[..WORD]);
        let kinds = self.simd.concat_swizzle_dyn_precise_u8x64(self.kinds[0], self.kinds[1], bytes);
        let groups = self.later::<0>(word) & self.later::<1>(word) & self.later::<2>(word) & self.later::<3>(word);
        let none = groups.simd_eq(u8x64::splat(self.simd, 0));
        none.select(kinds, kinds | u8x64::splat(self.simd, 1 << START))
    }

    /// The groups that a later byte is of.
    #[inline(always)]
    fn later<const BY: usize>(&self, word: &WordBytes) -> u8x64<S> {
        let [first, second] = self.everywhere[BY];
        let bytes = u8x64::from_slice(self.simd, &word[BY..BY + WORD]);
        self.simd.concat_swizzle_dyn_u8x64(first, second, bytes & u8x64::splat(self.simd, 0x7f))
    }
}

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    /// The bits of 64 bytes by their number: of eight bytes each, as a product of matrices, then of all.
    #[inline(always)]
    fn transposed_bits(avx512: Avx512, bytes: u8x64<Avx512>) -> u64x8<Avx512> {
        use std::arch::x86_64::*;
        // The instruction counts the rows of a matrix from the last.
        let last_first = _mm512_set_epi64(
            0x38393a3b3c3d3e3f,
            0x3031323334353637,
            0x28292a2b2c2d2e2f,
            0x2021222324252627,
            0x18191a1b1c1d1e1f,
            0x1011121314151617,
            0x08090a0b0c0d0e0f,
            0x0001020304050607,
        );
        let by_number = _mm512_set_epi64(
            0x3f372f271f170f07,
            0x3e362e261e160e06,
            0x3d352d251d150d05,
            0x3c342c241c140c04,
            0x3b332b231b130b03,
            0x3a322a221a120a02,
            0x3931292119110901,
            0x3830282018100800,
        );
        let eights = _mm512_permutexvar_epi8(last_first, bytes.into());
        let eights = _mm512_gf2p8affine_epi64_epi8::<0>(_mm512_set1_epi64(0x8040_2010_0804_0201_u64 as i64), eights);
        _mm512_permutexvar_epi8(by_number, eights).simd_into(avx512)
    }
);

#[inline(always)]
fn table<S: Simd>(simd: S, of: &OfAscii) -> [u8x64<S>; 2] {
    [u8x64::from_slice(simd, &of[..64]), u8x64::from_slice(simd, &of[64..])]
}

/// A lookout in registers, for the halves of bytes, half a word at a time.
struct LoadedHalves<S: Simd> {
    simd: S,
    tokens: [u8x32<S>; 2],
    token: u8x32<S>,
    phrases: [u8x32<S>; 2],
    everywhere: [[u8x32<S>; 2]; GRAM],
}

impl<S: Simd> LoadedHalves<S> {
    #[inline(always)]
    fn of(simd: S, lookout: &ByHalves) -> Self {
        let [one, two, three, four] = &lookout.everywhere;
        Self {
            simd,
            tokens: lookout.tokens.load(simd),
            token: u8x32::splat(simd, lookout.token),
            phrases: lookout.phrases.load(simd),
            everywhere: [one.load(simd), two.load(simd), three.load(simd), four.load(simd)],
        }
    }

    #[inline(always)]
    fn word(&self, word: &WordBytes) -> Word {
        let (left, right) = (self.half::<0>(word), self.half::<LANES>(word));
        std::array::from_fn(|kind| u64::from(left[kind]) | u64::from(right[kind]) << LANES)
    }

    /// Of half a word's positions those that are of each kind.
    #[inline(always)]
    fn half<const AT: usize>(&self, word: &WordBytes) -> [u32; u8::BITS as usize] {
        let simd = self.simd;
        let bytes = u8x32::from_slice(simd, &word[AT..AT + LANES]);
        let (low, high) = self.halves(bytes);
        let classes = self.of_classes(self.tokens, low, high);
        let starts = self.of_classes(self.everywhere[0], low, high)
            & self.later::<AT, 1>(word)
            & self.later::<AT, 2>(word)
            & self.later::<AT, 3>(word);
        let is = |byte: u8| bytes.simd_eq(u8x32::splat(simd, byte));
        let letters = (bytes - u8x32::splat(simd, b'a')).simd_lt(u8x32::splat(simd, 26));
        let mut kinds = [0; u8::BITS as usize];
        kinds[TOKEN] = self.members(classes & self.token);
        kinds[LOOSE] = self.members(classes);
        kinds[MARK] = simd.to_bitmask_mask8x32(is(b'\\') | is(b'%') | is(b'@')) as u32;
        kinds[LETTER] = simd.to_bitmask_mask8x32(letters) as u32;
        kinds[OF_PHRASE] = self.members(self.of_classes(self.phrases, low, high));
        kinds[ZERO] = simd.to_bitmask_mask8x32(is(0)) as u32;
        kinds[START] = self.members(starts);
        kinds
    }

    /// The sets that a later byte is of.
    #[inline(always)]
    fn later<const AT: usize, const BY: usize>(&self, word: &WordBytes) -> u8x32<S> {
        let (low, high) = self.halves(u8x32::from_slice(self.simd, &word[AT + BY..AT + BY + LANES]));
        self.of_classes(self.everywhere[BY], low, high)
    }

    #[inline(always)]
    fn halves(&self, bytes: u8x32<S>) -> (u8x32<S>, u8x32<S>) {
        (bytes & u8x32::splat(self.simd, 0x0f), bytes >> 4)
    }

    /// The sets that bytes are of.
    #[inline(always)]
    fn of_classes(&self, classes: [u8x32<S>; 2], low: u8x32<S>, high: u8x32<S>) -> u8x32<S> {
        let half = |sets: u8x32<S>, half: u8x32<S>| self.simd.swizzle_dyn_within_blocks_u8x32(sets, half);
        half(classes[0], low) & half(classes[1], high)
    }

    /// Where bytes are of any set.
    #[inline(always)]
    fn members(&self, sets: u8x32<S>) -> u32 {
        !self.simd.to_bitmask_mask8x32(sets.simd_eq(u8x32::splat(self.simd, 0))) as u32
    }
}

/// Finds blocks of phrases, and where runs are long enough: a run of twice as many positions begins where one begins that
/// is followed by another.
#[inline(always)]
fn held<S: Simd>(simd: S, words: &[Word], phrases: &mut [u64]) -> Held {
    const _: () = assert!(RUN == 16 && LONG_RUN == 24 && LOOSE_RUN == 32);
    let [mut all_runs, mut all_long_runs, mut all_zeros, mut all_marks, mut any] = [0; 5];
    // From the last on, each with what was found of the next: nothing of it leaves the registers.
    let mut of_next = [u64x8::splat(simd, 0); 10];
    for (words, phrases) in words.as_chunks::<AT_ONCE>().0.iter().zip(phrases.as_chunks_mut::<AT_ONCE>().0).rev() {
        let words = by_kind(simd, words);
        let [one, two, three, four, five, six, seven, eight, nine, ten] = &mut of_next;
        let loose = followed::<_, 1>(words[LOOSE], one);
        let loose = followed::<_, 2>(loose, two);
        let loose = followed::<_, 4>(loose, three);
        let loose = followed::<_, 8>(loose, four);
        let loose_runs = followed::<_, 16>(loose, five);
        let tokens = followed::<_, 1>(words[TOKEN], six);
        let tokens = followed::<_, 2>(tokens, seven);
        let tokens = followed::<_, 4>(tokens, eight);
        let runs = followed::<_, 8>(tokens, nine);
        let long_runs = followed::<_, 8>(runs, ten);
        let blocks = blocks_of_phrase(
            words[OF_PHRASE],
            words[LETTER],
            #[inline(always)]
            |word| u64x8::splat(simd, word),
        );
        note(simd, &mut all_runs, runs);
        note(simd, &mut all_long_runs, long_runs | loose_runs);
        note(simd, &mut all_zeros, words[ZERO]);
        note(simd, &mut all_marks, words[MARK]);
        note(simd, &mut any, words[START] | words[MARK] | blocks);
        blocks.store_slice(phrases);
    }
    Held { runs: all_runs, long_runs: all_long_runs, zeros: all_zeros, marks: all_marks, any }
}

/// Of each kind the bits of eight words.
#[inline(always)]
fn by_kind<S: Simd>(simd: S, words: &[Word; AT_ONCE]) -> [u64x8<S>; AT_ONCE] {
    let [a, b, c, d, e, f, g, h] = words;
    let mut rows = [
        u64x8::from_slice(simd, a),
        u64x8::from_slice(simd, b),
        u64x8::from_slice(simd, c),
        u64x8::from_slice(simd, d),
        u64x8::from_slice(simd, e),
        u64x8::from_slice(simd, f),
        u64x8::from_slice(simd, g),
        u64x8::from_slice(simd, h),
    ];
    // Shuffled three times, the rows of eight by eight are its columns.
    for _ in 0..3 {
        let [a, b, c, d, e, f, g, h] = rows;
        rows = [
            a.zip_low(e),
            a.zip_high(e),
            b.zip_low(f),
            b.zip_high(f),
            c.zip_low(g),
            c.zip_high(g),
            d.zip_low(h),
            d.zip_high(h),
        ];
    }
    rows
}

/// Writes down which words hold anything, before what is written of those after them.
#[inline(always)]
fn note<S: Simd>(simd: S, all: &mut u64, bits: u64x8<S>) {
    let none = bits.simd_eq(u64x8::splat(simd, 0));
    *all = *all << AT_ONCE | simd.to_bitmask_mask64x8(!none);
}

/// The bits that are set, and so many positions further too.
#[inline(always)]
fn followed<S: Simd, const BY: u32>(bits: u64x8<S>, of_next: &mut u64x8<S>) -> u64x8<S> {
    let next = bits.slide::<1>(std::mem::replace(of_next, bits));
    bits & (bits >> BY | next << (u64::BITS - BY))
}
