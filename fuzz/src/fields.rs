//! Fields: what concerns one connection, and what is the proxy's own, never passes.

use egress_proxy::{hop_by_hop, own_fields};
use http::{HeaderMap, HeaderName, HeaderValue};

/// `name: value`, one in a line.
pub(crate) fn run(input: &[u8]) {
    let mut fields = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    let own = fields.keys().any(|name| {
        let name = name.as_str();
        name == "x-exchange" || name.starts_with("x-pipelock-") || name.starts_with("pipelock-")
    });
    assert_eq!(own_fields::check(&fields).is_err(), own);
    let before = fields.clone();
    hop_by_hop::strip(&mut fields);
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "proxy-authorization"]
    {
        assert!(!fields.contains_key(name), "{name}");
    }
    assert!(fields.get("te").is_none_or(|te| te == "trailers"));
    // Framing and routing cannot be taken away.
    for name in ["host", "content-length", "content-type", "content-encoding"] {
        assert_eq!(fields.contains_key(name), before.contains_key(name), "{name}");
    }
    let once = fields.clone();
    hop_by_hop::strip(&mut fields);
    assert_eq!(fields, once);
}
