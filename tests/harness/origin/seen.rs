//! What an origin remembers: connections, the bytes on them, and requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{Notify, watch};

use crate::tap::Log;
use crate::within;

/// As much of a request's content as is kept; all of it is counted.
const KEPT_CONTENT: usize = 1024 * 1024;

/// A request as the origin's HTTP library handed it over.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub method: String,
    /// Path and query, or whatever else stood there.
    pub target: String,
    pub authority: Option<String>,
    pub version: http::Version,
    pub fields: Vec<(String, String)>,
    content: watch::Receiver<Received>,
}

/// Content so far.
#[derive(Debug, Clone, Default)]
pub struct Received {
    pub kept: Vec<u8>,
    pub bytes: u64,
    pub trailers: Vec<(String, String)>,
    pub end: End,
}

/// How content ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum End {
    #[default]
    Open,
    Complete,
    Broken,
}

impl Arrival {
    /// The values of a field.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let named = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.fields.iter().filter(named).map(|(_, value)| value.as_str()).collect()
    }

    /// The only value of a field, if there is one.
    pub fn value(&self, name: &str) -> Option<&str> {
        match self.values(name)[..] {
            [] => None,
            [value] => Some(value),
            _ => panic!("`{name}` is repeated: {self:?}"),
        }
    }

    /// The content once it has ended, one way or the other.
    pub async fn received(&self) -> Received {
        let mut content = self.content.clone();
        let ended = content.wait_for(|content| content.end != End::Open);
        within("the end of a request's content", ended).await.expect("a reader tells the end").clone()
    }

    /// Waits until this much content has come.
    pub async fn received_at_least(&self, bytes: u64) -> Received {
        let mut content = self.content.clone();
        let enough = content.wait_for(|content| content.bytes >= bytes);
        within("content at the origin", enough).await.expect("a reader tells the end").clone()
    }

    /// The content as text once it has ended.
    pub async fn text(&self) -> String {
        String::from_utf8_lossy(&self.received().await.kept).into_owned()
    }
}

/// Everything that reached one origin.
#[derive(Default)]
pub struct Seen {
    connections: AtomicUsize,
    logs: Mutex<Vec<Log>>,
    arrivals: Mutex<Vec<Arrival>>,
    asked_for: AtomicUsize,
    arrived: Notify,
}

impl Seen {
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.arrivals).clone()
    }

    pub fn received(&self) -> Vec<Vec<u8>> {
        lock(&self.logs).iter().map(Log::bytes).collect()
    }

    /// Remembers a request, and reads its content to the end beside the answer.
    pub fn arrived(&self, parts: &Parts, body: Incoming) -> Arrival {
        let (told, content) = watch::channel(Received::default());
        tokio::spawn(read(body, told));
        self.note(parts, content)
    }

    /// Remembers a request whose content somebody else reads.
    pub fn arrived_head(&self, parts: &Parts) -> Arrival {
        let received = Received { end: End::Complete, ..Received::default() };
        let (told, content) = watch::channel(received);
        drop(told);
        self.note(parts, content)
    }

    pub(super) fn connected(&self) -> Log {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let log = Log::default();
        lock(&self.logs).push(log.clone());
        log
    }

    pub(super) async fn next(&self) -> Arrival {
        loop {
            let arrived = self.arrived.notified();
            let index = self.asked_for.load(Ordering::SeqCst);
            if let Some(arrival) = lock(&self.arrivals).get(index) {
                self.asked_for.fetch_add(1, Ordering::SeqCst);
                return arrival.clone();
            }
            arrived.await;
        }
    }

    fn note(&self, parts: &Parts, content: watch::Receiver<Received>) -> Arrival {
        let target = parts.uri.path_and_query().map_or_else(|| parts.uri.to_string(), ToString::to_string);
        let fields = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let arrival = Arrival {
            method: parts.method.to_string(),
            target,
            authority: parts.uri.authority().map(ToString::to_string),
            version: parts.version,
            fields: fields.collect(),
            content,
        };
        lock(&self.arrivals).push(arrival.clone());
        self.arrived.notify_one();
        arrival
    }
}

async fn read(mut body: Incoming, told: watch::Sender<Received>) {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            told.send_modify(|received| received.end = End::Broken);
            return;
        };
        match frame.into_data() {
            Ok(data) => told.send_modify(|received| received.add(&data)),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                let trailers = trailers.iter().map(|(name, value)| {
                    (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                });
                let trailers = trailers.collect();
                told.send_modify(|received| received.trailers = trailers);
            }
        }
    }
    told.send_modify(|received| received.end = End::Complete);
}

impl Received {
    fn add(&mut self, data: &Bytes) {
        self.bytes += data.len() as u64;
        let room = KEPT_CONTENT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&data[..data.len().min(room)]);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no reader panicked")
}
