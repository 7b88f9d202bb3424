//! Where a watcher's records come from: `/records` of a running proxy, or a log file that grows. Read by a thread of its
//! own; what ends is tried again.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::Heard;
use crate::dial;

/// The pause before what ended, or has nothing new, is looked at again.
const PAUSE: Duration = Duration::from_millis(250);
/// Records that wait to be shown.
const WAITING: usize = 4096;

/// A source of records.
#[derive(Clone, Debug)]
pub enum Source {
    Admin(SocketAddr),
    File(PathBuf),
}

impl Source {
    pub fn name(&self) -> String {
        match self {
            Self::Admin(address) => address.to_string(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Starts to read. The thread ends when nobody listens.
    ///
    /// # Errors
    /// The file cannot be opened, or no thread be started.
    pub fn start(self) -> anyhow::Result<Receiver<Heard>> {
        let (sender, heard) = sync_channel(WAITING);
        match self {
            Self::Admin(address) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                thread::Builder::new().spawn(move || runtime.block_on(listen(address, &sender)))?;
            }
            Self::File(path) => {
                let file = File::open(&path).with_context(|| format!("failed to open {}", path.display()))?;
                thread::Builder::new().spawn(move || follow(&path, file, &sender))?;
            }
        }
        Ok(heard)
    }
}

/// Nobody listens any more.
struct Unheard;

async fn listen(admin: SocketAddr, sender: &SyncSender<Heard>) {
    loop {
        let standing = match read_events(admin, sender).await {
            Ok(Unheard) => return,
            Err(error) => format!("not connected: {error:#}"),
        };
        if sender.send(Heard::Standing(standing)).is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read_events(admin: SocketAddr, sender: &SyncSender<Heard>) -> anyhow::Result<Unheard> {
    let stream = dial::configured(&admin.ip().to_string(), admin.port(), Duration::from_secs(2)).await?;
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/records").header("host", admin.to_string()).body(Empty::<Bytes>::new())?;
    let response = requests.send_request(request).await?;
    anyhow::ensure!(response.status().is_success(), "{} at /records", response.status());
    if sender.send(Heard::Standing(String::new())).is_err() {
        return Ok(Unheard);
    }
    let (mut body, mut text) = (response.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        if let Ok(chunk) = frame?.into_data() {
            text.extend_from_slice(&chunk);
        }
        while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = text.drain(..end + 2).collect();
            let Some(heard) = event_of(&event) else { continue };
            if sender.send(heard).is_err() {
                return Ok(Unheard);
            }
        }
    }
    anyhow::bail!("the proxy has ended")
}

/// Reads one server-sent event.
fn event_of(event: &[u8]) -> Option<Heard> {
    let text = std::str::from_utf8(event).ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let data = field("data: ")?;
    match field("event: ")? {
        "lost" => Some(Heard::Lost(data.parse().ok()?)),
        _ => record(data),
    }
}

fn record(line: &str) -> Option<Heard> {
    serde_json::from_str(line).ok().map(|record| Heard::Record(Box::new(record)))
}

/// Follows a file: what is in it, what comes, and the next one where it was rotated.
fn follow(path: &Path, file: File, sender: &SyncSender<Heard>) {
    let inode = |file: &File| file.metadata().map(|metadata| metadata.ino()).ok();
    let mut open = inode(&file);
    let mut lines = BufReader::new(file);
    let mut line = String::new();
    loop {
        match lines.read_line(&mut line) {
            Ok(1..) if line.ends_with('\n') => {
                if record(&line).is_some_and(|heard| sender.send(heard).is_err()) {
                    return;
                }
                line.clear();
            }
            // Half a line: the rest is being written.
            Ok(1..) => {}
            _ => {
                let next = File::open(path).ok().filter(|next| inode(next) != open);
                if let Some(next) = next {
                    open = inode(&next);
                    lines = BufReader::new(next);
                    line.clear();
                } else {
                    thread::sleep(PAUSE);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_comments_are_not() {
        assert!(matches!(event_of(b"event: lost\ndata: 12\n\n"), Some(Heard::Lost(12))));
        assert!(event_of(b": records as they are written\n\n").is_none());
        let record = br#"event: record
data: {"kind":"tunnel","schema":1,"id":"i","time":"t","authority":"a:443","outcome":"completed","exchanges":1,"total_ms":1.0}

"#;
        assert!(matches!(event_of(record), Some(Heard::Record(_))));
    }
}
