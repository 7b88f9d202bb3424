//! Fields as bytes: a copy that every exchange pays for and few ever read. A map of its own would cost several allocations
//! and two atomic operations for each field.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The fields of a head: for each the lengths of its name and value, and both.
pub struct Packed(Vec<u8>);

/// Of a name or a value.
const LENGTH: usize = size_of::<u32>();

impl Packed {
    pub fn of(fields: &HeaderMap) -> Self {
        let room = fields.iter().map(|(name, value)| 2 * LENGTH + name.as_str().len() + value.len()).sum();
        let mut bytes = Vec::with_capacity(room);
        for (name, value) in fields {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            for length in [name.len(), value.len()] {
                // No head is that long; one that were would not be read again.
                bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
            }
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(value);
        }
        Self(bytes)
    }

    /// The same fields in the same order; `None` where they cannot be read again.
    pub fn unpacked(&self) -> Option<HeaderMap> {
        let mut fields = HeaderMap::new();
        let mut rest = &self.0[..];
        while !rest.is_empty() {
            let mut length = || {
                let (length, others) = rest.split_first_chunk::<LENGTH>()?;
                rest = others;
                usize::try_from(u32::from_ne_bytes(*length)).ok()
            };
            let [name, value] = [length()?, length()?];
            let (name, others) = rest.split_at_checked(name)?;
            let (value, others) = others.split_at_checked(value)?;
            rest = others;
            fields.try_append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?).ok()?;
        }
        Some(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_in_their_order() {
        let mut fields = HeaderMap::new();
        assert_eq!(Packed::of(&fields).unpacked(), Some(HeaderMap::new()));
        for (name, value) in [
            ("host", &b"a.example"[..]),
            ("x-list", b"one"),
            ("accept", b""),
            ("x-list", b"two,\tthree"),
            ("x-bytes", b"caf\xe9 \xff"),
            ("cookie", &[b'x'; 70_000]),
        ] {
            fields.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        let again = Packed::of(&fields).unpacked().unwrap();
        assert_eq!(again.iter().collect::<Vec<_>>(), fields.iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_cannot_be_read_again_is_nothing() {
        let whole = Packed::of(&HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("a.example"))])).0;
        for length in 1..whole.len() {
            assert_eq!(Packed(whole[..length].to_vec()).unpacked(), None, "of {length} bytes");
        }
        let mut broken = whole;
        broken.pop();
        broken.push(b'\n');
        assert_eq!(Packed(broken).unpacked(), None);
    }
}
