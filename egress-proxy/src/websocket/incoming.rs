//! The origin's direction of a WebSocket on a route that injects a credential: the value is masked in every message and
//! control frame, however the origin cuts them. What could begin a value is held back to the end of its message and no
//! further; a value over two messages is none.

use bytes::{Bytes, BytesMut};

use super::{
    Agreement, FULL, Progress, WebSocketError,
    frame::{Event, Sender, Written, write_control},
    messages::Messages,
};
use crate::mask::Mask;

/// The origin's direction of one WebSocket.
pub struct Incoming {
    mask: Mask,
    messages: Messages,
    message: Option<Written>,
    masked: usize,
}

impl Incoming {
    pub fn new(mask: Mask, agreement: Agreement) -> Self {
        Self { mask, messages: Messages::new(Sender::Origin, agreement), message: None, masked: 0 }
    }

    /// Takes bytes from the origin; appends what may go on to `out`, and stops when that is much.
    ///
    /// # Errors
    /// Bytes that are no WebSocket frames of a server.
    pub fn push(&mut self, bytes: &mut BytesMut, out: &mut BytesMut) -> Result<Progress, WebSocketError> {
        while out.len() < FULL {
            match self.messages.next(bytes)? {
                None => return Ok(Progress::Hungry),
                Some(Event::Begin { opcode, .. }) => self.message = Some(Written::new(Sender::Origin, opcode)),
                Some(Event::Content(content)) => self.pass(content, out)?,
                Some(Event::End) => {
                    let (held, masked) = self.mask.finish();
                    self.masked += masked;
                    if let Some(message) = self.message.take() {
                        message.end(out, &held);
                    }
                }
                Some(Event::Control { opcode, mut content }) => {
                    self.masked += self.mask.whole(&mut content);
                    write_control(out, Sender::Origin, opcode, &content);
                }
            }
        }
        Ok(Progress::Full)
    }

    /// How many bytes were masked since this was asked last.
    pub fn masked(&mut self) -> usize {
        std::mem::take(&mut self.masked)
    }

    fn pass(&mut self, content: Bytes, out: &mut BytesMut) -> Result<(), WebSocketError> {
        let (content, masked) = self.mask.push(content)?;
        self.masked += masked;
        if let Some(message) = &mut self.message {
            message.piece(out, &content);
        }
        Ok(())
    }
}
