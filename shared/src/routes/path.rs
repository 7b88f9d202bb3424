//! Paths and queries as attackers write them: which spellings two servers may read differently, and what a path means
//! once everything is decoded. Never rewrites what is sent.

use std::borrow::Cow;

use thiserror::Error;

/// Why a path could mean something else to the origin than to a path rule.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum AmbiguousPath {
    #[error("a backslash")]
    Backslash,
    #[error("a control character")]
    Control,
    #[error("a dot segment")]
    DotSegment,
    #[error("a doubly encoded byte")]
    DoubleEncoding,
    #[error("an empty segment (`//`)")]
    EmptySegment,
    #[error("an encoded slash or backslash")]
    EncodedSlash,
    #[error("a fragment")]
    Fragment,
    #[error("invalid percent-encoding")]
    InvalidEncoding,
    #[error("no leading slash")]
    NotAbsolute,
}

/// Finds the first spelling in `path` that a path rule must not be judged on.
///
/// # Errors
/// What makes the path ambiguous.
pub fn check_unambiguous(path: &str) -> Result<(), AmbiguousPath> {
    if !path.starts_with('/') {
        return Err(AmbiguousPath::NotAbsolute);
    }
    let bytes = path.as_bytes();
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\\' => return Err(AmbiguousPath::Backslash),
            b'#' => return Err(AmbiguousPath::Fragment),
            0..=0x1f | 0x7f => return Err(AmbiguousPath::Control),
            b'/' if bytes.get(index + 1) == Some(&b'/') => return Err(AmbiguousPath::EmptySegment),
            b'%' => match decoded_byte(&bytes[index..]) {
                None => return Err(AmbiguousPath::InvalidEncoding),
                Some(b'/' | b'\\') => return Err(AmbiguousPath::EncodedSlash),
                Some(0..=0x1f | 0x7f) => return Err(AmbiguousPath::Control),
                // Begins an overlong form (RFC 3629 §3): some servers read `%c0%ae` as a dot.
                Some(0xc0 | 0xc1) => return Err(AmbiguousPath::InvalidEncoding),
                Some(b'%') if begins_with_hexadecimal_pair(&bytes[index + 3..]) => {
                    return Err(AmbiguousPath::DoubleEncoding);
                }
                Some(_) => {}
            },
            _ => {}
        }
    }
    if bytes.split(|byte| *byte == b'/').any(is_dot_segment) {
        return Err(AmbiguousPath::DotSegment);
    }
    Ok(())
}

/// Whether the request is a git push over HTTP, however it is encoded: judged on the fully decoded target.
pub fn is_git_push(path_and_query: &str, content_types: impl Iterator<Item = impl AsRef<[u8]>>) -> bool {
    const SERVICE: &[u8] = b"git-receive-pack";
    const CONTENT_TYPE: &[u8] = b"x-git-receive-pack";
    contains_ignoring_case(&fully_decoded(path_and_query), SERVICE)
        || content_types.into_iter().any(|value| contains_ignoring_case(value.as_ref(), CONTENT_TYPE))
}

/// Percent-decodes until nothing changes, in one pass: a decoded byte may be the end of another triplet.
pub fn fully_decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut decoded = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        decoded.push(byte);
        while let Some(start) = decoded.len().checked_sub(3)
            && let Some(value) = decoded_byte(&decoded[start..])
        {
            decoded.truncate(start);
            decoded.push(value);
        }
    }
    Cow::Owned(decoded)
}

/// The byte that a percent-encoded triplet at the start of `bytes` stands for.
fn decoded_byte(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [b'%', high, low, ..] => {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
        }
        _ => None,
    }
}

/// Whether two hexadecimal digits follow, as they are or encoded themselves: `%25%32%65` is `%2e` when decoded once.
fn begins_with_hexadecimal_pair(bytes: &[u8]) -> bool {
    let digit = |bytes: &[u8]| match decoded_byte(bytes) {
        Some(byte) => byte.is_ascii_hexdigit().then_some(3),
        None => bytes.first()?.is_ascii_hexdigit().then_some(1),
    };
    digit(bytes).is_some_and(|length| digit(&bytes[length..]).is_some())
}

