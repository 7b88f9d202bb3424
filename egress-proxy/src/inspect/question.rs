//! The question that the inspector is asked: the agent's request in absolute form for the inner face, its trailers as
//! fields, its content decoded.

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

/// The content as the inspector shall read it: with every coding undone.
///
/// # Errors
/// A coding that cannot be undone, or that would hide something.
pub fn decoded(fields: &HeaderMap, content: &Collected) -> Result<Collected, InspectError> {
    let mut codings = Codings::of(fields)?;
    if codings.is_plain() {
        return Ok(content.clone());
    }
    if codings.layers().contains(&Layer::Gzip) && has_optional_fields(content) {
        return Err(InspectError::Coding(Unreadable::Invalid(Layer::Gzip)));
    }
    let mut text = Vec::new();
    for piece in content.chunks().iter().flat_map(|chunk| chunk.chunks(PIECE)) {
        text.extend(codings.decode(piece)?);
        if text.len() > MAX_CONTENT {
            return Err(InspectError::Coding(Unreadable::Bomb));
        }
    }
    text.extend(codings.finish()?);
    Ok(Collected::from(text).with_trailers(content.trailers.clone()))
}

/// Coded bytes decoded at a time.
const PIECE: usize = 16 * 1024;

/// Whether a gzip head carries text of its own (RFC 1952 §2.3.1: extra field, name, comment), which no decoder shows.
fn has_optional_fields(content: &Collected) -> bool {
    const OPTIONAL: u8 = 0b1_1100;
    let mut head = content.chunks().iter().flatten().copied();
    let (first, second, flags) = (head.next(), head.next(), head.nth(1));
    first == Some(0x1f) && second == Some(0x8b) && flags.is_some_and(|flags| flags & OPTIONAL != 0)
}
