//! How the encodings that hide a keyword are undone around the place where it was found.
//!
//! Decoding is local: a bounded stretch to both sides of a place, never a whole content. It must never read further than
//! asked, so that a verdict needs no more of a stream than the hold-back keeps.

use scan_rules::{Endian, Step};

use super::Layer;

/// How far left of a keyword an encoded run is decoded, in encoded characters, so that a rule sees what is before it.
pub(super) const LEFT: usize = 192;

/// What a step's layer is called.
pub(super) fn layer(step: Step) -> Layer {
    match step {
        Step::Base64 { .. } => Layer::Base64,
        Step::Hex => Layer::Hex,
        Step::Utf16 { .. } => Layer::Utf16,
    }
}

/// Decodes what stands around `at`, where a pattern of this form begins: the text, and where the keyword is in it.
/// At most `left` encoded characters before the keyword and `room` bytes after it.
pub(super) fn undo(step: Step, text: &[u8], at: usize, left: usize, room: usize) -> Option<(Vec<u8>, usize)> {
    let encoded = match step {
        Step::Base64 { .. } => room.saturating_mul(4) / 3 + 8,
        Step::Hex | Step::Utf16 { .. } => room.saturating_mul(2),
    };
    let text = &text[..text.len().min(at.saturating_add(encoded))];
    match step {
        Step::Base64 { phase } => undo_base64(text, at, phase, left),
        Step::Hex => undo_hex(text, at, left),
        Step::Utf16 { low_first } => undo_utf16(text, at, low_first, left),
    }
}

/// Characters between the begin of a group of four and the first one that depends on the keyword alone.
const LEAD: [usize; 3] = [0, 2, 3];

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
    SEXTETS[usize::from(byte)]
}

static SEXTETS: [u8; 256] = {
    let mut all = [64; 256];
    let mut byte = 0;
    while byte < 128 {
        all[byte as usize] = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => 64,
        };
        byte += 1;
    }
    all
};

pub(super) fn nibble(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}
