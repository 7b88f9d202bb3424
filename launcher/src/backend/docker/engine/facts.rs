//! What the engine says about itself.

use super::{Engine, EngineError, Make};

#[derive(Debug, Default)]
pub(crate) struct EngineFacts {
    pub version: String,
    /// Names of the runtimes that containers can ask for.
    pub runtimes: Vec<String>,
    pub storage: String,
    /// The engine's clock, RFC 3339.
    pub clock: String,
    /// How many networks it has, ours and others'.
    pub networks: usize,
    /// Where it keeps its files, as it sees them.
    pub folder: String,
}

impl Engine {
    pub(crate) async fn facts(&self) -> Result<EngineFacts, EngineError> {
        let info = self.docker.info().await.map_err(EngineError::Describe)?;
        let networks = self.docker.list_networks(None).await.map_err(EngineError::Describe)?;
        let mut runtimes: Vec<String> = match self.make {
            Make::Docker => info.runtimes.unwrap_or_default().into_keys().collect(),
            // It lists what it knows by name, there or not, and lets no container ask for one.
            Make::Podman => info.default_runtime.into_iter().collect(),
        };
        runtimes.sort();
        Ok(EngineFacts {
            version: info.server_version.unwrap_or_default(),
            runtimes,
            storage: info.driver.unwrap_or_default(),
            networks: networks.len(),
            clock: info.system_time.unwrap_or_default(),
            folder: info.docker_root_dir.unwrap_or_default(),
        })
    }

    /// The agreed version of the engine's API.
    pub(crate) fn api_version(&self) -> String {
        self.docker.client_version().to_string()
    }
}
