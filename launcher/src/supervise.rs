//! What an agent proposes and its operator decides: proposals wait in a folder of the host, a decision is a second file
//! beside them, and the process of the bottle carries it out. The agent reaches none of it: its words come as lines from the
//! supervise sidecar, and are taken for nothing but a wish.

mod audit;
mod desk;
pub mod grants;
mod lines;
mod queue;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use self::audit::{Audit, Settled};
pub use self::desk::Desk;
pub(crate) use self::desk::now;
pub use self::queue::{Decision, Queue, Verdict, Waiting};
use crate::diagnostics::Explain;

/// The operator's side of the queue.
#[derive(Debug, Error)]
pub enum SuperviseError {
    #[error("no proposal {number} waits there")]
    NotWaiting { number: u32 },
    #[error("proposal {number} is decided already")]
    Decided { number: u32 },
    #[error("`{path}` cannot be {action}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("`{path}` is damaged")]
    Damaged { path: PathBuf, source: serde_json::Error },
}

impl SuperviseError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl Explain for SuperviseError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotWaiting { .. } | Self::Decided { .. } => {
                vec!["`bottle dashboard --once` shows what waits".to_owned()]
            }
            Self::Io { .. } => vec!["check the folder's owner, its permissions and the space left".to_owned()],
            Self::Damaged { .. } => vec!["remove it; nothing else reads it".to_owned()],
        }
    }
}

/// Reads one of our files; `None` where there is none.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, SuperviseError> {
    match std::fs::read(path) {
        Ok(text) => {
            let read = serde_json::from_slice(&text);
            read.map(Some).map_err(|source| SuperviseError::Damaged { path: path.to_owned(), source })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SuperviseError::io("read", path)(error)),
    }
}

/// Writes one of our files, whole or not at all: what is read is never half of it.
fn write<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), SuperviseError> {
    let whole = draft(path, value)?;
    std::fs::rename(&whole, path).map_err(SuperviseError::io("written", path))
}

/// The file beside `path` that is to become it.
fn draft<T: serde::Serialize>(path: &Path, value: &T) -> Result<PathBuf, SuperviseError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let damaged = |source| SuperviseError::Damaged { path: path.to_owned(), source };
    let mut text = serde_json::to_vec_pretty(value).map_err(damaged)?;
    text.push(b'\n');
    let draft = path.with_extension(format!("{}.draft", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let file = options.create(true).truncate(true).write(true).mode(0o600).open(&draft);
    let written = file.and_then(|mut file| file.write_all(&text));
    written.map_err(SuperviseError::io("written", &draft))?;
    Ok(draft)
}
