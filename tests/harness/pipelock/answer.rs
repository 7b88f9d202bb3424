//! Answers of the stand-in, written as Go's server writes them; those of the inner face scanned where asked.

use std::io::Result;
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Answers;
use crate::h1::{self, Framing, Head, Reader};

/// Go's server gives a length to what a handler wrote in one buffer of this size, and chunks the rest.
const BUFFERED: usize = 2048;

/// Text that pipelock takes for an attempt to give the reader orders, whatever its configuration says.
const CORE_INJECTION: &str = "ignore all previous instructions";

/// The same where answers are to be scanned.
const INJECTION: &str = "new instructions";

/// Before pipelock: what Go's server could not parse.
pub(super) const BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request";

/// A refusal or failure in words, as Go's `http.Error` puts it.
pub(super) fn error(status: &str, text: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
         Date: {}\r\nContent-Length: {}\r\n\r\n{text}\n",
        date(),
        text.len() + 1
    );
    h1::latin1(&head)
}

/// A finding.
pub(super) fn blocked(reason: &str) -> Vec<u8> {
    error("403 Forbidden", &format!("blocked: {reason}"))
}

/// Takes the inner face's answer, and gives it to the client as pipelock would.
pub(super) async fn relay<I, C>(inner: &mut I, client: &mut C, method: &str, answers: Answers) -> Result<()>
where
    I: AsyncRead + Unpin,
    C: AsyncWrite + Unpin,
{
    let mut reader = Reader::new();
    let head = loop {
        match reader.head(inner).await {
            Ok(Some(head)) if head.status() < 200 => {}
            Ok(Some(head)) => break head,
            _ => return h1::write(client, &error("502 Bad Gateway", "forward proxy fetch failed")).await,
        }
    };
    let framing = h1::answer_framing(&head, method);
    let is_stream = head.field("content-type").is_some_and(|media| media.starts_with("text/event-stream"));
    if answers == Answers::Scanned && is_stream {
        return events(inner, client, &head, framing, reader).await;
    }
    let content = reader.content(inner, framing).await;
    let answer = match (answers, content) {
        (Answers::Scanned, _) if head.field("content-encoding").is_some() => {
            blocked("compressed response cannot be scanned")
        }
        (Answers::Scanned, Err(_)) => blocked("response read error"),
        (Answers::Unscanned, Err(cut)) => return Err(cut),
        (answers, Ok((content, _))) if is_injection(&content, answers) => blocked("response contains injection"),
        (_, Ok((content, _))) => whole(&head, framing, &content),
    };
    h1::write(client, &answer).await
}

fn whole(head: &Head, framing: Framing, content: &[u8]) -> Vec<u8> {
    let mut answer = start(head);
    if framing == Framing::Empty && content.is_empty() && has_no_content(head, framing) {
        answer.extend(b"\r\n");
    } else if content.len() < BUFFERED {
        answer.extend(format!("Content-Length: {}\r\n\r\n", content.len()).bytes());
        answer.extend(content);
    } else {
        answer.extend(format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", content.len()).bytes());
        answer.extend(content);
        answer.extend(b"\r\n0\r\n\r\n");
    }
    answer
}

/// HEAD, 204 and 304 say nothing about a length; an empty answer says that it is empty.
fn has_no_content(head: &Head, framing: Framing) -> bool {
    let said = head.field("content-length").map(str::trim);
    let status = head.status();
    framing == Framing::Empty && (status == 204 || status == 304 || said != Some("0"))
}

/// Server-sent events, judged and written one by one: an event's name first, then its id, comments lost.
async fn events<I, C>(inner: &mut I, client: &mut C, head: &Head, framing: Framing, mut reader: Reader) -> Result<()>
where
    I: AsyncRead + Unpin,
    C: AsyncWrite + Unpin,
{
    let mut answer = start(head);
    answer.extend(b"Transfer-Encoding: chunked\r\n\r\n");
    h1::write(client, &answer).await?;
    let mut pending = Vec::new();
    loop {
        let piece = match framing {
            Framing::Chunked => reader.chunk(inner).await,
            _ => reader.content(inner, framing).await.map(|(content, _)| content),
        };
        let Ok(piece) = piece else { break };
        pending.extend(&piece);
        while let Some(end) = h1::find(&pending, b"\n\n") {
            let event: Vec<u8> = pending.drain(..end + 2).collect();
            if is_injection(&event, Answers::Scanned) {
                return h1::write(client, b"0\r\n\r\n").await;
            }
            if let Some(event) = rewritten(&h1::from_latin1(&event)) {
                h1::write(client, &h1::latin1(&format!("{:x}\r\n{event}\r\n", event.len()))).await?;
            }
        }
        if piece.is_empty() || framing != Framing::Chunked {
            break;
        }
    }
    h1::write(client, b"0\r\n\r\n").await
}

fn rewritten(event: &str) -> Option<String> {
    let lines_of = |name: &str| {
        let prefix = format!("{name}:");
        let lines = event.lines().filter(move |line| line.starts_with(&prefix));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let data = lines_of("data");
    (!data.is_empty()).then(|| format!("{}{}{data}\n", lines_of("event"), lines_of("id")))
}

/// Status line, fields in Go's order, and the date.
fn start(head: &Head) -> Vec<u8> {
    const DROPPED: [&str; 6] = ["connection", "keep-alive", "content-length", "transfer-encoding", "trailer", "date"];
    let mut fields: Vec<_> =
        head.fields.iter().filter(|(name, _)| !DROPPED.contains(&name.to_ascii_lowercase().as_str())).collect();
    fields.sort();
    let mut text = format!("{}\r\n", head.start);
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("Date: {}\r\n", date()));
    h1::latin1(&text)
}

fn is_injection(content: &[u8], answers: Answers) -> bool {
    let text = String::from_utf8_lossy(content).to_lowercase();
    text.contains(CORE_INJECTION) || (answers == Answers::Scanned && text.contains(INJECTION))
}

fn date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}
