//! Images: is it there, pull it, build it. A context is a finished tar archive; progress goes to whoever listens.

use bollard::body_full;
use bollard::errors::Error as ApiError;
use bollard::query_parameters::{BuildImageOptionsBuilder, CreateImageOptionsBuilder};
use futures_util::{Stream, StreamExt, TryStreamExt};

use super::{Engine, EngineError, Labels, is_missing};

/// What an image says about itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageFacts {
    /// As in `USER`: a name or an id, perhaps with a group; empty means root.
    pub user: String,
    /// As in `WORKDIR`; may be empty.
    pub workdir: String,
}

impl Engine {
    /// What the image says, or `None` when the engine does not have it.
    pub(crate) async fn image(&self, image: &str) -> Result<Option<ImageFacts>, EngineError> {
        match self.docker.inspect_image(image).await {
            Ok(found) => {
                let config = found.config.unwrap_or_default();
                let (user, workdir) = (config.user.unwrap_or_default(), config.working_dir.unwrap_or_default());
                Ok(Some(ImageFacts { user, workdir }))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(source) => Err(EngineError::FindImage { image: image.to_owned(), source }),
        }
    }

    pub(crate) async fn pull(&self, image: &str, mut progress: impl FnMut(&str)) -> Result<(), EngineError> {
        let failed = |source| EngineError::PullImage { image: image.to_owned(), source };
        let options = CreateImageOptionsBuilder::default().from_image(image).build();
        let mut messages = std::pin::pin!(self.docker.create_image(Some(options), None, None));
        while let Some(message) = messages.try_next().await.map_err(failed)? {
            if let Some(error) = message.error_detail.and_then(|detail| detail.message) {
                return Err(failed(ApiError::DockerStreamError { error }));
            }
            // Only what changes slowly: the bytes of each layer would be a flood.
            if let Some(status) = message.status.filter(|status| is_milestone(status)) {
                progress(&status);
            }
        }
        Ok(())
    }

    /// Builds `context` (a tar archive with a `Dockerfile` at its root, which takes `arguments`) and names the result `image`.
    pub(crate) async fn build(
        &self,
        image: &str,
        labels: &Labels,
        arguments: &[(&str, &str)],
        context: Vec<u8>,
        mut progress: impl FnMut(&str),
    ) -> Result<(), EngineError> {
        let failed = |source| EngineError::BuildImage { image: image.to_owned(), source };
        let labels = labels.clone().into_iter().collect();
        let arguments = arguments.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = BuildImageOptionsBuilder::default().t(image).labels(&labels).buildargs(&arguments);
        let options = options.rm(true).forcerm(true).build();
        let mut messages = lines(self.docker.build_image(options, None, Some(body_full(context.into()))));
        while let Some(line) = messages.try_next().await.map_err(failed)? {
            progress(&line);
        }
        Ok(())
    }
}

/// The text lines of a build; an error message inside the stream ends it as an error.
fn lines(
    messages: impl Stream<Item = Result<bollard::models::BuildInfo, ApiError>>,
) -> impl Stream<Item = Result<String, ApiError>> + Unpin {
    Box::pin(messages.map(|message| {
        let message = message?;
        match message.error_detail.and_then(|detail| detail.message) {
            Some(error) => Err(ApiError::DockerStreamError { error }),
            None => Ok(message.stream.unwrap_or_default().trim_end().to_owned()),
        }
    }))
}

fn is_milestone(status: &str) -> bool {
    status.starts_with("Pulling from") || status.starts_with("Pull complete") || status.starts_with("Status:")
}
