//! A content on its way out: takes the chunks as they come, gives back those that may go.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use http::HeaderMap;

use super::{
    Exemptions, Finding, Layer, Place, Scanner,
    coding::{Codings, Unreadable},
    finding::UNREADABLE,
    tape::{Asked, Overlook, Stop, Tape},
};

/// How much coded content is decoded at a time: a step unfolds to a megabyte at most.
const STEP: usize = 1024;
/// So many bytes tell whether a content is compressed although no field says so.
const MAGIC: u64 = 4;

/// The scan of one content. Gives every byte back in order, none before it is judged, and holds back at most
/// [`super::HOLD_BACK`] of them (and of a coded content what its coding needs to unfold them).
pub struct ContentScan {
    scanner: Arc<Scanner>,
    asked: Asked,
    /// The content as sent.
    plain: Tape,
    coded: Coded,
    held: VecDeque<Bytes>,
    /// Bytes that came in.
    taken: u64,
    /// Bytes that were given back.
    released: u64,
    stopped: Option<Finding>,
    /// What was let pass and is to be told.
    overlooked: Option<Finding>,
}

/// What a coded content unfolds to.
enum Coded {
    /// No field names a coding; the first bytes are still awaited.
    Perhaps(Vec<u8>),
    Plain,
    /// A field names a coding that cannot be read.
    Unreadable(Unreadable),
    Unfolding(Box<Unfolding>),
}

struct Unfolding {
    codings: Codings,
    /// Whether a field names the coding, so that it is an error when it does not fit.
    declared: bool,
    tape: Tape,
    unfolded: u64,
    /// After how many bytes as sent how many unfolded ones were there.
    steps: VecDeque<(u64, u64)>,
    clear: u64,
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
    /// Begins the scan of a content with these fields (`Content-Encoding` matters).
    pub fn content(self: &Arc<Self>, fields: &HeaderMap, except: Exemptions) -> ContentScan {
        let coded = match Codings::of(fields) {
            Ok(codings) if codings.is_plain() => Coded::Perhaps(Vec::new()),
            Ok(codings) => Coded::Unfolding(Box::new(Unfolding::new(codings, true))),
            Err(error) => Coded::Unreadable(error),
        };
        ContentScan {
            scanner: Arc::clone(self),
            asked: Asked { except, overlook: Overlook::Nothing },
            plain: Tape::default(),
            coded,
            held: VecDeque::new(),
            taken: 0,
            released: 0,
            stopped: None,
            overlooked: None,
        }
    }
}

impl ContentScan {
    /// Lets pass what is found, for where findings are only recorded. After the first one nothing is looked for but the
    /// proxy's own values, which stop any content.
    pub fn overlooking(mut self) -> ContentScan {
        self.asked.overlook = Overlook::First(self.scanner.all_but_guarded());
        self
    }

    /// What was let pass, once.
    pub fn overlooked(&mut self) -> Option<Finding> {
        self.overlooked.take()
    }

    /// Takes the next chunk. After a finding nothing leaves any more: it is repeated at every call.
    pub fn push(&mut self, chunk: Bytes) -> Result<Released, Finding> {
        self.go_on()?;
        let verdict = self.judge(&chunk);
        self.held.push_back(chunk);
        self.release(verdict)
    }

    /// No more chunks come: judges and gives back what was held.
    pub fn finish(&mut self) -> Result<Released, Finding> {
        self.go_on()?;
        let verdict = self.judge_rest();
        self.release(verdict)
    }

    fn judge(&mut self, chunk: &[u8]) -> Result<u64, Finding> {
        let mut clear = self.released;
        let mut rest = chunk;
        while !rest.is_empty() {
            // What turns out to be plain is judged as it came from there on.
            let step = if matches!(self.coded, Coded::Plain) { rest.len() } else { STEP.min(rest.len()) };
            let (bytes, more) = rest.split_at(step);
            rest = more;
            self.taken += bytes.len() as u64;
            let plain = self.plain.push(&self.scanner, &mut self.asked, bytes);
            clear = plain.map_err(|stop| self.scanner.found(stop, &[]))?;
            self.tell(|_| Vec::new());
            if let Some(unfolded) = self.unfold(bytes)? {
                clear = clear.min(unfolded);
            }
        }
        Ok(clear)
    }

    fn judge_rest(&mut self) -> Result<u64, Finding> {
        let plain = self.plain.finish(&self.scanner, &mut self.asked);
        plain.map_err(|stop| self.scanner.found(stop, &[]))?;
        self.tell(|_| Vec::new());
        if let Coded::Unfolding(unfolding) = &mut self.coded {
            let verdict = unfolding.finish(&self.scanner, &mut self.asked);
            self.tell(Coded::layers);
            verdict.or_else(|finding| self.overlook(finding))?;
        }
        Ok(self.taken)
    }

