//! Seed phrases: twelve to twenty-four words of a list of 2048, the last bits a checksum (BIP-39).
//!
//! They have no keyword. But a phrase is at least 47 bytes long and consists of nothing but these words, so it is
//! enough to look at one word in every [`STRIDE`] bytes, and at its neighbours only where it is on the list.

use std::sync::LazyLock;

use ring::digest;

/// Every phrase has a sample in it, with [`SAMPLE`] bytes.
pub(in crate::scan) const STRIDE: u64 = 40;
const SAMPLE: usize = 8;
/// How far a phrase reaches to either side of a sample: 24 words of eight letters, separated.
pub(in crate::scan) const REACH: usize = 24 * 11;

static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(include_str!("../../../../rules/bip39-english.txt")));

/// The list. Words are told apart by their first four letters.
struct Words {
    sorted: Vec<&'static str>,
    /// A bit for each first four letters' hash: what is not in it is not on the list.
    perhaps: Box<[u64; 1 << 10]>,
}

impl Words {
    fn new(list: &'static str) -> Words {
        let mut words = Words { sorted: list.split_whitespace().collect(), perhaps: Box::new([0; 1 << 10]) };
        for word in &words.sorted {
            let bit = hash(word.as_bytes());
            words.perhaps[bit >> 6] |= 1 << (bit & 63);
        }
        words
    }

    fn may_have(&self, word: &[u8]) -> bool {
        let bit = hash(word);
        self.perhaps[bit >> 6] >> (bit & 63) & 1 == 1
    }

    fn number(&self, word: &[u8]) -> Option<u16> {
        let place = self.sorted.binary_search_by(|known| known.as_bytes().cmp(word)).ok()?;
        u16::try_from(place).ok()
    }
}

fn hash(word: &[u8]) -> usize {
    let letter = |place: usize| u32::from(word.get(place).copied().unwrap_or(0));
    let gram = letter(0) | letter(1) << 8 | letter(2) << 16 | letter(3) << 24;
    (gram.wrapping_mul(0x9e37_79b1) >> 16) as usize
}

/// Whether the word at a place and the one after it may be on the list: cheap, and wrong once in a while.
pub(in crate::scan) fn may_be_in_phrase(text: &[u8], at: usize) -> bool {
    // All of the sample, without a branch for each byte: which one it is cannot be guessed.
    let of_phrase = |sample: &[u8]| sample.iter().fold(true, |all, byte| all & OF_PHRASES[usize::from(*byte)]);
    if !text.get(at..at + SAMPLE).is_some_and(of_phrase) {
        return false;
    }
    let Some(first) = word_at(text, at) else { return false };
    if !WORDS.may_have(&text[first.0..first.1]) {
        return false;
    }
    // The last word of a phrase has none after it, but then one before it.
    let listed = |word: Option<(usize, usize)>| word.is_some_and(|(start, end)| WORDS.may_have(&text[start..end]));
    listed(after(text, first.1)) || listed(before(text, first.0))
}

/// The begin of a phrase around a place.
pub(in crate::scan) fn phrase_around(text: &[u8], at: usize) -> Option<usize> {
    let mut first = word_at(text, at)?;
    let mut words = 0;
    while words < 24
        && let Some(word) = before(text, first.0)
        && WORDS.number(&text[word.0..word.1]).is_some()
    {
        first = word;
        words += 1;
    }
    let mut numbers = Vec::with_capacity(48);
    let mut starts = Vec::with_capacity(48);
    let mut next = Some(first);
    while let Some((start, end)) = next
        && let Some(number) = WORDS.number(&text[start..end])
        && numbers.len() < 48
    {
        numbers.push(number);
        starts.push(start);
        next = after(text, end);
    }
    for length in [24, 21, 18, 15, 12] {
        let found = numbers.windows(length).position(is_phrase);
        if let Some(place) = found {
            return Some(starts[place]);
        }
    }
    None
}

/// Whether the numbers of the words carry their checksum, and are no part of the list itself.
fn is_phrase(numbers: &[u16]) -> bool {
    let ascending = numbers.windows(2).filter(|pair| pair[0] < pair[1]).count();
    let mut distinct = numbers.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if ascending + 2 >= numbers.len() || distinct.len() * 2 < numbers.len() {
        return false;
    }
    let mut bytes = Vec::with_capacity(33);
    let (mut bits, mut count) = (0_u32, 0);
    for number in numbers {
        bits = bits << 11 | u32::from(*number);
        count += 11;
        while count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
        bits &= (1 << count) - 1;
    }
    // Every 33 bits are 32 of entropy and one of checksum.
    let check = numbers.len() / 3;
    let entropy = numbers.len() * 11 * 32 / 33 / 8;
    if count > 0 {
        bytes.push((bits << (8 - count)) as u8);
    }
    let digest = digest::digest(&digest::SHA256, &bytes[..entropy]);
    digest.as_ref()[0] >> (8 - check) == bytes[entropy] >> (8 - check)
}

