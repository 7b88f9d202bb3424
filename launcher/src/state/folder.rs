//! `state/IDENTITY/`: made before a launch, locked while it lives, removed after it. One lock for all, held only while
//! folders come and go, keeps `start` and `cleanup` from crossing each other.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Identity, Metadata, StateError};
use crate::home::Home;

/// The state of one bottle that this process runs.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    queue: PathBuf,
    home: Home,
    /// Released by the system when this process ends, however it ends.
    _lock: File,
}

/// What became of a bottle's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Kept,
    Removed,
}

/// Whether a bottle's state outlives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    No,
    Yes,
}

impl State {
    /// Makes the folders of a new bottle, or takes those that are kept, and locks them.
    ///
    /// # Errors
    /// Another process has them, or the disk refuses.
    pub fn create(home: &Home, identity: &Identity, metadata: &Metadata, kept: Kept) -> Result<Self, StateError> {
        let (folder, queue) = (home.state(identity), home.queue(identity));
        make_folder(&home.states())?;
        let _all = lock_all(home)?;
        let existed = folder.exists();
        make_folder(&folder)?;
        let lock = try_lock(&folder)?.ok_or_else(|| StateError::Running(identity.clone()))?;
        let state = Self { folder, queue, home: home.clone(), _lock: lock };
        match state.fill(metadata, kept) {
            Ok(()) => Ok(state),
            Err(error) => {
                if !existed {
                    let _ = fs::remove_dir_all(&state.folder); // the first error is the one to tell
                }
                Err(error)
            }
        }
    }

    fn fill(&self, metadata: &Metadata, kept: Kept) -> Result<(), StateError> {
        make_folder(&self.queue)?;
        let path = self.folder.join(METADATA);
        let text = serde_json::to_vec_pretty(metadata)
            .map_err(|source| StateError::Metadata { path: path.display().to_string(), source })?;
        fs::write(&path, text).map_err(io_error("written", &path))?;
        let marker = self.folder.join(PRESERVE);
        match kept {
            Kept::Yes => fs::write(&marker, "").map_err(io_error("written", &marker)),
            Kept::No => Ok(()),
        }
    }

    /// Removes what a bottle leaves, unless its marker says to keep it.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn end(self) -> Result<Ended, StateError> {
        let _all = lock_all(&self.home)?;
        remove(&self.queue)?;
        if self.folder.join(PRESERVE).exists() {
            return Ok(Ended::Kept);
        }
        remove(&self.folder)?;
        Ok(Ended::Removed)
    }
}

/// The states of all bottles of a home.
#[derive(Debug, Clone, Copy)]
pub struct States<'h>(pub &'h Home);

impl States<'_> {
    /// Bottles whose process lives.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn live(&self) -> Result<BTreeSet<Identity>, StateError> {
        Ok(self.sorted()?.0)
    }

    /// Bottles whose process is gone and whose state is not kept.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn orphans(&self) -> Result<BTreeSet<Identity>, StateError> {
        let dead = self.sorted()?.1;
        Ok(dead.into_iter().filter(|identity| !self.0.state(identity).join(PRESERVE).exists()).collect())
    }

    /// Bottles that can be resumed.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn kept(&self) -> Result<BTreeSet<Identity>, StateError> {
        let dead = self.sorted()?.1;
        Ok(dead.into_iter().filter(|identity| self.0.state(identity).join(PRESERVE).exists()).collect())
    }

    /// How a bottle was started.
    ///
    /// # Errors
    /// There is none of that name, or its file is damaged.
    pub fn metadata(&self, identity: &Identity) -> Result<Metadata, StateError> {
        let path = self.0.state(identity).join(METADATA);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StateError::NotKept(identity.clone()));
            }
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        serde_json::from_slice(&text)
            .map_err(|source| StateError::Metadata { path: path.display().to_string(), source })
    }

    /// Removes the state of a bottle whose process is gone; what is gone already is no error.
    ///
    /// # Errors
    /// It is running after all, or the disk refuses.
    pub fn remove(&self, identity: &Identity) -> Result<(), StateError> {
        let folder = self.0.state(identity);
        if folder.is_dir() {
            let _all = lock_all(self.0)?;
            let _lock = try_lock(&folder)?.ok_or_else(|| StateError::Running(identity.clone()))?;
            remove(&folder)?;
        }
        remove(&self.0.queue(identity))
    }

    /// The living, the dead.
    fn sorted(&self) -> Result<(BTreeSet<Identity>, BTreeSet<Identity>), StateError> {
        let (mut live, mut dead) = (BTreeSet::new(), BTreeSet::new());
        let states = self.0.states();
        let entries = match fs::read_dir(&states) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((live, dead)),
            Err(error) => return Err(io_error("read", &states)(error)),
        };
        let _all = lock_all(self.0)?;
        for entry in entries.flatten() {
            let Some(identity) = entry.file_name().to_str().and_then(|name| name.parse::<Identity>().ok()) else {
                continue;
            };
            match try_lock(&entry.path())? {
                Some(_) => dead.insert(identity),
                None => live.insert(identity),
            };
        }
        Ok((live, dead))
    }
}

