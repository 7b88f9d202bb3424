//! Exchanges that wait for the inspector to bring them back. An id is good once, for one exchange that is waiting, with
//! exactly the content that was asked about.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use bytes::{Buf, Bytes};

use crate::{content::Collected, record::Id};

/// All exchanges under inspection.
#[derive(Default)]
pub struct Waiting {
    by_id: Mutex<HashMap<String, Claim>>,
}

impl Waiting {
    /// Begins to wait with a fresh id.
    pub fn enter(self: &Arc<Self>, content: &Collected) -> Ticket {
        let id = Id::random().to_string();
        let state = Arc::new(AtomicU8::new(State::Pending as u8));
        let claim = Claim { expected: content.chunks().iter().cloned().collect(), state: state.clone() };
        self.lock().insert(id.clone(), claim);
        Ticket { waiting: self.clone(), id, state }
    }

    /// Takes the exchange with this id; nobody can take it again.
    pub fn claim(&self, id: &str) -> Option<Claim> {
        let claim = self.lock().remove(id)?;
        claim.state.store(State::Mismatched as u8, Ordering::Release);
        Some(claim)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Claim>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far an exchange came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// The inner face has not seen it.
    Pending = 0,
    /// The inner face saw exactly what was asked about.
    Confirmed = 1,
    /// The inner face saw the id with other content, or not all of it.
    Mismatched = 2,
}

/// The waiting end. Dropped, it takes its id with it: what comes later is refused.
pub struct Ticket {
    waiting: Arc<Waiting>,
    id: String,
    state: Arc<AtomicU8>,
}

impl Ticket {
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Pending,
            1 => State::Confirmed,
            _ => State::Mismatched,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.id);
    }
}

/// The recognising end: compares content as it streams in.
pub struct Claim {
    expected: VecDeque<Bytes>,
    state: Arc<AtomicU8>,
}

impl Claim {
    /// Whether `chunk` is what comes next.
    pub fn continues_with(&mut self, mut chunk: &[u8]) -> bool {
        while !chunk.is_empty() {
            let Some(expected) = self.expected.front_mut() else { return false };
            let length = expected.len().min(chunk.len());
            if expected[..length] != chunk[..length] {
                return false;
            }
            chunk = &chunk[length..];
            expected.advance(length);
            if expected.is_empty() {
                self.expected.pop_front();
            }
        }
        true
    }

    /// Confirms the exchange, if all of its content was seen.
    pub fn confirm(self) -> bool {
        let complete = self.expected.is_empty();
        if complete {
            self.state.store(State::Confirmed as u8, Ordering::Release);
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(content: &str) -> (Arc<Waiting>, Ticket) {
        let waiting = Arc::new(Waiting::default());
        let ticket = waiting.enter(&Collected::from(content.as_bytes().to_vec()));
        (waiting, ticket)
    }

    #[test]
    fn an_id_is_good_once_and_for_its_content_only() {
        let (waiting, ticket) = waiting("hello");
        let mut claim = waiting.claim(ticket.id()).unwrap();
        assert!(waiting.claim(ticket.id()).is_none());
        assert!(claim.continues_with(b"he") && claim.continues_with(b"llo"));
        assert!(claim.confirm());
        assert_eq!(ticket.state(), State::Confirmed);
    }

    #[test]
    fn other_content_is_never_confirmed() {
        for parts in [&[&b"hellO"[..]][..], &[b"hel"], &[b"hello", b"!"], &[]] {
            let (waiting, ticket) = waiting("hello");
            let mut claim = waiting.claim(ticket.id()).unwrap();
            let continues = parts.iter().all(|part| claim.continues_with(part));
            assert!(!(continues && claim.confirm()), "{parts:?}");
            assert_eq!(ticket.state(), State::Mismatched);
        }
    }

    #[test]
    fn an_exchange_that_left_is_not_recognised() {
        let (waiting, ticket) = waiting("");
        let id = ticket.id().to_owned();
        assert_eq!(ticket.state(), State::Pending);
        drop(ticket);
        assert!(waiting.claim(&id).is_none());
        assert!(waiting.claim("0123").is_none());
    }
}