    /// Writes down what a tape let pass.
    fn tell(&mut self, codings: fn(&Coded) -> Vec<Layer>) {
        if let Overlook::Passed(passed) = &mut self.asked.overlook
            && let Some(stop) = passed.take()
        {
            self.overlooked = Some(self.scanner.found(stop, &codings(&self.coded)));
        }
    }

    /// Lets a finding pass that is none of a tape's, where findings do.
    fn overlook(&mut self, finding: Finding) -> Result<(), Finding> {
        if finding.is_guarded_value() {
            return Err(finding);
        }
        match std::mem::replace(&mut self.asked.overlook, Overlook::Passed(None)) {
            Overlook::First(covered) => {
                self.asked.except = covered;
                self.overlooked = Some(finding);
            }
            Overlook::Passed(_) => {}
            Overlook::Nothing => {
                self.asked.overlook = Overlook::Nothing;
                return Err(finding);
            }
        }
        Ok(())
    }

    /// Unfolds and judges the next bytes of a coded content: as far as these bytes, it may leave.
    fn unfold(&mut self, bytes: &[u8]) -> Result<Option<u64>, Finding> {
        let mut first = Vec::new();
        if let Coded::Perhaps(begin) = &mut self.coded {
            begin.extend_from_slice(bytes);
            if self.taken < MAGIC {
                return Ok(None);
            }
            first = std::mem::take(begin);
            self.coded = match Codings::sniffed(&first) {
                Some(codings) => Coded::Unfolding(Box::new(Unfolding::new(codings, false))),
                None => Coded::Plain,
            };
        }
        let bytes = if first.is_empty() { bytes } else { &first };
        let verdict = match &mut self.coded {
            Coded::Plain | Coded::Perhaps(_) => return Ok(None),
            Coded::Unreadable(error) => Err(unreadable(error)),
            Coded::Unfolding(unfolding) => {
                let verdict = unfolding.push(&self.scanner, &mut self.asked, bytes, self.taken);
                self.tell(Coded::layers);
                verdict
            }
        };
        match verdict {
            Ok(Some(clear)) => return Ok(Some(clear)),
            Ok(None) => {}
            Err(finding) => self.overlook(finding)?,
        }
        // It is judged as sent alone.
        self.coded = Coded::Plain;
        Ok(None)
    }

    /// Judges the trailers that end the content.
    pub fn trailers(&mut self, fields: &HeaderMap) -> Result<(), Finding> {
        let verdict = self.scanner.trailers(fields, &self.asked.except);
        verdict.or_else(|finding| {
            self.overlook(finding)?;
            // What may pass may hide another.
            self.scanner.trailers(fields, &self.asked.except)
        })
    }

    /// Bytes that came in and were not given back.
    pub fn held(&self) -> u64 {
        self.held.iter().map(|chunk| chunk.len() as u64).sum()
    }

    fn go_on(&self) -> Result<(), Finding> {
        self.stopped.clone().map_or(Ok(()), Err)
    }

    fn release(&mut self, verdict: Result<u64, Finding>) -> Result<Released, Finding> {
        let clear = match verdict {
            Ok(clear) => clear,
            Err(finding) => {
                self.stopped = Some(finding.clone());
                return Err(finding);
            }
        };
        let mut released = VecDeque::new();
        while let Some(mut chunk) = self.held.pop_front() {
            let may_go = clear.saturating_sub(self.released);
            if chunk.len() as u64 <= may_go {
                self.released += chunk.len() as u64;
                released.push_back(chunk);
                continue;
            }
            if may_go > 0 {
                self.released += may_go;
                released.push_back(chunk.split_to(may_go as usize));
            }
            // What is left of a long chunk would keep all of it in memory.
            let is_most = chunk.len() as u64 > may_go;
            self.held.push_front(if is_most { chunk } else { Bytes::copy_from_slice(&chunk) });
            break;
        }
        Ok(Released(released))
    }
}

impl Coded {
    /// What is undone to see the text.
    fn layers(&self) -> Vec<Layer> {
        match self {
            Coded::Unfolding(unfolding) => unfolding.codings.layers(),
            Coded::Perhaps(_) | Coded::Plain | Coded::Unreadable(_) => Vec::new(),
        }
    }
}

impl Unfolding {
    fn new(codings: Codings, declared: bool) -> Unfolding {
        Unfolding { codings, declared, tape: Tape::default(), unfolded: 0, steps: VecDeque::new(), clear: 0 }
    }

