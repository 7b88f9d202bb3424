//! The client's direction of a WebSocket: every message is judged like content, control frames too, and only what is
//! judged is framed anew and goes on.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use shared::routes::ScanMode;

use super::{
    Agreement, FULL, Progress, WebSocketError,
    frame::{Event, Sender, TEXT, Written, write_control},
    messages::Messages,
    text::{NoText, Text},
};
use crate::scan::{ContentScan, Exemptions, Finding, Released, Scanner};

/// The client's direction of one WebSocket.
pub struct Outgoing {
    scanner: Arc<Scanner>,
    except: Exemptions,
    mode: ScanMode,
    messages: Messages,
    message: Option<Message>,
    found: Vec<Finding>,
}

/// The message that is on its way.
struct Message {
    /// `None`: nothing is judged.
    scan: Option<ContentScan>,
    /// `None`: it is binary.
    text: Option<Text>,
    written: Written,
}

impl Outgoing {
    pub fn new(scanner: Arc<Scanner>, except: Exemptions, mode: ScanMode, agreement: Agreement) -> Self {
        let messages = Messages::new(Sender::Client, agreement);
        Self { scanner, except, mode, messages, message: None, found: Vec::new() }
    }

    /// Takes bytes from the client; appends what may go on to `out`, and stops when that is much.
    ///
    /// # Errors
    /// A secret, text that is none, or bytes that are no WebSocket frames of a client.
    pub fn push(&mut self, bytes: &mut BytesMut, out: &mut BytesMut) -> Result<Progress, WebSocketError> {
        while out.len() < FULL {
            match self.messages.next(bytes)? {
                None => return Ok(Progress::Hungry),
                Some(Event::Begin { opcode, .. }) => {
                    let text = (opcode == TEXT).then(Text::default);
                    let written = Written::new(Sender::Client, opcode);
                    self.message = Some(Message { scan: self.scan(), text, written });
                }
                Some(Event::Content(content)) => self.judge(content, out)?,
                Some(Event::End) => self.end(out)?,
                Some(Event::Control { opcode, content }) => {
                    self.judge_whole(content.clone().freeze())?;
                    write_control(out, Sender::Client, opcode, &content);
                }
            }
        }
        Ok(Progress::Full)
    }

    /// What was found and let pass, where findings are only recorded.
    pub fn recorded(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.found)
    }

    fn scan(&self) -> Option<ContentScan> {
        let scan = || self.scanner.content(&HeaderMap::new(), self.except.clone());
        match self.mode {
            ScanMode::Off => None,
            ScanMode::Record => Some(scan().overlooking()),
            ScanMode::Block => Some(scan()),
        }
    }

    /// Judges the next bytes of a message; what may leave is framed.
    fn judge(&mut self, content: Bytes, out: &mut BytesMut) -> Result<(), WebSocketError> {
        let Some(mut message) = self.message.take() else { return Ok(()) };
        if let Some(Err(NoText(at))) = message.text.as_mut().map(|text| text.push(&content)) {
            return Err(self.no_text(message, content.slice(..at)));
        }
        match message.scan.take() {
            None => message.written.piece(out, &content),
            Some(mut scan) => {
                let verdict = scan.push(content);
                self.release(&mut message, scan, verdict, out)?;
            }
        }
        self.message = Some(message);
        Ok(())
    }

    /// Judges what is left of a message, and ends it.
    fn end(&mut self, out: &mut BytesMut) -> Result<(), WebSocketError> {
        let Some(mut message) = self.message.take() else { return Ok(()) };
        if message.text.as_ref().is_some_and(|text| !text.is_whole()) {
            return Err(self.no_text(message, Bytes::new()));
        }
        if let Some(mut scan) = message.scan.take() {
            let verdict = scan.finish();
            self.release(&mut message, scan, verdict, out)?;
        }
        message.written.end(out, &[]);
        Ok(())
    }

    /// Text stops being text after `rest`. What is found in it up to there says more.
    fn no_text(&mut self, message: Message, rest: Bytes) -> WebSocketError {
        let Some(mut scan) = message.scan else { return WebSocketError::Text };
        let verdict = scan.push(rest).and_then(|_| scan.finish());
        self.found.extend(scan.overlooked());
        verdict.err().map_or(WebSocketError::Text, WebSocketError::Found)
    }

    fn release(
        &mut self,
        message: &mut Message,
        mut scan: ContentScan,
        verdict: Result<Released, Finding>,
        out: &mut BytesMut,
    ) -> Result<(), WebSocketError> {
        self.found.extend(scan.overlooked());
        verdict.map_err(WebSocketError::Found)?.for_each(|bytes| message.written.piece(out, &bytes));
        message.scan = Some(scan);
        Ok(())
    }

    fn judge_whole(&mut self, content: Bytes) -> Result<(), WebSocketError> {
        let Some(mut scan) = self.scan() else { return Ok(()) };
        let verdict = scan.push(content).and_then(|_| scan.finish());
        self.found.extend(scan.overlooked());
        verdict.map(drop).map_err(WebSocketError::Found)
    }
}
