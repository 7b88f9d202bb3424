//! Files out of a container. What comes is the container's word: it is bounded, and nobody here unpacks it.

use bollard::body_full;
use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use futures_util::TryStreamExt as _;

use super::{Engine, EngineError, is_missing};

/// What came of a download.
pub(crate) enum Download {
    Missing,
    /// More than was asked for at most.
    TooLong,
    /// A tar archive.
    Whole(Vec<u8>),
}

impl Engine {
    /// A file or folder as a tar archive of at most `limit` bytes.
    pub(crate) async fn download(&self, container: &str, path: &str, limit: usize) -> Result<Download, EngineError> {
        let failed = |source| EngineError::Download { container: container.to_owned(), source };
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        let mut chunks = std::pin::pin!(self.docker.download_from_container(container, Some(options)));
        let mut archive = vec![];
        loop {
            match chunks.try_next().await {
                Ok(Some(chunk)) if archive.len() + chunk.len() > limit => return Ok(Download::TooLong),
                Ok(Some(chunk)) => archive.extend_from_slice(&chunk),
                Ok(None) => return Ok(Download::Whole(archive)),
                Err(source) if is_missing(&source) => return Ok(Download::Missing),
                Err(source) => return Err(failed(source)),
            }
        }
    }

    /// Unpacks a downloaded archive below a folder that exists.
    pub(crate) async fn put_back(&self, container: &str, folder: &str, archive: Vec<u8>) -> Result<(), EngineError> {
        let options = UploadToContainerOptionsBuilder::default().path(folder).build();
        let sent = self.docker.upload_to_container(container, Some(options), body_full(archive.into())).await;
        sent.map_err(|source| EngineError::Upload { container: container.to_owned(), source })
    }
}
