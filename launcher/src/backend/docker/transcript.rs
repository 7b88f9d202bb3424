//! The agent's session between two bottles of one identity: Claude Code's transcripts, taken out before the teardown and
//! put back before the next start. On the host it is one archive that nobody unpacks.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::DockerError;
use super::engine::Engine;
use super::engine::download::Download;
use crate::archive::{Archive, Facts};
use crate::provision::{Account, ProvisionError};

/// Takes the transcripts of `home` out into `file`; an agent that left none is no error.
pub(super) async fn save(engine: &Engine, container: &str, account: &Account, file: &Path) -> Result<(), DockerError> {
    let failed = |source| DockerError::Transcript { path: file.to_owned(), source };
    match engine.download(container, &format!("{}/{FOLDER}/{TRANSCRIPTS}", account.home), LONGEST).await? {
        Download::Missing => Ok(()),
        Download::TooLong => Err(failed(std::io::ErrorKind::FileTooLarge.into())),
        Download::Whole(archive) => {
            let mut options = OpenOptions::new();
            let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(file).map_err(failed)?;
            file.write_all(&archive).map_err(failed)
        }
    }
}

/// Puts them back; where nothing was saved there is nothing to do.
pub(super) async fn restore(
    engine: &Engine,
    container: &str,
    account: &Account,
    file: &Path,
) -> Result<(), DockerError> {
    if !file.exists() {
        return Ok(());
    }
    let archive = fs::read(file).map_err(|source| DockerError::Transcript { path: file.to_owned(), source })?;
    let mut folder = Archive::default();
    let path = format!("{}/{FOLDER}", account.home.trim_matches('/'));
    folder.folder(&path, Facts::new(0o755, account.owner)).map_err(ProvisionError::Pack)?;
    engine.upload(container, folder.finish().map_err(ProvisionError::Pack)?).await?;
    Ok(engine.put_back(container, &format!("/{path}"), archive).await?)
}

const FOLDER: &str = ".claude";

const TRANSCRIPTS: &str = "projects";

const LONGEST: usize = 256 << 20;
