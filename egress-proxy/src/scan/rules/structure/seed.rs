//! Seed phrases: twelve to twenty-four words of a list of 2048, the last bits a checksum (BIP-39).
//!
//! They have no keyword. But a phrase is at least 47 bytes long and consists of nothing but these words, so it is
//! enough to look at one block in every [`PHRASE_STRIDE`](scan_rules::PHRASE_STRIDE) bytes, and at the words around it only where it could be of one.

use std::sync::LazyLock;

use ring::digest;
use scan_rules::is_block_of_phrase;

/// A phrase's fewest words, a word's fewest and most letters, the most bytes between two words.
const FEWEST: usize = 12;
const SHORTEST: usize = 3;
const LONGEST: usize = 8;
const SEPARATOR: usize = 3;
/// How far a phrase reaches to either side of a sample: 24 words, separated.
pub(in crate::scan) const REACH: usize = 24 * (LONGEST + SEPARATOR);

static WORDS: LazyLock<Words> = LazyLock::new(|| Words::new(include_str!("../../../../rules/bip39-english.txt")));

/// The list. Words are told apart by their first four letters.
struct Words {
    sorted: Vec<&'static str>,
    /// A bit for each word's hash: what is not in it is not on the list.
    perhaps: Box<[u64; 1 << 10]>,
}

impl Words {
    fn new(list: &'static str) -> Words {
        let mut words = Words { sorted: list.split_whitespace().collect(), perhaps: Box::new([0; 1 << 10]) };
        for word in &words.sorted {
            let bit = Word::at(word.as_bytes(), 0).hash();
            words.perhaps[bit >> 6] |= 1 << (bit & 63);
        }
        words
    }

    fn may_have(&self, word: Word) -> bool {
        let bit = word.hash();
        self.perhaps[bit >> 6] >> (bit & 63) & 1 == 1
    }

    fn number(&self, word: &[u8]) -> Option<u16> {
        let place = self.sorted.binary_search_by(|known| known.as_bytes().cmp(word)).ok()?;
        u16::try_from(place).ok()
    }
}

/// Where a word stands, and its letters.
#[derive(Clone, Copy)]
struct Word {
    start: usize,
    length: usize,
    letters: u64,
}

impl Word {
    /// The letters from a place on, at most [`LONGEST`]; there may be none.
    fn at(text: &[u8], start: usize) -> Word {
        let letters = eight_from(text, start);
        let length = ((!small_letters(letters) & SIGNS).trailing_zeros() / 8) as usize;
        Word { start, length, letters }
    }

    fn end(self) -> usize {
        self.start + self.length
    }

    fn is_of_phrases_length(self) -> bool {
        self.length.wrapping_sub(SHORTEST) <= LONGEST - SHORTEST
    }

    /// Of the first four letters and how many there are.
    fn hash(self) -> usize {
        let first = if self.length == 3 { 0xff_ffff } else { 0xffff_ffff };
        let gram = (self.letters & first) as u32 ^ (self.length as u32) << 5;
        (gram.wrapping_mul(0x9e37_79b1) >> 16) as usize
    }
}

/// Whether as many words as a phrase has may be on the list around a place: cheap, and wrong once in a while. A text that
/// ends before that is known may go on.
pub(in crate::scan) fn may_be_in_phrase(text: &[u8], at: usize) -> bool {
    is_block_of_phrase(text, at) && may_block_be_in_phrase(text, at)
}

/// The same where the block at that place is known to be of a phrase.
pub(in crate::scan) fn may_block_be_in_phrase(text: &[u8], at: usize) -> bool {
    let word = sample(text, at);
    // One branch for both: which words stand in a text cannot be guessed.
    if !(word.is_of_phrases_length() & WORDS.may_have(word)) {
        return false;
    }
    let listed = |word: &Word| WORDS.may_have(*word);
    let mut words = 1;
    let (mut first, mut last) = (word, word);
    while words < FEWEST
        && let Some(word) = after(text, last.end()).filter(listed)
    {
        last = word;
        words += 1;
    }
    while words < FEWEST
        && let Some(word) = before(text, first.start).filter(listed)
    {
        first = word;
        words += 1;
    }
    // The last word of a phrase has none after it, but then one before it.
    words == FEWEST || (words > 1 && last.end() + SEPARATOR + LONGEST >= text.len())
}

