//! `queue/IDENTITY/`: `N.json` is a proposal that waits, `N.decision.json` what the operator decides. The bottle's process
//! writes the first and removes both; whoever decides writes the second, once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::supervise::Proposal;

use super::{SuperviseError, draft, read, write};

/// The queue of one bottle.
#[derive(Debug, Clone)]
pub struct Queue(PathBuf);

/// A proposal that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    schema: WaitingSchema,
    pub number: u32,
    /// RFC 3339, UTC.
    pub asked: String,
    pub proposal: Proposal,
}

/// What the operator makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    schema: DecisionSchema,
    pub verdict: Verdict,
    /// For the agent.
    #[serde(default)]
    pub words: Option<String>,
    /// RFC 3339, UTC.
    pub decided: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Approve,
    Reject,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum WaitingSchema {
    #[serde(rename = "bottle-proposal/1")]
    V1,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum DecisionSchema {
    #[serde(rename = "bottle-decision/1")]
    V1,
}

impl Waiting {
    pub fn new(number: u32, asked: String, proposal: Proposal) -> Self {
        Self { schema: WaitingSchema::V1, number, asked, proposal }
    }
}

impl Decision {
    pub fn new(verdict: Verdict, words: Option<String>, decided: String) -> Self {
        Self { schema: DecisionSchema::V1, verdict, words, decided }
    }
}

impl Queue {
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// What waits and is not decided, in the order in which it was asked.
    ///
    /// # Errors
    /// The folder or a file cannot be read. A folder that is not there has nothing in it.
    pub fn waiting(&self) -> Result<Vec<Waiting>, SuperviseError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(SuperviseError::io("read", &self.0)(error)),
        };
        let numbers = entries.flatten().filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.strip_suffix(".json")?.parse::<u32>().ok()
        });
        let mut numbers: Vec<u32> = numbers.filter(|&number| !self.decision_path(number).exists()).collect();
        numbers.sort_unstable();
        let mut waiting = Vec::with_capacity(numbers.len());
        for number in numbers {
            // Gone in the meantime is no longer waiting.
            waiting.extend(read::<Waiting>(&self.path(number))?);
        }
        Ok(waiting)
    }

    /// # Errors
    /// The disk refuses.
    pub fn put(&self, waiting: &Waiting) -> Result<(), SuperviseError> {
        write(&self.path(waiting.number), waiting)
    }

    /// Leaves a decision for the bottle's process. The first one counts.
    ///
    /// # Errors
    /// Nothing of that number waits, it is decided already, or the disk refuses.
    pub fn decide(&self, number: u32, decision: &Decision) -> Result<(), SuperviseError> {
        if !self.path(number).exists() {
            return Err(SuperviseError::NotWaiting { number });
        }
        let path = self.decision_path(number);
        let draft = draft(&path, decision)?;
        let linked = fs::hard_link(&draft, &path);
        let _ = fs::remove_file(&draft); // a draft that stays goes with the folder
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(SuperviseError::Decided { number }),
            linked => linked.map_err(SuperviseError::io("written", &path)),
        }
    }

    /// # Errors
    /// The file cannot be read.
    pub fn decision(&self, number: u32) -> Result<Option<Decision>, SuperviseError> {
        read(&self.decision_path(number))
    }

    /// Whether the bottle's process is done with a proposal.
    pub fn is_settled(&self, number: u32) -> bool {
        !self.path(number).exists()
    }

    /// Takes a proposal and its decision away; what is gone already is no error.
    pub fn clear(&self, number: u32) {
        for path in [self.path(number), self.decision_path(number)] {
            let _ = fs::remove_file(path); // what stays goes with the folder
        }
    }

    fn path(&self, number: u32) -> PathBuf {
        self.0.join(format!("{number}.json"))
    }

    fn decision_path(&self, number: u32) -> PathBuf {
        self.0.join(format!("{number}.decision.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(number: u32) -> Waiting {
        let proposal = serde_json::from_str(r#"{"host": "a.example", "reason": "to test"}"#).unwrap();
        Waiting::new(number, "2026-01-01T00:00:00Z".into(), proposal)
    }

    fn decision(verdict: Verdict) -> Decision {
        Decision::new(verdict, None, "2026-01-01T00:00:01Z".into())
    }

    #[test]
    fn the_first_decision_counts() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::new(folder.path());
        for number in [10, 2] {
            queue.put(&waiting(number)).unwrap();
        }
        assert_eq!(queue.waiting().unwrap(), [waiting(2), waiting(10)]);
        queue.decide(2, &decision(Verdict::Reject)).unwrap();
        let second = queue.decide(2, &decision(Verdict::Approve));
        assert!(matches!(second, Err(SuperviseError::Decided { number: 2 })), "{second:?}");
        assert_eq!(queue.decision(2).unwrap().unwrap().verdict, Verdict::Reject);
        assert_eq!(queue.waiting().unwrap(), [waiting(10)]);
        queue.clear(2);
        assert!(queue.is_settled(2) && !queue.is_settled(10));
        let gone = queue.decide(2, &decision(Verdict::Approve));
        assert!(matches!(gone, Err(SuperviseError::NotWaiting { number: 2 })), "{gone:?}");
    }

    #[test]
    fn a_queue_that_is_not_there_is_empty_and_one_that_is_damaged_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Queue::new(&folder.path().join("none")).waiting().unwrap().is_empty());
        fs::write(folder.path().join("1.json"), r#"{"schema": "bottle-proposal/1", "number": 1}"#).unwrap();
        assert!(matches!(Queue::new(folder.path()).waiting(), Err(SuperviseError::Damaged { .. })));
    }
}
