//! Paths: what is called unambiguous has the same segments for a server that decodes, and a push is one in any encoding.

use shared::routes::path::{check_unambiguous, is_git_push};

pub(crate) fn run(input: &[u8]) {
    let Ok(path) = std::str::from_utf8(input) else { return };
    if check_unambiguous(path).is_ok() {
        has_one_reading(path);
    }
    let none = || std::iter::empty::<&[u8]>();
    let plain = is_git_push(path, none());
    let encoded: String = path.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(is_git_push(&encoded, none()), plain, "{path:?}");
    let twice = encoded.replace('%', "%25");
    assert_eq!(is_git_push(&twice, none()), plain, "{path:?}");
}

/// A server that decodes, cuts parameters off, reads `\` as `/` and resolves dots sees the same segments.
fn has_one_reading(path: &str) {
    let decoded = decoded(path.as_bytes());
    let segments =
        |bytes: &[u8]| bytes.split(|byte| matches!(byte, b'/' | b'\\')).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (as_sent, as_read) = (segments(path.as_bytes()), segments(&decoded));
    assert_eq!(as_sent.len(), as_read.len(), "{path:?}");
    for segment in &as_read {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        assert!(name != b"." && name != b"..", "{path:?}");
        assert!(!segment.iter().any(u8::is_ascii_control), "{path:?}");
    }
    // Nor is there anything left to decode a second time.
    assert_eq!(self::decoded(&decoded), decoded, "{path:?}");
    assert!(as_read[1..as_read.len() - 1].iter().all(|segment| !segment.is_empty()), "{path:?}");
}

fn decoded(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [first, tail @ ..] = rest {
        let digit = |at: usize| rest.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (digit(1), digit(2)) {
            (Some(high), Some(low)) if *first == b'%' => {
                out.push((high * 16 + low) as u8);
                rest = &rest[3..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}
