//! One record as the list and the details show it: every text as a terminal may show it.

use shared::record::{Outcome, Record};

use crate::record::pretty::printable;

/// One line of the list.
#[derive(Debug)]
pub struct Row {
    pub time: String,
    pub status: String,
    pub method: String,
    pub what: String,
    pub how: String,
    pub outcome: Outcome,
    pub up: u64,
    pub down: u64,
    pub milliseconds: f64,
    /// Every member of the record and its value.
    pub details: Vec<(String, String)>,
    /// What a filter looks at, in lower case.
    text: String,
}

impl Row {
    pub fn of(record: &Record<'_>) -> Self {
        let details = details(record);
        let text = details.iter().map(|(_, value)| value.to_lowercase()).collect::<Vec<_>>().join(" ");
        match record {
            Record::Exchange(exchange) => {
                let authority = match (&*exchange.scheme, exchange.port) {
                    ("https", 443) => exchange.host.to_string(),
                    ("http", 80) => format!("http://{}", exchange.host),
                    ("http", port) => format!("http://{}:{port}", exchange.host),
                    (_, port) => format!("{}:{port}", exchange.host),
                };
                let path = exchange.path.as_deref().unwrap_or("/…");
                let how = match (&exchange.by, &exchange.error) {
                    (Some(by), Some(error)) => format!("{by}: {error}"),
                    _ => exchange.outcome.to_string(),
                };
                Self {
                    time: time_of_day(&exchange.time),
                    status: exchange.status.map_or_else(|| "---".to_owned(), |status| status.to_string()),
                    method: printable(&exchange.method).into_owned(),
                    what: printable(&format!("{authority}{path}")).into_owned(),
                    how: printable(&how).into_owned(),
                    outcome: exchange.outcome,
                    up: exchange.request_bytes,
                    down: exchange.response_bytes,
                    milliseconds: exchange.total_ms,
                    details,
                    text,
                }
            }
            Record::Tunnel(tunnel) => Self {
                time: time_of_day(&tunnel.time),
                status: "---".to_owned(),
                method: "CONNECT".to_owned(),
                what: printable(&tunnel.authority).into_owned(),
                how: printable(tunnel.error.as_deref().unwrap_or(tunnel.outcome.name())).into_owned(),
                outcome: tunnel.outcome,
                up: 0,
                down: 0,
                milliseconds: tunnel.total_ms,
                details,
                text,
            },
        }
    }

    /// Whether every word of a filter is in it, and none that begins with `!`.
    pub fn fits(&self, filter: &str) -> bool {
        filter.to_lowercase().split_whitespace().all(|word| match word.strip_prefix('!') {
            Some("") => true,
            Some(unwanted) => !self.text.contains(unwanted),
            None => self.text.contains(word),
        })
    }
}

fn details(record: &Record<'_>) -> Vec<(String, String)> {
    let Ok(serde_json::Value::Object(members)) = serde_json::to_value(record) else { return Vec::new() };
    let shown = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => printable(&text).into_owned(),
        other => printable(&other.to_string()).into_owned(),
    };
    let mut details: Vec<_> = members.into_iter().map(|(name, value)| (name, shown(value))).collect();
    if let Record::Exchange(exchange) = record {
        let found =
            exchange.findings.iter().map(|found| format!("{} in {} ({})", found.rule, found.place, found.chain));
        let found = found.collect::<Vec<_>>().join("; ");
        if let Some((_, value)) = details.iter_mut().find(|(name, _)| name == "findings") {
            *value = printable(&found).into_owned();
        }
    }
    details.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    details
}

/// `16:05:56` of `2026-11-21T16:05:56.123Z`.
fn time_of_day(time: &str) -> String {
    let time = time.split('T').nth(1).unwrap_or(time);
    printable(time.get(..8).unwrap_or(time)).into_owned()
}

/// The members that are looked for first; the others follow.
const FIRST: [&str; 14] = [
    "outcome",
    "reason",
    "by",
    "error",
    "findings",
    "verdict",
    "route",
    "rule",
    "credential",
    "next_hop",
    "status",
    "first_byte_ms",
    "connect_ms",
    "inspect_ms",
];
