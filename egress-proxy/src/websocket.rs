//! WebSocket (RFC 6455) as the proxy takes part in it: what the client says is judged message by message and framed
//! anew, what the origin says is masked message by message where a credential was injected.
//!
//! Over HTTP/1.1 or h2 makes no difference here: `handshake.rs` speaks both, and what follows are the same frames.
//! Compressed messages (RFC 7692) are inflated to be judged or masked and go on as plain ones, which the extension
//! allows at any time: so what was judged is what is sent, and nobody's reading of a window matters.
//!
//! Secrets that a client spreads over several messages are not put together.

mod deflate;
mod frame;
mod handshake;
mod incoming;
mod messages;
mod outgoing;
mod text;

use thiserror::Error;

pub use self::{
    deflate::{Agreement, Offers},
    frame::{PAYLOAD, POLICY, PROTOCOL, close},
    handshake::{Handshake, accept, ask, translate},
    incoming::Incoming,
    outgoing::Outgoing,
};
use crate::{mask::EchoError, scan::Finding};

/// What came of the bytes that a direction was given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// All of them were taken.
    Hungry,
    /// There is enough to send on first.
    Full,
}

/// So many bytes are written on before more are unfolded.
const FULL: usize = 128 * 1024;

/// Why a WebSocket ends.
#[derive(Debug, Error)]
pub enum WebSocketError {
    #[error(transparent)]
    Echo(#[from] EchoError),
    #[error("{0}")]
    Found(Finding),
    #[error("the {sender} sent {what}")]
    Frame { sender: frame::Sender, what: &'static str },
    /// RFC 6455 §8.1.
    #[error("the client sent text that is not UTF-8")]
    Text,
}

#[cfg(test)]
mod tests;