/// The begin of a phrase around a place.
pub(in crate::scan) fn phrase_around(text: &[u8], at: usize) -> Option<usize> {
    let number = |word: Word| WORDS.number(&text[word.start..word.end()]);
    let mut first = Some(sample(text, at)).filter(|word| word.is_of_phrases_length())?;
    let mut words = 0;
    while words < 24
        && let Some(word) = before(text, first.start)
        && number(word).is_some()
    {
        first = word;
        words += 1;
    }
    let mut numbers = Vec::with_capacity(48);
    let mut starts = Vec::with_capacity(48);
    let mut next = Some(first);
    while let Some(word) = next
        && let Some(number) = number(word)
        && numbers.len() < 48
    {
        numbers.push(number);
        starts.push(word.start);
        next = after(text, word.end());
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

/// The word around a place, or the next one when a separator is there; one of no length where neither is.
fn sample(text: &[u8], at: usize) -> Word {
    let gap = (small_letters(eight_from(text, at)).trailing_zeros() / 8) as usize;
    let before = letters_before(text, at);
    let start = at + gap - if gap == 0 { before } else { 0 };
    let word = Word::at(text, start + usize::from(is_of_escape(text, start)));
    Word { length: if gap > SEPARATOR { 0 } else { word.length }, ..word }
}

/// The sign of each of eight bytes.
const SIGNS: u64 = 0x8080_8080_8080_8080;

/// Sets the sign of each byte that is a small letter, without a branch: which ones are cannot be guessed.
fn small_letters(eight: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = eight & !SIGNS;
    let from_a = low + EACH * (0x80 - b'a' as u64);
    let past_z = low + EACH * (0x7f - b'z' as u64);
    from_a & !past_z & !eight & SIGNS
}

/// Eight bytes from a place on, the first in the lowest place; zeros where the text is over.
fn eight_from(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    u64::from_le_bytes(rest.first_chunk().copied().unwrap_or_else(|| padded(rest.iter())))
}

/// The eight bytes before a place, the last in the highest place.
fn eight_before(text: &[u8], at: usize) -> u64 {
    let rest = text.get(..at).unwrap_or_default();
    let last = rest.last_chunk().copied().map(u64::from_le_bytes);
    last.unwrap_or_else(|| u64::from_be_bytes(padded(rest.iter().rev())))
}

fn padded<'b>(bytes: impl Iterator<Item = &'b u8>) -> [u8; 8] {
    let mut all = [0; 8];
    all.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    all
}

/// The next word, when only a separator is before it.
fn after(text: &[u8], end: usize) -> Option<Word> {
    let rest = &text[end..];
    let escaped = ESCAPED.into_iter().find(|separator| rest.starts_with(separator)).map(<[u8]>::len);
    let plain = || rest.iter().take(SEPARATOR).take_while(|byte| is_separator(**byte)).count();
    let gap = escaped.unwrap_or_else(plain);
    (gap > 0).then(|| Word::at(text, end + gap)).filter(|word| word.is_of_phrases_length())
}

fn before(text: &[u8], start: usize) -> Option<Word> {
    let rest = &text[..start];
    let escaped = ESCAPED.into_iter().find(|separator| rest.ends_with(separator)).map(<[u8]>::len);
    let plain = || rest.iter().rev().take(SEPARATOR).take_while(|byte| is_separator(**byte)).count();
    let gap = escaped.unwrap_or_else(plain);
    let end = start - gap;
    let start = end - letters_before(text, end);
    let start = start + usize::from(is_of_escape(text, start));
    let goes_on = start > 0 && text[start - 1].is_ascii_lowercase() && !is_of_escape(text, start - 1);
    (gap > 0 && !goes_on).then(|| Word::at(text, start)).filter(|word| word.is_of_phrases_length())
}

/// Whether the letter at a place is an escape's and no word's.
fn is_of_escape(text: &[u8], at: usize) -> bool {
    let letter = text.get(at).is_some_and(|letter| matches!(letter, b'n' | b'r' | b't'));
    letter & (text.get(at.wrapping_sub(1)) == Some(&b'\\'))
}

/// How many letters stand before a place, of the last eight bytes.
fn letters_before(text: &[u8], at: usize) -> usize {
    ((!small_letters(eight_before(text, at)) & SIGNS).leading_zeros() / 8) as usize
}

/// Separators as URLs and JSON write them.
const ESCAPED: [&[u8]; 5] = [b"%20", b"%0A", b"\\n", b"\\t", b"\\r"];

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b',' | b'"' | b'+' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use scan_rules::PHRASE_BLOCK as BLOCK;

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
        for (length, separator) in [(12, " "), (15, "\n"), (18, "\\n"), (21, ", "), (24, "%20"), (12, "\\n")] {
            let phrase = phrase(length).replace(' ', separator);
            let text = format!("the words: {phrase} and no more");
            let begin = "the words: ".len();
            for at in begin..=begin + phrase.len() - BLOCK {
                assert!(may_be_in_phrase(text.as_bytes(), at), "{length} words, at {at}");
                assert_eq!(phrase_around(text.as_bytes(), at), Some(begin), "{length} words, at {at}");
            }
        }
    }

    #[test]
    fn a_block_of_a_phrase_is_taken_for_one() {
        let words = ["abc", "abcdefgh", "abcd"].map(str::to_owned);
        for separator in
            ESCAPED.iter().map(|escape| String::from_utf8_lossy(escape)).chain([" ".into(), ",\r\n".into()])
        {
            let phrase = words.iter().cycle().take(24).map(String::as_str).collect::<Vec<_>>().join(&separator);
            for block in phrase.as_bytes().windows(BLOCK) {
                assert!(is_block_of_phrase(block, 0), "{}", String::from_utf8_lossy(block));
            }
        }
        for none in ["as it is a while", "one connections!", "in    the garden", "                "] {
            assert!(!is_block_of_phrase(none.as_bytes(), 0), "{none}");
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
