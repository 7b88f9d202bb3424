//! The agent's working directory: empty, or a copy of a folder of the host. A copy, never a mount: what the agent does to
//! it stays in the bottle.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Account, ProvisionError};
use crate::archive::{Archive, Facts, Owner};
use crate::spec::Workdir;

pub(super) fn add(
    archive: &mut Archive,
    account: &Account,
    workdir: &Workdir,
    target: &str,
) -> Result<(), ProvisionError> {
    match workdir {
        Workdir::Empty => Ok(()),
        Workdir::CopyOf(folder) => copy(archive, folder, target.trim_matches('/'), account.owner),
    }
}

/// Copies a folder with everything in it; links as links (but the folder itself may be one: the user named it); sockets,
/// pipes and devices are left out.
pub(super) fn copy(archive: &mut Archive, from: &Path, to: &str, owner: Owner) -> Result<(), ProvisionError> {
    let from = fs::canonicalize(from).map_err(|source| ProvisionError::Read { path: from.to_owned(), source })?;
    copy_entry(archive, &from, to, owner)
}

fn copy_entry(archive: &mut Archive, from: &Path, to: &str, owner: Owner) -> Result<(), ProvisionError> {
    let unreadable = |source: io::Error| ProvisionError::Read { path: from.to_owned(), source };
    let facts = fs::symlink_metadata(from).map_err(unreadable)?;
    let kept = Facts { mode: facts.mode() & 0o777, owner, modified: u64::try_from(facts.mtime()).unwrap_or_default() };
    if facts.is_symlink() {
        let target = fs::read_link(from).map_err(unreadable)?;
        return archive.link(to, &target, kept).map_err(ProvisionError::Pack);
    }
    if facts.is_file() {
        let content = fs::read(from).map_err(unreadable)?;
        return archive.file(to, kept, &content).map_err(ProvisionError::Pack);
    }
    if !facts.is_dir() {
        return Ok(());
    }
    archive.folder(to, kept).map_err(ProvisionError::Pack)?;
    let mut entries = fs::read_dir(from).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        // A name that is no UTF-8 cannot be one of ours to rename: refuse it rather than drop it.
        let name = name.to_str().ok_or_else(|| unreadable(io::ErrorKind::InvalidFilename.into()))?;
        copy_entry(archive, &entry.path(), &format!("{to}/{name}"), owner)?;
    }
    Ok(())
}