    /// As far as which byte as sent it may leave; `None` when it turns out not to be coded after all.
    fn push(&mut self, scanner: &Scanner, asked: &mut Asked, bytes: &[u8], taken: u64) -> Result<Option<u64>, Finding> {
        let text = match self.codings.decode(bytes) {
            Ok(text) => text,
            Err(error) if self.is_refused(&error) => return Err(unreadable(&error)),
            // It is judged as sent from here on; what it unfolded to until here is judged to its end.
            Err(_) => {
                let text = self.codings.salvage();
                return self.judge_last(scanner, asked, &text).map(|()| None);
            }
        };
        self.unfolded += text.len() as u64;
        self.steps.push_back((taken, self.unfolded));
        let clear = self.tape.push(scanner, asked, &text).map_err(|stop| self.found(scanner, stop))?;
        while let Some((sent, _)) = self.steps.pop_front_if(|(_, unfolded)| *unfolded <= clear) {
            self.clear = sent;
        }
        Ok(Some(self.clear))
    }

    fn finish(&mut self, scanner: &Scanner, asked: &mut Asked) -> Result<(), Finding> {
        let text = match self.codings.finish() {
            Ok(text) => text,
            Err(error) if self.is_refused(&error) => return Err(unreadable(&error)),
            Err(_) => self.codings.salvage(),
        };
        self.judge_last(scanner, asked, &text)
    }

    /// What no field names may be something else that begins alike. A bomb is none, and hides what comes after it.
    fn is_refused(&self, error: &Unreadable) -> bool {
        self.declared || *error == Unreadable::Bomb
    }

    /// Judges what was unfolded before it broke off, and its end.
    fn judge_last(&mut self, scanner: &Scanner, asked: &mut Asked, text: &[u8]) -> Result<(), Finding> {
        let verdict = self.tape.push(scanner, asked, text).and_then(|_| self.tape.finish(scanner, asked));
        verdict.map(drop).map_err(|stop| self.found(scanner, stop))
    }

    fn found(&self, scanner: &Scanner, stop: Stop) -> Finding {
        scanner.found(stop, &self.codings.layers())
    }
}

impl Scanner {
    fn found(&self, stop: Stop, codings: &[Layer]) -> Finding {
        let mut finding = self.finding(stop.found, Place::Content(stop.byte));
        finding.layers.splice(0..0, codings.iter().copied());
        finding
    }
}

