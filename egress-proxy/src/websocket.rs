//! WebSocket messages on their way out (RFC 6455 §5): every message of the client is judged like content, and only what
//! is judged is framed anew and goes on. Control frames are judged too. No extension is ever agreed on, so what is in a
//! frame is what was meant.
//!
//! Secrets that a client spreads over several messages are not put together.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::HeaderMap;
use shared::routes::ScanMode;
use thiserror::Error;

use crate::scan::{ContentScan, Exemptions, Finding, Scanner};

/// The client's direction of one WebSocket.
pub struct Outgoing {
    scanner: Arc<Scanner>,
    except: Exemptions,
    mode: ScanMode,
    head: BytesMut,
    frame: Option<Frame>,
    message: Option<Message>,
    found: Vec<Finding>,
}

/// The frame that is being read.
struct Frame {
    opcode: u8,
    last: bool,
    mask: [u8; 4],
    /// How many payload bytes were read, for the mask's position.
    read: usize,
    left: u64,
    /// The payload of a control frame, which is whole before it goes on.
    control: BytesMut,
}

/// The message that is being read, over all its frames.
struct Message {
    /// `None`: findings are recorded, and one was.
    scan: Option<ContentScan>,
    /// What the next frame that goes on begins with: the message's own opcode, then continuation.
    opcode: u8,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PONG: u8 = 10;
const LAST: u8 = 0x80;
const MASKED: u8 = 0x80;
/// RFC 6455 §5.5.
const MAX_CONTROL: u64 = 125;

impl Outgoing {
    pub fn new(scanner: Arc<Scanner>, except: Exemptions, mode: ScanMode) -> Self {
        Self { scanner, except, mode, head: BytesMut::new(), frame: None, message: None, found: Vec::new() }
    }

    /// Takes bytes from the client; appends what may go on to `out`.
    ///
    /// # Errors
    /// A secret, or bytes that are no WebSocket frames of a client.
    pub fn push(&mut self, bytes: &mut BytesMut, out: &mut BytesMut) -> Result<(), WebSocketError> {
        loop {
            let Some(frame) = &mut self.frame else {
                if !self.read_head(bytes)? {
                    return Ok(());
                }
                continue;
            };
            let length = usize::try_from(frame.left).unwrap_or(usize::MAX).min(bytes.len());
            if length == 0 && frame.left > 0 {
                return Ok(());
            }
            let mut payload = bytes.split_to(length);
            frame.unmask(&mut payload);
            let (opcode, ends_frame) = (frame.opcode, frame.left == 0);
            let ends_message = frame.last && ends_frame;
            if opcode >= CLOSE {
                frame.control.extend_from_slice(&payload);
            } else {
                self.judge(payload.freeze(), ends_message, out)?;
            }
            if ends_frame {
                let control = self.frame.take().map(|frame| frame.control).unwrap_or_default();
                if opcode >= CLOSE {
                    self.judge_whole(&control)?;
                    write_frame(out, opcode, true, &control);
                }
            }
        }
    }

    /// What was found and let pass, where findings are only recorded.
    pub fn recorded(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.found)
    }

    /// Reads a frame's head (RFC 6455 §5.2); `false` until it is whole.
    fn read_head(&mut self, bytes: &mut BytesMut) -> Result<bool, WebSocketError> {
        const LONGEST: usize = 14;
        let wanted = LONGEST.saturating_sub(self.head.len()).min(bytes.len());
        let taken = self.head.len();
        self.head.extend_from_slice(&bytes[..wanted]);
        let [first, second, rest @ ..] = &self.head[..] else {
            bytes.advance(wanted);
            return Ok(false);
        };
        let (first, second) = (*first, *second);
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if rest.len() < extended + 4 {
            bytes.advance(wanted);
            return Ok(false);
        }
        let mut rest = rest;
        let left = match extended {
            2 => u64::from(rest.get_u16()),
            8 => rest.get_u64(),
            _ => u64::from(second & 0x7f),
        };
        let mut mask = [0; 4];
        rest.copy_to_slice(&mut mask);
        bytes.advance(2 + extended + 4 - taken);
        self.head.clear();
        let frame =
            Frame { opcode: first & 0x0f, last: first & LAST != 0, mask, read: 0, left, control: BytesMut::new() };
        frame.check(first, second, self.message.is_some())?;
        if matches!(frame.opcode, TEXT | BINARY) {
            let scan =
                (self.mode != ScanMode::Off).then(|| self.scanner.content(&HeaderMap::new(), self.except.clone()));
            self.message = Some(Message { scan, opcode: frame.opcode });
        }
        self.frame = Some(frame);
        Ok(true)
    }

