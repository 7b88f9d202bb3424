//! The first look at every position: may a pattern's four bytes begin here? Wrong once in a few hundred positions, and
//! never where a pattern stands.
//!
//! The table has a place for each three bytes. Entered are the first three of four, with the class of the fourth, and the
//! last three, with the class of the first; a position is marked where both are there. So a position costs one access to
//! the table, for the last three bytes of one are the first three of the next. All else is written so that the compiler
//! does it for many positions at once: places are computed of pairs of bytes, as numbers of 16 bits, for the even
//! positions and for the odd ones. Each step goes through a whole row, so that what it stores has left the processor's
//! store buffer before the next reads it in wider pieces.
//!
//! The steps are compiled twice on x86-64: for any processor, and for those with AVX2. Both mark the same positions.

use super::GRAM;

/// What is known of the four bytes that are entered: 96 KiB, which a processor's second cache holds.
#[derive(Clone, Debug)]
pub struct Sieve {
    /// For each three bytes, by their place, of which classes the byte after them may be (low half) and the byte before
    /// them (high half).
    pub places: [u8; 1 << 16],
    /// A bit for each four bytes, by a hash: asked where a position is marked, for what lies behind is in no near cache.
    pub grams: [u64; 1 << 12],
}

/// So many positions are looked at in a row.
pub(super) const ROW: usize = 512;
/// So many positions are asked at once whether one is marked.
const GROUP: usize = 32;
const AFTER: u8 = 0x0f;
const BEFORE: u8 = 0xf0;

impl Sieve {
    pub(super) const EMPTY: Sieve = Sieve { places: [0; 1 << 16], grams: [0; 1 << 12] };

    /// Enters four bytes.
    pub(super) fn enter(&mut self, gram: u32) {
        let [first, .., last] = gram.to_le_bytes();
        self.places[place(gram)] |= class(last) & AFTER;
        self.places[place(gram >> 8)] |= class(first) & BEFORE;
        let (word, bit) = word(gram);
        self.grams[word] |= 1 << bit;
    }

    pub(super) fn may_hold(&self, gram: u32) -> bool {
        let (word, bit) = word(gram);
        self.grams[word] >> bit & 1 == 1
    }
}

fn word(gram: u32) -> (usize, u32) {
    let hash = super::hash(gram);
    ((hash >> 20) as usize, hash >> 14 & 63)
}

/// One of four bits by which a byte is known, twice.
#[inline(always)]
fn class(byte: u8) -> u8 {
    let all = |bit: u8| 0_u8.wrapping_sub(bit & 1);
    (0x55 ^ all(byte)) & (0x33 ^ all(byte >> 1))
}

/// Where the first three bytes have their place in the table.
#[inline(always)]
fn place(gram: u32) -> usize {
    mixed(gram as u16, (gram >> 16 & 0xff) as u16).into()
}

/// Of sixty pairs of factors that were tried, these mark the fewest positions of source text and its base64.
#[inline(always)]
fn mixed(pair: u16, third: u16) -> u16 {
    pair.wrapping_mul(0x3a69).wrapping_add(third.wrapping_mul(0x97a9))
}

/// Room for the steps of a row.
pub(super) struct Row {
    even: [u16; ROW / 2],
    odd: [u16; ROW / 2],
    /// What the table holds for each position, and for the one after them.
    held: [u8; ROW + 1],
    classes: [u8; ROW + GRAM - 1],
    /// A bit for each position that is marked.
    marked: [u32; ROW / GROUP],
}

impl Row {
    pub(super) const EMPTY: Row = Row {
        even: [0; ROW / 2],
        odd: [0; ROW / 2],
        held: [0; ROW + 1],
        classes: [0; ROW + GRAM - 1],
        marked: [0; ROW / GROUP],
    };

    /// Calls with every position of a text, of [`ROW`] at most, at which four bytes may be entered, and with these; in the
    /// positions' order.
    #[inline(always)]
    pub(super) fn each_marked(&mut self, sieve: &Sieve, text: &[u8], mut each: impl FnMut(usize, u32)) {
        let positions = (text.len() + 1).saturating_sub(GRAM);
        let whole = positions.next_multiple_of(GROUP);
        let mut rest: [u8; ROW + GRAM - 1];
        let text = match text.get(..whole + GRAM - 1) {
            Some(text) => text,
            None => {
                rest = [0; ROW + GRAM - 1];
                rest[..text.len()].copy_from_slice(text);
                &rest[..whole + GRAM - 1]
            }
        };
        mark(self, sieve, text);
        for (group, marked) in self.marked[..whole / GROUP].iter().enumerate() {
            let mut marked = *marked;
            while marked != 0 {
                let position = GROUP * group + marked.trailing_zeros() as usize;
                let gram = super::gram(&text[position..]);
                if position < positions && sieve.may_hold(gram) {
                    each(position, gram);
                }
                marked &= marked - 1;
            }
        }
    }
}

/// Marks the positions of a text, whole groups of them.
fn mark(row: &mut Row, sieve: &Sieve, text: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = fearless_simd::Level::new().as_avx2() {
        return mark_with_avx2(avx2, row, sieve, text);
    }
    mark_anywhere(row, sieve, text);
}

fn mark_anywhere(row: &mut Row, sieve: &Sieve, text: &[u8]) {
    take_steps(row, text, |even, odd, into| look_up(&sieve.places, even, odd, into));
}

