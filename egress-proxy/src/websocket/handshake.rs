//! The opening handshake in its two forms: an HTTP/1.1 upgrade (RFC 6455 §4) and an extended CONNECT of h2 (RFC 8441).
//! Inside the proxy a handshake is always the GET of the former, so that it is judged as the same request; what goes to
//! an origin is written in the form that its connection speaks.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, Method, Request, header};
use hyper::ext::Protocol;

/// RFC 6455 §1.3.
const ACCEPT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const WEBSOCKET: &str = "websocket";

/// Reads an extended CONNECT for WebSocket as the GET that it stands for. Any other CONNECT stays one.
pub fn translate<B>(request: &mut Request<B>) {
    let protocol = request.extensions().get::<Protocol>();
    if request.method() == Method::CONNECT && protocol.is_some_and(|protocol| protocol.as_str() == WEBSOCKET) {
        *request.method_mut() = Method::GET;
        ask(request.headers_mut());
    }
}

/// A handshake of our own with an origin. Its key is fresh: the client's says nothing about the connection to the origin.
#[derive(Clone, Copy, Debug)]
pub struct Handshake([u8; 16]);

impl Handshake {
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Writes a request as an upgrade.
    pub fn as_upgrade<B>(self, request: &mut Request<B>) {
        request.extensions_mut().remove::<Protocol>();
        *request.method_mut() = Method::GET;
        ask(request.headers_mut());
        if let Ok(key) = HeaderValue::from_str(&self.key()) {
            request.headers_mut().insert(header::SEC_WEBSOCKET_KEY, key);
        }
    }

    /// Writes a request as an extended CONNECT.
    pub fn as_connect<B>(self, request: &mut Request<B>) {
        request.extensions_mut().insert(Protocol::from_static(WEBSOCKET));
        *request.method_mut() = Method::CONNECT;
        for name in [header::CONNECTION, header::UPGRADE, header::SEC_WEBSOCKET_KEY] {
            request.headers_mut().remove(name);
        }
    }

    /// Whether an answer's fields prove that the origin understood the upgrade.
    pub fn is_answered_by(self, fields: &HeaderMap) -> bool {
        let accept = fields.get(header::SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        accept == Some(digest(self.key().as_bytes()).as_bytes())
    }

    fn key(self) -> String {
        BASE64_STANDARD.encode(self.0)
    }
}

/// What answers a client's key.
pub fn accept(key: &HeaderValue) -> Option<HeaderValue> {
    HeaderValue::from_str(&digest(key.as_bytes())).ok()
}

fn digest(key: &[u8]) -> String {
    let text = [key, ACCEPT].concat();
    BASE64_STANDARD.encode(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &text))
}

/// Writes the two fields that are stripped as hop-by-hop and that a hop says itself.
pub fn ask(fields: &mut HeaderMap) {
    fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static(WEBSOCKET));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_as_the_standard_shows() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
