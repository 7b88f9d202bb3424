//! The `env` key: literals, `${HOST}` references and `?` questions. Only names are read here; no variable is looked up.

use std::sync::Arc;

use shared::yaml::{Diagnostics, Entry, Node, nearest};

use super::source::{Placed, Source};
use crate::name::Variable;

/// `NAME: VALUE` of an `env` key.
#[derive(Debug, Clone)]
pub struct Assignment {
    pub variable: Placed<Variable>,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `?TEXT`: asked on the terminal, without echo.
    Ask(String),
    /// `${NAME}`: from the host's environment.
    Host(Variable),
    Literal(String),
}

pub fn decode(node: &Node<'_, '_>, source: &Arc<Source>, log: &mut Diagnostics) -> Option<Vec<Assignment>> {
    Some(node.map(log)?.rest().iter().filter_map(|entry| assignment(entry, source, log)).collect())
}

fn assignment(entry: &Entry<'_, '_>, source: &Arc<Source>, log: &mut Diagnostics) -> Option<Assignment> {
    let variable: Option<Variable> = super::parse(&entry.key, log);
    if let Some(known) = OURS.iter().find(|ours| entry.name.eq_ignore_ascii_case(ours)) {
        let error = entry.key.error(format!("`{known}` is set by bottle itself"));
        log.push(error.with_hint("the way out and its trust are the bottle's; remove the entry"));
    }
    let Some(text) = entry.value.as_text() else {
        let error = entry.value.error(format!("expected a string, found {}", entry.value.kind()));
        log.push(error.with_hint("put the value in quotes"));
        return None;
    };
    let value = value(text, &entry.value, log)?;
    let variable = variable?;
    Some(Assignment { variable: Placed { at: entry.key.locate(variable), source: source.clone() }, value })
}

fn value(text: &str, node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<Value> {
    if let Some(question) = text.strip_prefix('?') {
        if question.trim().is_empty() {
            log.push(node.error("a question without a text").with_hint("write what to ask: `\"?Paste the token\"`"));
            return None;
        }
        return Some(Value::Ask(question.trim().to_owned()));
    }
    let Some(start) = text.find("${") else { return Some(Value::Literal(text.to_owned())) };
    let name = text.get(start + 2..).and_then(|rest| rest.strip_suffix('}')).filter(|_| start == 0);
    match name.and_then(|name| name.parse().ok()) {
        Some(variable) => Some(Value::Host(variable)),
        None => {
            let error = node.error("a reference to a variable of the host stands alone");
            log.push(error.with_hint("write `${NAME}` and nothing else, or a literal without `${`"));
            None
        }
    }
}

/// "did you mean …" for a variable that the host does not have.
pub fn suggestion(missing: &Variable, names: &[&str]) -> Option<String> {
    nearest(missing.as_str(), names).map(|near| format!("`{near}` is set; did you mean that?"))
}

/// What the backend sets in every agent's environment.
const OURS: [&str; 18] = [
    "ALL_PROXY",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "CURL_CA_BUNDLE",
    "DENO_CERT",
    "FTP_PROXY",
    "GIT_SSL_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "JAVA_TOOL_OPTIONS",
    "NODE_EXTRA_CA_CERTS",
    "NODE_USE_ENV_PROXY",
    "NO_PROXY",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];
