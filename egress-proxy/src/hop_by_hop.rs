//! Fields that speak of one connection only, and so are never forwarded. RFC 9110 §7.6.1.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Removes hop-by-hop fields, and those that `Connection` names, from a head that is about to be forwarded.
///
/// `TE: trailers` stays: it says that the client takes trailers, which we pass on (RFC 9110 §10.1.4, needed by gRPC).
pub fn strip(fields: &mut HeaderMap) {
    // Most heads have none, and a look at each name costs less than looking for each of ours.
    if !fields.keys().any(|name| HOP_BY_HOP.contains(name)) {
        return;
    }
    let named: Vec<HeaderName> = fields
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| !END_TO_END.contains(name))
        .collect();
    for name in named {
        fields.remove(name);
    }
    let takes_trailers = fields
        .get_all(header::TE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| coding.trim().eq_ignore_ascii_case("trailers"));
    for name in HOP_BY_HOP {
        fields.remove(name);
    }
    if takes_trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Removes fields that few messages have: a look at each name costs less than looking for each of these.
pub fn remove_rare(fields: &mut HeaderMap, rare: &[HeaderName]) {
    if fields.keys().any(|name| rare.contains(name)) {
        for name in rare {
            fields.remove(name);
        }
    }
}

/// A `Connection` field cannot take these away: framing and routing depend on them.
const END_TO_END: [HeaderName; 4] =
    [header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE, header::CONTENT_ENCODING];

const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_one_connection_does_not_pass() {
        let mut fields = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Named, host"),
            ("x-named", "1"),
            ("keep-alive", "5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("host", "a.example"),
            ("accept", "*/*"),
        ] {
            fields.append(name, HeaderValue::from_static(value));
        }
        strip(&mut fields);
        let left: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(left, [("host", "a.example"), ("accept", "*/*"), ("te", "trailers")]);
    }
}
