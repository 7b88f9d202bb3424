//! The request target and the host that a request names: what is accepted has one host and one port.

use egress_proxy::target::{RequestTarget, named_authority, path_and_query};
use http::{HeaderMap, HeaderValue, Method, Uri, header};

/// `METHOD TARGET HOST…`, one in a line.
pub(crate) fn run(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let method = Method::from_bytes(lines.next().unwrap_or_default()).unwrap_or_default();
    let Ok(uri) = Uri::try_from(lines.next().unwrap_or_default()) else { return };
    let mut fields = HeaderMap::new();
    for value in lines.filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        fields.append(header::HOST, value);
    }
    match RequestTarget::of(&method, &uri) {
        Ok(RequestTarget::Tunnel(authority)) => {
            assert_eq!(method, Method::CONNECT);
            assert!(uri.scheme().is_none() && authority.port != 0, "{uri}");
        }
        Ok(RequestTarget::Absolute { authority, .. }) => {
            assert_eq!(uri.scheme_str(), Some("http"));
            assert!(authority.port != 0 && !uri.authority().is_some_and(|text| text.as_str().contains('@')), "{uri}");
        }
        Err(_) => {}
    }
    if let Ok(named) = named_authority(&uri, &fields, 443) {
        assert!(fields.get_all(header::HOST).iter().count() <= 1);
        for text in
            [fields.get(header::HOST).and_then(|value| value.to_str().ok()), uri.authority().map(|a| a.as_str())]
        {
            assert!(text.is_none_or(|text| !text.contains(['@', '/'])), "{text:?} was read as {named}");
        }
    }
    let sent = path_and_query(&uri);
    assert!(!sent.as_str().contains(['\r', '\n', ' ', '\0']), "{sent}");
}
