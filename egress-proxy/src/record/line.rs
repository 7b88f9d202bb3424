//! A record as its line of JSON: byte for byte what serde would write, in a fraction of the time, for every exchange
//! pays for it. What is rare is left to serde.

use serde::Serialize;
use shared::record::{ExchangeRecord, Record};

/// Appends the line of a record.
pub fn write(record: &Record<'_>, line: &mut Vec<u8>) {
    let begin = line.len();
    let is_written = match record {
        Record::Exchange(record) => exchange(record, line),
        Record::Tunnel(_) => false,
    };
    if !is_written {
        line.truncate(begin);
        by_serde(record, line);
    }
    line.push(b'\n');
}

/// Writes every text as it is and then looks at the whole line once, for looking at each text costs as much as writing
/// it. `false` where JSON writes one of them otherwise, and where there are findings, which is rare.
fn exchange(record: &ExchangeRecord<'_>, line: &mut Vec<u8>) -> bool {
    // Named one by one: a member that is added and not written here does not compile.
    let ExchangeRecord {
        schema,
        id,
        time,
        tunnel,
        method,
        scheme,
        host,
        port,
        path,
        client_protocol,
        origin_protocol,
        next_hop,
        route,
        rule,
        credential,
        verdict,
        outcome,
        by,
        error,
        proxy_error,
        reason,
        alarm,
        findings,
        answer_findings,
        status,
        request_bytes,
        response_bytes,
        masked,
        inspect_ms,
        connect_ms,
        first_byte_ms,
        total_ms,
    } = record;
    if !findings.is_empty() || !answer_findings.is_empty() {
        return false;
    }
    let mut line = Line::begin("{\"kind\":\"exchange\"", line);
    line.number(",\"schema\":", u64::from(*schema));
    line.text(",\"id\":\"", id);
    line.text(",\"time\":\"", time);
    line.optional(",\"tunnel\":\"", tunnel.as_deref());
    line.text(",\"method\":\"", method);
    line.text(",\"scheme\":\"", scheme);
    line.text(",\"host\":\"", host);
    line.number(",\"port\":", u64::from(*port));
    line.optional(",\"path\":\"", path.as_deref());
    line.text(",\"client_protocol\":\"", client_protocol);
    line.optional(",\"origin_protocol\":\"", origin_protocol.as_deref());
    line.optional(",\"next_hop\":\"", next_hop.as_deref());
    line.optional(",\"route\":\"", route.as_deref());
    line.optional(",\"rule\":\"", rule.as_deref());
    line.optional(",\"credential\":\"", credential.as_deref());
    line.optional(",\"verdict\":\"", verdict.map(|verdict| verdict.name()));
    line.text(",\"outcome\":\"", outcome.name());
    line.optional(",\"by\":\"", by.as_deref());
    line.optional(",\"error\":\"", error.as_deref());
    line.optional(",\"proxy_error\":\"", proxy_error.as_deref());
    line.optional(",\"reason\":\"", reason.as_deref());
    if *alarm {
        line.name(",\"alarm\":true", 2);
    }
    if let Some(status) = status {
        line.number(",\"status\":", u64::from(*status));
    }
    line.number(",\"request_bytes\":", *request_bytes);
    line.number(",\"response_bytes\":", *response_bytes);
    if *masked > 0 {
        line.number(",\"masked\":", *masked);
    }
    for (name, milliseconds) in [
        (",\"inspect_ms\":", *inspect_ms),
        (",\"connect_ms\":", *connect_ms),
        (",\"first_byte_ms\":", *first_byte_ms),
        (",\"total_ms\":", Some(*total_ms)),
    ] {
        if let Some(milliseconds) = milliseconds {
            line.name(name, 2);
            duration(milliseconds, line.bytes);
        }
    }
    line.bytes.push(b'}');
    line.is_json()
}

/// A line that is being written, and how many quotes are written on purpose. Inlined, so that a name is a few stores.
struct Line<'l> {
    bytes: &'l mut Vec<u8>,
    begin: usize,
    quotes: usize,
}

impl<'l> Line<'l> {
    /// With its first member, which is a text.
    fn begin(first: &str, bytes: &'l mut Vec<u8>) -> Self {
        // Most lines are shorter.
        bytes.reserve(1024);
        let mut line = Self { begin: bytes.len(), bytes, quotes: 0 };
        line.name(first, 4);
        line
    }

    #[inline(always)]
    fn name(&mut self, name: &str, quotes: usize) {
        self.bytes.extend_from_slice(name.as_bytes());
        self.quotes += quotes;
    }

    /// The name ends with the quote that begins the text.
    #[inline(always)]
    fn text(&mut self, name: &str, value: &str) {
        self.name(name, 4);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(b'"');
    }

    #[inline(always)]
    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    #[inline(always)]
    fn number(&mut self, name: &str, value: u64) {
        self.name(name, 2);
        number(value, self.bytes);
    }

