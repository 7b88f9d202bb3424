//! The counter at which proposals are handed in and answers picked up. It is bounded: a hijacked agent must not fill a
//! memory, nor wear its operator down by asking again what was answered.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::supervise::{Answered, Asked, Outcome, Proposal};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Everything that was proposed while this process lives.
pub struct Counter {
    proposals: Mutex<Vec<Entry>>,
    out: mpsc::Sender<Asked>,
}

struct Entry {
    proposal: Proposal,
    answer: watch::Sender<Option<Answer>>,
}

/// What became of a proposal, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    pub outcome: Outcome,
    pub words: Option<String>,
}

/// Why nothing was handed in.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Closed {
    #[error("{MAX_WAITING} proposals wait for the operator already; wait for their decisions first")]
    TooManyWaiting,
    #[error("this bottle has made {MAX_PROPOSALS} proposals, and takes no more")]
    TooManyInAll,
}

/// There is no such proposal.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("there is no proposal {0}")]
pub struct Unknown(pub u32);

impl Counter {
    /// The counter, and what is to be passed on.
    pub fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (out, asked) = mpsc::channel(MAX_WAITING);
        (Self { proposals: Mutex::default(), out }, asked)
    }

    /// The number under which `proposal` waits or was answered. What was asked before is not asked again.
    ///
    /// # Errors
    /// There are too many.
    pub fn hand_in(&self, proposal: Proposal) -> Result<u32, Closed> {
        let mut proposals = self.lock();
        if let Some(index) = proposals.iter().position(|entry| entry.proposal.asks_the_same_as(&proposal)) {
            return Ok(number(index));
        }
        if proposals.iter().filter(|entry| entry.answer.borrow().is_none()).count() >= MAX_WAITING {
            return Err(Closed::TooManyWaiting);
        }
        if proposals.len() >= MAX_PROPOSALS {
            return Err(Closed::TooManyInAll);
        }
        let number = number(proposals.len());
        self.out.try_send(Asked { number, proposal: proposal.clone() }).map_err(|_| Closed::TooManyWaiting)?;
        proposals.push(Entry { proposal, answer: watch::Sender::new(None) });
        Ok(number)
    }

    /// The answer to a proposal and the proposal itself, as soon as there is one; `None` where there is none in time.
    ///
    /// # Errors
    /// There is no such proposal.
    pub async fn wait(&self, number: u32, patience: Duration) -> Result<(Proposal, Option<Answer>), Unknown> {
        let (proposal, mut answer) = {
            let proposals = self.lock();
            let entry = index(number).and_then(|index| proposals.get(index)).ok_or(Unknown(number))?;
            (entry.proposal.clone(), entry.answer.subscribe())
        };
        let answered = timeout(patience, answer.wait_for(Option::is_some)).await;
        let answer = answered.ok().and_then(Result::ok).and_then(|answer| answer.clone());
        Ok((proposal, answer))
    }

    /// Takes an answer; the first one counts.
    pub fn answer(&self, answered: Answered) {
        let Answered { number, outcome, words } = answered;
        if let Some(entry) = index(number).and_then(|index| self.lock().get(index).map(|entry| entry.answer.clone())) {
            entry.send_if_modified(|answer| {
                let is_first = answer.is_none();
                answer.get_or_insert(Answer { outcome, words });
                is_first
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.proposals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1)
}

fn index(number: u32) -> Option<usize> {
    usize::try_from(number.checked_sub(1)?).ok()
}

/// What an operator can look through.
pub const MAX_WAITING: usize = 8;
/// More than any honest session needs.
pub const MAX_PROPOSALS: usize = 64;

#[cfg(test)]
mod tests {
    use shared::supervise::Wish;

    use super::*;

    fn proposal(host: &str) -> Proposal {
        let wish = Wish { host: host.into(), methods: vec![], paths: vec![], reason: "to test".into() };
        wish.try_into().unwrap()
    }

    fn answered(number: u32, outcome: Outcome) -> Answered {
        Answered { number, outcome, words: None }
    }

    #[tokio::test]
    async fn an_answer_reaches_whoever_waits_and_whoever_asks_again() {
        let (counter, mut asked) = Counter::new();
        let number = counter.hand_in(proposal("a.example")).unwrap();
        assert_eq!(asked.recv().await.unwrap().number, number);
        let (waited, ()) = tokio::join!(counter.wait(number, Duration::from_secs(60)), async {
            counter.answer(answered(number, Outcome::Rejected));
        });
        assert_eq!(waited.unwrap().1.unwrap().outcome, Outcome::Rejected);
        counter.answer(answered(number, Outcome::Approved));
        assert_eq!(counter.hand_in(proposal("a.example")), Ok(number));
        let again = counter.wait(number, Duration::ZERO).await.unwrap().1.unwrap();
        assert_eq!(again.outcome, Outcome::Rejected, "the first answer counts");
        assert!(asked.try_recv().is_err(), "nobody is asked twice");
    }

    #[tokio::test]
    async fn who_waits_in_vain_is_told_so() {
        let (counter, _asked) = Counter::new();
        let number = counter.hand_in(proposal("a.example")).unwrap();
        assert_eq!(counter.wait(number, Duration::ZERO).await.unwrap().1, None);
        for unknown in [0, 2, u32::MAX] {
            assert_eq!(counter.wait(unknown, Duration::ZERO).await, Err(Unknown(unknown)));
        }
    }

    #[tokio::test]
    async fn the_counter_is_bounded() {
        let (counter, mut asked) = Counter::new();
        for round in 0..MAX_PROPOSALS / MAX_WAITING {
            let handed_in: Vec<u32> = (0..MAX_WAITING)
                .map(|index| counter.hand_in(proposal(&format!("a{index}.b{round}.example"))).unwrap())
                .collect();
            if round == 0 {
                assert_eq!(counter.hand_in(proposal("more.example")), Err(Closed::TooManyWaiting));
            }
            for number in handed_in {
                assert_eq!(asked.recv().await.unwrap().number, number);
                counter.answer(answered(number, Outcome::Rejected));
            }
        }
        assert_eq!(counter.hand_in(proposal("more.example")), Err(Closed::TooManyInAll));
    }
}
