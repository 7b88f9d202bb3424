//! Every response that the proxy originates: the only place that chooses a status, and what a client may read. The text
//! says what was refused, by which rule or lack of one, what to do, and the record's id.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use shared::{record::Outcome, routes::Refusal};

use crate::{
    dial::DialError,
    error::ExchangeError,
    forward::{ForwardError, UpstreamError},
    inspect::InspectError,
    policy::Denied,
    record::{Id, Recording, proxy_error},
    relay::ClientBody,
};

/// RFC 9209: that the answer is ours, and why.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// What an error means to client and record.
struct Answer {
    status: StatusCode,
    outcome: Outcome,
    by: &'static str,
    token: &'static str,
    /// One or two sentences for the client.
    text: String,
}

/// Answers an exchange that failed or was refused, and writes the reason into its record.
pub fn refuse(error: &ExchangeError, recording: &Recording) -> Response<ClientBody> {
    let answer = Answer::of(error);
    write_down(error, &answer, recording);
    recording.note(|draft| draft.status = Some(answer.status));
    let word = match answer.outcome {
        Outcome::Blocked => "blocked",
        Outcome::Denied => "refused",
        _ => "failed",
    };
    let body = format!("{word} by {}: {}\nrecord: {}\n", answer.by, answer.text, recording.id);
    recording.count_response(body.len());
    let mut response = text(answer.status, body);
    response.headers_mut().insert(PROXY_STATUS, proxy_error::status(answer.token, answer.outcome));
    response
}

/// Writes into the record why an exchange ended whose answer was under way already: the client keeps what it has.
pub fn end(error: &ExchangeError, recording: &Recording) {
    write_down(error, &Answer::of(error), recording);
}

fn write_down(error: &ExchangeError, answer: &Answer, recording: &Recording) {
    recording.note(|draft| {
        draft.outcome = answer.outcome;
        draft.by = Some(answer.by);
        draft.error = Some(answer.token);
        draft.reason = Some(chain(error));
        draft.alarm = match error {
            ExchangeError::CredentialSent(_) | ExchangeError::Denied(Denied::Credential(_)) => true,
            ExchangeError::Scan(finding) => finding.is_guarded_value(),
            _ => false,
        };
        if let ExchangeError::Scan(finding) = error
            && !draft.findings.contains(finding)
        {
            draft.findings.push(finding.clone());
        }
    });
}

/// A plain text response of the proxy's own.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<ClientBody> {
    typed(status, "text/plain; charset=utf-8", body.into())
}

/// A JSON response of the proxy's own.
pub fn json(value: &serde_json::Value) -> Response<ClientBody> {
    typed(StatusCode::OK, "application/json", Bytes::from(format!("{value:#}\n")))
}

/// What a client reads before any exchange could begin.
pub fn unrecorded(status: StatusCode, reason: &str, id: Option<Id>) -> Response<ClientBody> {
    let id = id.map(|id| format!("record: {id}\n")).unwrap_or_default();
    let mut response = text(status, format!("refused by egress-proxy: {reason}\n{id}"));
    response.headers_mut().insert(PROXY_STATUS, proxy_error::status("log_unwritable", Outcome::Failed));
    response
}

