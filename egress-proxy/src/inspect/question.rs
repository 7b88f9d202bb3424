//! The question that the inspector is asked: the agent's request in absolute form for the inner face, its trailers as
//! fields, its content decoded.

use std::io;

use flate2::{GzHeader, bufread::GzDecoder};
use http::{
    HeaderMap, HeaderValue, Request, Uri, header,
    request::Parts,
    uri::{self, PathAndQuery},
};
use shared::{
    authority::Authority,
    contract::{EXCHANGE_FIELD, INSPECTOR_AGENT_FIELD},
};

use super::{InspectError, InspectorAddress, MAX_CONTENT};
use crate::{
    content::{Collected, Content},
    scan::{
        Layer,
        coding::{Codings, Unreadable},
    },
};

/// Writes the question for one attempt; `id` is good for that attempt only.
///
/// # Errors
/// The request has a target or field that no question can carry.
pub fn write(
    address: &InspectorAddress,
    authority: &Authority,
    head: &Parts,
    content: &Collected,
    id: &str,
) -> Result<Request<Content>, InspectError> {
    let mut request = Request::new(Content::Collected(content.without_trailers()));
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = target(address, authority, &head.uri).ok_or(InspectError::Unaskable)?;
    let fields = request.headers_mut();
    *fields = head.headers.clone();
    for (name, value) in content.trailers.iter().flatten() {
        fields.append(name.clone(), value.clone());
    }
    for name in [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::TE, header::TRAILER] {
        fields.remove(name);
    }
    for (name, value) in
        [("host", address.return_to.as_str()), (EXCHANGE_FIELD, id), (INSPECTOR_AGENT_FIELD, &address.agent)]
    {
        fields.insert(name, HeaderValue::from_str(value).map_err(|_| InspectError::Unaskable)?);
    }
    Ok(request)
}

/// `http://RETURN/x/HOST:PORT/path?query`: the port always, IPv6 in brackets.
fn target(address: &InspectorAddress, authority: &Authority, uri: &Uri) -> Option<Uri> {
    let target = crate::target::path_and_query(uri);
    let slash = if target.as_str().starts_with('/') { "" } else { "/" };
    let mut parts = uri::Parts::default();
    parts.scheme = Some(uri::Scheme::HTTP);
    parts.authority = Some(address.return_to.parse().ok()?);
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(format!("/x/{authority}{slash}{target}")).ok()?);
    Uri::from_parts(parts).ok()
}

/// Whether content may have to be unfolded.
pub fn is_coded(fields: &HeaderMap) -> bool {
    fields.contains_key(header::CONTENT_ENCODING)
}

/// A request's content as the inspector shall read it: with every coding undone.
///
/// # Errors
/// A coding that cannot be undone, or that would hide something.
pub fn decoded(fields: &HeaderMap, content: &Collected) -> Result<Collected, InspectError> {
    let codings = Codings::of(fields)?;
    let layers = codings.layers();
    let text = unfolded(codings, content)?;
    // Only now: it unfolds to a bounded size.
    if !layers.is_empty() && !content.chunks().is_empty() && hides_text(&layers, content)? {
        return Err(InspectError::Hidden);
    }
    Ok(text.with_trailers(content.trailers.clone()))
}

/// Content with every coding undone, without trailers.
///
/// # Errors
/// A coding that cannot be undone.
pub fn unfolded(mut codings: Codings, content: &Collected) -> Result<Collected, Unreadable> {
    if codings.is_plain() {
        return Ok(content.without_trailers());
    }
    let mut text = Vec::new();
    for piece in content.chunks().iter().flat_map(|chunk| chunk.chunks(PIECE)) {
        text.extend(codings.decode(piece)?);
        if text.len() > MAX_CONTENT {
            return Err(Unreadable::Bomb);
        }
    }
    text.extend(codings.finish()?);
    Ok(Collected::from(text))
}

/// The fixed part of a gzip member's head, in bytes.
const FIXED_HEAD: usize = 10;
/// Coded bytes decoded at a time.
const PIECE: usize = 16 * 1024;

