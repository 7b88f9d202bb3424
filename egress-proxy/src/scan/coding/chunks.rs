//! Amazon's `aws-chunked` (Signature Version 4, streaming): content framed in chunks of a client's choice, which would
//! cut a secret in two. Undone, so that content is judged whole; the frames' own lines are judged as they were sent.

use std::io;

/// The longest line between chunks, in bytes: a size and a signature.
const LONGEST_LINE: usize = 4 * 1024;

/// Undoes the framing as it passes.
#[derive(Default)]
pub(super) struct Unframed {
    place: Place,
    line: Vec<u8>,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Place {
    /// In the line with the next chunk's size.
    #[default]
    Size,
    /// In a chunk with this many bytes to come.
    Data(u64),
    /// In the line end behind a chunk.
    DataEnd,
    /// Behind the last chunk.
    Trailers,
}

impl Unframed {
    pub(super) fn decode(&mut self, mut bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(bytes.len());
        while let [first, rest @ ..] = bytes {
            match self.place {
                Place::Data(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    out.extend_from_slice(&bytes[..length]);
                    bytes = &bytes[length..];
                    let left = left - length as u64;
                    self.place = if left == 0 { Place::DataEnd } else { Place::Data(left) };
                }
                Place::Trailers => return Ok(out),
                Place::Size | Place::DataEnd => {
                    bytes = rest;
                    self.line.push(*first);
                    if self.line.ends_with(b"\r\n") {
                        self.end_line()?;
                    } else if self.line.len() > LONGEST_LINE {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                }
            }
        }
        Ok(out)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.place == Place::Trailers
    }

    fn end_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        let line = &line[..line.len() - 2];
        self.place = match self.place {
            Place::DataEnd if line.is_empty() => Place::Size,
            Place::Size => match size(line).ok_or(io::ErrorKind::InvalidData)? {
                0 => Place::Trailers,
                left => Place::Data(left),
            },
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        Ok(())
    }
}

/// The size in hexadecimal before the first `;`.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(content: &[u8], cut: usize) -> io::Result<Vec<u8>> {
        let mut unframed = Unframed::default();
        let mut out = Vec::new();
        for chunk in content.chunks(cut) {
            out.extend(unframed.decode(chunk)?);
        }
        if unframed.is_whole() { Ok(out) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    #[test]
    fn chunks_are_joined_however_they_are_cut() {
        let content =
            b"5;chunk-signature=0a\r\nhello\r\nB\r\n, two lines\r\n0;chunk-signature=0b\r\nx-amz-t: 1\r\n\r\n";
        for cut in 1..content.len() {
            assert_eq!(undone(content, cut).unwrap(), b"hello, two lines", "{cut}");
        }
    }

    #[test]
    fn what_is_not_framed_is_an_error() {
        for content in [&b"hello"[..], b"x\r\n", b"5\r\nhelloX\r\n0\r\n", b"5\r\nhel", b"\r\n", b"+5\r\nhello\r\n0\r\n"]
        {
            assert!(undone(content, 3).is_err(), "{content:?}");
        }
    }
}
