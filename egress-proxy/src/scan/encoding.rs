//! The forms in which a keyword may travel, and how each is undone around the place where it was found.
//!
//! Encoding is used once, when the patterns are made; decoding is local: a bounded stretch to both sides of a place,
//! never a whole content. It must never read further than asked, so that a verdict needs no more of a stream than the
//! hold-back keeps.

use super::{Layer, search::DEPTH};

/// How far left of a keyword an encoded run is decoded, in encoded characters, so that a rule sees what is before it.
pub(super) const LEFT: usize = 192;

/// One layer that hides a keyword, with what is needed to undo it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// The keyword begins at this byte of its group of three.
    Base64 {
        phase: usize,
    },
    Hex,
    Utf16 {
        low_first: Endian,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Endian {
    Little,
    Big,
}

impl Step {
    pub(super) fn layer(self) -> Layer {
        match self {
            Step::Base64 { .. } => Layer::Base64,
            Step::Hex => Layer::Hex,
            Step::Utf16 { .. } => Layer::Utf16,
        }
    }

    /// Decodes what stands around `at`, where a pattern of this form begins: the text, and where the keyword is in it.
    /// At most `left` encoded characters before the keyword and `room` bytes after it.
    pub(super) fn undo(self, text: &[u8], at: usize, left: usize, room: usize) -> Option<(Vec<u8>, usize)> {
        let encoded = match self {
            Step::Base64 { .. } => room.saturating_mul(4) / 3 + 8,
            Step::Hex | Step::Utf16 { .. } => room.saturating_mul(2),
        };
        let text = &text[..text.len().min(at.saturating_add(encoded))];
        match self {
            Step::Base64 { phase } => undo_base64(text, at, phase, left),
            Step::Hex => undo_hex(text, at, left),
            Step::Utf16 { low_first } => undo_utf16(text, at, low_first, left),
        }
    }
}

/// Up to two layers, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Steps([Option<Step>; DEPTH]);

impl Steps {
    pub(super) fn split_first(self) -> Option<(Step, Steps)> {
        let [first, rest @ ..] = self.0;
        let mut steps = Steps::default();
        steps.0[..rest.len()].copy_from_slice(&rest);
        Some((first?, steps))
    }

    pub(super) fn len(self) -> usize {
        self.0.into_iter().flatten().count()
    }

    /// With one more layer around them; `None` when that would be too deep.
    fn under(self, outer: Step) -> Option<Steps> {
        let mut steps = Steps([Some(outer); DEPTH]);
        if self.len() == DEPTH {
            return None;
        }
        steps.0[1..].copy_from_slice(&self.0[..DEPTH - 1]);
        Some(steps)
    }
}

/// Longest stretch of a pattern that is looked for; the rest is the rule's business.
pub(super) const LONGEST: usize = 24;

/// A keyword in one form: the bytes that are sure to stand there, and what hides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Encoded {
    bytes: [u8; LONGEST],
    length: u8,
    pub steps: Steps,
}

impl Encoded {
    pub(super) fn plain(keyword: &[u8]) -> Encoded {
        Encoded::new(keyword.iter().copied(), Steps::default())
    }

