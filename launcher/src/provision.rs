//! What an agent is given before it starts, in this order: ca, prompt, skills, git, supervise. These modules say which
//! files and variables; a backend carries them in. Nothing here is secret, and nothing here reads the agent's side.

pub mod ca;
pub mod git;
pub mod prompt;
pub mod skills;
pub mod supervise;
pub mod workdir;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::archive::{Archive, Owner};
use crate::plan::Plan;

/// The agent's account, as found inside its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub owner: Owner,
    /// Absolute.
    pub home: String,
}

/// Everything that is copied in once the account is known, as one archive for `/`.
pub fn belongings(plan: &Plan, account: &Account, workdir: &str) -> Result<Vec<u8>, ProvisionError> {
    let mut archive = Archive::default();
    prompt::add(&mut archive, account, &plan.prompt).map_err(ProvisionError::Pack)?;
    skills::add(&mut archive, account, &plan.skills)?;
    git::add(&mut archive, account, &plan.git).map_err(ProvisionError::Pack)?;
    supervise::add(&mut archive, account, plan.supervise).map_err(ProvisionError::Pack)?;
    workdir::add(&mut archive, account, &plan.workdir, workdir)?;
    archive.finish().map_err(ProvisionError::Pack)
}

/// The host's side of what is copied in.
#[derive(Debug, Error)]
pub enum ProvisionError {
    #[error("cannot pack the agent's files")]
    Pack(#[source] io::Error),
    #[error("cannot read `{path}`")]
    Read { path: PathBuf, source: io::Error },
}

/// `path` below the account's home, as an archive for `/` names it.
fn at_home(account: &Account, path: &str) -> String {
    format!("{}/{path}", account.home.trim_matches('/'))
}
