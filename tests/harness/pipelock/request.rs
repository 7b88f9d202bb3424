//! A request on its way through the stand-in: judged, stripped, and written as Go's client writes it.

use super::findings;
use super::url::{Refusal, Target};
use crate::h1::{Framing, Head, Message, latin1};

/// The content limit of the sidecar's configuration.
const MAX_CONTENT: usize = 33_554_432;

/// Fields that the sidecar's configuration does not scan.
const UNSCANNED: [&str; 2] = ["X-Exchange", "Content-Length"];

/// Fields that go no further (RFC 9110 section 7.6.1, and pipelock's own).
const STRIPPED: [&str; 15] = [
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Te",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "X-Pipelock-Agent",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Real-Ip",
    "Forwarded",
];

/// What a URL scan says, before any content is read.
pub(super) fn judge_target<'t>(whole: &'t [u8], allowed: &str) -> Result<Target<'t>, Refusal> {
    let target = Target::parse(whole)?;
    target.judge(allowed)?;
    Ok(target)
}

/// What a scan of content, then of fields, says.
pub(super) fn judge_message(message: &Message) -> Result<(), Refusal> {
    let head = &message.head;
    if let Some(coding) = head.field("content-encoding").filter(|coding| *coding != "identity") {
        let reason =
            format!("request body uses Content-Encoding \"{coding}\"; compressed bodies cannot be scanned for secrets");
        return Err(Refusal::Blocked(reason));
    }
    if message.content.len() > MAX_CONTENT {
        return Err(Refusal::Blocked(format!("request body exceeds max_body_bytes ({MAX_CONTENT})")));
    }
    let content_type = head.field("content-type").unwrap_or_default();
    if let Some(reason) = findings::in_content(content_type, &message.content) {
        return Err(Refusal::Blocked(reason));
    }
    let secret = |text: &str| findings::in_text(&latin1(text)).is_some();
    let scanned = head.fields.iter().filter(|(name, _)| is_scanned(&canonical(name)));
    for (name, value) in scanned {
        if secret(name) || secret(value) || value.split_whitespace().any(secret) {
            return Err(Refusal::Blocked("request header contains secret".to_owned()));
        }
    }
    Ok(())
}

/// The bytes that go to the inner face.
pub(super) fn forwarded(message: &Message, framing: Framing, method: &str, target: &Target<'_>) -> Vec<u8> {
    let head = &message.head;
    let mut bytes = format!("{method} ").into_bytes();
    bytes.extend(target.forwarded());
    bytes.extend(format!(" HTTP/1.1\r\nHost: {}\r\n", target.authority).bytes());
    match head.field("user-agent") {
        None => bytes.extend(b"User-Agent: Go-http-client/1.1\r\n"),
        Some("") => {}
        Some(agent) => bytes.extend(latin1(&format!("User-Agent: {agent}\r\n"))),
    }
    bytes.extend(latin1(&transfer_fields(message, framing, method)));
    let dropped = head.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("connection"));
    let dropped: Vec<String> = dropped.flat_map(|(_, v)| v.split(',')).map(|n| canonical(n.trim())).collect();
    let mut fields: Vec<(String, &str)> =
        head.fields.iter().map(|(name, value)| (canonical(name), value.as_str())).collect();
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (name, value) in fields {
        let written_above = ["Host", "User-Agent", "Content-Length"].contains(&name.as_str());
        let stripped = STRIPPED.contains(&name.as_str()) || name == "Via" || name.starts_with("Pipelock-");
        if !written_above && !stripped && !dropped.contains(&name) {
            bytes.extend(latin1(&format!("{name}: {value}\r\n")));
        }
    }
    bytes.extend(b"\r\n");
    bytes.extend(content(message, framing));
    bytes
}

fn transfer_fields(message: &Message, framing: Framing, method: &str) -> String {
    match framing {
        Framing::Chunked => {
            let names: Vec<String> = message.trailers.iter().map(|(name, _)| canonical(name)).collect();
            let announced = if names.is_empty() { String::new() } else { format!("Trailer: {}\r\n", names.join(",")) };
            format!("Transfer-Encoding: chunked\r\n{announced}")
        }
        _ if message.content.is_empty() && !["POST", "PUT", "PATCH"].contains(&method) => String::new(),
        _ => format!("Content-Length: {}\r\n", message.content.len()),
    }
}

fn content(message: &Message, framing: Framing) -> Vec<u8> {
    if framing != Framing::Chunked {
        return message.content.clone();
    }
    let mut bytes = Vec::new();
    if !message.content.is_empty() {
        bytes.extend(format!("{:x}\r\n", message.content.len()).bytes());
        bytes.extend(&message.content);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n");
    for (name, value) in &message.trailers {
        bytes.extend(latin1(&format!("{}: {value}\r\n", canonical(name))));
    }
    bytes.extend(b"\r\n");
    bytes
}

/// The agent's own `Pipelock-` fields are deleted before the scan; `Host` is no field to Go.
fn is_scanned(name: &str) -> bool {
    !UNSCANNED.contains(&name) && name != "Host" && !name.starts_with("Pipelock-")
}

/// Go's `CanonicalMIMEHeaderKey`.
fn canonical(name: &str) -> String {
    let mut upper = true;
    let letters = name.chars().map(|letter| {
        let written = if upper { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        upper = letter == '-';
        written
    });
    letters.collect()
}

/// The head without a request line's parts that Go resolves itself.
pub(super) fn start_line(head: &Head) -> Option<(&str, Vec<u8>)> {
    let (method, rest) = head.start.split_once(' ')?;
    let (target, _version) = rest.rsplit_once(' ')?;
    Some((method, latin1(target)))
}
