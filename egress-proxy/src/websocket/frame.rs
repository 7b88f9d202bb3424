//! Frames (RFC 6455 §5): read into messages and control frames, checked as their receiver would, and written anew.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::WebSocketError;

pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
const PONG: u8 = 10;
const LAST: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
const OTHER_EXTENSIONS: u8 = 0x30;
const MASKED: u8 = 0x80;
/// RFC 6455 §5.5.
const MAX_CONTROL: u64 = 125;

/// Who wrote a frame: a client masks, a server does not (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sender {
    Client,
    Origin,
}

impl std::fmt::Display for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Origin => "origin",
        })
    }
}

/// Whether messages may be compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Compression {
    Agreed,
    Off,
}

/// What frames say. The borders between the frames of one message are not told: they mean nothing (RFC 6455 §5.4).
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// A message begins.
    Begin { opcode: u8, compressed: bool },
    /// The next bytes of its content, unmasked.
    Content(Bytes),
    /// It is over.
    End,
    /// A whole control frame, which may come amid a message.
    Control { opcode: u8, content: BytesMut },
}

/// One direction's frames.
pub(super) struct Frames {
    sender: Sender,
    compression: Compression,
    frame: Option<Frame>,
    in_message: bool,
}

/// The frame that is being read.
struct Frame {
    opcode: u8,
    last: bool,
    compressed: bool,
    mask: [u8; 4],
    /// How many bytes of its content were read, for the mask's position.
    read: usize,
    left: u64,
}

impl Frames {
    pub(super) fn new(sender: Sender, compression: Compression) -> Self {
        Self { sender, compression, frame: None, in_message: false }
    }

    /// Reads on; `None` until more bytes are there. What cannot be used yet stays in `bytes`.
    pub(super) fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Event>, WebSocketError> {
        loop {
            let Some(frame) = &mut self.frame else {
                let Some(frame) = self.begin(bytes)? else { return Ok(None) };
                let (opcode, compressed) = (frame.opcode, frame.compressed);
                self.frame = Some(frame);
                if matches!(opcode, TEXT | BINARY) {
                    self.in_message = true;
                    return Ok(Some(Event::Begin { opcode, compressed }));
                }
                continue;
            };
            if frame.opcode >= CLOSE {
                if (bytes.len() as u64) < frame.left {
                    return Ok(None);
                }
                let (opcode, content) = (frame.opcode, frame.take(bytes));
                self.frame = None;
                return Ok(Some(Event::Control { opcode, content }));
            }
            if frame.left > 0 {
                let content = frame.take(bytes).freeze();
                return Ok(Some(content).filter(|content| !content.is_empty()).map(Event::Content));
            }
            let last = frame.last;
            self.frame = None;
            if last {
                self.in_message = false;
                return Ok(Some(Event::End));
            }
        }
    }

    /// Reads a frame's head (RFC 6455 §5.2), once it is whole.
    fn begin(&self, bytes: &mut BytesMut) -> Result<Option<Frame>, WebSocketError> {
        let [first, second, rest @ ..] = &bytes[..] else { return Ok(None) };
        let (first, second, mut rest) = (*first, *second, rest);
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let masked = second & MASKED != 0;
        let length = extended + if masked { 4 } else { 0 };
        if rest.len() < length {
            return Ok(None);
        }
        let left = match extended {
            2 => u64::from(rest.get_u16()),
            8 => rest.get_u64(),
            _ => u64::from(second & 0x7f),
        };
        let mut mask = [0; 4];
        if masked {
            rest.copy_to_slice(&mut mask);
        }
        bytes.advance(2 + length);
        let frame = Frame {
            opcode: first & 0x0f,
            last: first & LAST != 0,
            compressed: first & COMPRESSED != 0,
            mask,
            read: 0,
            left,
        };
        self.check(&frame, first, masked).map_err(|what| WebSocketError::Frame { sender: self.sender, what })?;
        Ok(Some(frame))
    }

