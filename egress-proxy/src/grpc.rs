//! gRPC on its way through: a stream of messages, each with its length in front (gRPC over HTTP/2, "Length-Prefixed-
//! Message"; Connect's streams are framed alike). Where one side waits for an answer to its message before it says more,
//! nothing of a message may be held back once it is whole: so each message is judged, and masked, as a content of its own.
//!
//! Secrets that a client spreads over several messages are not put together. The bytes are never changed.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use http_body::Frame;

use crate::scan::{
    ContentScan, Exemptions, Finding, Released, Scanner,
    stream::{Judge, Judged, OnFinding},
};

/// A flag, and four bytes of length.
const PREFIX: usize = 5;

/// Whether a message's fields say that its content is a stream of such messages.
pub fn is_stream(fields: &HeaderMap) -> bool {
    let kind = fields.get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    // The text form of gRPC-Web is one long base64.
    let framed = kind.starts_with(b"application/grpc") && !kind.starts_with(b"application/grpc-web-text");
    framed || kind.starts_with(b"application/connect+")
}

/// Where messages begin and end in a stream that comes in chunks.
#[derive(Debug, Default)]
pub struct Borders {
    prefix: [u8; PREFIX],
    /// How many bytes of the prefix were read.
    read: usize,
    left: u64,
}

/// A part of one message.
#[derive(Debug, Eq, PartialEq)]
pub struct Part {
    pub bytes: Bytes,
    /// How many of the bytes belong to the prefix.
    prefix: usize,
    compressed: bool,
    begins: bool,
    pub ends: bool,
}

impl Borders {
    /// Takes from a chunk what belongs to one message; `None` once the chunk is used up.
    pub fn cut(&mut self, chunk: &mut Bytes) -> Option<Part> {
        if chunk.is_empty() {
            return None;
        }
        let begins = self.read == 0;
        let prefix = (PREFIX - self.read).min(chunk.len());
        self.prefix[self.read..self.read + prefix].copy_from_slice(&chunk[..prefix]);
        self.read += prefix;
        let [flag, a, b, c, d] = self.prefix;
        if prefix > 0 && self.read == PREFIX {
            self.left = u64::from(u32::from_be_bytes([a, b, c, d]));
        }
        let content = usize::try_from(self.left).unwrap_or(usize::MAX).min(chunk.len() - prefix);
        self.left -= content as u64;
        let ends = self.read == PREFIX && self.left == 0;
        if ends {
            self.read = 0;
        }
        Some(Part { bytes: chunk.split_to(prefix + content), prefix, compressed: flag & 1 != 0, begins, ends })
    }
}

/// A body whose messages and trailers are judged as they pass.
pub type Messages<B> = Judged<B, Each>;

/// Judges each message as a content of its own.
pub struct Each {
    scanner: Arc<Scanner>,
    except: Exemptions,
    /// What a compressed message is coded with, as fields of a content.
    coding: HeaderMap,
    on_finding: OnFinding,
    borders: Borders,
    message: Option<ContentScan>,
}

impl<B> Messages<B> {
    pub fn new(body: B, fields: &HeaderMap, scanner: Arc<Scanner>, except: Exemptions, on_finding: OnFinding) -> Self {
        let (coding, borders) = (coding(fields), Borders::default());
        Judged::by(Each { scanner, except, coding, on_finding, borders, message: None }, body)
    }
}

/// What may leave.
type Ready = VecDeque<Frame<Bytes>>;

impl Judge for Each {
    fn take(&mut self, frame: Option<Frame<Bytes>>, ready: &mut Ready) -> Result<(), Finding> {
        match frame.map(Frame::into_data) {
            Some(Ok(mut data)) => {
                while let Some(part) = self.borders.cut(&mut data) {
                    self.judge(part, ready)?;
                }
                Ok(())
            }
            Some(Err(frame)) => {
                self.end(ready)?;
                if let Some(fields) = frame.trailers_ref() {
                    let mut scan = self.scan(&HeaderMap::new());
                    let verdict = scan.trailers(fields);
                    self.tell(&mut scan);
                    verdict?;
                }
                ready.push_back(frame);
                Ok(())
            }
            None => self.end(ready),
        }
    }

    fn held(&self) -> u64 {
        self.message.as_ref().map_or(0, ContentScan::held)
    }
}

impl Each {
    fn judge(&mut self, mut part: Part, ready: &mut Ready) -> Result<(), Finding> {
        let none = HeaderMap::new();
        let fields = if part.compressed { &self.coding } else { &none };
        let mut scan = match self.message.take() {
            Some(scan) if !part.begins => scan,
            _ => self.scan(fields),
        };
        // What is coded begins after the prefix; where nothing is, one piece stays one piece.
        if part.compressed && part.prefix > 0 {
            ready.push_back(Frame::data(part.bytes.split_to(part.prefix)));
        }
        let verdict = scan.push(part.bytes);
        self.release(scan, verdict, ready)?;
        if part.ends { self.end(ready) } else { Ok(()) }
    }

    /// Judges what is left of a message.
    fn end(&mut self, ready: &mut Ready) -> Result<(), Finding> {
        let Some(mut scan) = self.message.take() else { return Ok(()) };
        let verdict = scan.finish();
        self.release(scan, verdict, ready)?;
        self.message = None;
        Ok(())
    }

