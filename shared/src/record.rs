//! The record: one finished fact per exchange and per tunnel, one JSON object a line. Never holds a query, a field's
//! value or content; a path only where nothing in it was found to be secret.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

/// The version of the schema below; a change that readers must know about raises it.
pub const SCHEMA_VERSION: u32 = 1;

/// One finished exchange.
#[derive(Clone, Debug, Serialize)]
pub struct ExchangeRecord<'a> {
    pub schema: u32,
    pub kind: &'static str,
    /// 32 hexadecimal digits; the client reads the same id in a refusal.
    pub id: &'a str,
    /// RFC 3339, when the request's head had arrived.
    pub time: String,
    /// The tunnel's id, for exchanges inside one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<String>,
    pub method: Cow<'a, str>,
    pub scheme: &'static str,
    pub host: String,
    pub port: u16,
    /// Without the query; absent where a finding was in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    pub client_protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_protocol: Option<&'static str>,
    /// The address that was dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The name, never the value, of the credential that was injected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<&'a str>,
    pub outcome: Outcome,
    /// Who refused: `policy`, `scan`, `pipelock`, `proxy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'static str>,
    /// A fixed word for the refusal or failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// The same in words for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// Somebody tried what only a hijacked agent does: a real credential or a misplaced stand-in was sent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub alarm: bool,
    /// What the scan found: rule, place and decoders, never the match.
    #[serde(skip_serializing_if = "<[Value]>::is_empty")]
    pub findings: &'a [Value],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Content bytes from the client.
    pub request_bytes: u64,
    /// Content bytes to the client.
    pub response_bytes: u64,
    /// Bytes of answers masked because they were the injected credential.
    #[serde(skip_serializing_if = "is_zero")]
    pub masked: u64,
    /// Milliseconds spent asking the inspector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inspect_ms: Option<f64>,
    /// Milliseconds to a connection with the next hop; absent where a pooled one was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<f64>,
    /// Milliseconds from the request's head to the answer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte_ms: Option<f64>,
    /// Milliseconds from the request's head to the end.
    pub total_ms: f64,
}

/// One tunnel: a CONNECT and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct TunnelRecord {
    pub schema: u32,
    pub kind: &'static str,
    pub id: String,
    pub time: String,
    /// `HOST:PORT`, as far as it could be read.
    pub authority: String,
    pub outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What ALPN chose (RFC 7301).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_protocol: Option<&'static str>,
    pub exchanges: u64,
    pub total_ms: f64,
}

/// How an exchange or tunnel ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
