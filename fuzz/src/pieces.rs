//! One input as content and as a way to cut it.

/// Reads how content is cut from its first byte: `(cut, content)`, pieces being `cut` bytes long and growing.
pub(crate) fn split(input: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, content) = input.split_first()?;
    Some((usize::from(first) % 17 + 1, content))
}

/// Pieces of `cut`, `cut + 1`, … bytes.
pub(crate) fn pieces(mut content: &[u8], cut: usize) -> impl Iterator<Item = &[u8]> {
    let mut next = cut;
    std::iter::from_fn(move || {
        if content.is_empty() {
            return None;
        }
        let (piece, rest) = content.split_at(next.min(content.len()));
        content = rest;
        next += 1;
        Some(piece)
    })
}
