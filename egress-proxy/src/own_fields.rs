//! Field names that are the proxy's own between its two faces: from an agent they are refused, never passed and never
//! silently dropped.

use http::HeaderMap;
use thiserror::Error;

/// Refuses `X-Exchange`, `X-Pipelock-*` and `Pipelock-*`.
///
/// # Errors
/// The first such field.
pub fn check(fields: &HeaderMap) -> Result<(), OwnField> {
    let own = |name: &&http::HeaderName| {
        let name = name.as_str();
        name == "x-exchange" || name.starts_with("x-pipelock-") || name.starts_with("pipelock-")
    };
    fields.keys().find(own).map_or(Ok(()), |name| Err(OwnField(name.to_string())))
}

/// A field that only the proxy may write.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("the field `{0}` belongs to the proxy")]
pub struct OwnField(pub String);