    /// Judges the next bytes of a message; what may leave is framed.
    fn judge(&mut self, payload: Bytes, ends: bool, out: &mut BytesMut) -> Result<(), WebSocketError> {
        let Some(message) = &mut self.message else { return Err(WebSocketError::Frame("a continuation of nothing")) };
        let Some(mut scan) = message.scan.take() else {
            message.write(out, &payload, ends);
            return self.end(ends);
        };
        let mut verdict = scan.push(payload);
        if ends {
            verdict = verdict.and_then(|released| {
                message.write_all(out, released);
                scan.finish()
            });
        }
        match verdict {
            Ok(released) => {
                message.write_all(out, released);
                message.scan = Some(scan);
            }
            Err(finding) if self.mode == ScanMode::Record && !finding.is_guarded_value() => {
                self.found.push(finding);
                message.write_all(out, scan.give_up());
            }
            Err(finding) => return Err(WebSocketError::Found(finding)),
        }
        if ends {
            message.write(out, &[], true);
        }
        self.end(ends)
    }

    fn end(&mut self, ends: bool) -> Result<(), WebSocketError> {
        if ends {
            self.message = None;
        }
        Ok(())
    }

    fn judge_whole(&mut self, payload: &[u8]) -> Result<(), WebSocketError> {
        if self.mode == ScanMode::Off {
            return Ok(());
        }
        let mut scan = self.scanner.content(&HeaderMap::new(), self.except.clone());
        match scan.push(Bytes::copy_from_slice(payload)).and_then(|_| scan.finish()) {
            Ok(_) => Ok(()),
            Err(finding) if self.mode == ScanMode::Record && !finding.is_guarded_value() => {
                self.found.push(finding);
                Ok(())
            }
            Err(finding) => Err(WebSocketError::Found(finding)),
        }
    }
}

impl Frame {
    fn check(&self, first: u8, second: u8, in_message: bool) -> Result<(), WebSocketError> {
        let wrong = |what| Err(WebSocketError::Frame(what));
        match self.opcode {
            _ if first & 0x70 != 0 => wrong("an extension that was not agreed on"),
            _ if second & MASKED == 0 => wrong("a frame without mask"),
            TEXT | BINARY if in_message => wrong("a message inside a message"),
            CONTINUATION if !in_message => wrong("a continuation of nothing"),
            CONTINUATION | TEXT | BINARY => Ok(()),
            CLOSE..=PONG if self.last && self.left <= MAX_CONTROL => Ok(()),
            CLOSE..=PONG => wrong("a control frame that is fragmented or too long"),
            _ => wrong("an unknown opcode"),
        }
    }

    fn unmask(&mut self, payload: &mut [u8]) {
        for byte in payload.iter_mut() {
            *byte ^= self.mask[self.read % 4];
            self.read += 1;
        }
        self.left -= payload.len() as u64;
    }
}

impl Message {
    fn write_all(&mut self, out: &mut BytesMut, released: impl Iterator<Item = Bytes>) {
        for bytes in released {
            self.write(out, &bytes, false);
        }
    }

    fn write(&mut self, out: &mut BytesMut, payload: &[u8], ends: bool) {
        if payload.is_empty() && !ends {
            return;
        }
        write_frame(out, self.opcode, ends, payload);
        self.opcode = CONTINUATION;
    }
}

/// A client's frame, with a mask of its own (RFC 6455 §5.3).
fn write_frame(out: &mut BytesMut, opcode: u8, last: bool, payload: &[u8]) {
    let mask: [u8; 4] = rand::random();
    out.reserve(14 + payload.len());
    out.put_u8(if last { LAST } else { 0 } | opcode);
    put_length(out, MASKED, payload.len());
    out.put_slice(&mask);
    let start = out.len();
    out.put_slice(payload);
    for (byte, key) in out[start..].iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// A server's Close frame that tells the client why (RFC 6455 §7.4.1: 1008, a message that violates a policy).
pub fn close_frame(reason: &str) -> Bytes {
    let mut cut = reason.len().min(123);
    while !reason.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut out = BytesMut::new();
    out.put_u8(LAST | CLOSE);
    put_length(&mut out, 0, 2 + cut);
    out.put_u16(1008);
    out.put_slice(&reason.as_bytes()[..cut]);
    out.freeze()
}

fn put_length(out: &mut BytesMut, masked: u8, length: usize) {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.put_u8(masked | short),
        (_, Ok(medium)) => {
            out.put_u8(masked | 126);
            out.put_u16(medium);
        }
        _ => {
            out.put_u8(masked | 127);
            out.put_u64(length as u64);
        }
    }
}

