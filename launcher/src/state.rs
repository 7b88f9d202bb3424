//! What a bottle leaves on the host while it lives: its identity, and the folder that carries it. The folder is locked for
//! as long as the `bottle` process lives, also when it is killed, so that nobody takes a living bottle for an orphan.
//!
//! It never holds a secret.

mod folder;
mod metadata;

use std::fmt;
use std::str::FromStr;

use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;

pub use self::folder::{Ended, Kept, State, States};
pub use self::metadata::Metadata;
use crate::diagnostics::Explain;
use crate::name::AgentName;

/// `AGENT-xxxxx`: the agent's name and five random base36 characters; the suffix of every resource's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(String);

impl Identity {
    /// # Errors
    /// The system has no randomness to give.
    pub fn random(agent: &AgentName) -> Result<Self, StateError> {
        let mut suffix = String::with_capacity(SUFFIX);
        let random = SystemRandom::new();
        while suffix.len() < SUFFIX {
            let mut byte = [0];
            random.fill(&mut byte).map_err(|_| StateError::Randomness)?;
            // 252 is 7 × 36: what lies above would make some characters likelier than others.
            if byte[0] < 252 {
                suffix.extend(char::from_digit(u32::from(byte[0] % 36), 36));
            }
        }
        Ok(Self(format!("{agent}-{suffix}")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Identity {
    type Err = StateError;

    fn from_str(text: &str) -> Result<Self, StateError> {
        let bad = || StateError::Identity(text.to_owned());
        let (agent, suffix) = text.rsplit_once('-').ok_or_else(bad)?;
        agent.parse::<AgentName>().map_err(|_| bad())?;
        let is_base36 = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        if suffix.len() != SUFFIX || !suffix.bytes().all(is_base36) {
            return Err(bad());
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Error)]
pub enum StateError {
    #[error("`{0}` is no identity: an agent's name, `-` and five characters, as `bottle list active` shows")]
    Identity(String),
    #[error("no state of `{0}` is kept")]
    NotKept(Identity),
    #[error("the bottle `{0}` is running")]
    Running(Identity),
    #[error("the system's random numbers cannot be had")]
    Randomness,
    #[error("`{path}` cannot be {action}")]
    Io { action: &'static str, path: String, source: std::io::Error },
    #[error("`{path}` is damaged")]
    Metadata { path: String, source: serde_json::Error },
}

impl Explain for StateError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Identity(_) | Self::Randomness => vec![],
            Self::NotKept(_) => vec!["`bottle start AGENT --keep` keeps the state of a bottle when it ends".to_owned()],
            Self::Running(_) => vec!["end it first; `bottle list active` shows what runs".to_owned()],
            Self::Io { .. } => vec!["check the folder's owner, its permissions and the space left".to_owned()],
            Self::Metadata { .. } => vec!["`bottle cleanup IDENTITY` removes it".to_owned()],
        }
    }
}

const SUFFIX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_identity_reads_back() {
        let agent = "my-agent".parse().unwrap();
        let identity = Identity::random(&agent).unwrap();
        assert!(identity.as_str().starts_with("my-agent-"));
        assert_eq!(identity.as_str().parse::<Identity>().unwrap(), identity);
    }

    #[test]
    fn what_is_no_identity_is_refused() {
        for bad in ["", "agent", "agent-", "agent-abcd", "agent-ABCDE", "-abcde", "../x-abcde", "a/b-abcde"] {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
    }
}
