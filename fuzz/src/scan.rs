//! The scan of a content: the verdict depends on the bytes alone, and what leaves before it is a beginning of them, in
//! order and once.
//!
//! Some bytes of an input stand for a made-up key, plain and encoded, so that the corpus holds none.

use std::sync::{Arc, LazyLock};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use egress_proxy::scan::{ContentScan, Exemptions, Finding, HOLD_BACK, Scanner};
use http::{HeaderMap, HeaderValue, header::CONTENT_ENCODING};

use crate::pieces::{pieces, split};

static SCANNER: LazyLock<Arc<Scanner>> = LazyLock::new(|| Arc::new(Scanner::builtin()));

/// The first byte says whether the content is said to be coded, the second how it is cut.
pub(crate) fn run(input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else { return };
    let Some((cut, content)) = split(rest) else { return };
    let content = with_keys(content);
    let mut fields = HeaderMap::new();
    if let Some(coding) = ["gzip", "zstd"].get(usize::from(first) % 8) {
        fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    let scan = || SCANNER.content(&fields, Exemptions::default());
    let (whole, whole_left) = verdict(scan(), [&content[..]].into_iter());
    let (cut, cut_left) = verdict(scan(), pieces(&content, cut));
    let may_be_coded =
        !fields.is_empty() || [&b"\x1f\x8b"[..], b"\x28\xb5"].iter().any(|magic| content.starts_with(magic));
    if may_be_coded {
        // What does not leave is the same; of two reasons, as sent and unfolded, either may be told first.
        assert_eq!(whole.is_some(), cut.is_some());
    } else {
        assert_eq!(whole, cut);
    }
    for left in [&whole_left, &cut_left] {
        assert!(content.starts_with(left), "other bytes left than came");
        assert!(whole.is_some() || left.len() == content.len(), "{} of {} bytes left", left.len(), content.len());
    }
}

fn verdict<'c>(mut scan: ContentScan, pieces: impl Iterator<Item = &'c [u8]>) -> (Option<Finding>, Vec<u8>) {
    let mut left = Vec::new();
    for piece in pieces {
        match scan.push(Bytes::copy_from_slice(piece)) {
            Ok(released) => released.for_each(|bytes| left.extend_from_slice(&bytes)),
            Err(finding) => return (Some(finding), left),
        }
        // A coding may need as much again before it unfolds anything.
        assert!(scan.held() <= 64 * HOLD_BACK as u64, "{} bytes are held", scan.held());
    }
    match scan.finish() {
        Ok(released) => released.for_each(|bytes| left.extend_from_slice(&bytes)),
        Err(finding) => return (Some(finding), left),
    }
    (None, left)
}

/// The content, made-up keys in place of the bytes that stand for them.
pub(crate) fn with_keys(content: &[u8]) -> Vec<u8> {
    let key = ["AK", "IA", "QYLPMN5HHHFPZAM2"].concat();
    let mut out = Vec::with_capacity(content.len());
    for byte in content {
        match byte {
            1 => out.extend_from_slice(key.as_bytes()),
            2 => out.extend_from_slice(BASE64_STANDARD.encode(&key).as_bytes()),
            3 => out.extend(key.bytes().flat_map(|byte| format!("{byte:02x}").into_bytes())),
            4 => out.extend(key.bytes().flat_map(|byte| format!("\\u{byte:04x}").into_bytes())),
            5 => out.extend(key.bytes().flat_map(|byte| format!("%{byte:02X}").into_bytes())),
            6 => out.extend(key.bytes().flat_map(|byte| [byte, 0])),
            7 => out.extend_from_slice(BASE64_STANDARD.encode(BASE64_STANDARD.encode(&key)).as_bytes()),
            other => out.push(*other),
        }
    }
    out
}