/// Whether coded content carries bytes of the client's choice that no decoder shows: an extra field, a name or a comment
/// in the head of any gzip member (RFC 1952 §2.3.1), a frame of zstd that is skipped (RFC 8878 §3.1.2). Metadata of
/// brotli is an error of its decoder. Lines between chunks are such bytes too.
fn hides_text(layers: &[Layer], content: &Collected) -> Result<bool, Unreadable> {
    let mut coded = content.chunks().concat();
    for (depth, layer) in layers.iter().enumerate() {
        let hides = match layer {
            Layer::Gzip => gzip_hides_text(&coded),
            Layer::Zstd => zstd_hides_text(&coded),
            Layer::Brotli | Layer::Deflate => false,
            _ => true,
        };
        if hides || depth + 1 == layers.len() {
            return Ok(hides);
        }
        // What lies under this coding is coded too.
        let one = [(header::CONTENT_ENCODING, HeaderValue::from_static(layer.name()))].into_iter().collect();
        coded = unfolded(Codings::of(&one)?, &Collected::from(coded))?.chunks().concat();
    }
    Ok(false)
}

/// The time, flags and system of every member must be the first one's, or many empty members could spell something.
fn gzip_hides_text(mut coded: &[u8]) -> bool {
    let first = coded.get(..FIXED_HEAD);
    while !coded.is_empty() {
        if coded.get(..FIXED_HEAD) != first {
            return true;
        }
        let mut member = GzDecoder::new(coded);
        if io::copy(&mut member, &mut io::sink()).is_err() {
            return true;
        }
        let hides = |head: &GzHeader| head.extra().or(head.filename()).or(head.comment()).is_some();
        if member.header().is_none_or(hides) {
            return true;
        }
        coded = member.into_inner();
    }
    false
}

fn zstd_hides_text(mut coded: &[u8]) -> bool {
    while !coded.is_empty() {
        let Ok(length) = zstd::zstd_safe::find_frame_compressed_size(coded) else { return true };
        // Magic numbers 0x184D2A50 to 0x184D2A5F, the lowest byte first.
        if matches!(coded, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) {
            return true;
        }
        coded = coded.get(length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder};
    use http::HeaderName;

    use super::*;

    fn gzip(builder: GzBuilder) -> Vec<u8> {
        let mut coder = builder.write(Vec::new(), Compression::default());
        coder.write_all(b"some text").unwrap();
        coder.finish().unwrap()
    }

    fn is_shown(coding: &str, content: Vec<u8>) -> bool {
        let name: HeaderName = header::CONTENT_ENCODING;
        let fields = HeaderMap::from_iter([(name, HeaderValue::from_str(coding).unwrap())]);
        decoded(&fields, &Collected::from(content)).is_ok()
    }

    #[test]
    fn nothing_travels_beside_what_coded_content_unfolds_to() {
        let plain = || gzip(GzBuilder::new());
        let frame = zstd::encode_all(&b"some text"[..], 3).unwrap();
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 6, 0, 0, 0][..], b"secret"].concat();
        assert!(is_shown("gzip", plain()));
        assert!(is_shown("gzip", [plain(), plain()].concat()));
        assert!(is_shown("zstd", [frame.clone(), frame.clone()].concat()));
        for hidden in [
            gzip(GzBuilder::new().comment("secret")),
            gzip(GzBuilder::new().filename("secret")),
            [plain(), gzip(GzBuilder::new().extra("secret"))].concat(),
        ] {
            assert!(!is_shown("gzip", hidden));
        }
        assert!(!is_shown("zstd", [&frame[..], &skipped].concat()));
        assert!(!is_shown("zstd", [&skipped[..], &frame].concat()));
        assert!(!is_shown("gzip", [plain(), gzip(GzBuilder::new().mtime(0x7365_6372))].concat()));
    }

    #[test]
    fn two_codings_are_undone_and_looked_into() {
        let twice = |inner: Vec<u8>| zstd::encode_all(&inner[..], 3).unwrap();
        assert!(is_shown("gzip, zstd", twice(gzip(GzBuilder::new()))));
        assert!(!is_shown("gzip, zstd", twice(gzip(GzBuilder::new().comment("secret")))));
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 6, 0, 0, 0][..], b"secret"].concat();
        assert!(!is_shown("gzip, zstd", [twice(gzip(GzBuilder::new())), skipped].concat()));
        assert!(!is_shown("gzip, gzip, zstd", twice(gzip(GzBuilder::new()))));
    }

    #[test]
    fn brotli_that_skips_bytes_is_not_shown() {
        assert!(is_shown("br", b"\xd0\x00\x10nothing to see\x03".to_vec()));
        assert!(!is_shown("br", b"\xac\x02secret\x03".to_vec()));
    }
}
