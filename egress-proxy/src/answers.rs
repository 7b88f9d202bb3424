//! Secrets that come in: an answer is judged beside its stream, by the rules for what leaves, and what is found is
//! recorded. It must never change, delay or stop an answer; it is shown what passes anyway.
//!
//! One finding in the fields, one in the content and one in the trailers are enough to tell that an origin hands out
//! secrets, so that an answer costs no more room than a few pages, whatever is in it.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use shared::routes::ScanMode;

use crate::{
    policy::RequestPermit,
    record::Recording,
    scan::{ContentScan, Exemptions, Finding, Scanner},
    settings::AnswerMode,
};

/// The scan of one answer.
pub struct AnswerScan {
    scanner: Arc<Scanner>,
    except: Exemptions,
    /// `None` before the content begins, and once something was found in it.
    content: Option<ContentScan>,
    recording: Arc<Recording>,
}

impl AnswerScan {
    /// For an answer to a permitted request, where answers are scanned and the route has a scan.
    pub fn of(permit: &RequestPermit, recording: &Arc<Recording>) -> Option<Self> {
        let wanted = permit.answers() == AnswerMode::Record && permit.scan() != ScanMode::Off;
        wanted.then(|| Self {
            scanner: permit.scanner().clone(),
            except: permit.exemptions().clone(),
            content: None,
            recording: recording.clone(),
        })
    }

    /// Judges the answer's fields; they say how its content is coded.
    pub fn begin(&mut self, fields: &HeaderMap) {
        self.note(self.scanner.answer_fields(fields, &self.except));
        self.content = Some(self.scanner.content(fields, self.except.clone()));
    }

    /// Judges the next bytes of the content.
    pub fn push(&mut self, chunk: &Bytes) {
        let Some(mut content) = self.content.take() else { return };
        match content.push(chunk.clone()) {
            Ok(_) => self.content = Some(content),
            Err(finding) => self.note(Err(finding)),
        }
    }

    /// Judges what is left of the content, which has ended.
    pub fn finish(&mut self) {
        if let Some(mut content) = self.content.take() {
            self.note(content.finish().map(drop));
        }
    }

    pub fn trailers(&self, fields: &HeaderMap) {
        self.note(self.scanner.trailers(fields, &self.except));
    }

    fn note(&self, judged: Result<(), Finding>) {
        if let Err(finding) = judged {
            self.recording.note(|draft| draft.answer_findings.push(finding));
        }
    }
}
