//! Networks: bridges, with or without a way out.

use std::collections::HashMap;

use bollard::models::{Ipam, NetworkCreateRequest};
use ipnet::Ipv4Net;

use super::{Engine, EngineError, Labels, Make, is_missing, podman};

/// Where a network leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Its own members only: no way out, and the host has no address on it.
    Members,
    /// Wherever the host gets.
    Outside,
}

/// A network that was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    pub subnet: Ipv4Net,
    pub names: Names,
}

/// What a network's members learn from the engine's resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// One another's.
    OfMembers,
    /// None: there is no resolver.
    Nobody,
}

impl Engine {
    /// Creates a bridge network without IPv6.
    pub(crate) async fn create_network(
        &self,
        network: &str,
        reach: Reach,
        labels: &Labels,
    ) -> Result<Made, EngineError> {
        if self.make == Make::Podman && reach == Reach::Members {
            return self.create_closed_network(network, labels).await;
        }
        let request = NetworkCreateRequest {
            name: network.to_owned(),
            driver: Some("bridge".to_owned()),
            internal: Some(reach == Reach::Members),
            enable_ipv6: Some(false),
            options: Some(options(reach)),
            labels: Some(labels.clone().into_iter().collect()),
            ..NetworkCreateRequest::default()
        };
        let failed = |source| EngineError::CreateNetwork { network: network.to_owned(), source };
        self.docker.create_network(request).await.map_err(failed)?;
        let failed = |source| EngineError::InspectNetwork { network: network.to_owned(), source };
        let found = self.docker.inspect_network(network, None).await.map_err(failed)?;
        let kept = found.options.unwrap_or_default();
        if options(reach).keys().any(|option| !kept.contains_key(option)) {
            return Err(EngineError::NotClosed { network: network.to_owned() });
        }
        Ok(Made { subnet: subnet(network, found.ipam)?, names: Names::OfMembers })
    }

    /// The same of Podman, whose form of Docker's API forgets the options that keep the host off.
    async fn create_closed_network(&self, network: &str, labels: &Labels) -> Result<Made, EngineError> {
        let created = podman::create_closed_network(&self.address, network, labels).await;
        created.map_err(|source| EngineError::ClosedNetwork { network: network.to_owned(), source })?;
        let failed = |source| EngineError::InspectNetwork { network: network.to_owned(), source };
        let found = self.docker.inspect_network(network, None).await.map_err(failed)?;
        Ok(Made { subnet: subnet(network, found.ipam)?, names: Names::Nobody })
    }

    /// Removes a network; one that is gone already is no error.
    pub(crate) async fn remove_network(&self, network: &str) -> Result<(), EngineError> {
        match self.docker.remove_network(network).await {
            Err(source) if !is_missing(&source) => {
                Err(EngineError::RemoveNetwork { network: network.to_owned(), source })
            }
            _ => Ok(()),
        }
    }
}

fn subnet(network: &str, addresses: Option<Ipam>) -> Result<Ipv4Net, EngineError> {
    let pools = addresses.and_then(|ipam| ipam.config).unwrap_or_default();
    let mut subnets = pools.into_iter().filter_map(|pool| pool.subnet?.parse().ok());
    subnets.next().ok_or_else(|| EngineError::NoSubnet { network: network.to_owned() })
}

/// Docker's bridge driver keeps the names that it does not know, so both generations get theirs, and an engine that dropped
/// them is another: `inhibit_ipv4` keeps the
/// host's address off the bridge since before API 1.41, `isolated` since Docker 28.
fn options(reach: Reach) -> HashMap<String, String> {
    let options: &[(&str, &str)] = match reach {
        Reach::Members => &[
            ("com.docker.network.bridge.inhibit_ipv4", "true"),
            ("com.docker.network.bridge.gateway_mode_ipv4", "isolated"),
        ],
        Reach::Outside => &[],
    };
    options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
