//! The log of a container, as it comes.

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::{Engine, EngineError};
use crate::backend::Extent;
use crate::printer::Printer;

impl Engine {
    /// Whether a container says these words on its standard error before it ends. Returns as soon as it has.
    pub(crate) async fn says(&self, container: &str, words: &str) -> Result<bool, EngineError> {
        let failed = |source| EngineError::Logs { container: container.to_owned(), source };
        let options = LogsOptionsBuilder::default().stderr(true).follow(true).build();
        let mut lines = std::pin::pin!(self.docker.logs(container, Some(options)));
        while let Some(line) = lines.next().await {
            if line.map_err(failed)?.to_string().contains(words) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Copies a container's stdout to ours as data, its stderr to ours.
    pub(crate) async fn logs(&self, container: &str, extent: Extent, printer: Printer) -> Result<(), EngineError> {
        let failed = |source| EngineError::Logs { container: container.to_owned(), source };
        let follow = extent == Extent::Following;
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).follow(follow).build();
        let mut lines = std::pin::pin!(self.docker.logs(container, Some(options)));
        while let Some(line) = lines.try_next().await.map_err(failed)? {
            match line {
                LogOutput::StdErr { message } => printer.complain(&String::from_utf8_lossy(&message)),
                LogOutput::StdOut { message } | LogOutput::Console { message } => {
                    printer.data(&String::from_utf8_lossy(&message));
                }
                LogOutput::StdIn { .. } => {}
            }
        }
        Ok(())
    }
}
