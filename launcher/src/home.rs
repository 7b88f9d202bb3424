//! The user's own folder, `~/.claude-bottle` or what `CLAUDE_BOTTLE_HOME` names, and what lies where in it. It knows paths
//! only: it never reads or writes.

use std::path::{Path, PathBuf};

use crate::name::{AgentName, BottleName};
use crate::state::Identity;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn bottles(&self) -> PathBuf {
        self.0.join("bottles")
    }

    pub fn bottle(&self, name: &BottleName) -> PathBuf {
        self.bottles().join(format!("{name}.md"))
    }

    pub fn agents(&self) -> PathBuf {
        self.0.join("agents")
    }

    pub fn agent(&self, name: &AgentName) -> PathBuf {
        self.agents().join(format!("{name}.md"))
    }

    /// Everything that belongs to one bottle, removed with it.
    pub fn state(&self, identity: &Identity) -> PathBuf {
        self.states().join(identity.as_str())
    }

    pub fn states(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Where the proposals of one bottle wait for the operator.
    pub fn queue(&self, identity: &Identity) -> PathBuf {
        self.0.join("queue").join(identity.as_str())
    }

    /// What outlives bottles: one file per decision of the operator.
    pub fn audit(&self) -> PathBuf {
        self.0.join("audit")
    }
}
