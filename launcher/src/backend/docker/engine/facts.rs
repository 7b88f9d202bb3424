//! What the engine says about itself.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum};

use super::{Engine, EngineError, Make};

#[derive(Debug, Default)]
pub(crate) struct EngineFacts {
    /// Whose it is: `Docker` or `Podman`.
    pub make: &'static str,
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
    /// Whether it holds containers to their limits of memory and processes.
    pub limits: bool,
}

impl Engine {
    pub(crate) async fn facts(&self) -> Result<EngineFacts, EngineError> {
        let info = self.docker.info().await.map_err(EngineError::Describe)?;
        let networks = self.docker.list_networks(None).await.map_err(EngineError::Describe)?;
        let limits = limits(&info, owner(&self.address));
        let mut runtimes: Vec<String> = match self.make {
            Make::Docker => info.runtimes.unwrap_or_default().into_keys().collect(),
            // It lists what it knows by name, there or not, and lets no container ask for one.
            Make::Podman => info.default_runtime.into_iter().collect(),
        };
        runtimes.sort();
        Ok(EngineFacts {
            make: match self.make {
                Make::Docker => "Docker",
                Make::Podman => "Podman",
            },
            limits,
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

/// Who may change the socket, where the engine has one.
fn owner(address: &str) -> Option<u32> {
    let path = address.strip_prefix("unix://")?;
    Some(fs::metadata(path).ok()?.uid())
}

/// Podman tells what the machine could: an engine of an ordinary user's has no part of control groups of version 1.
fn limits(info: &SystemInfo, owner: Option<u32>) -> bool {
    let is_rootless = owner.is_some_and(|owner| owner != ROOT);
    let is_first = info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_1);
    info.memory_limit.unwrap_or(true) && info.pids_limit.unwrap_or(true) && !(is_rootless && is_first)
}

const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_users_engine_limits_nothing_without_control_groups_of_version_2() {
        let machine = |version| SystemInfo { cgroup_version: Some(version), ..SystemInfo::default() };
        let (first, second) = (SystemInfoCgroupVersionEnum::_1, SystemInfoCgroupVersionEnum::_2);
        assert!(!limits(&machine(first), Some(1000)));
        assert!(limits(&machine(first), Some(ROOT)) && limits(&machine(first), None));
        assert!(limits(&machine(second), Some(1000)));
        assert!(!limits(&SystemInfo { memory_limit: Some(false), ..machine(second) }, Some(ROOT)));
    }
}