/// The word around a place, or the next one when none is there.
fn word_at(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let inside = text.get(at).is_some_and(u8::is_ascii_lowercase);
    if !inside {
        return after(text, at);
    }
    let start = text[..at].iter().rposition(|byte| !byte.is_ascii_lowercase()).map_or(0, |place| place + 1);
    // The letter of an escape is none of the word's.
    let escaped = start > 0 && text[start - 1] == b'\\' && matches!(text[start], b'n' | b'r' | b't');
    word_from(text, if escaped { start + 1 } else { start })
}

fn word_from(text: &[u8], start: usize) -> Option<(usize, usize)> {
    let length = text[start..].iter().take(9).take_while(|byte| byte.is_ascii_lowercase()).count();
    (3..=8).contains(&length).then_some((start, start + length))
}

/// The next word, when only a separator is before it.
fn after(text: &[u8], end: usize) -> Option<(usize, usize)> {
    let rest = &text[end..];
    let escaped = ESCAPED.into_iter().find(|separator| rest.starts_with(separator)).map(<[u8]>::len);
    let plain = || rest.iter().take(3).take_while(|byte| is_separator(**byte)).count();
    let gap = escaped.unwrap_or_else(plain);
    if gap == 0 { None } else { word_from(text, end + gap) }
}

fn before(text: &[u8], start: usize) -> Option<(usize, usize)> {
    let rest = &text[..start];
    let escaped = ESCAPED.into_iter().find(|separator| rest.ends_with(separator)).map(<[u8]>::len);
    let plain = || rest.iter().rev().take(3).take_while(|byte| is_separator(**byte)).count();
    let gap = escaped.unwrap_or_else(plain);
    let end = start - gap;
    let length = text[..end].iter().rev().take(9).take_while(|byte| byte.is_ascii_lowercase()).count();
    (gap > 0 && (3..=8).contains(&length)).then_some((end - length, end))
}

/// What a phrase consists of: letters, and separators as they are or escaped.
static OF_PHRASES: [bool; 256] = {
    let mut all = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let escaped = matches!(byte as u8, b'\\' | b'%' | b'0' | b'2' | b'A');
        all[byte] = escaped || is_separator(byte as u8) || (byte as u8).is_ascii_lowercase();
        byte += 1;
    }
    all
};

/// Separators as URLs and JSON write them.
const ESCAPED: [&[u8]; 5] = [b"%20", b"%0A", b"\\n", b"\\t", b"\\r"];

const fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b',' | b'"' | b'+' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A phrase of this many words over made-up entropy.
    fn phrase(words: usize) -> String {
        let entropy: Vec<u8> = (0..words * 11 * 32 / 33 / 8).map(|n| (n * 89 + 41) as u8).collect();
        let digest = digest::digest(&digest::SHA256, &entropy);
        let bits: Vec<u8> = entropy
            .iter()
            .chain(&digest.as_ref()[..1])
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
            .collect();
        let words: Vec<&str> = bits
            .chunks_exact(11)
            .take(words)
            .map(|bits| WORDS.sorted[bits.iter().fold(0, |number, bit| number << 1 | usize::from(*bit))])
            .collect();
        words.join(" ")
    }

    #[test]
    fn the_list_is_whole_and_told_apart_by_four_letters() {
        assert_eq!(WORDS.sorted.len(), 2048);
        assert!(WORDS.sorted.is_sorted());
    }

    #[test]
    fn phrases_are_found_from_any_of_their_words() {
        for length in [12, 15, 18, 21, 24] {
            let text = format!("the words: {} and no more", phrase(length));
            let begin = "the words: ".len();
            let end = begin + phrase(length).len();
            for at in begin..=end - SAMPLE {
                assert!(may_be_in_phrase(text.as_bytes(), at), "{length} words, at {at}");
                assert!(phrase_around(text.as_bytes(), at).is_some(), "{length} words, at {at}");
            }
        }
    }

    #[test]
    fn a_wrong_word_or_the_list_itself_is_none() {
        let wrong = phrase(24).replacen(' ', " zoo ", 1);
        let wrong = wrong.rsplit_once(' ').expect("many words").0;
        assert_eq!(phrase_around(wrong.as_bytes(), 0), None);
        let list = WORDS.sorted[100..180].join(" ");
        assert_eq!((0..list.len()).find_map(|at| phrase_around(list.as_bytes(), at)), None);
    }
}
