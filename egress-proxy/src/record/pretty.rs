//! Records for people: one line for each exchange, a second with the reason where it did not come to a good end.

use std::borrow::Cow;

use shared::record::{ExchangeRecord, Outcome, Record, TunnelRecord};

/// Whether lines are coloured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Colour {
    Ansi,
    None,
}

/// Writes the line for a record.
pub fn pretty(record: &Record<'_>, colour: Colour, line: &mut Vec<u8>) {
    match record {
        Record::Exchange(record) => exchange(record, colour, line),
        Record::Tunnel(record) => tunnel(record, colour, line),
    }
}

fn exchange(record: &ExchangeRecord<'_>, colour: Colour, line: &mut Vec<u8>) {
    let ExchangeRecord { method, scheme, host, port, total_ms, outcome, .. } = record;
    let status = record.status.map_or_else(|| "---".to_owned(), |status| status.to_string());
    let path = record.path.as_deref().unwrap_or("/…");
    let authority = match (&**scheme, port) {
        ("https", 443) | ("http", 80) => host.to_string(),
        _ => format!("{host}:{port}"),
    };
    let credential = record.credential.as_ref().map(|name| format!(" [{name}]")).unwrap_or_default();
    let text = format!(
        "{status} {method} {scheme}://{authority}{path}{credential} {}↑ {}↓ {total_ms:.1} ms",
        record.request_bytes, record.response_bytes
    );
    let detail = match (outcome, &record.reason) {
        (Outcome::Completed, _) => None,
        (_, Some(reason)) => Some(format!("{outcome}: {reason} ({})", record.id)),
        (_, None) => Some(format!("{outcome} ({})", record.id)),
    };
    paint(*outcome, colour, &text, detail.as_deref(), line);
}

fn tunnel(record: &TunnelRecord<'_>, colour: Colour, line: &mut Vec<u8>) {
    // A tunnel that did its work says nothing that its exchanges have not said.
    if let (Outcome::Completed, None) = (record.outcome, &record.reason) {
        return;
    }
    let reason = record.reason.as_deref().unwrap_or_default();
    let detail = format!("{}: {reason} ({})", record.outcome, record.id);
    paint(record.outcome, colour, &format!("--- CONNECT {}", record.authority), Some(&detail), line);
}

fn paint(outcome: Outcome, colour: Colour, text: &str, detail: Option<&str>, line: &mut Vec<u8>) {
    let code = match outcome {
        Outcome::Completed => "32",
        Outcome::Denied | Outcome::Blocked => "31",
        Outcome::Failed => "33",
        Outcome::Aborted => "90",
    };
    let detail = detail.map(|detail| format!("\n    {}", printable(detail))).unwrap_or_default();
    let text = printable(text);
    let painted = match colour {
        Colour::Ansi => format!("\u{1b}[{code}m{text}{detail}\u{1b}[0m\n"),
        Colour::None => format!("{text}{detail}\n"),
    };
    line.extend_from_slice(painted.as_bytes());
}

/// Text as a terminal may show it: a path or a reason may hold whatever a client wrote, and neither controls nor marks
/// that turn the direction of writing belong there.
pub fn printable(text: &str) -> Cow<'_, str> {
    let unprintable = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(unprintable) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(unprintable, "\u{fffd}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people_holds_no_controls() {
        let mut line = Vec::new();
        paint(
            Outcome::Denied,
            Colour::None,
            "200 GET https://a.example/\u{9b}31m\u{202e}x",
            Some("de\nnied"),
            &mut line,
        );
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "200 GET https://a.example/\u{fffd}31m\u{fffd}x\n    de\u{fffd}nied\n"
        );
    }
}
