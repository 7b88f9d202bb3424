//! The record: one finished fact per exchange and per tunnel, one JSON object a line. Never holds a query, a field's
//! value or content; a path only where nothing in it was found to be secret.
//!
//! `docs/records.md` and [`SCHEMA`] describe what the types below say; tests hold the three against each other.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

/// The version of the schema below. A member that is added does not change it; one that goes or changes its meaning
/// does.
pub const SCHEMA_VERSION: u32 = 1;

/// The JSON Schema of a record, for those who read them.
pub const SCHEMA: &str = include_str!("record/schema.json");

/// One line of the log.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[expect(clippy::large_enum_variant, reason = "one lives at a time, and a box would cost every exchange")]
pub enum Record<'a> {
    Exchange(ExchangeRecord<'a>),
    Tunnel(TunnelRecord<'a>),
}

/// One finished exchange.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ExchangeRecord<'a> {
    pub schema: u32,
    /// 32 hexadecimal digits; the client reads the same id in a refusal.
    pub id: Cow<'a, str>,
    /// RFC 3339, when the request's head had arrived.
    pub time: Cow<'a, str>,
    /// The tunnel's id, for exchanges inside one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Cow<'a, str>>,
    pub method: Cow<'a, str>,
    pub scheme: Cow<'a, str>,
    /// Empty where the request named none that could be read, or one that looks like a secret.
    pub host: Cow<'a, str>,
    pub port: u16,
    /// Without the query; absent where a finding was in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Cow<'a, str>>,
    pub client_protocol: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_protocol: Option<Cow<'a, str>>,
    /// The address that was dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Cow<'a, str>>,
    /// The name, never the value, of the credential that was injected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Cow<'a, str>>,
    /// Absent where it never came to one: the inspector was silent, a credential was missing, the client left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    pub outcome: Outcome,
    /// Who refused or failed it: `policy`, `scan`, `pipelock`, `egress-proxy`, `inner face`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Cow<'a, str>>,
    /// A fixed word for the refusal or failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'a, str>>,
    /// The proxy error type of RFC 9209 §2.3 that comes nearest; the client reads it in `Proxy-Status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_error: Option<Cow<'a, str>>,
    /// The same in words for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
    /// Somebody tried what only a hijacked agent does: a real credential or a misplaced stand-in was sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alarm: bool,
    /// What the scan found, never the match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FindingRecord<'a>>,
    /// What the scan found in the answer, which passed all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answer_findings: Vec<FindingRecord<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Content bytes from the client.
    pub request_bytes: u64,
    /// Content bytes to the client.
    pub response_bytes: u64,
    /// Bytes of answers masked because they were the injected credential.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub masked: u64,
    /// Milliseconds spent asking the inspector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inspect_ms: Option<f64>,
    /// Milliseconds to a connection with the next hop; absent where a pooled one was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<f64>,
    /// Milliseconds from the request's head to the answer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<f64>,
    /// Milliseconds from the request's head to the end.
    pub total_ms: f64,
}

/// What the scan found in an exchange, and where; nothing of the match.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FindingRecord<'a> {
    pub rule: Cow<'a, str>,
    /// As in `the content, byte 1204`.
    pub place: Cow<'a, str>,
    /// The way to it, as in `content > json > base64`.
    pub chain: Cow<'a, str>,
}

/// One tunnel: a CONNECT and what became of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct TunnelRecord<'a> {
    pub schema: u32,
    pub id: Cow<'a, str>,
    pub time: Cow<'a, str>,
    /// `HOST:PORT`; empty where the host looks like a secret.
    pub authority: Cow<'a, str>,
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
    /// What ALPN chose (RFC 7301).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_protocol: Option<Cow<'a, str>>,
    pub exchanges: u64,
    pub total_ms: f64,
}

/// What was decided about a request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Route, scan and inspection let it go.
    Allowed,
    /// The scan or pipelock found something.
    Blocked,
    /// The route table, or a rule of the proxy itself, refused it.
    Denied,
}

