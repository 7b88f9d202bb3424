//! Text in pieces (RFC 6455 §8.1): where it stops being UTF-8 is told at that very byte, however the pieces are cut.

/// What is read of one text.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// A character whose end is yet to come, and its length so far.
    begun: [u8; 4],
    length: usize,
}

/// So many bytes of a piece may be text, and the next one may not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NoText(pub(super) usize);

impl Text {
    /// Reads the next piece.
    ///
    /// # Errors
    /// The text ends within it.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), NoText> {
        let mut at = 0;
        while self.length > 0 {
            let Some(byte) = piece.get(at) else { return Ok(()) };
            self.begun[self.length] = *byte;
            self.length += 1;
            match std::str::from_utf8(&self.begun[..self.length]) {
                Ok(_) => self.length = 0,
                // Four bytes are a character or none, so there is always room for the next.
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(NoText(at)),
            }
            at += 1;
        }
        let rest = &piece[at..];
        let Err(error) = std::str::from_utf8(rest) else { return Ok(()) };
        let (whole, begun) = rest.split_at(error.valid_up_to());
        match error.error_len() {
            None => {
                self.begun[..begun.len()].copy_from_slice(begun);
                self.length = begun.len();
                Ok(())
            }
            // What could begin a character is broken off by the byte after it, anything else is wrong itself.
            Some(length) if matches!(begun, [0xc2..=0xf4, ..]) => Err(NoText(at + whole.len() + length)),
            Some(_) => Err(NoText(at + whole.len())),
        }
    }

    /// Whether the text may end here.
    pub(super) fn is_whole(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes are text when they come in pieces of this size, and whether they may end there.
    fn read(bytes: &[u8], cut: usize) -> (usize, bool) {
        let mut text = Text::default();
        for (index, piece) in bytes.chunks(cut).enumerate() {
            if let Err(NoText(at)) = text.push(piece) {
                return (index * cut + at, false);
            }
        }
        (bytes.len(), text.is_whole())
    }

    #[test]
    fn text_ends_at_the_first_byte_that_cannot_be_of_it_however_it_is_cut() {
        for (bytes, told) in [
            (&b"plain"[..], (5, true)),
            ("κόσμε 𝄞".as_bytes(), (15, true)),
            (b"", (0, true)),
            // A character that does not come to its end.
            (b"a\xf0\x9d\x84", (4, false)),
            // One beyond the last, a surrogate, one spelled too long, two without beginning or end.
            (b"ab\xf4\x90\x80\x80", (3, false)),
            (b"ab\xed\xa0\x80", (3, false)),
            (b"ab\xc0\xaf", (2, false)),
            (b"ab\x80", (2, false)),
            (b"\xce\xba\xe1\xbdz", (4, false)),
        ] {
            for cut in 1..=bytes.len().max(1) {
                assert_eq!(read(bytes, cut), told, "{bytes:?} by {cut}");
            }
        }
    }
}
