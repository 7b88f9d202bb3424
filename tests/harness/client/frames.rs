//! HTTP/2 as frames (RFC 9113): what a well-behaved library would never send. One request on one connection; names and
//! values go out byte for byte as they are given.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Client, Failure, Protocol, host_of};
use crate::h1::Stream;
use crate::within;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Status(u16),
    /// The stream or the connection was ended with this error code.
    Error(u32),
    Closed,
}

/// A connection with its preface exchanged.
pub struct Frames {
    stream: Box<dyn Stream>,
}

/// A field as it goes out.
pub type Field = (Vec<u8>, Vec<u8>);

impl Client {
    /// Frames inside a tunnel's TLS.
    pub async fn frames_inside(&self, authority: &str) -> Result<Frames, Failure> {
        let stream = self.speaking(Protocol::H2).tls(authority, Some(host_of(authority))).await?;
        let mut frames = Frames { stream: Box::new(stream) };
        frames.write(PREFACE).await;
        frames.send(SETTINGS, 0, 0, &[]).await;
        Ok(frames)
    }
}

impl Frames {
    /// Sends one request: its head, content and trailers, where there are any.
    pub async fn request(&mut self, head: &[Field], content: Option<&[u8]>, trailers: &[Field]) {
        let more = content.is_some() || !trailers.is_empty();
        let end = |more: bool| if more { 0 } else { END_STREAM };
        self.send(HEADERS, END_HEADERS | end(more), 1, &block(head)).await;
        if let Some(content) = content {
            self.send(DATA, end(!trailers.is_empty()), 1, content).await;
        }
        if !trailers.is_empty() {
            self.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers)).await;
        }
    }

    /// What came of it.
    pub async fn ending(&mut self) -> Ending {
        within("the end of a request", self.read_ending()).await
    }

    async fn read_ending(&mut self) -> Ending {
        loop {
            let mut head = [0; 9];
            if self.stream.read_exact(&mut head).await.is_err() {
                return Ending::Closed;
            }
            let [a, b, c, kind, flags, ..] = head;
            let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
            if self.stream.read_exact(&mut payload).await.is_err() {
                return Ending::Closed;
            }
            match kind {
                SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]).await,
                HEADERS => return Ending::Status(status(&payload)),
                RST_STREAM => return Ending::Error(number(&payload)),
                GOAWAY => return Ending::Error(number(&payload[4..])),
                _ => {}
            }
        }
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.write(&frame).await;
    }

    /// A peer that has already closed is no failure: how it ended is what the test reads next.
    async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }
}

/// A field block of literals that are not indexed and not compressed (RFC 7541 section 6.2.2).
fn block(fields: &[Field]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend(text);
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 section 5.1).
fn integer(block: &mut Vec<u8>, value: usize) {
    if value < 127 {
        return block.push(value as u8);
    }
    block.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// `:status`, the first field of an answer's block: indexed, or a literal with an indexed name.
fn status(block: &[u8]) -> u16 {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [first @ 0x88..=0x8e, ..] => INDEXED[usize::from(first - 0x88)],
        [_, 0x03, digits, rest @ ..] => {
            let digits = [*digits, rest[0], rest[1]].map(|digit| u16::from(digit - b'0'));
            digits[0] * 100 + digits[1] * 10 + digits[2]
        }
        [_, length, rest @ ..] if length & 0x80 != 0 => huffman(&rest[..usize::from(length & 0x7f)]),
        _ => panic!("no status in {block:?}"),
    }
}

/// Three digits in the Huffman code (RFC 7541 appendix B): 0 to 2 have five bits, 3 to 9 six.
fn huffman(bytes: &[u8]) -> u16 {
    let bits: Vec<u16> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1))).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let read = |length: usize| bits[at..at + length].iter().fold(0, |code, bit| code << 1 | bit);
        let digit = match read(5) {
            short @ 0..=2 => {
                at += 5;
                short
            }
            _ => {
                let code = read(6);
                at += 6;
                code - 0b01_1001 + 3
            }
        };
        number = number * 10 + digit;
    }
    number
}

fn number(payload: &[u8]) -> u32 {
    payload.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}
