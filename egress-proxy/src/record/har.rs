//! `--har`: exchanges as an HTTP Archive (version 1.2), which opens in a browser's network panel. The file is a whole
//! archive after every write: each batch of entries goes over the end of the former, with an end of its own.
//!
//! An entry holds its record. Fields and contents are there only where the request was allowed and nothing was found;
//! values of credential fields and cookies never, those of query parameters where they were asked for.

use std::{
    fs::{File, OpenOptions, Permissions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use shared::record::{ExchangeRecord, Record, Verdict};

use super::capture::{Capture, Kept, Values};
use crate::scan::coding::Codings;

/// In place of what is not shown.
const MASKED: &str = "(masked)";
/// How a query's value looks when it is masked.
const MASKED_VALUE: &str = "masked";
/// How much coded content is unfolded at a time.
const STEP: usize = 1024;

/// The file of an archive.
pub struct HarFile {
    file: File,
    /// Where the next entry goes: over the end that was written last.
    at: u64,
    first: bool,
}

impl HarFile {
    /// Begins an archive without entries; one that was there is replaced.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(OWNER_ONLY)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)?;
        file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
        let creator = json!({"name": "egress-proxy", "version": env!("CARGO_PKG_VERSION")});
        let begin = format!("{{\"log\": {{\"version\": \"1.2\", \"creator\": {creator}, \"entries\": [\n");
        file.write_all_at(format!("{begin}{END}").as_bytes(), 0)?;
        Ok(Self { file, at: begin.len() as u64, first: true })
    }

    /// Writes entries, each on a line of its own.
    ///
    /// # Errors
    /// The file cannot be written; it may be tried again with the same entries.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
        let mut text = Vec::with_capacity(lines.len() + 8);
        for (index, line) in lines.split(|byte| *byte == b'\n').enumerate() {
            if index > 0 || !self.first {
                text.extend_from_slice(b",\n");
            }
            text.extend_from_slice(line);
        }
        let entries = text.len() as u64;
        text.extend_from_slice(END.as_bytes());
        self.file.write_all_at(&text, self.at)?;
        self.at += entries;
        self.first = false;
        Ok(())
    }
}

/// Writes the entry of an exchange as one line.
pub fn entry(record: &Record<'_>, capture: &Capture, line: &mut Vec<u8>) {
    let Record::Exchange(record) = record else { return };
    let is_shown = record.verdict == Some(Verdict::Allowed) && record.findings.is_empty() && !record.alarm;
    let (url, query) = url(record, capture, is_shown);
    let version = |protocol: &str| if protocol == "h2" { "HTTP/2".to_owned() } else { protocol.to_uppercase() };
    let (request_fields, response_fields) = match is_shown {
        true => (fields(&capture.request_fields, capture), fields(&capture.response_fields, capture)),
        false => (json!([]), json!([])),
    };
    let mut request = json!({
        "method": record.method, "url": url, "httpVersion": version(&record.client_protocol), "cookies": [],
        "headers": request_fields, "queryString": query, "headersSize": -1, "bodySize": record.request_bytes,
    });
    if is_shown && !capture.request.bytes.is_empty() {
        request["postData"] = content(&capture.request, &capture.request_fields, record.request_bytes, "_encoding");
    }
    let status = record.status.unwrap_or_default();
    let content = match is_shown {
        true => content(&capture.response, &capture.response_fields, record.response_bytes, "encoding"),
        false => json!({"size": record.response_bytes, "mimeType": "", "comment": "not shown"}),
    };
    let location = capture.response_fields.get(header::LOCATION).filter(|_| is_shown);
    let location = location.map(|value| shown(&header::LOCATION, value, capture.wish.values)).unwrap_or_default();
    let response = json!({
        "status": status,
        "statusText": StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default(),
        "httpVersion": version(record.origin_protocol.as_deref().unwrap_or("http/1.1")), "cookies": [],
        "headers": response_fields, "content": content, "redirectURL": location, "headersSize": -1, "bodySize": -1,
    });
    let [connect, first] = [record.connect_ms, record.first_byte_ms].map(Option::unwrap_or_default);
    let mut entry = json!({
        "startedDateTime": record.time, "time": record.total_ms, "request": request, "response": response, "cache": {},
        "timings": {
            "blocked": record.inspect_ms.unwrap_or(-1.0), "dns": -1, "connect": record.connect_ms.unwrap_or(-1.0),
            "send": 0, "wait": (first - connect - record.inspect_ms.unwrap_or_default()).max(0.0),
            "receive": (record.total_ms - first).max(0.0), "ssl": -1,
        },
        "_record": Record::Exchange(record.clone()),
    });
    if let Some((address, _)) = record.next_hop.as_deref().and_then(|address| address.rsplit_once(':')) {
        entry["serverIPAddress"] = json!(address.trim_matches(['[', ']']));
    }
    if let Some(reason) = &record.reason {
        entry["comment"] = json!(reason);
    }
    // Writing a value into memory does not fail.
    if serde_json::to_writer(&mut *line, &entry).is_ok() {
        line.push(b'\n');
    }
}

