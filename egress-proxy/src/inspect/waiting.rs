//! Exchanges that wait for the inspector to bring them back. An id is good once, for one exchange that is waiting, with
//! exactly the content that was asked about. What the inspector is told then is an empty answer at once, or the origin's
//! when it comes.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use bytes::{Buf, Bytes};
use tokio::sync::oneshot;

use super::reply::Reply;
use crate::{content::Collected, record::Id};

/// All exchanges under inspection.
#[derive(Default)]
pub struct Waiting {
    by_id: Mutex<HashMap<String, Claim>>,
}

impl Waiting {
    /// Begins to wait with a fresh id.
    pub fn enter(self: &Arc<Self>, content: &Collected, returns: Returns) -> Ticket {
        let id = Id::random().to_string();
        let state = Arc::new(AtomicU8::new(State::Pending as u8));
        let (confirmed, came_back) = oneshot::channel();
        let confirmed = (returns == Returns::Answer).then_some(confirmed);
        let claim = Claim { expected: Expected::of(content), state: state.clone(), confirmed };
        self.lock().insert(id.clone(), claim);
        Ticket { waiting: self.clone(), id, state, came_back }
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

/// What the inspector is answered when an exchange came back to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Returns {
    /// An empty answer, at once.
    Nothing,
    /// The origin's answer, once there is one.
    Answer,
}

/// Where to put the answer that the inspector waits for.
pub type AnswerSlot = oneshot::Sender<Reply>;

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
    came_back: oneshot::Receiver<AnswerSlot>,
}

impl Ticket {
    /// Ends when the exchange came back and waits for the origin's answer; with `None` where it never will.
    pub async fn came_back(&mut self) -> Option<AnswerSlot> {
        (&mut self.came_back).await.ok()
    }

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
    expected: Expected,
    state: Arc<AtomicU8>,
    confirmed: Option<oneshot::Sender<AnswerSlot>>,
}

/// What an exchange that came back is to be told.
pub enum Confirmed {
    Nothing,
    Answer(oneshot::Receiver<Reply>),
}

impl Claim {
    /// Whether `chunk` is what comes next.
    pub fn continues_with(&mut self, chunk: &[u8]) -> bool {
        self.expected.continues_with(chunk)
    }

    /// Confirms the exchange, if all of its content was seen.
    pub fn confirm(self) -> Option<Confirmed> {
        if !self.expected.is_complete() {
            return None;
        }
        self.state.store(State::Confirmed as u8, Ordering::Release);
        let Some(confirmed) = self.confirmed else { return Some(Confirmed::Nothing) };
        let (slot, reply) = oneshot::channel();
        // Where nobody waits any more, the slot is gone and the reply ends with it.
        let _left = confirmed.send(slot);
        Some(Confirmed::Answer(reply))
    }
}

/// Content that is to come once more, byte for byte, however it is cut.
pub struct Expected(VecDeque<Bytes>);

impl Expected {
    pub fn of(content: &Collected) -> Self {
        Self(content.chunks().iter().filter(|chunk| !chunk.is_empty()).cloned().collect())
    }

    /// Whether `chunk` is what comes next.
    pub fn continues_with(&mut self, mut chunk: &[u8]) -> bool {
        while !chunk.is_empty() {
            let Some(expected) = self.0.front_mut() else { return false };
            let length = expected.len().min(chunk.len());
            if expected[..length] != chunk[..length] {
                return false;
            }
            chunk = &chunk[length..];
            expected.advance(length);
            if expected.is_empty() {
                self.0.pop_front();
            }
        }
        true
    }

    /// Whether all of it came.
    pub fn is_complete(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(content: &str) -> (Arc<Waiting>, Ticket) {
        let waiting = Arc::new(Waiting::default());
        let ticket = waiting.enter(&Collected::from(content.as_bytes().to_vec()), Returns::Nothing);
        (waiting, ticket)
    }

    #[test]
    fn an_id_is_good_once_and_for_its_content_only() {
        let (waiting, ticket) = waiting("hello");
        let mut claim = waiting.claim(ticket.id()).unwrap();
        assert!(waiting.claim(ticket.id()).is_none());
        assert!(claim.continues_with(b"he") && claim.continues_with(b"llo"));
        assert!(claim.confirm().is_some());
        assert_eq!(ticket.state(), State::Confirmed);
    }

    #[test]
    fn other_content_is_never_confirmed() {
        for parts in [&[&b"hellO"[..]][..], &[b"hel"], &[b"hello", b"!"], &[]] {
            let (waiting, ticket) = waiting("hello");
            let mut claim = waiting.claim(ticket.id()).unwrap();
            let continues = parts.iter().all(|part| claim.continues_with(part));
            assert!(!(continues && claim.confirm().is_some()), "{parts:?}");
            assert_eq!(ticket.state(), State::Mismatched);
        }
    }

    #[tokio::test]
    async fn an_exchange_that_awaits_its_answer_is_told_when_it_came_back() {
        let waiting = Arc::new(Waiting::default());
        let mut ticket = waiting.enter(&Collected::default(), Returns::Answer);
        let Some(Confirmed::Answer(reply)) = waiting.claim(ticket.id()).unwrap().confirm() else { panic!() };
        drop(ticket.came_back().await.unwrap());
        assert!(reply.await.is_err(), "nobody answers any more");

        let mut ticket = waiting.enter(&Collected::default(), Returns::Answer);
        drop(waiting.claim(ticket.id()));
        assert!(ticket.came_back().await.is_none());
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
