//! The forms in which an origin could send a value back, and what finds them: as it is, in base64 at each of its three
//! alignments, in base64url, in hexadecimal and percent-encoded. Found in one pass over clean bytes.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use memchr::memmem::Finder;

use super::MIN_SECRET_LENGTH;

/// Finds the forms of a credential's values. Built once for each credential, for every exchange needs it.
pub struct Echoes {
    /// Tells whether any form is there; where, the finders tell.
    any: AhoCorasick,
    finders: Vec<Finder<'static>>,
    /// Which bytes a form may hold.
    held: [bool; 256],
    shortest: usize,
    longest: usize,
}

impl Echoes {
    /// # Errors
    /// There are too many forms to look for.
    pub fn of(values: &[&[u8]]) -> Result<Self, aho_corasick::BuildError> {
        let mut forms: Vec<Vec<u8>> = values.iter().flat_map(|value| forms(value)).collect();
        forms.sort_unstable();
        forms.dedup();
        let any = AhoCorasick::builder()
            // The searcher with vector instructions knows this kind only.
            .match_kind(MatchKind::LeftmostFirst)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&forms)?;
        let longest = forms.iter().map(Vec::len).max().unwrap_or_default();
        let shortest = forms.iter().map(Vec::len).min().unwrap_or_default();
        let mut held = [false; 256];
        forms.iter().flatten().for_each(|byte| held[usize::from(*byte)] = true);
        let finders = forms.iter().map(|form| Finder::new(form).into_owned()).collect();
        forms.iter_mut().for_each(zeroize::Zeroize::zeroize);
        Ok(Self { any, finders, held, shortest, longest })
    }

    pub fn is_in(&self, bytes: &[u8]) -> bool {
        bytes.len() >= self.shortest && self.any.is_match(bytes)
    }

    /// The longest form, in bytes.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Every place where a form stands, in order; where two overlap, both. Empty, without allocating, where none is.
    pub fn places(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        if !self.is_in(bytes) {
            return Vec::new();
        }
        let mut places = Vec::new();
        for finder in &self.finders {
            let mut from = 0;
            while let Some(at) = finder.find(&bytes[from..]) {
                places.push(from + at..from + at + finder.needle().len());
                from += at + 1;
            }
        }
        places.sort_unstable_by_key(|place| place.start);
        places
    }

    /// The length of the longest end of `bytes` that could begin a form.
    pub fn open_tail(&self, bytes: &[u8]) -> usize {
        // Most chunks end in a byte that no form holds, such as the end of a line or of an object.
        if !bytes.last().is_some_and(|last| self.held[usize::from(*last)]) {
            return 0;
        }
        self.finders.iter().map(|finder| open_tail(bytes, finder.needle())).max().unwrap_or_default()
    }
}

fn open_tail(bytes: &[u8], value: &[u8]) -> usize {
    let longest = bytes.len().min(value.len() - 1);
    let end = &bytes[bytes.len() - longest..];
    // Only where the value's first byte stands can it begin.
    memchr::memchr_iter(value[0], end).map(|at| &end[at..]).find(|tail| value.starts_with(tail)).map_or(0, <[u8]>::len)
}

/// Every form of one value.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let hex = |digits: fn(u8) -> String, sign: &str| -> Vec<u8> {
        value.iter().flat_map(|byte| [sign.to_owned(), digits(*byte)].concat().into_bytes()).collect()
    };
    let lower: fn(u8) -> String = |byte| format!("{byte:02x}");
    let upper: fn(u8) -> String = |byte| format!("{byte:02X}");
    let mut forms = vec![value.to_vec(), hex(lower, ""), hex(upper, ""), hex(lower, "%"), hex(upper, "%")];
    for digits in [lower, upper] {
        forms.push(percent_encoded(value, digits, "%20"));
        forms.push(percent_encoded(value, digits, "+"));
    }
    for phase in 0..3 {
        let core = base64_core(value, phase);
        forms.push(core.bytes().map(url_safe).collect());
        forms.push(core.into_bytes());
    }
    forms.retain(|form| form.len() >= MIN_SECRET_LENGTH);
    forms
}

/// A value as a query's parameter takes it: everything but RFC 3986's unreserved characters is encoded.
pub(super) fn encoded(value: &[u8]) -> String {
    String::from_utf8_lossy(&percent_encoded(value, |byte| format!("{byte:02X}"), "%20")).into_owned()
}

fn percent_encoded(value: &[u8], digits: fn(u8) -> String, space: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len());
    for &byte in value {
        match byte {
            b' ' => text.extend(space.bytes()),
            b'-' | b'.' | b'_' | b'~' => text.push(byte),
            _ if byte.is_ascii_alphanumeric() => text.push(byte),
            _ => text.extend(format!("%{}", digits(byte)).bytes()),
        }
    }
    text
}

/// The characters of a base64 text that depend on the value alone when it begins at byte `phase` of a group of three.
fn base64_core(value: &[u8], phase: usize) -> String {
    let text = BASE64_STANDARD_NO_PAD.encode([&[0; 2][..phase], value].concat());
    let (first, end) = ((phase * 8).div_ceil(6), (phase + value.len()) * 8 / 6);
    text[first..end].to_owned()
}

fn url_safe(byte: u8) -> u8 {
    match byte {
        b'+' => b'-',
        b'/' => b'_',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

    use super::*;

    const VALUE: &[u8] = b"s3cr3t/value+?>~ of\xff\xfe bytes";

    #[test]
    fn a_value_is_found_in_every_form_at_every_alignment() {
        let echoes = Echoes::of(&[VALUE]).unwrap();
        for before in [&b""[..], b"x", b"xy", b"xyz"] {
            let text = [before, VALUE, b"tail"].concat();
            for (name, coded) in [
                ("plain", text.clone()),
                ("base64", BASE64_STANDARD.encode(&text).into_bytes()),
                ("base64url", BASE64_URL_SAFE_NO_PAD.encode(&text).into_bytes()),
                ("hex", text.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()),
                ("HEX", text.iter().flat_map(|byte| format!("{byte:02X}").into_bytes()).collect()),
                ("percent", encoded(&text).into_bytes()),
                ("every byte", text.iter().flat_map(|byte| format!("%{byte:02x}").into_bytes()).collect()),
                ("form", encoded(&text).replace("%20", "+").into_bytes()),
            ] {
                assert!(echoes.is_in(&coded), "{name} {}", before.len());
                let place = &echoes.places(&coded)[0];
                let rest = [&coded[..place.start], &coded[place.end..]].concat();
                assert!(!echoes.is_in(&rest), "{name}: all of it is covered");
            }
        }
        assert!(!echoes.is_in(&VALUE[1..]));
    }

    #[test]
    fn places_that_overlap_are_all_told() {
        let echoes = Echoes::of(&[b"abcabcab"]).unwrap();
        let places: Vec<_> =
            echoes.places(b"xabcabcabcabx").into_iter().map(|place| (place.start, place.end)).collect();
        assert_eq!(places, [(1, 9), (4, 12)]);
    }

    #[test]
    fn a_tail_is_open_where_a_form_could_begin() {
        let echoes = Echoes::of(&[b"abcabcab"]).unwrap();
        for (text, tail) in [("xyz", 0), ("xya", 1), ("abcabca", 7), ("abcabcab", 5), ("abcab", 5), ("", 0)] {
            assert_eq!(echoes.open_tail(text.as_bytes()), tail, "{text}");
        }
    }
}
