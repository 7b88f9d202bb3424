//! Lines of a child process: read as they come, kept for the end.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::{Mutex as Gate, OwnedMutexGuard, mpsc};
use tokio::task::JoinHandle;

pub type Json = serde_json::Value;

/// Lines that nobody reads for the moment.
pub struct Held {
    _gate: OwnedMutexGuard<()>,
}

/// The lines of one stream.
pub struct Lines {
    json: mpsc::UnboundedReceiver<Json>,
    text: Arc<Mutex<String>>,
    gate: Arc<Gate<()>>,
    reading: JoinHandle<()>,
}

impl Lines {
    /// Reads on from now.
    pub fn of(stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (found, json) = mpsc::unbounded_channel();
        let text = Arc::new(Mutex::new(String::new()));
        let (kept, gate) = (Arc::clone(&text), Arc::new(Gate::new(())));
        let open = Arc::clone(&gate);
        let reading = tokio::spawn(async move {
            let mut lines = BufReader::new(stream).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                drop(open.lock().await);
                let mut kept = kept.lock().expect("no reader panicked");
                kept.push_str(&line);
                kept.push('\n');
                if let Some(json) = serde_json::from_str(&line).ok().or_else(|| event_in_words(&line)) {
                    let _ = found.send(json);
                }
            }
        });
        Self { json, text, gate, reading }
    }

    /// The next line that is JSON; none at the end.
    pub async fn next(&mut self) -> Option<Json> {
        self.json.recv().await
    }

    /// Reads no further for as long as this is kept, and leaves the pipe open: whoever writes is held up.
    pub async fn hold(&self) -> Held {
        Held { _gate: Arc::clone(&self.gate).lock_owned().await }
    }

    /// Reads no further: whoever writes finds the pipe broken.
    pub fn close(&mut self) {
        self.reading.abort();
    }

    /// The next line that fits.
    pub async fn next_where(&mut self, fits: impl Fn(&Json) -> bool) -> Option<Json> {
        loop {
            let line = self.next().await?;
            if fits(&line) {
                return Some(line);
            }
        }
    }

    /// Everything up to the end of the stream.
    pub async fn whole(self) -> String {
        let _ = self.reading.await;
        self.text.lock().expect("no reader panicked").clone()
    }
}

/// `noun.participle name=value …`: an event where the log is for people.
fn event_in_words(line: &str) -> Option<Json> {
    let (event, fields) = line.split_once(' ')?;
    let fields = fields.split(' ').map(|field| field.split_once('=').map(|(name, value)| (name, value.into())));
    let fields: serde_json::Map<String, Json> =
        fields.map(|field| field.map(|(name, value)| (name.to_owned(), value))).collect::<Option<_>>()?;
    Some([("event".to_owned(), event.into())].into_iter().chain(fields).collect())
}
