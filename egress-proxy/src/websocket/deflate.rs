//! permessage-deflate (RFC 7692): what of it may be offered and agreed on, and compressed messages inflated in bounded
//! memory. Nothing is ever compressed here.

use bytes::BytesMut;
use flate2::{Decompress, FlushDecompress, Status};
use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};

/// The extension's name.
const NAME: &str = "permessage-deflate";
/// What a message ends with that its sender leaves out (RFC 7692 §7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// What is inflated at a time, in bytes.
const PIECE: usize = 16 * 1024;
/// A message may unfold to this size whatever its ratio.
const FREE: u64 = 16 << 20;
/// Beyond that, to this many times the size that was sent.
const RATIO: u64 = 200;

/// What a client offered that the proxy can take part in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offers {
    Deflate,
    Nothing,
}

/// What the two ends agreed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Agreement {
    Deflate,
    Nothing,
}

impl Offers {
    /// Leaves of a handshake's offers those that can be judged: both legs then agree on the same.
    pub fn keep(fields: &mut HeaderMap) -> Self {
        let offers: Vec<String> = elements(fields).into_iter().filter(|offer| is_deflate(offer, Side::Offer)).collect();
        fields.remove(SEC_WEBSOCKET_EXTENSIONS);
        match HeaderValue::from_str(&offers.join(", ")) {
            Ok(value) if !offers.is_empty() => {
                fields.insert(SEC_WEBSOCKET_EXTENSIONS, value);
                Self::Deflate
            }
            _ => Self::Nothing,
        }
    }

    /// What an origin's answer to these offers means.
    ///
    /// # Errors
    /// It agrees on what was not offered.
    pub fn answered(self, fields: &HeaderMap) -> Result<Agreement, &'static str> {
        match (&elements(fields)[..], self) {
            ([], _) => Ok(Agreement::Nothing),
            ([agreed], Self::Deflate) if is_deflate(agreed, Side::Answer) => Ok(Agreement::Deflate),
            _ => Err("it agrees on an extension that was not offered"),
        }
    }
}

/// The elements of the field, which no value that matters here could make longer by quoting a comma.
fn elements(fields: &HeaderMap) -> Vec<String> {
    let values = fields.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
    let listed = values.flat_map(|value| value.to_str().unwrap_or("?").split(','));
    listed.map(|element| element.trim().to_owned()).filter(|element| !element.is_empty()).collect()
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Offer,
    Answer,
}

/// Whether this is the extension with parameters that it knows (RFC 7692 §7.1).
fn is_deflate(element: &str, side: Side) -> bool {
    let mut parts = element.split(';').map(str::trim);
    let mut seen = Vec::new();
    parts.next() == Some(NAME)
        && parts.all(|parameter| {
            let (name, value) = match parameter.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
                None => (parameter, None),
            };
            let new = !seen.contains(&name);
            seen.push(name);
            let bits = value.map(|value| value.parse::<u8>().is_ok_and(|bits| (8..=15).contains(&bits)));
            new && match name {
                "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
                "server_max_window_bits" => bits == Some(true),
                "client_max_window_bits" => bits.unwrap_or(side == Side::Offer),
                _ => false,
            }
        })
}

/// The compressed messages of one direction. The window goes over from one to the next: a sender that does not use it
/// is understood as well.
pub(super) struct Inflater {
    window: Decompress,
    /// Bytes of the message that wait to be inflated.
    waiting: BytesMut,
    /// Whether the whole message is there.
    whole: bool,
    read: u64,
    written: u64,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { window: Decompress::new(false), waiting: BytesMut::new(), whole: false, read: 0, written: 0 }
    }

    pub(super) fn begin(&mut self) {
        (self.whole, self.read, self.written) = (false, 0, 0);
    }

    /// Takes the next bytes of a message.
    pub(super) fn push(&mut self, content: &[u8]) {
        self.read += content.len() as u64;
        self.waiting.extend_from_slice(content);
    }

    /// Takes the end of a message.
    pub(super) fn end(&mut self) {
        self.waiting.extend_from_slice(&TAIL);
        self.whole = true;
    }

    /// The next piece of what the message unfolds to; `None` until there is more of it, or at its end.
    ///
    /// # Errors
    /// The bytes are not compressed as they should be, or unfold to too much.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, &'static str> {
        let mut piece = Vec::with_capacity(PIECE);
        loop {
            let before = self.window.total_in();
            let status = self.window.decompress_vec(&self.waiting, &mut piece, FlushDecompress::Sync);
            let taken = (self.window.total_in() - before) as usize;
            let _inflated = self.waiting.split_to(taken);
            match status {
                // A block that calls itself the last one ends a deflate stream, not a message (RFC 7692 §7.2.3.4).
                Ok(Status::StreamEnd) => self.window.reset(false),
                Ok(_) => {}
                // What it unfolds to before is judged first, and the error stays.
                Err(_) if !piece.is_empty() => {}
                Err(_) => return Err("a message that is not compressed as agreed on"),
            }
            if !piece.is_empty() {
                break;
            }
            if taken == 0 {
                return Ok(None);
            }
        }
        self.written += piece.len() as u64;
        if self.written > FREE && self.written > self.read * RATIO {
            return Err("a compressed message that unfolds to more than 200 times its size");
        }
        Ok(Some(piece))
    }

    /// Whether the message is over, once nothing more comes out of it.
    pub(super) fn is_over(&self) -> bool {
        self.whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(value: &'static str) -> (Offers, Option<String>) {
        let mut fields = HeaderMap::new();
        fields.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(value));
        let offers = Offers::keep(&mut fields);
        (offers, fields.get(SEC_WEBSOCKET_EXTENSIONS).map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn only_offers_that_can_be_judged_go_on() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=\"10\"",
        ] {
            assert_eq!(kept(offer), (Offers::Deflate, Some(offer.to_owned())));
        }
        for offer in [
            "permessage-bzip2",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; x-own=1",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
            "x-webkit-deflate-frame",
        ] {
            assert_eq!(kept(offer), (Offers::Nothing, None), "{offer}");
        }
        let both = kept("permessage-bzip2, permessage-deflate");
        assert_eq!(both, (Offers::Deflate, Some("permessage-deflate".to_owned())));
    }

    #[test]
    fn an_origin_agrees_on_what_was_offered_or_on_nothing() {
        let answered = |offers: Offers, value: &'static str| {
            let mut fields = HeaderMap::new();
            if !value.is_empty() {
                fields.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(value));
            }
            offers.answered(&fields)
        };
        assert_eq!(answered(Offers::Deflate, ""), Ok(Agreement::Nothing));
        assert_eq!(answered(Offers::Deflate, "permessage-deflate"), Ok(Agreement::Deflate));
        assert!(answered(Offers::Nothing, "permessage-deflate").is_err());
        assert!(answered(Offers::Deflate, "permessage-deflate, permessage-deflate").is_err());
        assert!(answered(Offers::Deflate, "permessage-deflate; client_max_window_bits").is_err());
        assert!(answered(Offers::Deflate, "other").is_err());
    }
}
