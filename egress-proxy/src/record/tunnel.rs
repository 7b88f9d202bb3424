//! The record of a tunnel while it lives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use shared::record::{Outcome, Record, SCHEMA_VERSION, TunnelRecord};

use super::{Id, Room, Timestamp, milliseconds};

/// The record of one tunnel while it lives.
pub struct TunnelRecording {
    pub id: Id,
    began: Instant,
    time: SystemTime,
    authority: String,
    pub outcome: Outcome,
    pub error: Option<&'static str>,
    pub reason: Option<String>,
    pub client_protocol: Option<&'static str>,
    exchanges: Arc<AtomicU64>,
    room: Option<Room>,
}

impl TunnelRecording {
    pub fn begin(room: Room, authority: String) -> Self {
        room.metrics().tunnels_open.enter();
        Self {
            id: Id::random(),
            began: Instant::now(),
            time: SystemTime::now(),
            authority,
            outcome: Outcome::Aborted,
            error: None,
            reason: None,
            client_protocol: None,
            exchanges: Arc::default(),
            room: Some(room),
        }
    }

    /// Counts the exchanges inside.
    pub fn counter(&self) -> Arc<AtomicU64> {
        self.exchanges.clone()
    }

    pub fn fail(&mut self, outcome: Outcome, error: &'static str, reason: String) {
        (self.outcome, self.error, self.reason) = (outcome, Some(error), Some(reason));
    }
}

impl Drop for TunnelRecording {
    fn drop(&mut self) {
        let Some(room) = self.room.take() else { return };
        let time = Timestamp::of(self.time);
        let record = Record::Tunnel(TunnelRecord {
            schema: SCHEMA_VERSION,
            id: self.id.as_str().into(),
            time: time.as_str().into(),
            authority: std::mem::take(&mut self.authority).into(),
            outcome: self.outcome,
            error: self.error.map(Into::into),
            reason: self.reason.take().map(Into::into),
            client_protocol: self.client_protocol.map(Into::into),
            exchanges: self.exchanges.load(Ordering::Relaxed),
            total_ms: milliseconds(self.began),
        });
        room.write(&record, None);
    }
}
