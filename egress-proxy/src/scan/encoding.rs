//! The forms in which a keyword may travel, and how each is undone around the place where it was found.
//!
//! Encoding is used once, when the patterns are made; decoding is local: a bounded stretch to both sides of a place,
//! never a whole content. It must never read further than asked, so that a verdict needs no more of a stream than the
//! hold-back keeps.

use super::Layer;

/// How far left of a keyword an encoded run is decoded, in encoded units.
const LEFT: usize = 192;

/// One layer that hides a keyword, with what is needed to undo it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub(super) fn undo(self, text: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
        match self {
            Step::Base64 { phase } => undo_base64(text, at, phase),
            Step::Hex => undo_hex(text, at),
            Step::Utf16 { low_first } => undo_utf16(text, at, low_first),
        }
    }
}

/// A keyword in one form: the bytes that are sure to stand there, and what hides it.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub bytes: Vec<u8>,
    pub steps: Vec<Step>,
}

/// Every form of a keyword, up to so many layers deep, the plain one first.
pub(super) fn forms(keyword: &[u8], depth: usize) -> Vec<Encoded> {
    let plain = Encoded { bytes: keyword.to_vec(), steps: Vec::new() };
    let mut all = vec![plain];
    let mut outermost = 0;
    for _ in 0..depth {
        let wrapped: Vec<Encoded> = all[outermost..].iter().flat_map(wrap).collect();
        outermost = all.len();
        all.extend(wrapped);
    }
    all
}

/// One more layer around a form. The new layer is the outermost.
fn wrap(form: &Encoded) -> Vec<Encoded> {
    let mut all = Vec::with_capacity(8);
    let mut add = |step: Step, bytes: Vec<u8>| {
        let mut steps = vec![step];
        steps.extend(&form.steps);
        all.push(Encoded { bytes, steps });
    };
    for phase in 0..3 {
        let standard = base64_core(&form.bytes, phase);
        let url: Vec<u8> = standard
            .iter()
            .map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            })
            .collect();
        if url != standard {
            add(Step::Base64 { phase }, url);
        }
        add(Step::Base64 { phase }, standard);
    }
    add(Step::Hex, hex(&form.bytes, b"0123456789abcdef"));
    let upper = hex(&form.bytes, b"0123456789ABCDEF");
    if upper.iter().any(u8::is_ascii_alphabetic) {
        add(Step::Hex, upper);
    }
    // Wide characters are text, so they hide nothing but the keyword itself.
    if form.steps.is_empty() {
        let wide: Vec<u8> = form.bytes.iter().flat_map(|byte| [*byte, 0]).collect();
        add(Step::Utf16 { low_first: Endian::Little }, wide);
        let wide: Vec<u8> = form.bytes.iter().flat_map(|byte| [0, *byte]).collect();
        add(Step::Utf16 { low_first: Endian::Big }, wide);
    }
    all
}

/// The characters of a base64 text that depend on `bytes` alone when these begin at byte `phase` of a group.
fn base64_core(bytes: &[u8], phase: usize) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let first = LEAD[phase];
    let past = (phase + bytes.len()) * 8 / 6;
    (first..past)
        .map(|place| {
            let bit = place * 6 - phase * 8;
            let pair = u16::from(bytes[bit / 8]) << 8 | u16::from(bytes.get(bit / 8 + 1).copied().unwrap_or(0));
            ALPHABET[usize::from(pair >> (10 - bit % 8) & 63)]
        })
        .collect()
}

/// Characters between the begin of a group of four and the first one that depends on the keyword alone.
const LEAD: [usize; 3] = [0, 2, 3];

fn hex(bytes: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]).collect()
}

fn undo_base64(text: &[u8], at: usize, phase: usize) -> Option<(Vec<u8>, usize)> {
    let mut start = at.checked_sub(LEAD[phase])?;
    let mut keyword = phase;
    let mut room = LEFT;
    while room >= 4 && start >= 4 && text[start - 4..start].iter().all(|byte| sextet(*byte) < 64) {
        start -= 4;
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

fn undo_hex(text: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let mut start = at;
    let mut room = LEFT;
    while room >= 2 && start >= 2 && text[start - 2..start].iter().all(u8::is_ascii_hexdigit) {
        start -= 2;
        room -= 2;
    }
    let decoded: Vec<u8> =
        text[start..].chunks_exact(2).map_while(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect();
    let keyword = (at - start) / 2;
    (keyword < decoded.len()).then_some((decoded, keyword))
}

fn undo_utf16(text: &[u8], at: usize, low_first: Endian) -> Option<(Vec<u8>, usize)> {
    let place = match low_first {
        Endian::Little => 0,
        Endian::Big => 1,
    };
    let narrow = |pair: &[u8]| (pair[1 - place] == 0).then_some(pair[place]);
    let mut start = at;
    let mut room = LEFT;
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