fn typed(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<ClientBody> {
    let mut response = Response::new(ClientBody::full(body));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(PROXY_STATUS, proxy_error::OWN_ANSWER);
    response
}

impl Answer {
    fn of(error: &ExchangeError) -> Self {
        use StatusCode as S;
        let proxy = |status, outcome, token, text: String| Self { status, outcome, by: "egress-proxy", token, text };
        let denied = |status, token| proxy(status, Outcome::Denied, token, format!("{error}."));
        match error {
            ExchangeError::Content(_) => {
                proxy(S::BAD_REQUEST, Outcome::Aborted, "content_incomplete", format!("{error}."))
            }
            ExchangeError::ContentTooLarge { limit } => proxy(
                S::PAYLOAD_TOO_LARGE,
                Outcome::Denied,
                "content_too_large",
                format!(
                    "content on an inspected route is at most {} MiB. Ask the operator for `inspect: off` on this route.",
                    limit >> 20
                ),
            ),
            ExchangeError::Credential(_) => proxy(
                S::SERVICE_UNAVAILABLE,
                Outcome::Failed,
                "credential_missing",
                "the route's credential is not available, and a request without it does not leave. Ask the operator."
                    .to_owned(),
            ),
            ExchangeError::CredentialSent(sent) | ExchangeError::Denied(Denied::Credential(sent)) => Self {
                text: format!("{sent}, where it has no business. The proxy adds credentials by itself; send none."),
                ..denied(S::FORBIDDEN, "credential_sent")
            },
            ExchangeError::Denied(Denied::Changed) => {
                let text = format!("{error}. Send it again.");
                proxy(S::SERVICE_UNAVAILABLE, Outcome::Denied, "rules_changed", text)
            }
            ExchangeError::Denied(Denied::Table(refusal)) => Self::table(refusal),
            ExchangeError::Echo(error) => {
                proxy(S::BAD_GATEWAY, Outcome::Failed, "credential_echoed", format!("{}.", chain(error)))
            }
            ExchangeError::Exhausted(_) => {
                let text = format!("{error}. Send it again later.");
                proxy(S::SERVICE_UNAVAILABLE, Outcome::Failed, "overload", text)
            }
            ExchangeError::Expectation(_) => denied(S::EXPECTATION_FAILED, "expectation"),
            ExchangeError::Forward(error) => Self::forward(error),
            ExchangeError::GrpcInspected { route } => proxy(
                S::FORBIDDEN,
                Outcome::Denied,
                "grpc_inspected",
                format!(
                    "gRPC on route `{route}`: pipelock cannot judge it. The route needs `inspect: off`; the built-in scan still covers it."
                ),
            ),
            ExchangeError::Inspect(error) => Self::inspect(error),
            ExchangeError::Journal(_) => {
                proxy(S::SERVICE_UNAVAILABLE, Outcome::Failed, "log_unwritable", format!("{error}."))
            }
            ExchangeError::Misdirected { .. } => denied(S::MISDIRECTED_REQUEST, "misdirected"),
            ExchangeError::NestedConnect => denied(S::FORBIDDEN, "nested_connect"),
            ExchangeError::OwnField(_) => denied(S::FORBIDDEN, "own_field"),
            ExchangeError::Revoked(_) => denied(S::FORBIDDEN, "revoked"),
            ExchangeError::Scan(finding) if finding.is_guarded_value() => Self {
                text: format!("{finding}. The proxy adds credentials by itself; send none."),
                by: "scan",
                ..proxy(S::FORBIDDEN, Outcome::Blocked, "secret_found", String::new())
            },
            ExchangeError::Scan(finding) => Self {
                status: S::FORBIDDEN,
                outcome: Outcome::Blocked,
                by: "scan",
                token: "secret_found",
                text: format!("{finding}. {}", finding.remedy()),
            },
            ExchangeError::Slow => denied(S::REQUEST_TIMEOUT, "content_slow"),
            ExchangeError::Target(_) => denied(S::BAD_REQUEST, "bad_target"),
            ExchangeError::Upgrade(_) => denied(S::NOT_IMPLEMENTED, "upgrade"),
            ExchangeError::WebSocketInspected { route } => proxy(
                S::FORBIDDEN,
                Outcome::Denied,
                "websocket_inspected",
                format!(
                    "WebSocket on route `{route}`: pipelock cannot judge it. The route needs `inspect: off`; the built-in scan still covers it."
                ),
            ),
        }
    }

    fn table(refusal: &Refusal) -> Self {
        let what = match refusal {
            Refusal::HostUnlisted { .. } => {
                " Only hosts in the bottle's route table can be reached; `http://_egress-proxy.local/allowlist` shows it."
            }
            Refusal::RuleMissing { .. } | Refusal::Port { .. } => {
                " `http://_egress-proxy.local/allowlist` shows what it covers."
            }
            _ => "",
        };
        Self {
            status: StatusCode::FORBIDDEN,
            outcome: Outcome::Denied,
            by: "policy",
            token: refusal.token(),
            text: format!("{refusal}.{what}"),
        }
    }

    /// The operator's record has the cause; the client reads which kind of failure it was.
    fn forward(error: &ForwardError) -> Self {
        use StatusCode as S;
        let (status, token) = match error {
            ForwardError::Dial(error) | ForwardError::Upstream(UpstreamError::Dial(error)) => match error {
                DialError::Prohibited { .. } => (S::FORBIDDEN, "address_prohibited"),
                DialError::Resolve { .. } => (S::BAD_GATEWAY, "dns_error"),
                DialError::Connect { .. } => (S::BAD_GATEWAY, "connection_refused"),
                DialError::Timeout(_) => (S::GATEWAY_TIMEOUT, "connection_timeout"),
            },
            ForwardError::Upstream(error) => match error {
                UpstreamError::Answer(_) | UpstreamError::Dial(_) | UpstreamError::Garbage => {
                    (S::BAD_GATEWAY, "http_protocol_error")
                }
                UpstreamError::Credential => (S::BAD_GATEWAY, "proxy_configuration_error"),
                UpstreamError::Refused { .. } => (S::BAD_GATEWAY, "destination_unavailable"),
                UpstreamError::Timeout => (S::GATEWAY_TIMEOUT, "connection_timeout"),
                UpstreamError::Unreachable(_) => (S::BAD_GATEWAY, "connection_refused"),
            },
            ForwardError::Silent => (S::GATEWAY_TIMEOUT, "http_response_timeout"),
            ForwardError::Certificate { .. } => (S::BAD_GATEWAY, "tls_certificate_error"),
            ForwardError::Tls { .. } => (S::BAD_GATEWAY, "tls_protocol_error"),
            ForwardError::TlsTimeout(_) => (S::GATEWAY_TIMEOUT, "connection_timeout"),
            ForwardError::Name(_) => (S::BAD_REQUEST, "bad_target"),
            ForwardError::Answer(_)
            | ForwardError::Handshake(_)
            | ForwardError::Exchange(_)
            | ForwardError::Stream(_)
            | ForwardError::Upgrade => (S::BAD_GATEWAY, "connection_terminated"),
            ForwardError::WebSocket(_) => (S::BAD_GATEWAY, "http_upgrade_failed"),
        };
        let outcome = if status == S::FORBIDDEN { Outcome::Denied } else { Outcome::Failed };
        // Addresses, and what TLS or a name server said, are the operator's.
        let text = match error {
            ForwardError::Dial(error) | ForwardError::Upstream(UpstreamError::Dial(error)) => match error {
                DialError::Prohibited { why, .. } => format!(
                    "the origin's address may not be dialled: {why}. If the origin is meant to be there, ask the operator for `--allow-upstream-cidr` (`allow_cidr` in a manifest)."
                ),
                DialError::Resolve { name, .. } => format!("the name `{name}` does not resolve."),
                DialError::Connect { .. } | DialError::Timeout(_) => format!("{error}."),
            },
            ForwardError::Upstream(UpstreamError::Credential) => format!("{error}. Ask the operator."),
            _ => format!("{error}."),
        };
        Self { status, outcome, by: "egress-proxy", token, text }
    }

    fn inspect(error: &InspectError) -> Self {
        use StatusCode as S;
        let (status, token) = match error {
            InspectError::Blocked(text) => {
                let text = format!("{text}. Take it out of the request, or ask the operator.");
                return Self {
                    status: S::FORBIDDEN,
                    outcome: Outcome::Blocked,
                    by: "pipelock",
                    token: "inspector_blocked",
                    text,
                };
            }
            InspectError::AnswerBlocked(text) => {
                let text = format!("{text}. The origin was asked, and its answer is withheld.");
                return Self {
                    status: S::FORBIDDEN,
                    outcome: Outcome::Blocked,
                    by: "pipelock",
                    token: "answer_blocked",
                    text,
                };
            }
            InspectError::AnswerTooLarge | InspectError::AnswerCoding(_) => {
                let text =
                    format!("{error}, so it is withheld. Ask the operator for `inspect: request` on this route.");
                return Self {
                    status: S::BAD_GATEWAY,
                    outcome: Outcome::Denied,
                    by: "egress-proxy",
                    token: "answer_unjudged",
                    text,
                };
            }
            InspectError::Coding(_) | InspectError::Hidden | InspectError::Unaskable => {
                return Self {
                    status: S::FORBIDDEN,
                    outcome: Outcome::Denied,
                    by: "egress-proxy",
                    token: "coding_refused",
                    text: format!("{error}. Nothing may travel unseen; send it without `Content-Encoding`."),
                };
            }
            InspectError::Timeout => (S::GATEWAY_TIMEOUT, "inspector_timeout"),
            InspectError::Overload => (S::SERVICE_UNAVAILABLE, "inspector_overload"),
            InspectError::Unreachable(_)
            | InspectError::Failed { .. }
            | InspectError::AnswerChanged
            | InspectError::Exchange(_)
            | InspectError::Silent(_)
            | InspectError::Unconfirmed => (S::BAD_GATEWAY, "inspector_failed"),
        };
        let text = format!("the inspector gave no verdict ({error}), so the exchange ends here.");
        Self { status, outcome: Outcome::Failed, by: "egress-proxy", token, text }
    }
}

/// An error with its causes, for the operator.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
