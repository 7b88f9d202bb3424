//! The echo guard: an injected credential that an origin sends back is masked, byte for byte, so that lengths and
//! framing stay, in every form that [`Echoes`] knows. Works across chunk borders and holds back nothing but a tail that
//! could begin a value.
//!
//! A coded answer passes as it is and is decoded beside the stream: a value in it, or a coding that cannot be undone,
//! ends the exchange before the byte that completes it has gone out.

use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use thiserror::Error;

use crate::{
    credentials::{Credential, Echoes},
    scan::coding::{Codings, Unreadable},
};

/// What stands where a value was.
const MASK: u8 = b'*';

/// The values of one exchange, and the tail that was held back.
pub struct Mask {
    echoes: Arc<Echoes>,
    held: Bytes,
    /// So many of the held bytes belong to a value that began before them.
    covered: usize,
    beside: Option<Beside>,
}

/// A coded answer's decoder, and the end of what it gave last.
struct Beside {
    codings: Codings,
    tail: Vec<u8>,
}

impl Mask {
    pub fn new(credential: &Credential) -> Self {
        Self { echoes: credential.echoes().clone(), held: Bytes::new(), covered: 0, beside: None }
    }

    /// Learns from an answer's fields how its content is coded.
    ///
    /// # Errors
    /// A coding that cannot be undone: the answer could hold anything.
    pub fn expect(&mut self, fields: &HeaderMap) -> Result<(), EchoError> {
        let codings = Codings::of(fields)?;
        self.beside = (!codings.is_plain()).then(|| Beside { codings, tail: Vec::new() });
        Ok(())
    }

    /// Masks the values in an answer's fields; returns how many bytes were masked.
    pub fn fields(&self, fields: &mut HeaderMap) -> usize {
        let mut masked = 0;
        for value in fields.values_mut() {
            let places = self.echoes.places(value.as_bytes());
            if places.is_empty() {
                continue;
            }
            let mut bytes = BytesMut::from(value.as_bytes());
            masked += fill(&mut bytes, &places);
            if let Ok(clean) = HeaderValue::from_maybe_shared(bytes.freeze()) {
                *value = clean;
            }
        }
        masked
    }

    /// Takes a chunk; gives what may go on now and how many bytes of it were masked. Which bytes are masked depends on
    /// the content alone, never on how it is cut.
    ///
    /// # Errors
    /// A coded answer holds a value, or cannot be decoded.
    pub fn push(&mut self, chunk: Bytes) -> Result<(Bytes, usize), EchoError> {
        if let Some(beside) = &mut self.beside {
            for piece in chunk.chunks(PIECE) {
                let text = beside.codings.decode(piece)?;
                beside.look(&self.echoes, &text)?;
            }
            return Ok((chunk, 0));
        }
        let joined = if self.held.is_empty() { chunk } else { [self.held.as_ref(), &chunk].concat().into() };
        let tail = self.echoes.open_tail(&joined);
        Ok(self.release(joined, tail))
    }

    /// What was held back, once the content has ended, and how many bytes of it are masked.
    pub fn finish(&mut self) -> (Bytes, usize) {
        let held = std::mem::take(&mut self.held);
        self.release(held, 0)
    }

    /// The same, to be looked at.
    pub fn rest(&self) -> &Bytes {
        &self.held
    }

    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Lets all but the tail go. A value that begins in what goes is whole, for otherwise its begin would be in the tail.
    fn release(&mut self, mut bytes: Bytes, tail: usize) -> (Bytes, usize) {
        let split = bytes.len() - tail;
        let mut places = self.echoes.places(&bytes);
        // What begins in the tail is found again with what follows.
        places.retain(|place| place.start < split);
        if self.covered > 0 {
            places.insert(0, 0..self.covered);
        }
        self.held = bytes.split_off(split);
        self.covered = places.iter().map(|place| place.end.saturating_sub(split)).max().unwrap_or_default();
        if places.is_empty() {
            return (bytes, 0);
        }
        let mut clean = BytesMut::from(bytes);
        let masked = fill(&mut clean, &places);
        (clean.freeze(), masked)
    }
}

