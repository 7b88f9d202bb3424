//! Where records go: one line each, written by a thread of its own so that a slow reader of the log never holds up a
//! byte of an exchange. Bounded: an exchange waits for room before it begins. Lossless: room that was given is kept, and
//! what cannot be written now is written later; until then no exchange begins.

use std::{
    io::{self, ErrorKind},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::json;
use shared::record::Record;
use thiserror::Error;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{
    capture::{Capture, Wish},
    feed::{Feed, Subscription},
    har, line,
    pretty::{Colour, pretty},
    sink::{Format, Output, Sink},
};
use crate::{budget::WAIT, events::Events, metrics::Metrics};

/// Records under way or not yet written, at most.
const CAPACITY: usize = 16_384;
/// How long the writer lets records gather, and how many: a wake-up and a write for each would cost an exchange more than
/// its record, and all of a busy moment at once would hold others up.
const GATHER: Duration = Duration::from_millis(10);
const BATCH: usize = 64;
/// Bytes of a HAR that wait to be written, about.
const HAR_WAITING: usize = 64 << 20;
/// The pause before a log that could not be written is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// The sink of all records of a process.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

struct Shared {
    /// For each record that may begin.
    room: Semaphore,
    lines: Mutex<Lines>,
    wake: Condvar,
    failed: AtomicBool,
    /// How often something was written, by which a reader that has stopped is told from a slow one.
    writes: AtomicU64,
    har: Option<Wish>,
    json: bool,
    pretty: Option<Colour>,
    feed: Feed,
    metrics: Metrics,
    events: Events,
}

#[derive(Default)]
struct Lines {
    har: Vec<u8>,
    json: Vec<u8>,
    pretty: Vec<u8>,
    /// How many there are.
    records: usize,
    /// How many the writer waits for.
    awaited: usize,
    closed: bool,
}

impl Journal {
    /// Starts the writer. The handle ends when the journal is closed and all is written.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(outputs: Vec<Output>, colour: Colour, events: Events) -> io::Result<(Self, JoinHandle<()>)> {
        let writes = |format| outputs.iter().any(|output| output.format == format);
        let shared = Arc::new(Shared {
            room: Semaphore::new(CAPACITY),
            lines: Mutex::default(),
            wake: Condvar::new(),
            failed: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            har: outputs.iter().find_map(|output| match output.format {
                Format::Har(wish) => Some(wish),
                Format::Json | Format::Pretty => None,
            }),
            json: writes(Format::Json),
            pretty: writes(Format::Pretty).then_some(colour),
            feed: Feed::default(),
            metrics: Metrics::default(),
            events,
        });
        let writer = shared.clone();
        let handle = thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run(outputs))?;
        Ok((Self { shared }, handle))
    }

    /// Room for one record; waits while the reader of the log is behind, for [`WAIT`] at most.
    ///
    /// # Errors
    /// The log cannot be written at the moment.
    pub async fn room(&self) -> Result<Room, JournalClosed> {
        if !self.is_writable() {
            return Err(JournalClosed);
        }
        match self.shared.room.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(_) => Box::pin(self.wait_for_room()).await?,
        }
        Ok(Room { shared: self.shared.clone(), is_used: false })
    }

    async fn wait_for_room(&self) -> Result<(), JournalClosed> {
        let writes = self.shared.writes.load(Ordering::Acquire);
        let Ok(permit) = timeout(WAIT, self.shared.room.acquire()).await else {
            if self.shared.writes.load(Ordering::Acquire) == writes {
                self.shared.fail("nobody reads it");
            }
            return Err(JournalClosed);
        };
        permit.ok().filter(|_| self.is_writable()).map(SemaphorePermit::forget).ok_or(JournalClosed)
    }

    pub fn is_writable(&self) -> bool {
        !self.shared.failed.load(Ordering::Acquire)
    }

    /// Records from now on, as JSON whatever the log looks like.
    pub fn subscribe(&self) -> Subscription {
        self.shared.feed.subscribe()
    }

    /// What all records add up to.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Lets the writer end once everything is written, or cannot be.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a record down. Whatever is slow is put into words before the lock is taken: no exchange waits for it. A line
    /// of JSON is written in less than it would take to copy it.
    fn push(&self, record: &Record<'_>, capture: Option<&Capture>) {
        let (mut archived, mut people) = (Vec::new(), Vec::new());
        if let Some(capture) = capture {
            har::entry(record, capture, &mut archived);
        }
        if let Some(colour) = self.pretty {
            pretty(record, colour, &mut people);
        }
        let mut lines = self.lock();
        // Here nobody else counts.
        match record {
            Record::Exchange(record) => self.metrics.count_exchange(record),
            Record::Tunnel(record) => self.metrics.count_tunnel(record),
        }
        // The entries of a disk that does not keep up are let go; their records are not.
        if lines.har.len() < HAR_WAITING {
            lines.har.extend_from_slice(&archived);
        }
        if self.json || self.feed.is_watched() {
            line::write(record, &mut lines.json);
        }
        lines.pretty.extend_from_slice(&people);
        lines.records += 1;
        let is_awaited = lines.records == lines.awaited;
        drop(lines);
        if is_awaited {
            self.wake.notify_one();
        }
    }

    fn run(&self, mut outputs: Vec<Output>) {
        let mut batch = Lines::default();
        while self.gather(&mut batch) {
            for output in &mut outputs {
                let lines = match output.format {
                    Format::Har(_) => &batch.har,
                    Format::Json => &batch.json,
                    Format::Pretty => &batch.pretty,
                };
                self.write(&mut output.sink, lines);
            }
            self.feed.publish(&batch.json);
            batch.har.clear();
            batch.json.clear();
            batch.pretty.clear();
            self.room.add_permits(std::mem::take(&mut batch.records));
        }
    }

    /// Waits for records and takes them; `false` when there will be none.
    fn gather(&self, batch: &mut Lines) -> bool {
        let mut lines = self.lock();
        while !lines.closed {
            lines.awaited = BATCH;
            let too_few = |lines: &mut Lines| lines.records < BATCH && !lines.closed;
            let gathered = self.wake.wait_timeout_while(lines, GATHER, too_few);
            lines = gathered.unwrap_or_else(PoisonError::into_inner).0;
            if lines.records > 0 {
                break;
            }
            // Only once it is quiet does an exchange have to wake the writer.
            lines.awaited = 1;
            let woken = self.wake.wait_while(lines, |lines| lines.records == 0 && !lines.closed);
            lines = woken.unwrap_or_else(PoisonError::into_inner);
        }
        if lines.records == 0 {
            return false;
        }
        std::mem::swap(&mut batch.har, &mut lines.har);
        std::mem::swap(&mut batch.json, &mut lines.json);
        std::mem::swap(&mut batch.pretty, &mut lines.pretty);
        batch.records = std::mem::take(&mut lines.records);
        true
    }

    /// Writes all of it, however long it takes; gives up only when the process ends.
    fn write(&self, sink: &mut Sink, lines: &[u8]) {
        let mut rest = lines;
        while !rest.is_empty() {
            let at_a_border = rest.len() == lines.len();
            match sink.write(rest, at_a_border) {
                Ok(written) => {
                    rest = &rest[written..];
                    self.writes.fetch_add(1, Ordering::AcqRel);
                    if self.failed.swap(false, Ordering::AcqRel) {
                        self.events.tell("log.resumed", &[]);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.fail(&error.to_string());
                    if self.is_closed_after(RETRY) {
                        return;
                    }
                }
            }
        }
    }

    /// No exchange begins until something can be written again.
    fn fail(&self, reason: &str) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            self.events.tell("log.failed", &[("reason", json!(reason))]);
        }
    }

    /// Waits, but not once the process ends.
    fn is_closed_after(&self, pause: Duration) -> bool {
        let waited = self.wake.wait_timeout_while(self.lock(), pause, |lines| !lines.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }
}

/// Room for exactly one record; given back unused when dropped.
pub struct Room {
    shared: Arc<Shared>,
    /// The writer gives it back.
    is_used: bool,
}

impl Drop for Room {
    fn drop(&mut self) {
        if !self.is_used {
            self.shared.room.add_permits(1);
        }
    }
}

impl Room {
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// How much of an exchange a HAR wants, where there is one.
    pub fn har(&self) -> Option<Wish> {
        self.shared.har
    }

    /// Counts a record and writes it, with what a HAR shows beside it.
    pub fn write(mut self, record: &Record<'_>, capture: Option<&Capture>) {
        self.is_used = true;
        self.shared.push(record, capture);
    }
}

/// Records cannot be written, so nothing may happen that would have to be recorded.
#[derive(Clone, Copy, Debug, Error)]
#[error("the log cannot be written")]
pub struct JournalClosed;
