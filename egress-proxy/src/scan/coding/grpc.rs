//! gRPC messages: each has a flag that says whether it is compressed, and its length, in front (gRPC over HTTP/2,
//! "Length-Prefixed-Message").

use http::{HeaderMap, header::CONTENT_TYPE};

use super::{Layer, Skipped, Stage, Unreadable};

/// The messages of one stream, unfolded one after the other.
pub(super) struct Messages {
    /// As the field `grpc-encoding` names it.
    coding: String,
    prefix: Vec<u8>,
    /// What is left of the message that is being read, and what undoes its coding.
    message: Option<(u64, Option<Stage>)>,
}

impl Messages {
    /// For a gRPC stream whose messages may be compressed.
    pub(super) fn of(fields: &HeaderMap) -> Option<Messages> {
        if !fields.get(CONTENT_TYPE)?.as_bytes().starts_with(b"application/grpc") {
            return None;
        }
        let coding = fields.get("grpc-encoding")?.to_str().ok()?.trim();
        (coding != "identity").then(|| Messages { coding: coding.to_owned(), prefix: Vec::new(), message: None })
    }

    pub(super) fn layer(&self) -> Layer {
        Stage::named(&self.coding, Skipped::IsAnError).ok().flatten().map_or(Layer::Gzip, |stage| stage.layer)
    }

    pub(super) fn decode(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let Some((left, stage)) = &mut self.message else {
                let missing = (5 - self.prefix.len()).min(bytes.len());
                self.prefix.extend_from_slice(&bytes[..missing]);
                bytes = &bytes[missing..];
                self.begin()?;
                continue;
            };
            let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            match stage {
                Some(stage) => out.extend(stage.decode(&bytes[..here])?),
                None => out.extend_from_slice(&bytes[..here]),
            }
            bytes = &bytes[here..];
            *left -= here as u64;
            if *left == 0 {
                if let Some(stage) = stage {
                    out.extend(stage.finish()?);
                }
                self.message = None;
            }
        }
        Ok(out)
    }

    /// Whether the stream ends between two messages.
    pub(super) fn is_whole(&self) -> bool {
        self.message.is_none() && self.prefix.is_empty()
    }

    /// Begins a message when its prefix is there; an empty one is over at once.
    fn begin(&mut self) -> Result<(), Unreadable> {
        let [flag, a, b, c, d] = self.prefix[..] else { return Ok(()) };
        self.prefix.clear();
        let length = u64::from(u32::from_be_bytes([a, b, c, d]));
        let stage = match flag {
            0 => None,
            _ => Stage::named(&self.coding, Skipped::IsAnError)?,
        };
        if length > 0 {
            self.message = Some((length, stage));
        }
        Ok(())
    }
}
