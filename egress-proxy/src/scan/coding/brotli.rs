//! Brotli (RFC 7932) undone as it comes. A stream may hold blocks of metadata, which decoders skip (section 9.2): bytes
//! that nobody would see, and so an error in what a client sends.

use std::io::{self, ErrorKind};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

/// Whether bytes that decoders skip are an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Skipped {
    IsAnError,
    Passes,
}

/// One stream's decoder.
pub struct Unbrotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    skipped: Skipped,
    written: usize,
    ended: bool,
}

impl Unbrotli {
    pub fn new(skipped: Skipped) -> Self {
        let alloc = StandardAlloc::default;
        Self { state: BrotliState::new(alloc(), alloc(), alloc()), skipped, written: 0, ended: false }
    }

    /// # Errors
    /// Bytes that are no brotli, follow its end, or would be skipped.
    pub fn decode(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        // The library tells of metadata only while it stands in it, which one byte at a time it does.
        let step = if self.skipped == Skipped::IsAnError { 1 } else { bytes.len().max(1) };
        let mut text = Vec::new();
        for piece in bytes.chunks(step) {
            self.step(piece, &mut text)?;
            let skips = self.state.is_metadata != 0 && self.state.meta_block_remaining_len > 0;
            if skips && self.skipped == Skipped::IsAnError {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        Ok(text)
    }

    /// Whether the stream came to its end.
    pub fn is_whole(&self) -> bool {
        self.ended
    }

    fn step(&mut self, bytes: &[u8], text: &mut Vec<u8>) -> io::Result<()> {
        let mut buffer = [0; 4 << 10];
        let (mut left, mut read) = (bytes.len(), 0);
        while !self.ended {
            let (mut room, mut filled) = (buffer.len(), 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut read,
                bytes,
                &mut room,
                &mut filled,
                &mut buffer,
                &mut self.written,
                &mut self.state,
            );
            text.extend_from_slice(&buffer[..filled]);
            match result {
                BrotliResult::ResultSuccess => self.ended = true,
                BrotliResult::NeedsMoreInput => return Ok(()),
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::ResultFailure => return Err(ErrorKind::InvalidData.into()),
            }
        }
        // Nothing follows the end.
        if left == 0 { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `nothing to see` in one block that is not compressed, and the empty last block.
    const CODED: &[u8] = b"\xd0\x00\x10nothing to see\x03";

    fn decoded(bytes: &[u8], cut: usize, skipped: Skipped) -> io::Result<Vec<u8>> {
        let mut decoder = Unbrotli::new(skipped);
        let mut text = Vec::new();
        for piece in bytes.chunks(cut) {
            text.extend(decoder.decode(piece)?);
        }
        if decoder.is_whole() { Ok(text) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    #[test]
    fn a_stream_is_undone_however_it_is_cut() {
        for skipped in [Skipped::IsAnError, Skipped::Passes] {
            for cut in 1..=CODED.len() {
                assert_eq!(decoded(CODED, cut, skipped).unwrap(), b"nothing to see", "cut at {cut}");
                assert!(decoded(&CODED[..CODED.len() - 1], cut, skipped).is_err());
                assert!(decoded(&[CODED, b"more"].concat(), cut, skipped).is_err());
            }
        }
    }

    #[test]
    fn bytes_that_decoders_skip_are_an_error() {
        // A block of six bytes of metadata, then the empty last block.
        let hidden = b"\xac\x02secret\x03";
        for cut in 1..=hidden.len() {
            assert!(decoded(hidden, cut, Skipped::IsAnError).is_err(), "cut at {cut}");
            assert_eq!(decoded(hidden, cut, Skipped::Passes).unwrap(), b"");
        }
        let one = b"\x2c\x00s\x03";
        assert!(decoded(one, one.len(), Skipped::IsAnError).is_err());
        let empty = b"\x0c\x03";
        assert_eq!(decoded(empty, 9, Skipped::IsAnError).unwrap(), b"");
    }
}
