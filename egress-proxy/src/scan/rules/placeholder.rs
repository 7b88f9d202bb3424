//! Values that have a secret's form and are none: documented examples, redactions, things to be filled in.

use std::ops::Range;

/// Words that no random value holds and that every documentation uses.
const WORDS: [&str; 17] = [
    "example",
    "placeholder",
    "changeme",
    "change_me",
    "redacted",
    "your_",
    "your-",
    "yourtoken",
    "yourkey",
    "deadbeef",
    "dummy",
    "insert_",
    "replace_",
    "xxxx",
    "....",
    "****",
    "<redac",
];

/// Credentials that a vendor or a standard prints in its documentation; of JSON Web Tokens the signature.
const DOCUMENTED: [&str; 10] = [
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY",
    "4eC39HqLyjWDarjtT1zdp7dc",
    // RFC 6749, the access and the refresh token of every example.
    "2YotnFZFEjr1zCsicMWpAA",
    "tGzv3JOkF0XG5Qx2TlKWIA",
    // RFC 7515 and RFC 7519.
    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    // The introduction to JSON Web Tokens, and PyJWT's.
    "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
    "4twFt5NiznN84AWoo1d7KO1T_yoc0Z6XOpOVswacPZg",
    // draft-dejong-remotestorage.
    "j2YnGtXjzzzHNjkd1CJxoQubA1o=",
    // The storage emulator's, the same on every machine.
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
];

/// Whether a value that matched a format was meant to be read, not used.
pub(super) fn is_placeholder(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    let holds = |word: &str| memchr::memmem::find(&lower, word.as_bytes()).is_some();
    WORDS.into_iter().any(holds)
        || DOCUMENTED.iter().any(|known| memchr::memmem::find(value, known.as_bytes()).is_some())
        || is_monotonous(&lower)
}

/// Whether a match stands in the middle of a longer base64 text, such as an image: there is every sequence of three
/// letters, and whatever follows them looks like a token.
pub(super) fn is_in_base64(text: &[u8], whole: &Range<usize>) -> bool {
    const NEAR: usize = 64;
    const LONG: usize = 40;
    let is_sign = |byte: Option<&u8>| matches!(byte, Some(b'+' | b'/'));
    let goes_on = is_sign(text.get(whole.end)) || text.get(whole.end) == Some(&b'=');
    let comes_from = whole.start.checked_sub(1).is_some_and(|before| is_sign(text.get(before)));
    if !goes_on || !comes_from {
        return false;
    }
    let run = |bytes: &mut dyn Iterator<Item = &u8>| {
        let run: Vec<u8> = bytes.take(NEAR).copied().take_while(|byte| is_base64(*byte)).collect();
        let has = |kind: fn(&u8) -> bool| run.iter().any(kind);
        let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
        run.len() >= LONG && (mixed || run.contains(&b'+'))
    };
    run(&mut text[..whole.start].iter().rev()) || run(&mut text[whole.end..].iter())
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// One character again and again, or the keyboard's own order: no generator makes these.
fn is_monotonous(lower: &[u8]) -> bool {
    const RUN: usize = 7;
    let run_of = |step: i16| {
        let mut length = 1;
        lower.windows(2).any(|pair| {
            let follows = i16::from(pair[1]) - i16::from(pair[0]) == step && pair[0].is_ascii_alphanumeric();
            length = if follows { length + 1 } else { 1 };
            length >= RUN
        })
    };
    let run = run_of(0) || run_of(1) || run_of(-1);
    // A short tail of the format may be constant (padding); a run counts when little else is there.
    run && {
        let mut seen = [false; 256];
        for byte in lower {
            seen[usize::from(*byte)] = true;
        }
        lower.len() <= 64 || seen.into_iter().filter(|seen| *seen).count() < 12
    }
}
