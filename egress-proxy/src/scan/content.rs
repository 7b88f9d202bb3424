//! A content on its way out: takes the chunks as they come, gives back those that may go.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use http::HeaderMap;

use super::{
    Exemptions, Finding, Place, Scanner,
    tape::{Stop, Tape},
};

/// The scan of one content. Gives every byte back in order, none before it is judged, and holds back at most
/// [`super::HOLD_BACK`] of them.
pub struct ContentScan {
    scanner: Arc<Scanner>,
    except: Exemptions,
    tape: Tape,
    held: VecDeque<Bytes>,
    /// Bytes that were given back.
    released: u64,
    stopped: Option<Finding>,
}

/// Bytes that may leave now, in order; slices of the chunks that came in.
#[derive(Debug, Default)]
pub struct Released(VecDeque<Bytes>);

impl Iterator for Released {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.0.pop_front()
    }
}

impl Scanner {
    /// Begins the scan of a content with these fields.
    pub fn content(self: &Arc<Self>, _fields: &HeaderMap, except: Exemptions) -> ContentScan {
        ContentScan {
            scanner: Arc::clone(self),
            except,
            tape: Tape::default(),
            held: VecDeque::new(),
            released: 0,
            stopped: None,
        }
    }
}

impl ContentScan {
    /// Takes the next chunk. After a finding nothing leaves any more: it is repeated at every call.
    pub fn push(&mut self, chunk: Bytes) -> Result<Released, Finding> {
        self.go_on()?;
        let verdict = self.tape.push(&self.scanner, &self.except, &chunk);
        self.held.push_back(chunk);
        self.release(verdict)
    }

    /// No more chunks come: judges and gives back what was held.
    pub fn finish(&mut self) -> Result<Released, Finding> {
        self.go_on()?;
        let verdict = self.tape.finish(&self.scanner, &self.except);
        self.release(verdict)
    }

    /// Judges the trailers that end the content.
    pub fn trailers(&self, fields: &HeaderMap) -> Result<(), Finding> {
        self.scanner.trailers(fields, &self.except)
    }

    /// Bytes that came in and were not given back.
    pub fn held(&self) -> u64 {
        self.held.iter().map(|chunk| chunk.len() as u64).sum()
    }

    /// Gives back what is held, unjudged: for where findings are recorded and nothing is stopped.
    pub fn give_up(self) -> Released {
        Released(self.held)
    }

    fn go_on(&self) -> Result<(), Finding> {
        self.stopped.clone().map_or(Ok(()), Err)
    }

    fn release(&mut self, verdict: Result<u64, Stop>) -> Result<Released, Finding> {
        let clear = match verdict {
            Ok(clear) => clear,
            Err(stop) => {
                let finding = self.scanner.finding(stop.found, Place::Content(stop.byte));
                self.stopped = Some(finding.clone());
                return Err(finding);
            }
        };
        let mut released = VecDeque::new();
        while let Some(mut chunk) = self.held.pop_front() {
            let may_go = clear - self.released;
            if chunk.len() as u64 <= may_go {
                self.released += chunk.len() as u64;
                released.push_back(chunk);
                continue;
            }
            if may_go > 0 {
                self.released += may_go;
                released.push_back(chunk.split_to(may_go as usize));
            }
            self.held.push_front(chunk);
            break;
        }
        Ok(Released(released))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Built from parts, so that no scanner takes this file for a leak.
    fn key() -> String {
        ["AK", "IA", "QYLPMN5HHHFPZAM2"].concat()
    }

    fn judge(text: &[u8], cut: usize) -> (Vec<u8>, Option<Finding>) {
        let scanner = Arc::new(Scanner::builtin());
        let mut scan = scanner.content(&HeaderMap::new(), Exemptions::default());
        let mut out = Vec::new();
        for chunk in text.chunks(cut.max(1)) {
            match scan.push(Bytes::copy_from_slice(chunk)) {
                Ok(released) => released.for_each(|bytes| out.extend_from_slice(&bytes)),
                Err(finding) => return (out, Some(finding)),
            }
            assert!(scan.held() <= crate::scan::HOLD_BACK as u64);
        }
        match scan.finish() {
            Ok(released) => released.for_each(|bytes| out.extend_from_slice(&bytes)),
            Err(finding) => return (out, Some(finding)),
        }
        (out, None)
    }

    #[test]
    fn clean_content_comes_back_byte_for_byte() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
        for cut in [1000, 4096, 70_000, text.len()] {
            assert_eq!(judge(&text, cut), (text.clone(), None));
        }
    }

    #[test]
    fn a_verdict_does_not_depend_on_the_cuts() {
        let text = format!("{}{{\"a\": \"b\\n{}\"}}{}", "lorem ".repeat(2000), key(), " ipsum".repeat(2000));
        let whole = judge(text.as_bytes(), text.len()).1.expect("the key is found");
        assert_eq!(whole.rule, "aws-access-key");
        for cut in (1..40).chain([4095, 4096, 12_012, 12_020]) {
            let (out, finding) = judge(text.as_bytes(), cut);
            assert_eq!(finding.as_ref(), Some(&whole), "cut at {cut}");
            assert!(out.len() <= 12_020 && text.as_bytes().starts_with(&out));
        }
    }

    #[test]
    fn encoded_secrets_are_found() {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let escaped: String = key().bytes().map(|byte| format!("\\u{:04x}", byte)).collect();
        let percent: String = key().bytes().map(|byte| format!("%{byte:02X}")).collect();
        let mut forms = vec![escaped, percent];
        for lead in ["", " ", ": "] {
            forms.push(BASE64_STANDARD.encode(format!("{lead}{} and more", key())));
            forms.push(BASE64_STANDARD.encode(BASE64_STANDARD.encode(format!("{lead}{} and more", key()))));
        }
        forms.push(key().bytes().map(|byte| format!("{byte:02x}")).collect());
        forms.push(key().bytes().map(|byte| format!("{byte:02X}")).collect());
        for form in forms {
            let text = format!("{{\"some\": \"{form}\"}}");
            let finding = judge(text.as_bytes(), 100).1;
            assert_eq!(finding.map(|finding| finding.rule).as_deref(), Some("aws-access-key"), "{text}");
        }
    }
}
