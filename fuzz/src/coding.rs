//! Content codings: what a content unfolds to depends on the bytes alone, and never to more than is allowed.

use egress_proxy::scan::coding::Codings;
use http::{HeaderMap, HeaderValue, header::CONTENT_ENCODING};

use crate::pieces::{pieces, split};

const CODINGS: [&str; 8] =
    ["gzip", "deflate", "br", "zstd", "gzip, br", "zstd, gzip", "aws-chunked", "aws-chunked, gzip"];

/// The first byte names the coding, the second how the content is cut.
pub(crate) fn run(input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else { return };
    let Some((cut, content)) = split(rest) else { return };
    let mut fields = HeaderMap::new();
    fields.insert(CONTENT_ENCODING, HeaderValue::from_static(CODINGS[usize::from(first) % CODINGS.len()]));
    let (whole, cut) = (unfolded(&fields, content, 4096), unfolded(&fields, content, cut));
    match (whole, cut) {
        (Some(whole), Some(cut)) => assert!(whole == cut, "{} and {} bytes", whole.len(), cut.len()),
        (None, None) => {}
        (whole, cut) => panic!("readable whole: {}, cut: {}", whole.is_some(), cut.is_some()),
    }
}

fn unfolded(fields: &HeaderMap, content: &[u8], cut: usize) -> Option<Vec<u8>> {
    let mut codings = Codings::of(fields).expect("known codings");
    let mut text = Vec::new();
    for piece in pieces(content, cut) {
        text.extend(codings.decode(piece).ok()?);
    }
    text.extend(codings.finish().ok()?);
    Some(text)
}
