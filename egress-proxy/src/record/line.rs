//! A record as its line of JSON: byte for byte what serde would write, in a fraction of the time, for every exchange
//! pays for it. What is rare is left to serde.

use serde::Serialize;
use shared::record::{ExchangeRecord, Record};

/// Appends the line of a record.
pub fn write(record: &Record<'_>, line: &mut Vec<u8>) {
    match record {
        Record::Exchange(record) => exchange(record, line),
        Record::Tunnel(_) => by_serde(record, line),
    }
    line.push(b'\n');
}

fn exchange(record: &ExchangeRecord<'_>, line: &mut Vec<u8>) {
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
    line.extend_from_slice(b"{\"kind\":\"exchange\",\"schema\":");
    number(u64::from(*schema), line);
    text(",\"id\":", id, line);
    text(",\"time\":", time, line);
    optional(",\"tunnel\":", tunnel.as_deref(), line);
    text(",\"method\":", method, line);
    text(",\"scheme\":", scheme, line);
    text(",\"host\":", host, line);
    line.extend_from_slice(b",\"port\":");
    number(u64::from(*port), line);
    optional(",\"path\":", path.as_deref(), line);
    text(",\"client_protocol\":", client_protocol, line);
    optional(",\"origin_protocol\":", origin_protocol.as_deref(), line);
    optional(",\"next_hop\":", next_hop.as_deref(), line);
    optional(",\"route\":", route.as_deref(), line);
    optional(",\"rule\":", rule.as_deref(), line);
    optional(",\"credential\":", credential.as_deref(), line);
    optional(",\"verdict\":", verdict.map(|verdict| verdict.name()), line);
    text(",\"outcome\":", outcome.name(), line);
    optional(",\"by\":", by.as_deref(), line);
    optional(",\"error\":", error.as_deref(), line);
    optional(",\"proxy_error\":", proxy_error.as_deref(), line);
    optional(",\"reason\":", reason.as_deref(), line);
    if *alarm {
        line.extend_from_slice(b",\"alarm\":true");
    }
    for (name, findings) in [(",\"findings\":", findings), (",\"answer_findings\":", answer_findings)] {
        if !findings.is_empty() {
            line.extend_from_slice(name.as_bytes());
            by_serde(findings, line);
        }
    }
    if let Some(status) = status {
        line.extend_from_slice(b",\"status\":");
        number(u64::from(*status), line);
    }
    line.extend_from_slice(b",\"request_bytes\":");
    number(*request_bytes, line);
    line.extend_from_slice(b",\"response_bytes\":");
    number(*response_bytes, line);
    if *masked > 0 {
        line.extend_from_slice(b",\"masked\":");
        number(*masked, line);
    }
    for (name, milliseconds) in [
        (",\"inspect_ms\":", *inspect_ms),
        (",\"connect_ms\":", *connect_ms),
        (",\"first_byte_ms\":", *first_byte_ms),
        (",\"total_ms\":", Some(*total_ms)),
    ] {
        if let Some(milliseconds) = milliseconds {
            line.extend_from_slice(name.as_bytes());
            duration(milliseconds, line);
        }
    }
    line.push(b'}');
}

/// Inlined, as [`text`], so that a name is written with a few stores.
#[inline(always)]
fn optional(name: &str, value: Option<&str>, line: &mut Vec<u8>) {
    if let Some(value) = value {
        text(name, value, line);
    }
}

#[inline(always)]
fn text(name: &str, value: &str, line: &mut Vec<u8>) {
    line.extend_from_slice(name.as_bytes());
    quoted(value, line);
}

fn quoted(value: &str, line: &mut Vec<u8>) {
    if !is_plain(value.as_bytes()) {
        return by_serde(value, line);
    }
    line.push(b'"');
    line.extend_from_slice(value.as_bytes());
    line.push(b'"');
}

/// Whether JSON writes a text as it is.
fn is_plain(text: &[u8]) -> bool {
    // The last block overlaps the one before it: most texts are no multiple of one, and byte for byte costs more.
    if let Some(last) = text.last_chunk::<16>() {
        return text.as_chunks::<16>().0.iter().chain([last]).all(is_plain_block);
    }
    match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(first), Some(last)) => is_plain_block(first) & is_plain_block(last),
        _ => text.iter().all(|byte| is_plain_byte(*byte)),
    }
}

/// Without an early end: a few instructions for all of it.
#[inline(always)]
fn is_plain_block<const N: usize>(block: &[u8; N]) -> bool {
    block.iter().fold(true, |plain, byte| plain & is_plain_byte(*byte))
}

#[inline(always)]
fn is_plain_byte(byte: u8) -> bool {
    (byte >= b' ') & (byte != b'"') & (byte != b'\\')
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

    fn is_what_serde_writes(record: &Value) {
        let record: Record<'static> = serde_json::from_value(record.clone()).unwrap();
        let mut line = Vec::new();
        write(&record, &mut line);
        assert_eq!(String::from_utf8(line).unwrap(), serde_json::to_string(&record).unwrap() + "\n");
    }

    #[test]
    fn a_line_is_what_serde_would_write() {
        for text in
            ["", "a.example", "\"", "\\", "\u{0}\u{1f}\u{7f}\u{80}", "ü\u{2028}\u{1f980}", "a\nb\tc\rd\u{8}\u{c}"]
        {
            is_what_serde_writes(&full(text));
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
            let mut record = full("x");
            record["total_ms"] = milliseconds.into();
            is_what_serde_writes(&record);
        }
        // Each place in a word, and behind the last word.
        for length in 0..36 {
            for at in 0..length {
                for byte in ["\u{1f}", " ", "!", "\"", "#", "[", "\\", "]", "\u{7f}", "\u{80}"] {
                    let mut text = "a".repeat(length);
                    text.replace_range(at..=at, byte);
                    is_what_serde_writes(&full(&text));
                }
            }
        }
        // Each member that may be absent, absent.
        let Value::Object(members) = full("x") else { unreachable!("an object") };
        for name in members.keys() {
            let mut less = members.clone();
            less.remove(name);
            if serde_json::from_value::<Record<'static>>(Value::Object(less.clone())).is_ok() {
                is_what_serde_writes(&Value::Object(less));
            }
        }
        is_what_serde_writes(&json!({
            "kind": "tunnel", "schema": 1, "id": "i", "time": "t", "authority": "h:443", "outcome": "completed",
            "exchanges": 1, "total_ms": 1.0,
        }));
    }
}