/// How an exchange or tunnel ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The client or the proxy's end cut it short.
    Aborted,
    /// The scan or pipelock found something.
    Blocked,
    Completed,
    /// The route table, or a rule of the proxy itself, refused it.
    Denied,
    /// The next hop, the inspector or the proxy could not do it.
    Failed,
}

impl Outcome {
    pub const ALL: [Self; 5] = [Self::Aborted, Self::Blocked, Self::Completed, Self::Denied, Self::Failed];

    pub fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::Blocked => "blocked",
            Self::Completed => "completed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

impl Verdict {
    pub const ALL: [Self; 3] = [Self::Allowed, Self::Blocked, Self::Denied];

    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Blocked => "blocked",
            Self::Denied => "denied",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    /// Every member set, in both kinds.
    fn full() -> [Value; 2] {
        let exchange = json!({
            "kind": "exchange", "schema": 1, "id": "i", "time": "t", "tunnel": "u", "method": "GET", "scheme": "https",
            "host": "h", "port": 443, "path": "/", "client_protocol": "h2", "origin_protocol": "h2",
            "next_hop": "192.0.2.1:443", "route": "h", "rule": "any", "credential": "TOKEN", "verdict": "allowed",
            "outcome": "failed", "by": "egress-proxy", "error": "dns_error", "proxy_error": "dns_error", "reason": "r",
            "alarm": true, "findings": [{"rule": "jwt", "place": "the path", "chain": "path"}],
            "answer_findings": [{"rule": "jwt", "place": "the content, byte 7", "chain": "content"}], "status": 502,
            "request_bytes": 1, "response_bytes": 2, "masked": 3, "inspect_ms": 1.0, "connect_ms": 2.0,
            "first_byte_ms": 3.0, "total_ms": 4.0,
        });
        let tunnel = json!({
            "kind": "tunnel", "schema": 1, "id": "i", "time": "t", "authority": "h:443", "outcome": "completed",
            "error": "e", "reason": "r", "client_protocol": "h2", "exchanges": 1, "total_ms": 1.0,
        });
        [exchange, tunnel]
    }

    fn names(object: &Value) -> BTreeSet<String> {
        object.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_schema_names_every_member_of_a_record_and_no_other() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        for (kind, full) in ["exchange", "tunnel"].iter().zip(full()) {
            let record: Record<'static> = serde_json::from_value(full.clone()).unwrap();
            assert_eq!(serde_json::to_value(&record).unwrap(), full);
            let described = &schema["$defs"][kind];
            assert_eq!(names(&described["properties"]), names(&full), "{kind}");
            // A record of which only the required members are left is still one; with any of them gone it is none.
            let required: BTreeSet<_> = described["required"]
                .as_array()
                .unwrap()
                .iter()
                .map(|name| name.as_str().unwrap().to_owned())
                .collect();
            let mut least = full.clone();
            least.as_object_mut().unwrap().retain(|name, _| required.contains(name));
            let record: Record<'static> = serde_json::from_value(least.clone()).unwrap();
            assert_eq!(serde_json::to_value(&record).unwrap(), least);
            for name in &required {
                let mut less = least.clone();
                less.as_object_mut().unwrap().remove(name);
                serde_json::from_value::<Record<'static>>(less).expect_err(name);
            }
            assert_eq!(described["properties"]["schema"]["const"], SCHEMA_VERSION);
        }
        let exchange = &schema["$defs"]["exchange"]["properties"];
        assert_eq!(exchange["outcome"]["enum"], json!(Outcome::ALL));
        assert_eq!(exchange["verdict"]["enum"], json!(Verdict::ALL));
    }

    #[test]
    fn the_page_about_records_has_a_line_for_every_member_and_no_other() {
        let page = include_str!("../../docs/records.md");
        for (title, full) in ["## An exchange", "## A tunnel"].iter().zip(full()) {
            let section = page.split(title).nth(1).unwrap().split("\n## ").next().unwrap();
            let listed: BTreeSet<String> = section
                .lines()
                .filter_map(|line| line.strip_prefix("| `"))
                .filter_map(|line| line.split('`').next())
                .map(str::to_owned)
                .collect();
            assert_eq!(listed, names(&full), "{title}");
        }
    }
}
