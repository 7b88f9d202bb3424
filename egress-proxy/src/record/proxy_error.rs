//! The proxy error types of RFC 9209 §2.3, for records and for `Proxy-Status`. Ours are finer; each has one that comes
//! nearest. What is told a client names no next hop.

use http::HeaderValue;
use shared::record::Outcome;

/// How `Proxy-Status` calls us.
const NAME: &str = "egress-proxy";

/// The registered type for a word of ours.
pub fn of(error: &str, outcome: Outcome) -> &'static str {
    match error {
        "address_prohibited" => "destination_ip_prohibited",
        "bad_target" | "content_incomplete" | "content_slow" | "content_too_large" | "expectation" | "head_slow"
        | "http_protocol" | "misdirected" | "upgrade" | "websocket_protocol" => "http_request_error",
        "connection_refused" => "connection_refused",
        "connection_terminated" => "connection_terminated",
        "connection_timeout" => "connection_timeout",
        "credential_echoed" => "proxy_internal_response",
        "credential_missing" => "proxy_configuration_error",
        "destination_unavailable" => "destination_unavailable",
        "dns_error" => "dns_error",
        "http_protocol_error" => "http_protocol_error",
        "http_response_timeout" => "http_response_timeout",
        "proxy_configuration_error" => "proxy_configuration_error",
        "tls_certificate_error" => "tls_certificate_error",
        "tls_protocol_error" => "tls_protocol_error",
        _ => match outcome {
            Outcome::Blocked | Outcome::Denied => "http_request_denied",
            Outcome::Failed => "proxy_internal_error",
            Outcome::Aborted | Outcome::Completed => "proxy_internal_response",
        },
    }
}

/// What an answer of our own says in `Proxy-Status`; `details` is our finer word.
pub fn status(error: &'static str, outcome: Outcome) -> HeaderValue {
    let text = format!("{NAME}; error={}; details=\"{error}\"", of(error, outcome));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(NAME))
}

/// The field on an answer that refuses nothing and yet is ours.
pub const OWN_ANSWER: HeaderValue = HeaderValue::from_static("egress-proxy; error=proxy_internal_response");
