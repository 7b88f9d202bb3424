//! `audit/`: one file for each decision. They outlive their bottles, and nothing here removes them.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::supervise::{Outcome, Proposal};

use super::{SuperviseError, read, write};

/// The folder of all decisions.
#[derive(Debug, Clone)]
pub struct Audit(PathBuf);

/// A proposal, what was decided, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settled {
    pub schema: Schema,
    pub identity: String,
    pub agent: String,
    pub bottle: String,
    pub number: u32,
    pub proposal: Proposal,
    /// RFC 3339, UTC; like `decided`.
    pub asked: String,
    pub decided: String,
    pub outcome: Outcome,
    /// The operator's words, or why it could not be done.
    pub words: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schema {
    #[serde(rename = "bottle-audit/1")]
    V1,
}

impl Audit {
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// # Errors
    /// The disk refuses.
    pub fn write(&self, settled: &Settled) -> Result<(), SuperviseError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(SuperviseError::io("created", &self.0))?;
        write(&self.path(&settled.decided, &settled.identity, settled.number), settled)
    }

    /// # Errors
    /// The file cannot be read.
    pub fn read(&self, decided: &str, identity: &str, number: u32) -> Result<Option<Settled>, SuperviseError> {
        read(&self.path(decided, identity, number))
    }

    fn path(&self, decided: &str, identity: &str, number: u32) -> PathBuf {
        // A decision's time comes from a file; a file's name from letters that lead nowhere.
        let time = decided.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        self.0.join(format!("{time}-{identity}-{number}.json"))
    }
}
