//! HTTP/1.1 messages as bytes, for the raw client, the raw origin and the stand-in for pipelock.
//!
//! Reads what is on the wire and changes nothing: names keep their case, fields their order. Never used by the
//! proxy itself.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A start line and its fields, as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    pub start: String,
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The first value of a field, by its name without regard to case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let named = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.fields.iter().find(named).map(|(_, value)| value.as_str())
    }

    /// Whether a list field holds the token.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.fields
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .flat_map(|(_, value)| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(token))
    }

    /// The status of an answer.
    pub fn status(&self) -> u16 {
        let status = self.start.split(' ').nth(1).and_then(|s| s.parse().ok());
        status.unwrap_or_else(|| panic!("no status in `{}`", self.start))
    }

    /// The bytes of the head, empty line included.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        latin1(&text)
    }
}

/// How the content of a message is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Empty,
    Length(u64),
    Chunked,
    UntilClose,
}

/// What ends the content of a request (RFC 9112 section 6.3).
pub fn request_framing(head: &Head) -> Framing {
    framing(head).unwrap_or(Framing::Empty)
}

/// What ends the content of an answer to a request with this method.
pub fn answer_framing(head: &Head, method: &str) -> Framing {
    let status = head.status();
    if method == "HEAD" || status == 204 || status == 304 || status < 200 {
        return Framing::Empty;
    }
    framing(head).unwrap_or(Framing::UntilClose)
}

fn framing(head: &Head) -> Option<Framing> {
    if head.lists("transfer-encoding", "chunked") {
        return Some(Framing::Chunked);
    }
    let length = head.field("content-length")?.trim().parse().ok()?;
    Some(if length == 0 { Framing::Empty } else { Framing::Length(length) })
}

/// A whole message.
#[derive(Debug, Clone, Default)]
pub struct Message {
    pub head: Head,
    pub content: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Message {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

/// Reads messages off a stream, keeping what came too early for the next one.
pub struct Reader {
    early: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    pub fn new() -> Self {
        Self { early: Vec::new() }
    }

    /// The next head, or none when the stream ended before one began.
    pub async fn head<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.early, b"\r\n\r\n") {
                let bytes: Vec<u8> = self.early.drain(..end + 4).collect();
                return Ok(Some(parse_head(&bytes[..end])));
            }
            if self.more(stream).await? == 0 {
                return if self.early.is_empty() { Ok(None) } else { Err(cut("a head")) };
            }
        }
    }

    /// The content that belongs to a head, and its trailers.
    pub async fn content<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        framing: Framing,
    ) -> Result<(Vec<u8>, Vec<(String, String)>)> {
        match framing {
            Framing::Empty => Ok((Vec::new(), Vec::new())),
            Framing::Length(length) => Ok((self.exactly(stream, length as usize).await?, Vec::new())),
            Framing::UntilClose => {
                while self.more(stream).await? > 0 {}
                Ok((std::mem::take(&mut self.early), Vec::new()))
            }
            Framing::Chunked => self.chunked(stream).await,
        }
    }

    /// One piece of chunked content; empty means the last one, whose trailers are still to be read.
    pub async fn chunk<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<Vec<u8>> {
        let line = self.line(stream).await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16)
            .map_err(|_| Error::new(ErrorKind::InvalidData, format!("chunk size `{line}`")))?;
        if size == 0 {
            return Ok(Vec::new());
        }
        let piece = self.exactly(stream, size).await?;
        self.exactly(stream, 2).await?;
        Ok(piece)
    }

    /// The trailer section that follows the last chunk.
    pub async fn trailers<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<Vec<(String, String)>> {
        let mut trailers = Vec::new();
        loop {
            let line = self.line(stream).await?;
            if line.is_empty() {
                return Ok(trailers);
            }
            trailers.extend(parse_field(&line));
        }
    }

    /// What has been read beyond the last message.
    pub fn into_early(self) -> Vec<u8> {
        self.early
    }

    async fn chunked<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<(Vec<u8>, Vec<(String, String)>)> {
        let mut content = Vec::new();
        loop {
            let piece = self.chunk(stream).await?;
            if piece.is_empty() {
                return Ok((content, self.trailers(stream).await?));
            }
            content.extend(piece);
        }
    }

    async fn line<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<String> {
        loop {
            if let Some(end) = find(&self.early, b"\r\n") {
                let line: Vec<u8> = self.early.drain(..end + 2).collect();
                return Ok(from_latin1(&line[..end]));
            }
            if self.more(stream).await? == 0 {
                return Err(cut("a line"));
            }
        }
    }

    async fn exactly<S: AsyncRead + Unpin>(&mut self, stream: &mut S, size: usize) -> Result<Vec<u8>> {
        while self.early.len() < size {
            if self.more(stream).await? == 0 {
                return Err(cut("content"));
            }
        }
        Ok(self.early.drain(..size).collect())
    }

    async fn more<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<usize> {
        self.early.reserve(16 * 1024);
        stream.read_buf(&mut self.early).await
    }
}

/// Reads one whole answer, interim answers skipped.
pub async fn answer<S: AsyncRead + Unpin>(stream: &mut S, reader: &mut Reader, method: &str) -> Result<Message> {
    loop {
        let head = reader.head(stream).await?.ok_or_else(|| cut("an answer"))?;
        let status = head.status();
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let (content, trailers) = reader.content(stream, answer_framing(&head, method)).await?;
        return Ok(Message { head, content, trailers });
    }
}

/// Writes bytes and flushes.
pub async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Text whose characters stand for single bytes.
pub fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

/// Bytes as text with one character each.
pub fn from_latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// Where `needle` begins.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn parse_head(bytes: &[u8]) -> Head {
    let text = from_latin1(bytes);
    let mut lines = text.split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    Head { start, fields: lines.filter_map(parse_field).collect() }
}

fn parse_field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_owned(), value.trim().to_owned()))
}

fn cut(what: &str) -> Error {
    Error::new(ErrorKind::UnexpectedEof, format!("the stream ended inside {what}"))
}
