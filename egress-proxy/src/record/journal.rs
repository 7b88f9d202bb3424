//! Where records go: one line each, written by a thread of its own so that a slow reader of the log never holds up a
//! byte of an exchange. Bounded: an exchange waits for room before it begins. Lossless: room that was given is kept.

use std::{
    borrow::Cow,
    io::Write,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde::Serialize;
use shared::record::{ExchangeRecord, Outcome, TunnelRecord};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Records under way or not yet written, at most.
const CAPACITY: usize = 16_384;
/// How long the writer lets records gather: a wake-up and a write for each would cost an exchange more than its record.
const GATHER: Duration = Duration::from_millis(1);

/// How a record looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    Json,
    /// A line for people; `colour` where the terminal takes it.
    Pretty {
        colour: bool,
    },
}

/// The sink of all records of a process.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
}

struct Shared {
    lines: Mutex<Lines>,
    wake: Condvar,
    failed: AtomicBool,
    format: Format,
}

#[derive(Default)]
struct Lines {
    pending: Vec<u8>,
    rooms: Vec<OwnedSemaphorePermit>,
    closed: bool,
}

impl Journal {
    /// Starts the writer. The handle ends when the journal is closed and all is written.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(sink: impl Write + Send + 'static, format: Format) -> std::io::Result<(Self, JoinHandle<()>)> {
        let shared =
            Arc::new(Shared { lines: Mutex::default(), wake: Condvar::new(), failed: AtomicBool::new(false), format });
        let writer = shared.clone();
        let handle = thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run(sink))?;
        Ok((Self { shared, room: Arc::new(Semaphore::new(CAPACITY)) }, handle))
    }

    /// Room for one record; waits while the reader of the log is behind.
    ///
    /// # Errors
    /// The log cannot be written any more.
    pub async fn room(&self) -> Result<Room, JournalClosed> {
        if !self.is_writable() {
            return Err(JournalClosed);
        }
        let permit = self.room.clone().acquire_owned().await.map_err(|_| JournalClosed)?;
        if !self.is_writable() {
            return Err(JournalClosed);
        }
        Ok(Room { shared: self.shared.clone(), permit })
    }

    pub fn is_writable(&self) -> bool {
        !self.shared.failed.load(Ordering::Acquire)
    }

    /// Lets the writer end once everything is written.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, permit: OwnedSemaphorePermit, write: impl FnOnce(&mut Vec<u8>)) {
        let mut lines = self.lock();
        let idle = lines.pending.is_empty();
        write(&mut lines.pending);
        lines.rooms.push(permit);
        drop(lines);
        if idle {
            self.wake.notify_one();
        }
    }

    fn run(&self, mut sink: impl Write) {
        let (mut batch, mut rooms) = (Vec::new(), Vec::new());
        loop {
            let mut lines = self.lock();
            while lines.pending.is_empty() && !lines.closed {
                lines = self.wake.wait(lines).unwrap_or_else(PoisonError::into_inner);
            }
            if lines.pending.is_empty() {
                return;
            }
            if !lines.closed {
                // Under load the next records are close: one wake-up and one write for all of them.
                drop(lines);
                thread::sleep(GATHER);
                lines = self.lock();
            }
            std::mem::swap(&mut batch, &mut lines.pending);
            std::mem::swap(&mut rooms, &mut lines.rooms);
            drop(lines);
            if sink.write_all(&batch).and_then(|()| sink.flush()).is_err() {
                self.failed.store(true, Ordering::Release);
            }
            batch.clear();
            rooms.clear();
        }
    }
}

/// Room for exactly one record.
pub struct Room {
    shared: Arc<Shared>,
    permit: OwnedSemaphorePermit,
}

impl Room {
    pub fn write_exchange(self, record: &ExchangeRecord<'_>) {
        let Self { shared, permit } = self;
        shared.push(permit, |line| match shared.format {
            Format::Json => json(record, line),
            Format::Pretty { colour } => pretty_exchange(record, colour, line),
        });
    }

    pub fn write_tunnel(self, record: &TunnelRecord) {
        let Self { shared, permit } = self;
        shared.push(permit, |line| match shared.format {
            Format::Json => json(record, line),
            Format::Pretty { colour } => pretty_tunnel(record, colour, line),
        });
    }
}

/// Records cannot be written, so nothing may happen that would have to be recorded.
#[derive(Clone, Copy, Debug, Error)]
#[error("the log cannot be written")]
pub struct JournalClosed;

fn json(record: &impl Serialize, line: &mut Vec<u8>) {
    // Writing plain structs into memory does not fail.
    if serde_json::to_writer(&mut *line, record).is_ok() {
        line.push(b'\n');
    }
}

fn pretty_exchange(record: &ExchangeRecord<'_>, colour: bool, line: &mut Vec<u8>) {
    let ExchangeRecord { method, scheme, host, port, total_ms, outcome, .. } = record;
    let status = record.status.map_or_else(|| "---".to_owned(), |status| status.to_string());
    let path = record.path.unwrap_or("/…");
    let authority = match (*scheme, port) {
        ("https", 443) | ("http", 80) => host.clone(),
        _ => format!("{host}:{port}"),
    };
    let credential = record.credential.map(|name| format!(" [{name}]")).unwrap_or_default();
    let text = format!(
        "{status} {method} {scheme}://{authority}{path}{credential} {}↑ {}↓ {total_ms:.1} ms",
        record.request_bytes, record.response_bytes
    );
    let reason = match (outcome, &record.reason) {
        (Outcome::Completed, _) => String::new(),
        (_, Some(reason)) => format!("\n    {}: {reason} ({})", word(*outcome), record.id),
        (_, None) => format!("\n    {} ({})", word(*outcome), record.id),
    };
    paint(*outcome, colour, &format!("{text}{reason}"), line);
}

fn pretty_tunnel(record: &TunnelRecord, colour: bool, line: &mut Vec<u8>) {
    // A tunnel that did its work says nothing that its exchanges have not said.
    if let (Outcome::Completed, None) = (record.outcome, &record.reason) {
        return;
    }
    let reason = record.reason.as_deref().unwrap_or_default();
    paint(
        record.outcome,
        colour,
        &format!("--- CONNECT {}\n    {}: {reason} ({})", record.authority, word(record.outcome), record.id),
        line,
    );
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Aborted => "aborted",
        Outcome::Blocked => "blocked",
        Outcome::Completed => "completed",
        Outcome::Denied => "denied",
        Outcome::Failed => "failed",
    }
}

fn paint(outcome: Outcome, colour: bool, text: &str, line: &mut Vec<u8>) {
    let code = match outcome {
        Outcome::Completed => "32",
        Outcome::Denied | Outcome::Blocked => "31",
        Outcome::Failed => "33",
        Outcome::Aborted => "90",
    };
    let text = printable(text);
    let painted = if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m\n") } else { format!("{text}\n") };
    line.extend_from_slice(painted.as_bytes());
}

/// Text as a terminal may show it: a path or a reason may hold whatever a client wrote, and neither controls nor marks
/// that turn the direction of writing belong there.
fn printable(text: &str) -> Cow<'_, str> {
    let unprintable =
        |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(unprintable) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(unprintable, "\u{fffd}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people_holds_no_controls() {
        let mut line = Vec::new();
        paint(Outcome::Denied, false, "200 GET https://a.example/\u{9b}31m\u{202e}x\n    denied", &mut line);
        assert_eq!(String::from_utf8(line).unwrap(), "200 GET https://a.example/\u{fffd}31m\u{fffd}x\n    denied\n");
    }
}