    fn new(all: impl Iterator<Item = u8>, steps: Steps) -> Encoded {
        let mut form = Encoded { bytes: [0; LONGEST], length: 0, steps };
        for (place, byte) in form.bytes.iter_mut().zip(all) {
            *place = byte;
            form.length += 1;
        }
        form
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Every form of a keyword, up to so many layers deep, the plain one first.
pub(super) fn forms(keyword: &[u8], depth: usize) -> Vec<Encoded> {
    let mut all = vec![Encoded::plain(keyword)];
    let mut outermost = 0;
    for _ in 0..depth {
        let whole = all.len();
        for inner in outermost..whole {
            wrap(all[inner], &mut all);
        }
        outermost = whole;
    }
    all
}

/// Adds the forms with one more layer around one. The new layer is the outermost.
fn wrap(form: Encoded, all: &mut Vec<Encoded>) {
    let mut add = |step: Step, bytes: &mut dyn Iterator<Item = u8>| {
        if let Some(steps) = form.steps.under(step) {
            all.push(Encoded::new(bytes, steps));
        }
    };
    for phase in 0..3 {
        let step = Step::Base64 { phase };
        let characters = || base64_core(form.bytes(), phase);
        add(step, &mut characters());
        if characters().any(|byte| matches!(byte, b'+' | b'/')) {
            let url = |byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => other,
            };
            add(step, &mut characters().map(url));
        }
    }
    add(Step::Hex, &mut hex(form.bytes(), b"0123456789abcdef"));
    if hex(form.bytes(), b"0123456789ABCDEF").any(|digit| digit.is_ascii_alphabetic()) {
        add(Step::Hex, &mut hex(form.bytes(), b"0123456789ABCDEF"));
    }
    // Wide characters are text, so they hide nothing but the keyword itself.
    if form.steps.len() == 0 {
        for low_first in [Endian::Little, Endian::Big] {
            let wide = form.bytes().iter().flat_map(|byte| match low_first {
                Endian::Little => [*byte, 0],
                Endian::Big => [0, *byte],
            });
            add(Step::Utf16 { low_first }, &mut wide.into_iter());
        }
    }
}

/// The characters of a base64 text that depend on `bytes` alone when these begin at byte `phase` of a group.
fn base64_core(bytes: &[u8], phase: usize) -> impl Iterator<Item = u8> + '_ {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let past = (phase + bytes.len()) * 8 / 6;
    (LEAD[phase]..past).map(move |place| {
        let bit = place * 6 - phase * 8;
        let pair = u16::from(bytes[bit / 8]) << 8 | u16::from(bytes.get(bit / 8 + 1).copied().unwrap_or(0));
        ALPHABET[usize::from(pair >> (10 - bit % 8) & 63)]
    })
}

/// Characters between the begin of a group of four and the first one that depends on the keyword alone.
const LEAD: [usize; 3] = [0, 2, 3];

fn hex<'a>(bytes: &'a [u8], digits: &'static [u8; 16]) -> impl Iterator<Item = u8> + 'a {
    bytes.iter().flat_map(|byte| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]])
}

fn undo_base64(text: &[u8], at: usize, phase: usize, mut room: usize) -> Option<(Vec<u8>, usize)> {
    let mut start = at.checked_sub(LEAD[phase])?;
    let mut keyword = phase;
    while room >= 4 {
        // Lines are whole groups long.
        let end = start - text[..start].iter().rev().take(2).take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if end < 4 || text[end - 4..end].iter().any(|byte| sextet(*byte) == 64) {
            break;
        }
        start = end - 4;
        keyword += 3;
        room -= 4;
    }
    let mut decoded = Vec::with_capacity((text.len() - start) * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    let mut rest = &text[start..];
    while let Some((&byte, tail)) = rest.split_first() {
        let value = sextet(byte);
        if value < 64 {
            bits = bits << 6 | u32::from(value);
            count += 1;
            if count == 4 {
                decoded.extend_from_slice(&bits.to_be_bytes()[1..]);
                (bits, count) = (0, 0);
            }
            rest = tail;
        } else if matches!(byte, b'\r' | b'\n') {
            rest = tail;
        } else {
            break;
        }
    }
    match count {
        2 => decoded.push((bits >> 4) as u8),
        3 => decoded.extend_from_slice(&((bits >> 2) as u16).to_be_bytes()),
        _ => {}
    }
    (keyword < decoded.len()).then_some((decoded, keyword))
}

fn undo_hex(text: &[u8], at: usize, mut room: usize) -> Option<(Vec<u8>, usize)> {
    let mut start = at;
    while room >= 2 && start >= 2 && text[start - 2..start].iter().all(u8::is_ascii_hexdigit) {
        start -= 2;
        room -= 2;
    }
    let decoded: Vec<u8> =
        text[start..].chunks_exact(2).map_while(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect();
    let keyword = (at - start) / 2;
    (keyword < decoded.len()).then_some((decoded, keyword))
}

fn undo_utf16(text: &[u8], at: usize, low_first: Endian, mut room: usize) -> Option<(Vec<u8>, usize)> {
    let place = match low_first {
        Endian::Little => 0,
        Endian::Big => 1,
    };
    let narrow = |pair: &[u8]| (pair[1 - place] == 0).then_some(pair[place]);
    let mut start = at;
    while room >= 2 && start >= 2 && narrow(&text[start - 2..start]).is_some() {
        start -= 2;
        room -= 2;
    }
    let decoded: Vec<u8> = text[start..].chunks_exact(2).map_while(narrow).collect();
    let keyword = (at - start) / 2;
    (keyword < decoded.len()).then_some((decoded, keyword))
}

/// The value of a base64 character of either alphabet, 64 for everything else.
pub(super) fn sextet(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => 64,
    }
}

pub(super) fn nibble(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}
