//! A connection that is only bytes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::h1::{self, Head, Message, Reader, Stream};
use crate::within;

/// Bytes out, bytes or answers in.
pub struct RawConnection {
    stream: Box<dyn Stream>,
    reader: Reader,
}

impl RawConnection {
    pub fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), reader: Reader::new() }
    }

    /// Sends; a peer that has already closed is no failure, for its last words are what the test reads next.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = h1::write(&mut self.stream, bytes.as_ref()).await;
        self
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next answer to a request with any method but HEAD.
    pub async fn answer(&mut self) -> Message {
        self.try_answer().await.unwrap_or_else(|e| panic!("no answer: {e}"))
    }

    /// The next answer, or how the connection ended instead.
    pub async fn try_answer(&mut self) -> std::io::Result<Message> {
        within("an answer", h1::answer(&mut self.stream, &mut self.reader, "GET")).await
    }

    /// The next head, an interim answer's as any other.
    pub async fn interim(&mut self) -> Head {
        let head = within("a head", self.reader.head(&mut self.stream)).await;
        head.expect("the connection holds").expect("not the end")
    }

    /// What comes until these words were in it; for streams that have no end.
    pub async fn text_until(&mut self, words: &str) -> String {
        let mut bytes = Vec::new();
        let reading = async {
            let mut searched = 0;
            while h1::find(&bytes[searched..], words.as_bytes()).is_none() {
                searched = bytes.len().saturating_sub(words.len());
                let read = self.stream.read_buf(&mut bytes).await;
                assert!(matches!(read, Ok(1..)), "no `{words}` in {}", String::from_utf8_lossy(&bytes));
            }
        };
        within(words, reading).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Everything up to the end of the connection, however it ends.
    pub async fn rest(mut self) -> Vec<u8> {
        let mut bytes = self.reader.into_early();
        let reading = async { while let Ok(1..) = self.stream.read_buf(&mut bytes).await {} };
        within("the end of a connection", reading).await;
        bytes
    }
}
