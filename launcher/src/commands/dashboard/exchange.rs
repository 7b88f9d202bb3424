//! One record as the dashboard shows it: a line that may stand on a terminal.

use serde_json::{Value as Json, json};
use shared::record::{Outcome, Record};

use crate::printer::one_line;

/// An exchange, or a tunnel that was refused, of one bottle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exchange {
    pub(super) identity: String,
    /// RFC 3339.
    pub(super) time: String,
    pub(super) status: String,
    pub(super) request: String,
    pub(super) outcome: Outcome,
    /// Why, where it was not completed.
    pub(super) reason: String,
}

impl Exchange {
    /// `None` for a line that is no record, and for tunnels that did their work: their exchanges tell of it.
    pub(super) fn of(identity: &str, line: &str) -> Option<Self> {
        let (time, status, request, outcome, reason) = match serde_json::from_str::<Record<'_>>(line).ok()? {
            Record::Exchange(one) => {
                let authority = match (&*one.scheme, one.port) {
                    ("https", 443) | ("http", 80) => one.host.to_string(),
                    (_, port) => format!("{}:{port}", one.host),
                };
                let path = one.path.as_deref().unwrap_or("/…");
                let status = one.status.map(|status| status.to_string()).unwrap_or_default();
                (
                    one.time,
                    status,
                    format!("{} {}://{authority}{path}", one.method, one.scheme),
                    one.outcome,
                    one.reason,
                )
            }
            Record::Tunnel(one) if one.outcome == Outcome::Completed => return None,
            Record::Tunnel(one) => {
                (one.time, String::new(), format!("CONNECT {}", one.authority), one.outcome, one.reason)
            }
        };
        Some(Self {
            identity: identity.to_owned(),
            time: one_line(&time),
            status,
            request: one_line(&request),
            outcome,
            reason: one_line(&reason.unwrap_or_default()),
        })
    }

    pub(super) fn to_json(&self) -> Json {
        let Self { identity, time, status, request, outcome, reason } = self;
        json!({
            "identity": identity, "time": time, "status": status.parse::<u16>().ok(), "request": request,
            "outcome": outcome.name(), "reason": (!reason.is_empty()).then_some(reason),
        })
    }

    /// `16:05:56` of `2026-11-21T16:05:56.123Z`.
    pub(super) fn time_of_day(&self) -> &str {
        self.time.split('T').nth(1).and_then(|time| time.get(..8)).unwrap_or(&self.time)
    }
}
