//! The first look where few positions are looked at, and few patterns looked for: whether anything is entered at a place
//! is asked of many positions at once, and which of eight bits only where one of them has something.

/// By a hash of four bytes, of which of eight classes those are that are entered there: 64 KiB, which a processor's second
/// cache holds.
pub(super) type Sparse = [u8; 1 << 16];

pub(super) fn enter(sparse: &mut Sparse, gram: u32) {
    let (place, bit) = place(gram);
    sparse[usize::from(place)] |= bit;
}

/// 0 if these four bytes are not entered; most others are not, either.
#[inline(always)]
pub(super) fn glance(sparse: &Sparse, gram: u32) -> u8 {
    sparse[usize::from(place(gram).0)]
}

/// Whether these four bytes may be entered: `false` is certain.
#[inline(always)]
pub(super) fn may_hold(sparse: &Sparse, gram: u32) -> bool {
    let (place, bit) = place(gram);
    sparse[usize::from(place)] & bit != 0
}

#[inline(always)]
fn place(gram: u32) -> (u16, u8) {
    let hash = super::hash(gram);
    ((hash >> 16) as u16, 1 << (hash >> 13 & 7))
}
