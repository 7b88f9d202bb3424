//! Encoded parts of tokens and key files.

use crate::scan::encoding::sextet;

/// A JSON Web Token (RFC 7519): the first part decodes to an object with `alg` or `enc`.
pub(super) fn jwt(token: &[u8]) -> bool {
    let header = token.split(|byte| *byte == b'.').next().unwrap_or_default();
    let Some(header) = base64(header) else {
        return false;
    };
    let Ok(serde_json::Value::Object(header)) = serde_json::from_slice(&header) else {
        return false;
    };
    header.get("alg").is_some_and(|alg| alg.is_string()) || header.contains_key("enc")
}

/// The text after `-----BEGIN … PRIVATE KEY-----`: base64 of an ASN.1 sequence, of OpenSSH's format or of an OpenPGP
/// packet, perhaps after header lines (RFC 1421, RFC 9580).
pub(super) fn private_key(frame: &[u8]) -> bool {
    let Some(head) = memchr::memmem::find(frame, b"KEY") else {
        return false;
    };
    let pgp = frame[head..].starts_with(b"KEY BLOCK");
    let Some(end) = memchr::memmem::find(&frame[head..], b"-----") else {
        return false;
    };
    let body = &frame[head + end + 5..];
    let mut text = Vec::with_capacity(body.len());
    for line in body.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = line.trim_ascii();
        if line.contains(&b':') && text.is_empty() {
            // An encrypted key is a secret too: guessing its password is a matter of time.
            continue;
        }
        text.extend(line.iter().filter(|byte| sextet(**byte) < 64));
        if text.len() >= 64 {
            break;
        }
    }
    text.truncate(text.len() / 4 * 4);
    let Some(bytes) = base64(&text) else {
        return false;
    };
    if text.len() < 40 {
        return false;
    }
    if pgp {
        // A packet: RFC 9580, section 4.2: the first bit is set.
        return bytes[0] & 0x80 != 0;
    }
    bytes.starts_with(b"openssh-key-v1\0") || bytes[0] == 0x30
}

pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len() * 3 / 4);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for byte in group {
            let value = sextet(*byte);
            if value == 64 {
                return None;
            }
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - group.len());
        decoded.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(decoded)
}