    fn check(&self, frame: &Frame, first: u8, masked: bool) -> Result<(), &'static str> {
        match frame.opcode {
            _ if first & OTHER_EXTENSIONS != 0 => Err("a frame of an extension that was not agreed on"),
            _ if frame.compressed && self.compression == Compression::Off => {
                Err("a frame of an extension that was not agreed on")
            }
            _ if masked != (self.sender == Sender::Client) => Err("a frame that is masked wrongly"),
            _ if frame.left > i64::MAX as u64 => Err("a frame that is longer than any"),
            TEXT | BINARY if self.in_message => Err("a message inside a message"),
            CONTINUATION if !self.in_message => Err("a continuation of nothing"),
            // RFC 7692 §6.1: only a message's first frame says that it is compressed.
            CONTINUATION | CLOSE..=PONG if frame.compressed => Err("a frame that is compressed by itself"),
            CONTINUATION | TEXT | BINARY => Ok(()),
            CLOSE..=PONG if frame.last && frame.left <= MAX_CONTROL => Ok(()),
            CLOSE..=PONG => Err("a control frame that is fragmented or too long"),
            _ => Err("an unknown opcode"),
        }
    }
}

impl Frame {
    /// The next bytes of the content, as far as they are there, unmasked.
    fn take(&mut self, bytes: &mut BytesMut) -> BytesMut {
        let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let mut content = bytes.split_to(here);
        if self.mask != [0; 4] {
            for byte in content.iter_mut() {
                *byte ^= self.mask[self.read % 4];
                self.read += 1;
            }
        }
        self.left -= here as u64;
        content
    }
}

/// A message that is written in as many frames as it comes in pieces.
pub(super) struct Written {
    sender: Sender,
    /// What the next frame begins with: the message's own opcode, then continuation.
    opcode: u8,
}

impl Written {
    pub(super) fn new(sender: Sender, opcode: u8) -> Self {
        Self { sender, opcode }
    }

    pub(super) fn piece(&mut self, out: &mut BytesMut, content: &[u8]) {
        if !content.is_empty() {
            write(out, self.sender, self.opcode, content);
            self.opcode = CONTINUATION;
        }
    }

    /// Ends the message with what is left of it.
    pub(super) fn end(self, out: &mut BytesMut, content: &[u8]) {
        write(out, self.sender, LAST | self.opcode, content);
    }
}

pub(super) fn write_control(out: &mut BytesMut, sender: Sender, opcode: u8, content: &[u8]) {
    write(out, sender, LAST | opcode, content);
}

fn write(out: &mut BytesMut, sender: Sender, first: u8, content: &[u8]) {
    out.reserve(14 + content.len());
    out.put_u8(first);
    match sender {
        Sender::Origin => {
            put_length(out, 0, content.len());
            out.put_slice(content);
        }
        Sender::Client => {
            put_length(out, MASKED, content.len());
            // A mask of its own for every frame (RFC 6455 §5.3).
            let mask: [u8; 4] = rand::random();
            out.put_slice(&mask);
            let start = out.len();
            out.put_slice(content);
            for (byte, key) in out[start..].iter_mut().zip(mask.iter().cycle()) {
                *byte ^= key;
            }
        }
    }
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

/// RFC 6455 §7.4.1: text that is not UTF-8.
pub const PAYLOAD: u16 = 1007;
/// RFC 6455 §7.4.1: a message that violates a policy.
pub const POLICY: u16 = 1008;
/// RFC 6455 §7.4.1: bytes that are no frames.
pub const PROTOCOL: u16 = 1002;

/// A server's Close frame that tells the client why.
pub fn close(code: u16, reason: &str) -> Bytes {
    let mut content = BytesMut::new();
    content.put_u16(code);
    let mut cut = reason.len().min(MAX_CONTROL as usize - 2);
    while !reason.is_char_boundary(cut) {
        cut -= 1;
    }
    content.put_slice(&reason.as_bytes()[..cut]);
    let mut out = BytesMut::new();
    write_control(&mut out, Sender::Origin, CLOSE, &content);
    out.freeze()
}
