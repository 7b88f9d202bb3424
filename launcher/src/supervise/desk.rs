//! The desk of one bottle, in its own process: takes proposals from the sidecar, puts them where the operator sees them, and
//! carries decisions out. What the sidecar says is a wish of the agent's, whatever it says; nothing is in force without a
//! decision of the operator's that is on record.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::time::Duration;

use shared::routes::Routes;
use shared::supervise::{Answered, Asked, Outcome, Proposal};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{MissedTickBehavior, interval};

use super::audit::Schema;
use super::grants::{self, Objection};
use super::lines::Lines;
use super::{Audit, Decision, Queue, Settled, Verdict, Waiting};
use crate::plan::Plan;

/// What one bottle has asked for and was granted.
pub struct Desk<'p> {
    plan: &'p Plan,
    queue: Queue,
    audit: Audit,
    granted: Vec<Proposal>,
    waiting: BTreeMap<u32, Waiting>,
    /// The highest number that was seen: a number means one proposal, for ever.
    last: u32,
}

impl<'p> Desk<'p> {
    pub fn new(plan: &'p Plan) -> Self {
        Self {
            queue: Queue::new(&plan.paths.queue),
            audit: Audit::new(&plan.paths.audit),
            granted: plan.granted.clone(),
            waiting: BTreeMap::new(),
            last: 0,
            plan,
        }
    }

    /// Serves until the sidecar falls silent for good. `enforce` puts a table in force, and returns when it is.
    ///
    /// # Errors
    /// The sidecar cannot be read or answered.
    pub async fn serve<E: Error>(
        mut self,
        said: impl AsyncRead + Unpin,
        mut answers: impl AsyncWrite + Unpin,
        mut enforce: impl AsyncFnMut(&Routes) -> Result<(), E>,
    ) -> io::Result<()> {
        let mut lines = Lines::new(said);
        let mut look = interval(BETWEEN_LOOKS);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let answered = tokio::select! {
                line = lines.next() => match line? {
                    Some(line) => self.take(&line).into_iter().collect(),
                    None => return Ok(()),
                },
                _ = look.tick(), if !self.waiting.is_empty() => self.settle(&mut enforce).await,
            };
            for answer in answered {
                let mut line = serde_json::to_vec(&answer)?;
                line.push(b'\n');
                answers.write_all(&line).await?;
                answers.flush().await?;
            }
        }
    }

    /// Puts a proposal into the queue; an answer where the operator is not asked. A line that is none is passed over.
    fn take(&mut self, line: &[u8]) -> Option<Answered> {
        let Asked { number, proposal } = serde_json::from_slice(line).ok()?;
        if number <= self.last {
            return None;
        }
        self.last = number;
        let answer = |outcome, words: String| Some(Answered { number, outcome, words: Some(words) });
        if self.waiting.len() >= MAX_WAITING || number > MAX_NUMBER {
            return answer(Outcome::Refused, "there are too many already".to_owned());
        }
        match grants::check(&self.plan.egress.routes, &self.granted, &proposal) {
            Ok(()) => {}
            Err(objection @ Objection::Granted) => return answer(Outcome::Approved, objection.to_string()),
            Err(objection) => return answer(Outcome::Refused, objection.to_string()),
        }
        let waiting = Waiting::new(number, now(), proposal);
        if self.queue.put(&waiting).is_err() {
            return answer(Outcome::Refused, "the operator's queue cannot be written".to_owned());
        }
        self.waiting.insert(number, waiting);
        None
    }

    /// Carries out what was decided meanwhile.
    async fn settle<E: Error>(&mut self, enforce: &mut impl AsyncFnMut(&Routes) -> Result<(), E>) -> Vec<Answered> {
        let decided = self.waiting.keys().filter_map(|&number| {
            let decision = self.queue.decision(number).ok()??;
            Some((number, decision))
        });
        let decided: Vec<(u32, Decision)> = decided.collect();
        let mut answers = Vec::with_capacity(decided.len());
        for (number, decision) in decided {
            let Some(waiting) = self.waiting.remove(&number) else { continue };
            let (outcome, words) = self.carry_out(&waiting, decision, enforce).await;
            self.queue.clear(number);
            answers.push(Answered { number, outcome, words });
        }
        answers
    }

    async fn carry_out<E: Error>(
        &mut self,
        waiting: &Waiting,
        decision: Decision,
        enforce: &mut impl AsyncFnMut(&Routes) -> Result<(), E>,
    ) -> (Outcome, Option<String>) {
        let Decision { verdict, words, decided, .. } = decision;
        let outcome = match verdict {
            Verdict::Approve => Outcome::Approved,
            Verdict::Reject => Outcome::Rejected,
        };
        let record = |outcome, words: &Option<String>| Settled {
            schema: Schema::V1,
            identity: self.plan.identity.to_string(),
            agent: self.plan.agent.to_string(),
            bottle: self.plan.bottle.to_string(),
            number: waiting.number,
            proposal: waiting.proposal.clone(),
            asked: waiting.asked.clone(),
            decided: decided.clone(),
            outcome,
            words: words.clone(),
        };
        if self.audit.write(&record(outcome, &words)).is_err() {
            return (Outcome::Refused, Some("the decision cannot be recorded".to_owned()));
        }
        if verdict == Verdict::Reject {
            return (outcome, words);
        }
        let mut granted = self.granted.clone();
        granted.push(waiting.proposal.clone());
        if let Err(error) = enforce(&grants::table(&self.plan.egress.routes, &granted)).await {
            let told = Some(format!("it was approved, and could not be put in force: {error}"));
            // The first record stands if this one cannot be written: it says what the operator wanted.
            let _ = self.audit.write(&record(Outcome::Refused, &told));
            return (Outcome::Refused, Some("it could not be put in force".to_owned()));
        }
        // What cannot be kept is in force all the same, until this bottle ends.
        let _ = grants::save(&self.plan.paths.state, &granted);
        self.granted = granted;
        (outcome, words)
    }
}

/// RFC 3339, to the second.
pub(crate) fn now() -> String {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default()
}

/// The sidecar's own limits, which it may have been talked out of.
const MAX_WAITING: usize = 8;
const MAX_NUMBER: u32 = 64;

/// A person does not notice it, and an idle machine neither.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;