    /// Whether no text holds what JSON writes otherwise: a quote, a backslash, a control character.
    fn is_json(&self) -> bool {
        let line = &self.bytes[self.begin..];
        // The last word overlaps the one before it.
        let words = line.as_chunks().0.iter().chain(line.last_chunk());
        words.fold(0, |escaped, word| escaped | escaped_in(u64::from_ne_bytes(*word))) == 0
            && memchr::memchr_iter(b'"', line).count() == self.quotes
    }
}

/// Not zero where one of eight bytes is a control character or a backslash.
#[inline(always)]
fn escaped_in(word: u64) -> u64 {
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    let backslash = word ^ each(b'\\');
    let control = word.wrapping_sub(each(b' ')) & !word;
    (control | backslash.wrapping_sub(each(1)) & !backslash) & each(0x80)
}

fn number(value: u64, line: &mut Vec<u8>) {
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Milliseconds to three digits, as they are measured; any other number as serde writes it.
fn duration(milliseconds: f64, line: &mut Vec<u8>) {
    let microseconds = (milliseconds * 1e3).round();
    // So far every microsecond is a number of its own, and the shortest text for it has three digits at most.
    let is_measured = (0.0..1e12).contains(&microseconds) && microseconds.is_sign_positive();
    if !is_measured || microseconds / 1e3 != milliseconds {
        return by_serde(&milliseconds, line);
    }
    let microseconds = microseconds as u64;
    number(microseconds / 1000, line);
    let digits = [100, 10, 1].map(|place| b'0' + (microseconds / place % 10) as u8);
    let length = digits.iter().rposition(|digit| *digit != b'0').map_or(1, |last| last + 1);
    line.push(b'.');
    line.extend_from_slice(&digits[..length]);
}

fn by_serde(value: &(impl Serialize + ?Sized), line: &mut Vec<u8>) {
    // Writing plain data into memory does not fail.
    let _written = serde_json::to_writer(line, value);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn full(text: &str) -> Value {
        let finding = json!([{"rule": text, "place": "the path", "chain": "path"}]);
        json!({
            "kind": "exchange", "schema": 1, "id": text, "time": text, "tunnel": text, "method": text, "scheme": text,
            "host": text, "port": 65535, "path": text, "client_protocol": text, "origin_protocol": text,
            "next_hop": text, "route": text, "rule": text, "credential": text, "verdict": "blocked",
            "outcome": "failed", "by": text, "error": text, "proxy_error": text, "reason": text, "alarm": true,
            "findings": finding, "answer_findings": finding, "status": 599, "request_bytes": u64::MAX,
            "response_bytes": 0, "masked": 7, "inspect_ms": 0.001, "connect_ms": 12.0, "first_byte_ms": 1e17,
            "total_ms": 123_456_789.012,
        })
    }

    fn without_findings(text: &str) -> Value {
        let mut record = full(text);
        for name in ["findings", "answer_findings"] {
            record.as_object_mut().unwrap().remove(name);
        }
        record
    }

    fn is_what_serde_writes(record: &Value) {
        let record: Record<'static> = serde_json::from_value(record.clone()).unwrap();
        let mut line = Vec::new();
        write(&record, &mut line);
        assert_eq!(String::from_utf8(line).unwrap(), serde_json::to_string(&record).unwrap() + "\n");
    }

    #[test]
    fn a_line_is_what_serde_would_write() {
        let texts =
            ["", "a.example", "\"", "\\", "\u{0}\u{1f}\u{7f}\u{80}", "ü\u{2028}\u{1f980}", "a\nb\tc\rd\u{8}\u{c}"];
        for text in texts {
            is_what_serde_writes(&full(text));
            is_what_serde_writes(&without_findings(text));
        }
        for milliseconds in [
            0.0,
            -0.0,
            0.001,
            0.01,
            0.1,
            0.12,
            1.0,
            1.5,
            10.01,
            999.999,
            1e9 - 0.001,
            1e9,
            1e12,
            0.0004,
            -1.0,
            1.0 / 3.0,
        ] {
            let mut record = without_findings("x");
            record["total_ms"] = milliseconds.into();
            is_what_serde_writes(&record);
        }
        // Each place in a block, and behind the last one.
        for length in 0..36 {
            for at in 0..length {
                for byte in ["\u{1f}", " ", "!", "\"", "#", "[", "\\", "]", "\u{7f}", "\u{80}"] {
                    let mut text = "a".repeat(length);
                    text.replace_range(at..=at, byte);
                    is_what_serde_writes(&without_findings(&text));
                }
            }
        }
        // Each member that may be absent, absent; and none of these is left to serde.
        let Value::Object(members) = without_findings("x") else { unreachable!("an object") };
        for name in members.keys() {
            let mut less = members.clone();
            less.remove(name);
            if serde_json::from_value::<Record<'static>>(Value::Object(less.clone())).is_ok() {
                let less = Value::Object(less);
                is_what_serde_writes(&less);
                let Record::Exchange(record) = serde_json::from_value(less).unwrap() else { unreachable!() };
                assert!(exchange(&record, &mut Vec::new()), "without {name}");
            }
        }
        is_what_serde_writes(&json!({
            "kind": "tunnel", "schema": 1, "id": "i", "time": "t", "authority": "h:443", "outcome": "completed",
            "exchanges": 1, "total_ms": 1.0,
        }));
    }
}
