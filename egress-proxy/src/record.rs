//! Live records. A [`Recording`] begins before the first decision and writes exactly one record when the last part of
//! its exchange is dropped, so no path loses one. A [`Journal`] takes them in order, bounded and lossless: an exchange
//! begins only when there is room for its record, and none begins when records cannot be written any more.

mod capture;
mod feed;
mod har;
mod journal;
mod line;
mod log_file;
pub mod pretty;
pub mod proxy_error;
mod sink;
mod tunnel;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, Method, StatusCode, Version, uri::PathAndQuery};
use shared::{
    authority::Authority,
    record::{ExchangeRecord, FindingRecord, Outcome, Record, SCHEMA_VERSION, Verdict},
    routes::{Scheme, judge::Rule},
};
use time::OffsetDateTime;

use self::capture::Capture;
use crate::scan::Finding;

pub use self::{
    capture::{Values, Wish},
    feed::{Heard, Subscription},
    har::HarFile,
    journal::{Journal, JournalClosed, Room},
    log_file::{LogFile, Rotation},
    sink::{Format, Output, Sink},
    tunnel::TunnelRecording,
};

/// The id of an exchange or tunnel: 128 random bits in 32 hexadecimal digits, as every record shows them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Id([u8; 32]);

impl Id {
    pub fn random() -> Self {
        let bytes: [u8; 16] = rand::random();
        let mut digits = [0; 32];
        for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(bytes) {
            *pair = HEXADECIMAL[usize::from(byte)];
        }
        Self(digits)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The digits of every byte.
static HEXADECIMAL: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut all = [[0; 2]; 256];
    let mut byte = 0;
    while byte < all.len() {
        all[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    all
};

/// Where a request is bound, as far as that is known when it begins.
pub struct Destination {
    pub scheme: Scheme,
    pub authority: Option<Arc<Authority>>,
    /// The tunnel that it came through.
    pub tunnel: Option<Id>,
}

impl Destination {
    /// Of what could not be read.
    pub const UNKNOWN: Self = Self { scheme: Scheme::Http, authority: None, tunnel: None };
}

/// The record of one exchange while it lives. Shared by the parts of the exchange; the last one to go writes it.
pub struct Recording {
    pub id: Id,
    began: Instant,
    time: SystemTime,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    masked: AtomicU64,
    draft: Mutex<Draft>,
    /// Only where a HAR is written.
    capture: Option<Box<Mutex<Capture>>>,
    room: Option<Room>,
}

/// What is known of an exchange so far.
pub struct Draft {
    pub tunnel: Option<Id>,
    pub method: Method,
    pub scheme: Scheme,
    pub authority: Option<Arc<Authority>>,
    pub target: Option<PathAndQuery>,
    pub client_protocol: &'static str,
    pub origin_protocol: Option<&'static str>,
    pub next_hop: Option<Arc<str>>,
    pub route: Option<Arc<shared::routes::Route>>,
    pub rule: Option<Rule>,
    pub credential: Option<Arc<str>>,
    /// Route, scan and inspection let it go.
    pub allowed: bool,
    pub outcome: Outcome,
    pub by: Option<&'static str>,
    pub error: Option<&'static str>,
    pub reason: Option<String>,
    pub alarm: bool,
    pub findings: Vec<Finding>,
    pub answer_findings: Vec<Finding>,
    pub status: Option<StatusCode>,
    pub inspect_ms: Option<f64>,
    pub connect_ms: Option<f64>,
    pub first_byte_ms: Option<f64>,
}

impl Recording {
    pub fn begin(room: Room, method: Method, version: Version, destination: Destination) -> Arc<Self> {
        let Destination { scheme, authority, tunnel } = destination;
        let draft = Draft {
            tunnel,
            method,
            scheme,
            authority,
            target: None,
            client_protocol: protocol_name(version),
            origin_protocol: None,
            next_hop: None,
            route: None,
            rule: None,
            credential: None,
            allowed: false,
            outcome: Outcome::Aborted,
            by: None,
            error: None,
            reason: None,
            alarm: false,
            findings: Vec::new(),
            answer_findings: Vec::new(),
            status: None,
            inspect_ms: None,
            connect_ms: None,
            first_byte_ms: None,
        };
        room.metrics().exchanges_open.enter();
        Arc::new(Self {
            id: Id::random(),
            began: Instant::now(),
            time: SystemTime::now(),
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
            masked: AtomicU64::new(0),
            draft: Mutex::new(draft),
            capture: room.har().map(|wish| Box::new(Mutex::new(Capture::new(wish)))),
            room: Some(room),
        })
    }

    /// Writes something down.
    pub fn note<T>(&self, write: impl FnOnce(&mut Draft) -> T) -> T {
        write(&mut self.draft.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps the request's fields, where a HAR shows them.
    pub fn capture_request(&self, fields: &HeaderMap) {
        self.capture(|capture| capture.request_fields = fields.clone());
    }

    /// Keeps the answer's fields, where a HAR shows them.
    pub fn capture_response(&self, fields: &HeaderMap) {
        self.capture(|capture| capture.response_fields = fields.clone());
    }

    /// Counts content from the client, and keeps its beginning where a HAR shows it.
    pub fn request_content(&self, bytes: &[u8]) {
        self.count_request(bytes.len());
        self.capture(|capture| capture.request_content(bytes));
    }

    /// The same for content to the client.
    pub fn response_content(&self, bytes: &[u8]) {
        self.count_response(bytes.len());
        self.capture(|capture| capture.response_content(bytes));
    }

    fn capture(&self, keep: impl FnOnce(&mut Capture)) {
        if let Some(capture) = &self.capture {
            keep(&mut capture.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub fn milliseconds(&self) -> f64 {
        milliseconds(self.began)
    }

    pub fn count_request(&self, bytes: usize) {
        self.request_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The content that came from the client so far, in bytes.
    pub fn request_bytes(&self) -> u64 {
        self.request_bytes.load(Ordering::Relaxed)
    }

    pub fn count_response(&self, bytes: usize) {
        self.response_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn count_masked(&self, bytes: usize) {
        self.masked.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let Some(room) = self.room.take() else { return };
        let draft = self.draft.get_mut().unwrap_or_else(PoisonError::into_inner);
        // A path in which something was found is as sensitive as the finding.
        let clean = draft.outcome != Outcome::Blocked && !draft.alarm && draft.findings.is_empty();
        let time = Timestamp::of(self.time);
        let record = Record::Exchange(ExchangeRecord {
            schema: SCHEMA_VERSION,
            id: self.id.as_str().into(),
            time: time.as_str().into(),
            tunnel: draft.tunnel.as_ref().map(|tunnel| tunnel.as_str().into()),
            method: draft.method.as_str().into(),
            scheme: draft.scheme.name().into(),
            host: draft.authority.as_ref().map(|authority| authority.host.text()).unwrap_or_default(),
            port: draft.authority.as_ref().map(|authority| authority.port).unwrap_or_default(),
            path: draft.target.as_ref().filter(|_| clean).map(|target| target.path().into()),
            client_protocol: draft.client_protocol.into(),
            origin_protocol: draft.origin_protocol.map(Into::into),
            next_hop: draft.next_hop.as_deref().map(Into::into),
            route: draft.route.as_ref().map(|route| route.host.text()),
            rule: draft.rule.map(Rule::text),
            credential: draft.credential.as_deref().map(Into::into),
            verdict: draft.verdict(),
            outcome: draft.outcome,
            by: draft.by.map(Into::into),
            error: draft.error.map(Into::into),
            proxy_error: draft.error.map(|error| proxy_error::of(error, draft.outcome).into()),
            reason: draft.reason.as_deref().map(Into::into),
            alarm: draft.alarm,
            findings: draft.findings.iter().map(finding_record).collect(),
            answer_findings: draft.answer_findings.iter().map(finding_record).collect(),
            status: draft.status.map(|status| status.as_u16()),
            request_bytes: *self.request_bytes.get_mut(),
            response_bytes: *self.response_bytes.get_mut(),
            masked: *self.masked.get_mut(),
            inspect_ms: draft.inspect_ms,
            connect_ms: draft.connect_ms,
            first_byte_ms: draft.first_byte_ms,
            total_ms: milliseconds(self.began),
        });
        let capture = self.capture.take().map(|capture| {
            let mut capture = capture.into_inner().unwrap_or_else(PoisonError::into_inner);
            capture.query = draft.target.as_ref().and_then(PathAndQuery::query).map(str::to_owned);
            capture.injected =
                draft.route.as_ref().and_then(|route| route.auth.as_ref()).and_then(|auth| auth.scheme.field());
            capture
        });
        room.write(&record, capture.as_ref());
    }
}

impl Draft {
    /// What was decided; content that is found out on its way out takes the permission back.
    fn verdict(&self) -> Option<Verdict> {
        match self.outcome {
            Outcome::Blocked => Some(Verdict::Blocked),
            Outcome::Denied => Some(Verdict::Denied),
            _ => self.allowed.then_some(Verdict::Allowed),
        }
    }
}

/// The name of a protocol version as ALPN writes it (RFC 7301).
pub fn protocol_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "http/1.0",
        Version::HTTP_11 => "http/1.1",
        Version::HTTP_2 => "h2",
        _ => "other",
    }
}

/// Rule, place and decoders; a finding holds nothing of the match.
fn finding_record(finding: &Finding) -> FindingRecord<'_> {
    FindingRecord {
        rule: finding.rule.as_str().into(),
        place: finding.place.to_string().into(),
        chain: finding.chain().into(),
    }
}

fn milliseconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

/// A time of ours, which is in no year before 1970 or after 9999, as RFC 3339 writes it in UTC: every record pays for this.
struct Timestamp {
    text: [u8; 30],
    length: usize,
}

impl Timestamp {
    fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        // To the second: the library reckons in 128 bits otherwise.
        let second =
            i64::try_from(since.as_secs()).ok().and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok());
        let time = second.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        let mut digits = |end: usize, length: usize, mut number: u32| {
            for place in text[end - length..end].iter_mut().rev() {
                *place = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        digits(4, 4, time.year().unsigned_abs());
        digits(7, 2, u8::from(time.month()).into());
        digits(10, 2, time.day().into());
        digits(13, 2, time.hour().into());
        digits(16, 2, time.minute().into());
        digits(19, 2, time.second().into());
        digits(29, 9, since.subsec_nanos());
        // No digit more than is needed.
        let last = text[..29].iter().rposition(|digit| *digit != b'0').unwrap_or(0);
        let length = if text[last] == b'.' { last } else { last + 1 };
        text[length] = b'Z';
        Self { text, length: length + 1 }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.length]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::format_description::well_known::Rfc3339;

    use super::*;

    #[test]
    fn a_timestamp_is_what_rfc_3339_says() {
        for nanoseconds in
            [0, 1, 10, 999_999_999, 1_000_000_000, 59_500_000_000, 951_782_400_000_000_000, 1_796_000_000_123_456_789]
        {
            let time = UNIX_EPOCH + Duration::from_nanos(nanoseconds);
            assert_eq!(Timestamp::of(time).as_str(), OffsetDateTime::from(time).format(&Rfc3339).unwrap());
        }
    }
}