/// `.` or `..`, plain or encoded, also with parameters behind it (`..;a=b`), which some servers cut off first.
fn is_dot_segment(segment: &[u8]) -> bool {
    // Nearly all begin with another byte.
    if !matches!(segment, [b'.' | b'%', ..]) {
        return false;
    }
    let segment = String::from_utf8_lossy(segment).to_ascii_lowercase().replace("%2e", ".").replace("%3b", ";");
    let name = segment.split(';').next().unwrap_or_default();
    name == "." || name == ".."
}

fn contains_ignoring_case(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_that_two_servers_may_read_differently_are_ambiguous() {
        for (path, expected) in [
            ("/a/../b", AmbiguousPath::DotSegment),
            ("/a/./b", AmbiguousPath::DotSegment),
            ("/a/..", AmbiguousPath::DotSegment),
            ("/a/%2e%2E/b", AmbiguousPath::DotSegment),
            ("/a/.%2e/b", AmbiguousPath::DotSegment),
            ("/a/..;/b", AmbiguousPath::DotSegment),
            ("/a/..%3bx/b", AmbiguousPath::DotSegment),
            ("/a%2fb", AmbiguousPath::EncodedSlash),
            ("/a%5Cb", AmbiguousPath::EncodedSlash),
            ("/a%252e", AmbiguousPath::DoubleEncoding),
            ("/a%25%32%65", AmbiguousPath::DoubleEncoding),
            ("/a%252%65", AmbiguousPath::DoubleEncoding),
            ("/a\\b", AmbiguousPath::Backslash),
            ("/a//b", AmbiguousPath::EmptySegment),
            ("//a", AmbiguousPath::EmptySegment),
            ("/a%00", AmbiguousPath::Control),
            ("/a%0d%0ab", AmbiguousPath::Control),
            ("/a%7f", AmbiguousPath::Control),
            ("/a%zz", AmbiguousPath::InvalidEncoding),
            ("/a%2", AmbiguousPath::InvalidEncoding),
            ("/a/%c0%ae%C0%AE/b", AmbiguousPath::InvalidEncoding),
            ("/a#b", AmbiguousPath::Fragment),
            ("*", AmbiguousPath::NotAbsolute),
        ] {
            assert_eq!(check_unambiguous(path), Err(expected), "{path}");
        }
    }

    #[test]
    fn ordinary_paths_are_not_ambiguous() {
        for path in ["/", "/a/b/", "/.well-known/x", "/a..b/...", "/caf%C3%A9", "/a%20b;v=1", "/100%25", "/@scope%40x"]
        {
            assert_eq!(check_unambiguous(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn decoding_takes_no_longer_the_deeper_the_encoding_is() {
        let deep = format!("/%{}41", "25".repeat(30_000));
        assert_eq!(&*fully_decoded(&deep), b"/A");
        assert_eq!(&*fully_decoded("%%34%31"), b"A");
    }

    #[test]
    fn a_push_is_seen_through_any_encoding() {
        for target in [
            "/a/b.git/git-receive-pack",
            "/a.git/info/refs?service=git-receive-pack",
            "/a.git/info/refs?service=git%2Dreceive%2dpack",
            "/a.git/info/refs?service=%2567it-receive-pack",
            "/a.git/GIT-RECEIVE-PACK",
            "/a.git/%2567%2569t-receive-pack/",
        ] {
            assert!(is_git_push(target, std::iter::empty::<&[u8]>()), "{target}");
        }
        assert!(is_git_push("/x", ["application/x-git-receive-pack-request"].iter()));
        assert!(!is_git_push("/a.git/info/refs?service=git-upload-pack", std::iter::empty::<&[u8]>()));
    }
}
