//! What the stand-in takes for a secret: the patterns that the recordings need, out of pipelock's 48.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use regex::bytes::Regex;

/// One of pipelock's patterns.
pub(super) struct Pattern {
    pub(super) name: &'static str,
    regex: Regex,
}

static PATTERNS: LazyLock<[Pattern; 3]> = LazyLock::new(|| {
    let pattern = |name, regex| Pattern { name, regex: Regex::new(regex).expect("a valid pattern") };
    [
        pattern("AWS Access ID", "(?i)(AKIA|ASIA)[A-Z0-9]{16}"),
        pattern("GitHub Token", "(?i)gh[pousr]_[A-Za-z0-9_]{36,}"),
        pattern("Anthropic API Key", "(?i)sk-ant-[a-zA-Z0-9_-]{10,}"),
    ]
});

/// Those that pipelock calls core: it looks for them in text as it stands before it decodes anything.
const CORE: [&str; 2] = ["AWS Access ID", "GitHub Token"];

/// The first pattern in a text, as it stands or decoded from base64 or hexadecimal.
pub(super) fn in_text(text: &[u8]) -> Option<&'static str> {
    in_plain(text).or_else(|| in_decoded(text))
}

/// What a URL is refused for.
pub(super) fn in_url(url: &[u8]) -> Option<String> {
    let decoded = percent_decoded(url);
    if let Some(name) = in_plain(url).or_else(|| in_plain(&decoded)) {
        let core = if CORE.contains(&name) { "core " } else { "" };
        return Some(format!("{core}DLP match: {name} (critical)"));
    }
    let parts = decoded.split(|b| b"/?&=".contains(b));
    let name = parts.filter(|part| part.len() >= 16).find_map(in_decoded)?;
    Some(format!("DLP match: {name} (critical)"))
}

/// What content is refused for.
pub(super) fn in_content(content_type: &str, content: &[u8]) -> Option<String> {
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if content.is_empty() {
        return None;
    }
    let found = if media == "application/json" || media.ends_with("+json") {
        match serde_json::from_slice(content) {
            Ok(json) => in_json(&json),
            Err(_) => return Some("invalid JSON body".to_owned()),
        }
    } else if media == "application/x-www-form-urlencoded" {
        if !is_form(content) {
            return Some("invalid application/x-www-form-urlencoded body".to_owned());
        }
        in_text(&percent_decoded(content)).or_else(|| in_lines(content))
    } else {
        in_lines(content)
    };
    found.map(|name| format!("request body contains secret: {name}"))
}

fn in_json(json: &serde_json::Value) -> Option<&'static str> {
    match json {
        serde_json::Value::String(text) => in_text(text.as_bytes()),
        serde_json::Value::Array(items) => items.iter().find_map(in_json),
        serde_json::Value::Object(members) => members.values().find_map(in_json),
        _ => None,
    }
}

fn in_lines(content: &[u8]) -> Option<&'static str> {
    let mut lines = content.split(|b| b.is_ascii_whitespace());
    in_plain(content).or_else(|| lines.find_map(in_decoded))
}

fn in_plain(text: &[u8]) -> Option<&'static str> {
    PATTERNS.iter().find(|pattern| pattern.regex.is_match(text)).map(|pattern| pattern.name)
}

fn in_decoded(text: &[u8]) -> Option<&'static str> {
    let unpadded: Vec<u8> = text.iter().copied().filter(|b| *b != b'=').collect();
    let decoded = [STANDARD.decode(text).ok(), URL_SAFE_NO_PAD.decode(&unpadded).ok(), hexadecimal(text)];
    decoded.iter().flatten().find_map(|decoded| in_plain(decoded))
}

fn hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.chunks(2).map(pair).collect()
}

fn is_form(content: &[u8]) -> bool {
    !content.contains(&b';') && super::url::unescaped(content).is_some()
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    super::url::unescaped(text).unwrap_or_else(|| text.to_vec())
}
