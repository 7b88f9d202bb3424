//! The agent's prompt: one file in its home, there even when empty, so that a command line can always name it.

use std::io;

use super::{Account, at_home};
use crate::archive::{Archive, Facts};

/// Where the agent finds its prompt.
pub fn path(account: &Account) -> String {
    format!("/{}", at_home(account, FILE))
}

pub(super) fn add(archive: &mut Archive, account: &Account, prompt: &str) -> io::Result<()> {
    archive.folder(&at_home(account, FOLDER), Facts::new(0o755, account.owner))?;
    archive.file(&at_home(account, FILE), Facts::new(0o644, account.owner), prompt.as_bytes())
}

const FOLDER: &str = ".claude-bottle";
const FILE: &str = ".claude-bottle/prompt.md";