fn unreadable(error: &Unreadable) -> Finding {
    Finding {
        rule: UNREADABLE.to_owned(),
        description: error.to_string(),
        place: Place::Content(0),
        layers: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::scan::tape::SLICE;

    /// Built from parts, so that no scanner takes this file for a leak.
    fn key() -> String {
        ["AK", "IA", "QYLPMN5HHHFPZAM2"].concat()
    }

    fn judge(text: &[u8], cut: usize) -> (Vec<u8>, Option<Finding>) {
        judge_coded(&HeaderMap::new(), text, cut)
    }

    fn judge_coded(fields: &HeaderMap, text: &[u8], cut: usize) -> (Vec<u8>, Option<Finding>) {
        static SCANNER: LazyLock<Arc<Scanner>> = LazyLock::new(|| Arc::new(Scanner::builtin()));
        let mut scan = SCANNER.content(fields, Exemptions::default());
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
    fn what_is_held_back_keeps_no_long_chunk_in_memory() {
        let mut scan = Arc::new(Scanner::builtin()).content(&HeaderMap::new(), Exemptions::default());
        let chunk = Bytes::from(b"lorem ipsum ".repeat(10_000));
        assert!(scan.push(chunk.clone()).is_ok());
        assert!(scan.held() > 0 && chunk.is_unique());
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
    fn a_secret_is_found_where_one_step_or_slice_ends_and_the_next_begins() {
        let escaped = |key: &str| format!("\\u{:04x}{}", key.as_bytes()[0], &key[1..]);
        let percent = |key: &str| format!("%{:02X}{}", key.as_bytes()[0], &key[1..]);
        // After the first step, which tells that it is plain, the rest of a push is judged slice by slice.
        for border in [STEP, STEP + SLICE, STEP + 2 * SLICE] {
            for at in border - 40..border + 10 {
                for secret in [key(), escaped(&key()), percent(&key())] {
                    let mut text = " lorem".repeat(at).into_bytes();
                    text.truncate(at - 1);
                    text.extend_from_slice(format!(" {secret} ").as_bytes());
                    text.extend_from_slice(&b" ipsum".repeat(1000));
                    // In one push, and in two of which the first is told to pass before the key is seen.
                    for cut in [text.len(), at.saturating_sub(300).max(1)] {
                        let (out, finding) = judge(&text, cut);
                        assert_eq!(
                            finding.map(|finding| finding.rule).as_deref(),
                            Some("aws-access-key"),
                            "at {at}, {secret}"
                        );
                        assert!(out.len() <= at, "{} bytes of what begins at {at} passed", out.len());
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_overlooked_passes_once_told_and_hides_no_value_of_the_proxys_own() {
        const OWN: &str = "hunter2-and-more";
        let mut values = crate::scan::ExactValues::default();
        values.add("T", OWN.as_bytes());
        let scanner = Arc::new(Scanner::new(None, values));
        let gap = " lorem".repeat(2000);
        let unknown = http::HeaderValue::from_static("compress");
        let unreadable = HeaderMap::from_iter([(http::header::CONTENT_ENCODING, unknown)]);
        for (fields, between) in [(HeaderMap::new(), " "), (HeaderMap::new(), &gap), (unreadable, " ")] {
            for (text, is_stopped) in [
                (format!("{}{between}{}{gap}", key(), key()), false),
                (format!("{}{between}{OWN}{gap}", key()), true),
                (format!("{{\"a\": \"\\u0020{}{between}{OWN}\"}}", key()), true),
                (format!("{OWN}{between}{}", key()), true),
            ] {
                for cut in [1, 7, 1000, 50_000] {
                    let mut scan = scanner.content(&fields, Exemptions::default()).overlooking();
                    let (mut out, mut told, mut stopped) = (Vec::new(), Vec::new(), None);
                    let chunks = text.as_bytes().chunks(cut).map(Bytes::copy_from_slice).map(Some);
                    for chunk in chunks.chain([None]) {
                        let verdict = match chunk {
                            Some(chunk) => scan.push(chunk),
                            None => scan.finish(),
                        };
                        told.extend(scan.overlooked());
                        match verdict {
                            Ok(released) => released.for_each(|bytes| out.extend_from_slice(&bytes)),
                            Err(finding) => stopped = Some(finding),
                        }
                    }
                    assert_eq!(stopped.map(|finding| finding.rule), is_stopped.then(|| "credential/T".to_owned()));
                    assert!(told.len() <= 1 && (is_stopped || told.len() == 1 && out == text.as_bytes()), "{cut}");
                    assert!(!String::from_utf8_lossy(&out).contains(OWN));
                }
            }
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

    #[test]
    fn a_bomb_is_refused_though_no_field_names_its_coding() {
        use std::io::Write;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&vec![0; 32 << 20]).and_then(|()| gzip.write_all(key().as_bytes())).expect("memory");
        let bomb = gzip.finish().expect("memory");
        assert_eq!(judge(&bomb, 4096).1.map(|finding| finding.rule).as_deref(), Some(UNREADABLE));
    }

    #[test]
    fn what_only_looks_compressed_is_judged_as_far_as_it_unfolds() {
        use std::io::Write;
        let text = format!("{} {}", "lorem ipsum ".repeat(3), key());
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(text.as_bytes()).and_then(|()| gzip.flush()).expect("memory");
        let zstd = {
            let mut coder = zstd::Encoder::new(Vec::new(), 3).expect("memory");
            coder.write_all(text.as_bytes()).and_then(|()| coder.flush()).expect("memory");
            coder.get_ref().clone()
        };
        for begun in [gzip.get_ref().clone(), zstd] {
            // It breaks off, and goes on as something else.
            let spoilt = [&begun[..], &[0xff; 64]].concat();
            for text in [&begun, &spoilt] {
                for cut in [1, 7, 5000] {
                    let finding = judge(text, cut).1.expect("the key is found");
                    assert_eq!(finding.rule, "aws-access-key", "cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn compressed_content_is_judged_and_comes_back_as_it_was() {
        let clean = "some clean text, again and again. ".repeat(3000);
        let dirty = format!("{clean}{}{clean}", key());
        let zip = |text: &str| zstd::encode_all(text.as_bytes(), 3).expect("memory");
        let mut fields = HeaderMap::new();
        for declared in [false, true] {
            if declared {
                fields.insert(http::header::CONTENT_ENCODING, http::HeaderValue::from_static("zstd"));
            }
            for cut in [1, 3, 100, 5000] {
                assert_eq!(judge_coded(&fields, &zip(&clean), cut), (zip(&clean), None));
                let (out, finding) = judge_coded(&fields, &zip(&dirty), cut);
                let finding = finding.expect("the key is found");
                assert_eq!(finding.chain(), "content > zstd");
                assert!(zstd::decode_all(&out[..]).is_err(), "not all of it left");
            }
        }
    }
}