/// Why a WebSocket ends.
#[derive(Debug, Error)]
pub enum WebSocketError {
    #[error("{0}")]
    Found(Finding),
    #[error("the client sent {0}")]
    Frame(&'static str),
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static SCANNER: LazyLock<Arc<Scanner>> = LazyLock::new(|| Arc::new(Scanner::builtin()));

    fn outgoing(mode: ScanMode) -> Outgoing {
        Outgoing::new(SCANNER.clone(), Exemptions::default(), mode)
    }

    fn client_frame(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
        let mut out = BytesMut::new();
        write_frame(&mut out, opcode, last, payload);
        out.to_vec()
    }

    /// What an endpoint reads from frames: (opcode, content) of each message and control frame.
    fn read(frames: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let (mut rest, mut messages, mut open) = (frames, Vec::new(), None);
        while !rest.is_empty() {
            let (first, second) = (rest.get_u8(), rest.get_u8());
            let length = match second & 0x7f {
                126 => usize::from(rest.get_u16()),
                127 => usize::try_from(rest.get_u64()).unwrap(),
                short => usize::from(short),
            };
            let mut mask = [0; 4];
            rest.copy_to_slice(&mut mask);
            let payload: Vec<u8> =
                rest[..length].iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            rest.advance(length);
            let (opcode, last) = (first & 0x0f, first & LAST != 0);
            if opcode >= CLOSE {
                messages.push((opcode, payload));
                continue;
            }
            let (kind, mut content) = open.take().unwrap_or((opcode, Vec::new()));
            content.extend(payload);
            if last { messages.push((kind, content)) } else { open = Some((kind, content)) }
        }
        messages
    }

    fn through(mode: ScanMode, bytes: &[u8], cut: usize) -> Result<Vec<(u8, Vec<u8>)>, WebSocketError> {
        let (mut outgoing, mut out) = (outgoing(mode), BytesMut::new());
        for chunk in bytes.chunks(cut) {
            outgoing.push(&mut BytesMut::from(chunk), &mut out)?;
        }
        Ok(read(&out))
    }

    fn key() -> Vec<u8> {
        format!("a key: {}{} in a text", "AKIA", "Z7QK2M4N6P5R3T6V").into_bytes()
    }

    #[test]
    fn messages_arrive_as_they_were_sent_however_they_are_cut() {
        // Each form of a length, and cuts in every place of a head.
        for (length, cuts) in [(700, &[1, 2, 3, 7][..]), (70_000, &[1000, 100_000])] {
            arrives(&vec![b'x'; length], cuts);
        }
    }

    fn arrives(long: &[u8], cuts: &[usize]) {
        let mut bytes = client_frame(TEXT, false, b"hel");
        bytes.extend(client_frame(9, true, b"ping"));
        bytes.extend(client_frame(CONTINUATION, true, b"lo"));
        bytes.extend(client_frame(BINARY, true, long));
        bytes.extend(client_frame(TEXT, true, b""));
        bytes.extend(client_frame(CLOSE, true, &[3, 232]));
        let mut expected = vec![
            (9, b"ping".to_vec()),
            (TEXT, b"hello".to_vec()),
            (BINARY, long.to_vec()),
            (TEXT, vec![]),
            (CLOSE, vec![3, 232]),
        ];
        expected.sort();
        for &cut in cuts {
            let mut got = through(ScanMode::Block, &bytes, cut).unwrap();
            got.sort();
            assert!(got == expected, "cut {cut}");
        }
    }

    #[test]
    fn a_secret_is_found_over_fragments_and_in_control_frames() {
        let key = key();
        let mut fragments = client_frame(TEXT, false, &key[..14]);
        fragments.extend(client_frame(CONTINUATION, true, &key[14..]));
        for (cut, bytes) in [1, 5, 4096].into_iter().flat_map(|cut| {
            [
                client_frame(TEXT, true, &key),
                client_frame(BINARY, true, &key),
                client_frame(9, true, &key),
                fragments.clone(),
            ]
            .map(|bytes| (cut, bytes))
        }) {
            assert!(matches!(through(ScanMode::Block, &bytes, cut), Err(WebSocketError::Found(_))), "cut {cut}");
            assert!(through(ScanMode::Record, &bytes, cut).is_ok());
            assert!(through(ScanMode::Off, &bytes, cut).is_ok());
        }
    }

    #[test]
    fn what_is_no_frame_of_a_client_ends_the_connection() {
        let mut unmasked = client_frame(TEXT, true, b"x");
        unmasked[1] &= 0x7f;
        let mut compressed = client_frame(TEXT, true, b"x");
        compressed[0] |= 0x40;
        for bytes in [
            unmasked,
            compressed,
            client_frame(CONTINUATION, true, b"x"),
            [client_frame(TEXT, false, b"x"), client_frame(TEXT, true, b"y")].concat(),
            client_frame(9, false, b"x"),
            client_frame(9, true, &[0; 126]),
            client_frame(3, true, b"x"),
        ] {
            assert!(matches!(through(ScanMode::Block, &bytes, 1), Err(WebSocketError::Frame(_))), "{bytes:?}");
        }
    }
}
