//! The messages of one direction, inflated where they are compressed, in pieces of bounded size.

use bytes::BytesMut;

use super::{
    Agreement, WebSocketError,
    deflate::Inflater,
    frame::{Compression, Event, Frames, Sender},
};

pub(super) struct Messages {
    sender: Sender,
    frames: Frames,
    inflater: Option<Inflater>,
    /// Whether the message that is being read is compressed.
    inflating: bool,
}

impl Messages {
    pub(super) fn new(sender: Sender, agreement: Agreement) -> Self {
        let (compression, inflater) = match agreement {
            Agreement::Deflate => (Compression::Agreed, Some(Inflater::new())),
            Agreement::Nothing => (Compression::Off, None),
        };
        Self { sender, frames: Frames::new(sender, compression), inflater, inflating: false }
    }

    /// Reads on; `None` until more bytes are there. What cannot be used yet stays in `bytes` or waits to be inflated.
    pub(super) fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Event>, WebSocketError> {
        loop {
            let inflater = self.inflater.as_mut().filter(|_| self.inflating);
            if let Some(inflater) = inflater {
                let piece = inflater.next().map_err(|what| WebSocketError::Frame { sender: self.sender, what })?;
                if let Some(piece) = piece {
                    return Ok(Some(Event::Content(piece.into())));
                }
                if inflater.is_over() {
                    self.inflating = false;
                    return Ok(Some(Event::End));
                }
            }
            let event = self.frames.next(bytes)?;
            match (event, &mut self.inflater) {
                (Some(Event::Begin { opcode, compressed: true }), Some(inflater)) => {
                    inflater.begin();
                    self.inflating = true;
                    return Ok(Some(Event::Begin { opcode, compressed: true }));
                }
                (Some(Event::Content(content)), Some(inflater)) if self.inflating => inflater.push(&content),
                (Some(Event::End), Some(inflater)) if self.inflating => inflater.end(),
                (event, _) => return Ok(event),
            }
        }
    }
}
