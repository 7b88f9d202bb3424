//! The echo guard: an injected credential that an origin sends back is masked, byte for byte, so that lengths and
//! framing stay. Works across chunk borders and holds back nothing but a tail that could begin a value.
//!
//! A coded answer passes as it is and is decoded beside the stream: a value in it, or a coding that cannot be undone,
//! ends the exchange before the byte that completes it has gone out.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use memchr::memmem::Finder;
use thiserror::Error;

use crate::{
    credentials::Credential,
    grpc::{self, Borders},
    scan::coding::{Codings, Unreadable},
};

/// What stands where a value was.
const MASK: u8 = b'*';

/// The values of one exchange, and the tail that was held back.
pub struct Mask {
    finders: Arc<[Finder<'static>]>,
    held: Bytes,
    beside: Option<Beside>,
    /// Of an answer that is a stream of messages: nothing is held back over the end of one.
    borders: Option<Borders>,
}

/// A coded answer's decoder, and the end of what it gave last.
struct Beside {
    codings: Codings,
    tail: Vec<u8>,
}

impl Mask {
    pub fn new(credential: &Credential) -> Self {
        Self { finders: credential.finders().clone(), held: Bytes::new(), beside: None, borders: None }
    }

    /// For tests: these values.
    #[cfg(test)]
    pub fn of(values: &[&str]) -> Self {
        let finders = values.iter().map(|value| Finder::new(value.as_bytes()).into_owned()).collect();
        Self { finders, held: Bytes::new(), beside: None, borders: None }
    }

    /// Learns from an answer's fields how its content is coded.
    ///
    /// # Errors
    /// A coding that cannot be undone: the answer could hold anything.
    pub fn expect(&mut self, fields: &HeaderMap) -> Result<(), EchoError> {
        let codings = Codings::of(fields)?;
        self.beside = (!codings.is_plain()).then(|| Beside { codings, tail: Vec::new() });
        self.borders = grpc::is_stream(fields).then(Borders::default);
        Ok(())
    }

    /// Masks the values in an answer's fields; returns how many bytes were masked.
    pub fn fields(&self, fields: &mut HeaderMap) -> usize {
        let mut masked = 0;
        for value in fields.values_mut() {
            if !self.finders.iter().any(|finder| finder.find(value.as_bytes()).is_some()) {
                continue;
            }
            let mut bytes = BytesMut::from(value.as_bytes());
            masked += self.mask(&mut bytes);
            if let Ok(clean) = HeaderValue::from_maybe_shared(bytes.freeze()) {
                *value = clean;
            }
        }
        masked
    }

    /// Takes a chunk; gives what may go on now and how many bytes of it were masked.
    ///
    /// # Errors
    /// A coded answer holds a value, or cannot be decoded.
    pub fn push(&mut self, chunk: Bytes) -> Result<(Bytes, usize), EchoError> {
        if let Some(beside) = &mut self.beside {
            for piece in chunk.chunks(PIECE) {
                beside
                    .codings
                    .decode(piece)
                    .map_err(EchoError::from)
                    .and_then(|text| beside.look(&self.finders, text))?;
            }
            return Ok((chunk, 0));
        }
        let Some(mut borders) = self.borders.take() else { return Ok(self.plain(chunk)) };
        let (mut chunk, mut out, mut masked) = (chunk, BytesMut::new(), 0);
        while let Some(part) = borders.cut(&mut chunk) {
            let (bytes, count) = self.plain(part.bytes);
            out.extend_from_slice(&bytes);
            masked += count;
            if part.ends {
                out.extend_from_slice(&self.finish());
            }
        }
        self.borders = Some(borders);
        Ok((out.freeze(), masked))
    }

    fn plain(&mut self, chunk: Bytes) -> (Bytes, usize) {
        let joined = if self.held.is_empty() { chunk } else { [self.held.as_ref(), &chunk].concat().into() };
        self.held = Bytes::new();
        let hit = self.finders.iter().any(|finder| finder.find(&joined).is_some());
        let (mut bytes, masked) = if hit {
            let mut bytes = BytesMut::from(joined);
            let masked = self.mask(&mut bytes);
            (bytes.freeze(), masked)
        } else {
            (joined, 0)
        };
        let tail = self.finders.iter().map(|finder| open_tail(&bytes, finder.needle())).max().unwrap_or_default();
        self.held = bytes.split_off(bytes.len() - tail);
        (bytes, masked)
    }

    /// What was held back, once the content has ended.
    pub fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held)
    }

    /// The same, to be looked at.
    pub fn rest(&self) -> &Bytes {
        &self.held
    }

    /// Masks what is whole, such as a control frame of a WebSocket; returns how many bytes were masked.
    pub fn whole(&self, bytes: &mut BytesMut) -> usize {
        self.mask(bytes)
    }

    pub fn held(&self) -> usize {
        self.held.len()
    }

    fn mask(&self, bytes: &mut BytesMut) -> usize {
        let mut masked = 0;
        for finder in self.finders.iter() {
            let length = finder.needle().len();
            let found: Vec<usize> = finder.find_iter(bytes).collect();
            for start in found {
                bytes[start..start + length].fill(MASK);
                masked += length;
            }
        }
        masked
    }
}

impl Beside {
    fn look(&mut self, finders: &[Finder<'static>], text: Vec<u8>) -> Result<(), EchoError> {
        self.tail.extend_from_slice(&text);
        if finders.iter().any(|finder| finder.find(&self.tail).is_some()) {
            return Err(EchoError::Found);
        }
        let longest = finders.iter().map(|finder| finder.needle().len()).max().unwrap_or(1);
        let seen = self.tail.len().saturating_sub(longest - 1);
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

/// The length of the longest end of `bytes` that could begin `value`.
fn open_tail(bytes: &[u8], value: &[u8]) -> usize {
    let longest = bytes.len().min(value.len() - 1);
    (1..=longest).rev().find(|&length| bytes[bytes.len() - length..] == value[..length]).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(values: &[&str]) -> Mask {
        Mask::of(values)
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
                out.extend_from_slice(&mask.finish());
                assert_eq!(String::from_utf8(out).unwrap(), expected, "{first} {second}");
            }
        }
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
    fn a_message_of_grpc_that_ends_in_the_first_bytes_of_a_value_goes_out_whole() {
        let mut mask = mask(&["secret-value"]);
        let fields = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"))]);
        mask.expect(&fields).unwrap();
        let first = b"\x00\x00\x00\x00\x05a sec";
        assert_eq!(mask.push(Bytes::from_static(first)).unwrap(), (Bytes::from_static(first), 0));
        assert_eq!(mask.push(Bytes::from_static(b"\x00\x00\x00\x00\x0csecret-")).unwrap().1, 0);
        assert_eq!(mask.push(Bytes::from_static(b"value")).unwrap(), (Bytes::from_static(b"************"), 12));
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
