//! Checksums that issuers put into their tokens, so that a scanner can tell a real one.

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// GitHub's: `ghp_`, thirty random characters, six of checksum over the thirty.
pub(super) fn github(token: &[u8]) -> bool {
    let Some(body) = token.get(4..) else {
        return false;
    };
    let Some(split) = body.len().checked_sub(6) else {
        return false;
    };
    base62(crc32(&body[..split])) == body[split..]
}

/// Six digits, most significant first.
pub(super) fn base62(mut value: u32) -> [u8; 6] {
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(value % 62) as usize];
        value /= 62;
    }
    digits
}

/// The CRC-32 of ISO 3309, bit by bit: the inputs are some ten bytes long and rare.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_has_its_check_value() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn github_tokens_carry_their_checksum() {
        let token = |body: &str| [b"ghp_", body.as_bytes(), &base62(crc32(body.as_bytes()))].concat();
        let mut good = token("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ");
        assert!(good.ends_with(b"0mLq17"));
        assert!(github(&good));
        good[10] ^= 1;
        assert!(!github(&good));
    }
}