/// The URL and its parameters, as far as they may be shown.
fn url(record: &ExchangeRecord<'_>, capture: &Capture, is_shown: bool) -> (String, Vec<Value>) {
    let authority = match (&*record.scheme, record.port) {
        ("https", 443) | ("http", 80) => record.host.to_string(),
        (_, port) => format!("{}:{port}", record.host),
    };
    let path = record.path.as_deref().unwrap_or("/");
    let url = format!("{}://{authority}{path}", record.scheme);
    let Some(query) = capture.query.as_deref().filter(|_| is_shown) else { return (url, Vec::new()) };
    let (mut shown, mut parameters) = (Vec::new(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = match capture.wish.values {
            Values::Shown if !is_credential(name) => value,
            // A parameter without a sign may be all value.
            _ if value.is_empty() && pair.contains('=') => "",
            _ => MASKED_VALUE,
        };
        let name = if capture.wish.values == Values::Masked && !pair.contains('=') { MASKED_VALUE } else { name };
        shown.push(format!("{name}={value}"));
        parameters.push(json!({"name": name, "value": value}));
    }
    (format!("{url}?{}", shown.join("&")), parameters)
}

fn fields(fields: &HeaderMap, capture: &Capture) -> Value {
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = match capture.injected.as_ref() == Some(name) || is_credential(name.as_str()) {
            true => MASKED.to_owned(),
            false => shown(name, value, capture.wish.values),
        };
        json!({"name": name.as_str(), "value": value})
    };
    fields.iter().map(field).collect()
}

/// Whether a field or parameter is one of those that carry credentials, by its name.
fn is_credential(name: &str) -> bool {
    const PARTS: [&str; 10] =
        ["auth", "cookie", "credential", "key", "passw", "secret", "session", "signature", "token", "assertion"];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
}

/// The beginning of a content, unfolded; bytes that are no text in base64, which `encoding` says.
fn content(kept: &Kept, fields: &HeaderMap, size: u64, encoding: &str) -> Value {
    let mut content = Map::new();
    content.insert("mimeType".to_owned(), text(fields, &header::CONTENT_TYPE).into());
    if encoding == "encoding" {
        content.insert("size".to_owned(), size.into());
    }
    let (bytes, is_whole) = unfolded(kept, fields);
    if !bytes.is_empty() {
        match std::str::from_utf8(&bytes) {
            Ok(text) => content.insert("text".to_owned(), text.into()),
            // Cut in the middle of a character.
            Err(error) if !is_whole && error.error_len().is_none() => {
                content.insert("text".to_owned(), String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into())
            }
            Err(_) => {
                content.insert(encoding.to_owned(), "base64".into());
                content.insert("text".to_owned(), BASE64_STANDARD.encode(&bytes).into())
            }
        };
    }
    if !is_whole {
        content.insert("comment".to_owned(), "only the beginning is kept".into());
    }
    content.into()
}

/// What the content codings unfold to, as far as it goes; the bytes themselves where they cannot be undone.
fn unfolded(kept: &Kept, fields: &HeaderMap) -> (Vec<u8>, bool) {
    let plain = || (kept.bytes.clone(), !kept.is_cut);
    let Ok(mut codings) = Codings::of(fields) else { return plain() };
    if codings.is_plain() {
        return plain();
    }
    let limit = kept.bytes.len().saturating_mul(4);
    let mut bytes = Vec::new();
    for step in kept.bytes.chunks(STEP) {
        match codings.decode(step) {
            Ok(more) => bytes.extend(more),
            Err(_) => return plain(),
        }
        if bytes.len() > limit {
            bytes.truncate(limit);
            return (bytes, false);
        }
    }
    match codings.finish() {
        Ok(rest) => bytes.extend(rest),
        Err(_) => return (bytes, false),
    }
    (bytes, !kept.is_cut)
}

fn text(fields: &HeaderMap, name: &HeaderName) -> String {
    fields.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

/// A field's value; those that are URLs without their queries, where queries are masked.
fn shown(name: &HeaderName, value: &HeaderValue, values: Values) -> String {
    let value = String::from_utf8_lossy(value.as_bytes());
    let is_url = [header::CONTENT_LOCATION, header::LINK, header::LOCATION, header::REFERER].contains(name);
    match value.split_once('?') {
        Some((before, _)) if is_url && values == Values::Masked => format!("{before}?{MASKED_VALUE}"),
        _ => value.into_owned(),
    }
}

const END: &str = "\n]}}\n";
const OWNER_ONLY: u32 = 0o600;