/// Masks these places, as far as the bytes go; returns how many bytes that were.
fn fill(bytes: &mut [u8], places: &[Range<usize>]) -> usize {
    let (mut masked, mut done) = (0, 0);
    for place in places {
        let (start, end) = (place.start.max(done), place.end.min(bytes.len()));
        if start < end {
            bytes[start..end].fill(MASK);
            masked += end - start;
            done = end;
        }
    }
    masked
}

impl Beside {
    fn look(&mut self, echoes: &Echoes, text: &[u8]) -> Result<(), EchoError> {
        self.tail.extend_from_slice(text);
        if echoes.is_in(&self.tail) {
            return Err(EchoError::Found);
        }
        let seen = self.tail.len().saturating_sub(echoes.longest() - 1);
        self.tail.drain(..seen);
        Ok(())
    }
}

/// Coded bytes decoded at a time: their text may be a thousand times longer.
const PIECE: usize = 4 * 1024;

/// Why an answer does not go on.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum EchoError {
    #[error("the origin's coded answer holds the credential that was injected")]
    Found,
    #[error("the origin's answer cannot be searched for the credential that was injected")]
    Unreadable(#[from] Unreadable),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(values: &[&str]) -> Mask {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        Mask { echoes: Arc::new(Echoes::of(&values).unwrap()), held: Bytes::new(), covered: 0, beside: None }
    }

    #[test]
    fn a_value_is_masked_however_the_content_is_cut() {
        let content = "a secret-value, secret-secret-value and secret-valu";
        let expected = "a ************, secret-************ and secret-valu";
        for first in 0..content.len() {
            for second in first..content.len() {
                let mut mask = mask(&["secret-value"]);
                let mut out = Vec::new();
                for part in [&content[..first], &content[first..second], &content[second..]] {
                    out.extend_from_slice(&mask.push(Bytes::copy_from_slice(part.as_bytes())).unwrap().0);
                }
                out.extend_from_slice(&mask.finish().0);
                assert_eq!(String::from_utf8(out).unwrap(), expected, "{first} {second}");
            }
        }
    }

    #[test]
    fn values_that_overlap_are_masked_whole_however_the_content_is_cut() {
        let content = "xabcabcabcabx abcabcabc";
        for first in 0..content.len() {
            let mut mask = mask(&["abcabcab"]);
            let mut out = mask.push(Bytes::copy_from_slice(&content.as_bytes()[..first])).unwrap().0.to_vec();
            out.extend_from_slice(&mask.push(Bytes::copy_from_slice(&content.as_bytes()[first..])).unwrap().0);
            out.extend_from_slice(&mask.finish().0);
            assert_eq!(String::from_utf8(out).unwrap(), "x***********x ********c", "{first}");
        }
    }

    #[test]
    fn encoded_values_are_masked_at_the_same_length() {
        let mut mask = mask(&["secret/value"]);
        let text = "c2VjcmV0L3ZhbHVl 7365637265742f76616c7565 secret%2Fvalue";
        let (out, masked) = mask.push(Bytes::from_static(text.as_bytes())).unwrap();
        assert_eq!((&out[..], masked), (&b"**************** ************************ **************"[..], 54));
    }

    #[test]
    fn only_a_tail_that_could_begin_a_value_is_held_back() {
        let mut mask = mask(&["secret-value"]);
        assert_eq!(mask.push(Bytes::from_static(b"data: 1\n\n")).unwrap().0, "data: 1\n\n");
        assert_eq!(mask.push(Bytes::from_static(b"a sec")).unwrap().0, "a ");
        assert_eq!(mask.held(), 3);
        assert_eq!(mask.push(Bytes::from_static(b"ond")).unwrap().0, "second");
    }

    #[test]
    fn fields_are_masked_too() {
        let mut fields = HeaderMap::new();
        fields.insert("x-echo", HeaderValue::from_static("Bearer secret-value"));
        fields.insert("x-other", HeaderValue::from_static("plain"));
        assert_eq!(mask(&["secret-value"]).fields(&mut fields), 12);
        assert_eq!(fields["x-echo"], "Bearer ************");
        assert_eq!(fields["x-other"], "plain");
    }
}
