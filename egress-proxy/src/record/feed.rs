//! Records as they are written, for whoever watches. Bounded: one ring for all; a watcher that does not keep up loses
//! the oldest and is told how many. It never holds up an exchange.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use tokio::sync::broadcast::{Receiver, Sender, error::RecvError};

/// Records that a watcher may be behind.
const RING: usize = 1024;

/// Where records are published.
#[derive(Clone)]
pub struct Feed {
    sender: Sender<Bytes>,
    watchers: Arc<AtomicUsize>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { sender: Sender::new(RING), watchers: Arc::default() }
    }
}

impl Feed {
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    /// Publishes lines of JSON.
    pub fn publish(&self, lines: &[u8]) {
        if !self.is_watched() {
            return;
        }
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let _nobody_is_left = self.sender.send(Bytes::copy_from_slice(line));
        }
    }

    pub fn subscribe(&self) -> Subscription {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Subscription { receiver: self.sender.subscribe(), watchers: self.watchers.clone() }
    }
}

/// One watcher's place.
pub struct Subscription {
    receiver: Receiver<Bytes>,
    watchers: Arc<AtomicUsize>,
}

/// What a watcher hears.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Heard {
    /// So many records went by unheard.
    Lost(u64),
    /// One line of JSON, without its end.
    Record(Bytes),
}

impl Subscription {
    /// The next record; `None` when no more will come.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.receiver.recv().await {
            Ok(line) => Some(Heard::Record(line)),
            Err(RecvError::Lagged(lost)) => Some(Heard::Lost(lost)),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watcher_that_does_not_keep_up_is_told_how_much_it_missed() {
        let feed = Feed::default();
        let mut subscription = feed.subscribe();
        let lines: String = (0..RING + 5).map(|number| format!("{{\"n\":{number}}}\n")).collect();
        feed.publish(lines.as_bytes());
        assert_eq!(subscription.next().await, Some(Heard::Lost(5)));
        assert_eq!(subscription.next().await, Some(Heard::Record(Bytes::from_static(b"{\"n\":5}"))));
    }

    #[test]
    fn nothing_is_published_where_nobody_watches() {
        let feed = Feed::default();
        drop(feed.subscribe());
        assert!(!feed.is_watched());
    }
}
