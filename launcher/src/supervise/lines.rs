//! Lines of at most [`MAX_LINE`] bytes from somebody who is not trusted to end them. A longer one is passed over.

use std::io;

use shared::supervise::MAX_LINE;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// What is read so far stays here, so that a read may be given up and taken up again.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    is_overlong: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), line: Vec::new(), is_overlong: false }
    }

    /// `None` at the end.
    pub(super) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let read = self.reader.fill_buf().await?;
            if read.is_empty() {
                return Ok(None);
            }
            let end = read.iter().position(|&byte| byte == b'\n');
            let part = &read[..end.unwrap_or(read.len())];
            if self.line.len() + part.len() > MAX_LINE {
                self.is_overlong = true;
                self.line.clear();
            }
            if !self.is_overlong {
                self.line.extend_from_slice(part);
            }
            let consumed = part.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            if end.is_some() && !std::mem::take(&mut self.is_overlong) {
                return Ok(Some(std::mem::take(&mut self.line)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_without_end_is_passed_over_and_takes_no_memory() {
        let text = format!("one\n{}\n\ntwo\n{}\nthree\nrest", "x".repeat(MAX_LINE + 1), "y".repeat(10 * MAX_LINE));
        let mut lines = Lines::new(text.as_bytes());
        let mut read = vec![];
        while let Some(line) = lines.next().await.unwrap() {
            read.push(String::from_utf8(line).unwrap());
            assert!(lines.line.capacity() <= 2 * MAX_LINE);
        }
        assert_eq!(read, ["one", "", "two", "three"]);
    }
}
