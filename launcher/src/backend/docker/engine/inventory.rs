//! What the engine holds of ours, found by a label and by nothing else.

use std::collections::HashMap;

use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder};

use super::{Engine, EngineError, Labels, is_missing};

/// A container or a network, by its name.
#[derive(Debug, Clone)]
pub(crate) struct Labelled {
    pub name: String,
    pub labels: Labels,
}

/// Which containers to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Containers {
    All,
    Running,
}

impl Engine {
    pub(crate) async fn containers(&self, label: &str, which: Containers) -> Result<Vec<Labelled>, EngineError> {
        let failed = |source| EngineError::List { what: "containers", source };
        let options = ListContainersOptionsBuilder::default()
            .all(which == Containers::All)
            .filters(&HashMap::from([("label", vec![label])]))
            .build();
        let found = self.docker.list_containers(Some(options)).await.map_err(failed)?;
        let labelled = found.into_iter().filter_map(|container| {
            let name = container.names?.into_iter().next()?.trim_start_matches('/').to_owned();
            Some(Labelled { name, labels: container.labels.unwrap_or_default().into_iter().collect() })
        });
        Ok(labelled.collect())
    }

    pub(crate) async fn networks(&self, label: &str) -> Result<Vec<Labelled>, EngineError> {
        let failed = |source| EngineError::List { what: "networks", source };
        let options = ListNetworksOptionsBuilder::default().filters(&HashMap::from([("label", vec![label])])).build();
        let found = self.docker.list_networks(Some(options)).await.map_err(failed)?;
        let labelled = found.into_iter().filter_map(|network| {
            Some(Labelled { name: network.name?, labels: network.labels.unwrap_or_default().into_iter().collect() })
        });
        Ok(labelled.collect())
    }

    /// When a container was started, RFC 3339; none where there is no such container any more.
    pub(crate) async fn started(&self, container: &str) -> Result<Option<String>, EngineError> {
        match self.docker.inspect_container(container, None).await {
            Ok(found) => Ok(Some(found.state.and_then(|state| state.started_at).unwrap_or_default())),
            Err(source) if is_missing(&source) => Ok(None),
            Err(source) => Err(EngineError::InspectContainer { container: container.to_owned(), source }),
        }
    }
}