    fn release(
        &mut self,
        mut scan: ContentScan,
        verdict: Result<Released, Finding>,
        ready: &mut Ready,
    ) -> Result<(), Finding> {
        self.tell(&mut scan);
        ready.extend(verdict?.map(Frame::data));
        self.message = Some(scan);
        Ok(())
    }

    /// The scan of a message with these fields.
    fn scan(&self, fields: &HeaderMap) -> ContentScan {
        self.on_finding.prepared(self.scanner.content(fields, self.except.clone()))
    }

    /// Reports what was let pass, once for all messages: from then on each is searched for the proxy's own values alone.
    fn tell(&mut self, scan: &mut ContentScan) {
        if let (Some(finding), OnFinding::Record(report)) = (scan.overlooked(), &mut self.on_finding) {
            report(finding);
            self.on_finding = OnFinding::Record(Box::new(|_| ()));
            self.except = self.scanner.all_but_guarded();
        }
    }
}

/// The field that names the coding of messages, as the field that names the coding of a content.
fn coding(fields: &HeaderMap) -> HeaderMap {
    const NAMES: [HeaderName; 2] =
        [HeaderName::from_static("grpc-encoding"), HeaderName::from_static("connect-content-encoding")];
    let named = NAMES.iter().find_map(|name| fields.get(name)).filter(|coding| *coding != "identity");
    named.map(|coding| (header::CONTENT_ENCODING, coding.clone())).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        sync::LazyLock,
        task::{Context, Poll},
    };

    use http::HeaderValue;
    use http_body::Body;
    use http_body_util::BodyExt;
    use tokio::sync::mpsc;

    use super::*;
    use crate::scan::stream::ScanError;

    static SCANNER: LazyLock<Arc<Scanner>> = LazyLock::new(|| Arc::new(Scanner::builtin()));

    fn message(flag: u8, content: &[u8]) -> Vec<u8> {
        [&[flag], &(content.len() as u32).to_be_bytes()[..], content].concat()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut coder, text).unwrap();
        coder.finish().unwrap()
    }

    fn key() -> Vec<u8> {
        ["a key: AK", "IA", "QYLPMN5HHHFPZAM2"].concat().into_bytes()
    }

    fn judged(on_finding: OnFinding) -> (mpsc::UnboundedSender<Bytes>, Messages<Chunks>) {
        let (chunks, coming) = mpsc::unbounded_channel();
        let fields =
            HeaderMap::from_iter([(HeaderName::from_static("grpc-encoding"), HeaderValue::from_static("gzip"))]);
        (chunks, Messages::new(Chunks(coming), &fields, SCANNER.clone(), Exemptions::default(), on_finding))
    }

    /// A body of what a test sends.
    struct Chunks(mpsc::UnboundedReceiver<Bytes>);

    impl Body for Chunks {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
        }
    }

    #[test]
    fn a_stream_is_cut_at_its_messages_however_it_comes() {
        let stream = [message(0, b"one"), message(1, b""), message(0, &[7; 300])].concat();
        for cut in [1, 2, 5, 7, 1000] {
            let (mut borders, mut messages, mut open) = (Borders::default(), Vec::new(), Vec::new());
            for chunk in stream.chunks(cut) {
                let mut chunk = Bytes::copy_from_slice(chunk);
                while let Some(part) = borders.cut(&mut chunk) {
                    assert_eq!(part.begins, open.is_empty());
                    open.extend_from_slice(&part.bytes);
                    if part.ends {
                        messages.push(std::mem::take(&mut open));
                    }
                }
            }
            assert_eq!(messages, [message(0, b"one"), message(1, b""), message(0, &[7; 300])], "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn a_whole_message_leaves_before_the_next_one_comes() {
        let (chunks, mut body) = judged(OnFinding::Stop);
        for content in [message(0, b"ping"), message(0, b""), message(1, &gzip(b"pong")), message(0, &[b'x'; 9000])] {
            for chunk in content.chunks(100) {
                chunks.send(Bytes::copy_from_slice(chunk)).unwrap();
            }
            let mut left = Vec::new();
            while left.len() < content.len() {
                left.extend(body.frame().await.unwrap().unwrap().into_data().unwrap());
            }
            assert_eq!(left, content);
        }
        drop(chunks);
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_secret_in_a_message_ends_the_content_or_is_recorded() {
        for content in [message(0, &key()), message(1, &gzip(&key()))] {
            let (chunks, body) = judged(OnFinding::Stop);
            chunks.send(message(0, b"clean").into()).unwrap();
            chunks.send(content.clone().into()).unwrap();
            drop(chunks);
            assert!(matches!(body.collect().await, Err(ScanError::Found(_))));

            let (told, findings) = std::sync::mpsc::channel();
            let (chunks, body) = judged(OnFinding::Record(Box::new(move |finding| told.send(finding.rule).unwrap())));
            chunks.send(content.clone().into()).unwrap();
            chunks.send(message(0, &key()).into()).unwrap();
            drop(chunks);
            assert_eq!(body.collect().await.unwrap().to_bytes(), [content, message(0, &key())].concat());
            assert_eq!(findings.iter().collect::<Vec<_>>(), ["aws-access-key"]);
        }
    }

    #[test]
    fn streams_of_messages_are_known_by_their_type() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web+proto", true),
            ("application/grpc-web-text", false),
            ("application/connect+json", true),
            ("application/connect", false),
            ("application/json", false),
        ] {
            let fields = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
            assert_eq!(is_stream(&fields), expected, "{kind}");
        }
    }
}
