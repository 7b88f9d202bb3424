//! Escapes that hide single characters of a text: those of JSON (and of most programming languages) and of URLs.
//!
//! Undone over a short stretch around a place. Unknown or cut escapes stay as they are: nothing is ever lost, and
//! a text without escapes costs one look for a byte.

use memchr::memchr;

use super::{Layer, encoding::nibble};

/// How a text escapes single characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// `\n`, `\"`, `\u0041`, `\x41`.
    Json,
    /// `%41`.
    Percent,
}

impl Escape {
    pub(super) const ALL: [Escape; 2] = [Escape::Json, Escape::Percent];

    pub(super) fn layer(self) -> Layer {
        match self {
            Escape::Json => Layer::Json,
            Escape::Percent => Layer::Percent,
        }
    }

    pub(super) fn mark(self) -> u8 {
        match self {
            Escape::Json => b'\\',
            Escape::Percent => b'%',
        }
    }

    /// Appends `text` with its escapes undone.
    pub(super) fn undo(self, text: &[u8], into: &mut Vec<u8>) {
        self.undo_until(usize::MAX, text, into);
    }

    /// The same, as far as is needed to have so many bytes.
    pub(super) fn undo_until(self, enough: usize, mut text: &[u8], into: &mut Vec<u8>) {
        while let Some(at) = memchr(self.mark(), text) {
            if into.len() >= enough {
                return;
            }
            into.extend_from_slice(&text[..at]);
            text = &text[at..];
            let length = match self {
                Escape::Json => json(text, into),
                Escape::Percent => percent(text, into),
            };
            let kept = length.max(1);
            if length == 0 {
                into.push(text[0]);
            }
            text = &text[kept..];
        }
        into.extend_from_slice(&text[..text.len().min(enough.saturating_sub(into.len()))]);
    }

    /// The character that an escape at the begin of `text` stands for, if it is one that keywords are made of or one
    /// that may begin such an escape after it is undone once.
    pub(super) fn hides_keyword(self, text: &[u8]) -> bool {
        let digits = match (self, text) {
            (Escape::Json, [b'\\', b'u' | b'U', b'0', b'0', digits @ ..]) => digits,
            (Escape::Json, [b'\\', b'x' | b'X', digits @ ..]) => digits,
            (Escape::Percent, [b'%', digits @ ..]) => digits,
            _ => return false,
        };
        let Some(byte) = pair(digits) else {
            return false;
        };
        if byte == b'%' && self == Escape::Percent {
            // `%2541`: only worth it when another escape appears.
            return pair(&digits[2..]).is_some();
        }
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'\\' | b'%')
    }
}

/// The length of the escape at the begin of `text`, whose character is appended; 0 when it is none.
fn json(text: &[u8], into: &mut Vec<u8>) -> usize {
    let plain = match text.get(1) {
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'b') => 8,
        Some(b'f') => 12,
        Some(&byte @ (b'"' | b'\\' | b'/' | b'\'')) => byte,
        Some(b'x' | b'X') => match text.get(2..).and_then(pair) {
            Some(byte) => {
                into.push(byte);
                return 4;
            }
            None => return 0,
        },
        Some(b'u' | b'U') => {
            let (Some(high), Some(low)) = (text.get(2..).and_then(pair), text.get(4..).and_then(pair)) else {
                return 0;
            };
            let code = u32::from(high) << 8 | u32::from(low);
            let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return 6;
        }
        _ => return 0,
    };
    into.push(plain);
    2
}

fn percent(text: &[u8], into: &mut Vec<u8>) -> usize {
    match text.get(1..).and_then(pair) {
        Some(byte) => {
            into.push(byte);
            3
        }
        None => 0,
    }
}

/// The byte that two hexadecimal digits at the begin of `text` stand for.
fn pair(text: &[u8]) -> Option<u8> {
    match text {
        [high, low, ..] => Some(nibble(*high)? << 4 | nibble(*low)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(escape: Escape, text: &str) -> String {
        let mut into = Vec::new();
        escape.undo(text.as_bytes(), &mut into);
        String::from_utf8(into).expect("the tests use text")
    }

    #[test]
    fn json_escapes_are_undone_and_unknown_ones_stay() {
        assert_eq!(undone(Escape::Json, r#"a\n\"b\" \\ \/ A\x42 \q \u00"#), "a\n\"b\" \\ / AB \\q \\u00");
    }

    #[test]
    fn percent_escapes_are_undone_and_cut_ones_stay() {
        assert_eq!(undone(Escape::Percent, "a%41%2f100% %4"), "aA/100% %4");
    }
}
