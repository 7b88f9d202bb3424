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

    /// Passes on the last `past` lines of a container's log that went to stdout, and, followed, those that come.
    pub(crate) async fn lines(
        &self,
        container: &str,
        past: usize,
        extent: Extent,
        mut hear: impl FnMut(&str),
    ) -> Result<(), EngineError> {
        let failed = |source| EngineError::Logs { container: container.to_owned(), source };
        let options = LogsOptionsBuilder::default().stdout(true).follow(extent == Extent::Following);
        let mut said = std::pin::pin!(self.docker.logs(container, Some(options.tail(&past.to_string()).build())));
        let mut begun = Vec::new();
        while let Some(part) = said.try_next().await.map_err(failed)? {
            // The engine may cut a long line in two.
            begun.extend_from_slice(&part.into_bytes());
            while let Some(end) = begun.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = begun.drain(..=end).collect();
                hear(String::from_utf8_lossy(&line).trim_end());
            }
        }
        Ok(())
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
