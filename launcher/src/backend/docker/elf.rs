//! Whether a file can run in an image that holds nothing else: a Linux executable that asks for no program interpreter.
//! Reads a header, runs nothing.

/// True for a 64-bit little-endian ELF executable without `PT_INTERP`.
pub(super) fn is_static(file: &[u8]) -> bool {
    if !file.starts_with(MAGIC_64_LITTLE) {
        return false;
    }
    let (Some(table), Some(size), Some(count)) = (word(file, 0x20), half(file, 0x36), half(file, 0x38)) else {
        return false;
    };
    let Ok(table) = usize::try_from(table) else { return false };
    (0..usize::from(count)).all(|index| {
        let entry = index.checked_mul(size.into()).and_then(|offset| offset.checked_add(table));
        entry.and_then(|entry| kind(file, entry)).is_some_and(|kind| kind != PT_INTERP)
    })
}

fn kind(file: &[u8], entry: usize) -> Option<u32> {
    let bytes = file.get(entry..entry.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn half(file: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(file.get(at..at + 2)?.try_into().ok()?))
}

fn word(file: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(file.get(at..at + 8)?.try_into().ok()?))
}

const MAGIC_64_LITTLE: &[u8] = b"\x7fELF\x02\x01";
const PT_INTERP: u32 = 3;

#[cfg(test)]
mod tests {
    use super::is_static;

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        assert!(!is_static(&std::fs::read("/proc/self/exe").unwrap()));
    }

    #[test]
    fn text_and_cut_headers_are_not_static() {
        assert!(!is_static(b"#!/bin/sh\n"));
        assert!(!is_static(b"\x7fELF\x02\x01"));
    }

    #[test]
    fn a_header_without_interpreter_is_static() {
        let mut file = vec![0; 0x40 + 0x38];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[0x20] = 0x40;
        file[0x36] = 0x38;
        file[0x38] = 1;
        file[0x40] = 1;
        assert!(is_static(&file));
        file[0x40] = 3;
        assert!(!is_static(&file));
    }
}