fearless_simd::kernel!(
    fn mark_with_avx2(avx2: Avx2, row: &mut Row, sieve: &Sieve, text: &[u8]) {
        take_steps(row, text, |even, odd, into| look_up_with_avx2(avx2, &sieve.places, even, odd, into));
    }
);

// A call of its own: only so the compiler knows that the table is none of what is written, and keeps that in registers.
fearless_simd::kernel!(
    #[inline(never)]
    fn look_up_with_avx2(_avx2: Avx2, places: &[u8; 1 << 16], even: &[u16], odd: &[u16], into: &mut [u8]) {
        look_up(places, even, odd, into);
    }
);

#[inline(always)]
fn take_steps(row: &mut Row, text: &[u8], look_up: impl Fn(&[u16], &[u16], &mut [u8])) {
    let positions = text.len() + 1 - GRAM;
    let Row { even, odd, held, classes, marked } = row;
    let (even, odd) = (&mut even[..positions / 2], &mut odd[..positions / 2]);
    find_places(text, even);
    find_places(&text[1..], odd);
    look_up(even, odd, &mut held[..positions]);
    if let [.., first, second, third] = *text {
        let after = [mixed(u16::from_le_bytes([first, second]), third.into())];
        let mut both = [0; 2];
        look_up(&after, &after, &mut both);
        held[positions] = both[0];
    }
    classify(text, &mut classes[..text.len()]);
    for (marked, group) in marked.iter_mut().zip((0..positions).step_by(GROUP)) {
        *marked = marks(&held[group..], &classes[group..]);
    }
}

/// The places of the three bytes at every second position.
#[inline(always)]
fn find_places(text: &[u8], into: &mut [u16]) {
    let (pairs, thirds) = (text.as_chunks().0, text[2..].as_chunks().0);
    for ((into, pair), third) in into.iter_mut().zip(pairs).zip(thirds) {
        *into = mixed(u16::from_le_bytes(*pair), u16::from_le_bytes(*third) & 0xff);
    }
}

/// What the table holds at each place.
#[inline(always)]
fn look_up(places: &[u8; 1 << 16], even: &[u16], odd: &[u16], into: &mut [u8]) {
    for ((into, even), odd) in into.as_chunks_mut().0.iter_mut().zip(even).zip(odd) {
        *into = [places[usize::from(*even)], places[usize::from(*odd)]];
    }
}

#[inline(always)]
fn classify(text: &[u8], into: &mut [u8]) {
    for (into, byte) in into.iter_mut().zip(text) {
        *into = class(*byte);
    }
}

/// A bit for each position of a group that is marked: there what the table holds for the first three bytes fits the class
/// of the last, and what it holds for the last three fits the class of the first.
#[inline(always)]
fn marks(held: &[u8], classes: &[u8]) -> u32 {
    let chunk = <[u8]>::first_chunk::<GROUP>;
    let (Some(firsts), Some(lasts)) = (chunk(held), chunk(&held[1..])) else { return 0 };
    let (Some(first), Some(last)) = (chunk(classes), chunk(&classes[GRAM - 1..])) else { return 0 };
    let mut marked = [0_u8; GROUP];
    for (place, marked) in marked.iter_mut().enumerate() {
        let begins = firsts[place] & last[place] & AFTER != 0;
        *marked = (begins & (lasts[place] & first[place] & BEFORE != 0)).into();
    }
    if marked.iter().fold(0, |any, marked| any | marked) == 0 {
        return 0;
    }
    // The product has the lowest bit of each byte in its highest byte.
    let bits = |eight: &[u8; 8]| u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    marked.as_chunks().0.iter().rev().fold(0, |all, eight| all << 8 | bits(eight) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether four bytes are marked, by what was entered.
    fn is_marked(sieve: &Sieve, gram: u32) -> bool {
        let [first, .., last] = gram.to_le_bytes();
        sieve.places[place(gram)] & class(last) & AFTER != 0
            && sieve.places[place(gram >> 8)] & class(first) & BEFORE != 0
            && sieve.may_hold(gram)
    }

    #[test]
    fn every_way_to_mark_marks_the_same() {
        let mut number = 0x5eed_u32;
        let mut next = || {
            number = number.wrapping_mul(0x9e37_79b1).wrapping_add(0x7f4a_7c15);
            number >> 8
        };
        let mut sieve = Sieve::EMPTY;
        (0..20_000).for_each(|_| sieve.enter(next() << 8 ^ next()));
        for length in (GRAM..=ROW + GRAM - 1).chain([GRAM; 40]) {
            let text: Vec<u8> = (0..length).map(|_| next() as u8 & 0x7f).collect();
            let marked: Vec<usize> = text
                .windows(GRAM)
                .enumerate()
                .filter(|(_, four)| is_marked(&sieve, u32::from_le_bytes([four[0], four[1], four[2], four[3]])))
                .map(|(position, _)| position)
                .collect();
            let mut found = Vec::new();
            let mut row = Row::EMPTY;
            row.each_marked(&sieve, &text, |position, _| found.push(position));
            assert_eq!(found, marked, "{length} bytes");
            if (length + 1 - GRAM).is_multiple_of(GROUP) {
                let (mut row, mut other) = (Row::EMPTY, Row::EMPTY);
                mark(&mut row, &sieve, &text);
                mark_anywhere(&mut other, &sieve, &text);
                assert_eq!(row.marked, other.marked, "{length} bytes");
            }
        }
    }
}
