//! What a bottle leaves on the host while it lives: its identity, and the folder that carries it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::name::AgentName;

/// `AGENT-xxxxx`: the agent's name and five random base36 characters; the suffix of every resource's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(String);

impl Identity {
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
}

const SUFFIX: usize = 5;
