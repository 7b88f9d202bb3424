//! Checksums that issuers put into their tokens, so that a scanner can tell a real one.

use ring::digest;

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

/// Base58Check, as Bitcoin uses it for keys: <https://en.bitcoin.it/wiki/Base58Check_encoding>.
pub(super) fn base58check(text: &[u8]) -> bool {
    let Some(bytes) = base58(text) else { return false };
    let Some(split) = bytes.len().checked_sub(4) else { return false };
    let once = digest::digest(&digest::SHA256, &bytes[..split]);
    let twice = digest::digest(&digest::SHA256, once.as_ref());
    twice.as_ref()[..4] == bytes[split..]
}

fn base58(text: &[u8]) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    // Least significant byte first, as long multiplication goes.
    let mut bytes: Vec<u8> = Vec::with_capacity(text.len());
    for character in text {
        let mut carry = ALPHABET.iter().position(|known| known == character)?;
        for byte in &mut bytes {
            carry += usize::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(carry as u8);
            carry >>= 8;
        }
    }
    bytes.extend(text.iter().take_while(|character| **character == b'1').map(|_| 0));
    bytes.reverse();
    Some(bytes)
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