/// Waits for whoever makes or removes folders just now.
fn lock_all(home: &Home) -> Result<File, StateError> {
    let path = home.states().join(LOCK);
    let file = open_lock(&path)?;
    file.lock().map_err(io_error("locked", &path))?;
    Ok(file)
}

/// `None`: another process has it.
fn try_lock(folder: &Path) -> Result<Option<File>, StateError> {
    let path = folder.join(LOCK);
    let file = open_lock(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(io_error("locked", &path)(error)),
    }
}

fn open_lock(path: &Path) -> Result<File, StateError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    options.open(path).map_err(io_error("opened", path))
}

fn make_folder(path: &Path) -> Result<(), StateError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error("created", path))
}

fn remove(folder: &Path) -> Result<(), StateError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("removed", folder)(error)),
        _ => Ok(()),
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.display().to_string();
    move |source| StateError::Io { action, path, source }
}

const LOCK: &str = ".lock";
const METADATA: &str = "metadata.json";
/// A file of this name makes a bottle's state outlive it.
const PRESERVE: &str = "preserve";

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        _root: tempfile::TempDir,
        home: Home,
        metadata: Metadata,
    }

    fn fixture() -> Fixture {
        let root = tempfile::tempdir().unwrap();
        let metadata = serde_json::from_value(serde_json::json!({
            "schema": "bottle-state/1", "identity": "a-00000", "agent": "a", "bottle": "b", "backend": "docker",
            "started": "2026-01-01T00:00:00Z", "folder": "/", "dlp": null, "copied_folder": null,
            "remote_control": false, "arguments": [],
        }));
        Fixture { home: Home::new(root.path().join("home")), _root: root, metadata: metadata.unwrap() }
    }

    fn identity(text: &str) -> Identity {
        text.parse().unwrap()
    }

    #[test]
    fn a_living_bottle_is_no_orphan_and_leaves_nothing() {
        let Fixture { home, metadata, .. } = &fixture();
        let states = States(home);
        let state = State::create(home, &identity("a-00000"), metadata, Kept::No).unwrap();
        assert_eq!(states.live().unwrap(), [identity("a-00000")].into());
        assert!(states.orphans().unwrap().is_empty());
        assert!(matches!(states.remove(&identity("a-00000")), Err(StateError::Running(_))));
        assert_eq!(state.end().unwrap(), Ended::Removed);
        assert!(!home.state(&identity("a-00000")).exists() && !home.queue(&identity("a-00000")).exists());
    }

    #[test]
    fn a_killed_bottle_is_an_orphan_until_removed() {
        let Fixture { home, metadata, .. } = &fixture();
        let states = States(home);
        drop(State::create(home, &identity("a-00000"), metadata, Kept::No).unwrap()); // as the system does
        assert_eq!(states.orphans().unwrap(), [identity("a-00000")].into());
        states.remove(&identity("a-00000")).unwrap();
        states.remove(&identity("a-00000")).unwrap();
        assert!(states.orphans().unwrap().is_empty());
    }

    #[test]
    fn kept_state_outlives_its_bottle_and_is_taken_up_again() {
        let Fixture { home, metadata, .. } = &fixture();
        let states = States(home);
        let state = State::create(home, &identity("a-00000"), metadata, Kept::Yes).unwrap();
        assert_eq!(state.end().unwrap(), Ended::Kept);
        assert!(states.orphans().unwrap().is_empty());
        assert_eq!(states.kept().unwrap(), [identity("a-00000")].into());
        assert_eq!(states.metadata(&identity("a-00000")).unwrap(), *metadata);
        let again = State::create(home, &identity("a-00000"), metadata, Kept::Yes).unwrap();
        assert!(matches!(State::create(home, &identity("a-00000"), metadata, Kept::Yes), Err(StateError::Running(_))));
        assert_eq!(again.end().unwrap(), Ended::Kept);
    }

    #[test]
    fn folders_are_the_users_alone() {
        use std::os::unix::fs::PermissionsExt;
        let Fixture { home, metadata, .. } = &fixture();
        let _state = State::create(home, &identity("a-00000"), metadata, Kept::No).unwrap();
        for folder in [home.states(), home.state(&identity("a-00000")), home.queue(&identity("a-00000"))] {
            assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
        }
    }
}
