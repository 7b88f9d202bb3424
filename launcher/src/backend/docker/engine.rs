//! The container engine, as this crate sees it: typed options in, one error variant per operation out. This file and its
//! folder are the only importers of bollard; nothing here knows what a bottle is.

mod address;
pub(crate) mod containers;
pub(crate) mod download;
pub(crate) mod exec;
pub(crate) mod facts;
pub(crate) mod images;
pub(crate) mod inventory;
mod logs;
pub(crate) mod networks;
mod podman;
mod seccomp;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker, errors::Error as ApiError};
use thiserror::Error;

use self::address::Surroundings;
use crate::diagnostics::Explain;

/// A connection to an engine whose API version has been agreed on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine {
    docker: Docker,
    address: String,
    make: Make,
    /// Of every container that is made: the seccomp profile itself, or the file that has it.
    profile: Arc<str>,
}

/// Whose engine it is, where that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Make {
    /// Docker, or what behaves like it.
    Docker,
    Podman,
}

/// Labels of a container, a network or an image.
pub(crate) type Labels = BTreeMap<String, String>;

impl Engine {
    /// Connects where the docker client would.
    ///
    /// # Errors
    /// No context of that name, nobody answers, no permission, or an API older than 1.41.
    pub(crate) async fn connect() -> Result<Self, EngineError> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let address = address::find(&Surroundings { variable: &variable, exists: &|path| path.exists() })?;
        let unreachable = |source| EngineError::Unreachable { address: address.clone(), source };
        // One question: an engine that is asked for its version runs programs to answer.
        let asked = open(&address, API_DEFAULT_VERSION)?.version().await.map_err(unreachable)?;
        let found = client_version(&asked.api_version.unwrap_or_default());
        if found < OLDEST_API {
            return Err(EngineError::TooOld { address, found: found.to_string() });
        }
        let docker = open(&address, if found < *API_DEFAULT_VERSION { &found } else { API_DEFAULT_VERSION })?;
        let parts = asked.components.unwrap_or_default();
        let make = match parts.iter().any(|part| part.name == PODMAN) {
            true => Make::Podman,
            false => Make::Docker,
        };
        Ok(Self { docker, address, make, profile: seccomp::profile().into() })
    }

    /// Puts into a folder what this engine reads from files alone: Podman a seccomp profile, which Docker is given in the request.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn with_files_in(mut self, folder: &Path) -> Result<Self, EngineError> {
        if self.make == Make::Podman {
            let path = folder.join(PROFILE);
            let failed = |source| EngineError::WriteProfile { path: path.clone(), source };
            fs::write(&path, self.profile.as_bytes()).map_err(failed)?;
            self.profile = path.to_string_lossy().into();
        }
        Ok(self)
    }
}

fn open(address: &str, version: &ClientVersion) -> Result<Docker, EngineError> {
    let connected = match address.split_once("://") {
        Some(("unix", _)) => Docker::connect_with_unix(address, REQUEST_TIMEOUT_SECONDS, version),
        Some(("tcp" | "http", _)) => Docker::connect_with_http(address, REQUEST_TIMEOUT_SECONDS, version),
        _ => return Err(EngineError::Scheme(address.to_owned())),
    };
    connected.map_err(|source| EngineError::Unreachable { address: address.to_owned(), source })
}

/// `1.41` and its like; what is no version is older than any.
fn client_version(text: &str) -> ClientVersion {
    let numbers = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let (major_version, minor_version) = numbers.unwrap_or_default();
    ClientVersion { major_version, minor_version }
}

/// What went wrong with which thing of the engine; the engine's own words are the source.
#[derive(Debug, Error)]
pub enum EngineError {
    #[error("no Docker engine answers at `{address}`")]
    Unreachable { address: String, source: ApiError },
    #[error("the engine at `{address}` speaks API {found}, but 1.41 (Docker 20.10) is the oldest that will do")]
    TooOld { address: String, found: String },
    #[error("the engine's address is `{0}`, which is neither `unix://…` nor `tcp://…`")]
    Scheme(String),
    #[error("`{origin}` asks for TLS to `{host}`, which `bottle` does not speak")]
    Tls { host: String, origin: String },
    #[error("there is no docker context `{name}`: cannot read `{file}`")]
    NoContext { name: String, file: PathBuf, source: std::io::Error },
    #[error("the docker client's `{file}` cannot be read")]
    Context { file: PathBuf, source: serde_json::Error },
    #[error("cannot look up image `{image}`")]
    FindImage { image: String, source: ApiError },
    #[error("cannot pull image `{image}`")]
    PullImage { image: String, source: ApiError },
    #[error("cannot build image `{image}`")]
    BuildImage { image: String, source: ApiError },
    #[error("cannot create network `{network}`")]
    CreateNetwork { network: String, source: ApiError },
    #[error("cannot inspect network `{network}`")]
    InspectNetwork { network: String, source: ApiError },
    #[error("network `{network}` has no IPv4 subnet")]
    NoSubnet { network: String },
    #[error("the engine cannot keep the host off network `{network}`: it does not know `inhibit_ipv4`")]
    NotClosed { network: String },
    #[error("Podman cannot make network `{network}`")]
    ClosedNetwork { network: String, source: podman::PodmanError },
    #[error(
        "this engine resolves no names on a network without the host (`{network}`), and the proxy and pipelock go by name"
    )]
    NoNames { network: String },
    #[error("cannot remove network `{network}`")]
    RemoveNetwork { network: String, source: ApiError },
    #[error("cannot write the containers' seccomp profile to `{path}`")]
    WriteProfile { path: PathBuf, source: io::Error },
    #[error("cannot create container `{container}`")]
    CreateContainer { container: String, source: ApiError },
    #[error("cannot connect container `{container}` to network `{network}`")]
    ConnectContainer { container: String, network: String, source: ApiError },
    #[error("cannot start container `{container}`")]
    StartContainer { container: String, source: ApiError },
    #[error("cannot attach to the input of container `{container}`")]
    AttachContainer { container: String, source: ApiError },
    #[error("cannot write to the input of container `{container}`")]
    WriteInput { container: String, source: std::io::Error },
    #[error("cannot inspect container `{container}`")]
    InspectContainer { container: String, source: ApiError },
    #[error("container `{container}` has no address in network `{network}`")]
    NoAddress { container: String, network: String },
    #[error("cannot wait for container `{container}`")]
    WaitContainer { container: String, source: ApiError },
    #[error("cannot copy files into container `{container}`")]
    Upload { container: String, source: ApiError },
    #[error("cannot copy files out of container `{container}`")]
    Download { container: String, source: ApiError },
    #[error("cannot remove container `{container}`")]
    RemoveContainer { container: String, source: ApiError },
    #[error("cannot run `{program}` in container `{container}`")]
    Exec { container: String, program: String, source: ApiError },
    #[error("cannot use this terminal")]
    Terminal(#[source] std::io::Error),
    #[error("cannot read the log of container `{container}`")]
    Logs { container: String, source: ApiError },
    #[error("the engine does not describe itself")]
    Describe(#[source] ApiError),
    #[error("cannot list {what}")]
    List { what: &'static str, source: ApiError },
}

impl Explain for EngineError {
    fn hints(&self) -> Vec<String> {
        if chain_says(self, "no space left on device") {
            return vec![
                "the engine's disk is full: `docker system prune` and `make clean-images` make room".to_owned(),
            ];
        }
        // The second is what Podman says from the second time on.
        if chain_says(self, "/dev/net/tun") || chain_says(self, "rootless netns") {
            return vec![
                "an ordinary user's engine makes its networks with `/dev/net/tun`, which has to be that user's too: \
                 `sudo chmod 666 /dev/net/tun`"
                    .to_owned(),
            ];
        }
        let hint = match self {
            Self::Unreachable { source, .. } if is_permission(source) => {
                "your user may not use the engine: add it to the `docker` group and log in again, or use rootless Docker"
            }
            Self::Unreachable { .. } => {
                "start Docker (`sudo systemctl start docker`), or point `DOCKER_HOST` at an engine that runs"
            }
            Self::TooOld { .. } => "update Docker to 20.10 or later",
            Self::Scheme(_) | Self::Tls { .. } => {
                "set `DOCKER_HOST` to a socket, for example `unix:///var/run/docker.sock`; `ssh -L` brings a far one here"
            }
            Self::NoContext { .. } => {
                "`docker context ls` shows what there is; `DOCKER_CONTEXT=default` is this machine's engine"
            }
            Self::NotClosed { .. } => {
                "an agent there would reach whatever listens on this machine; Docker from 20.10 on and Podman from 4.0 on keep it off"
            }
            Self::NoNames { .. } => {
                "do without pipelock: `--dlp builtin`, or `dlp: builtin` in the bottle; or use Docker"
            }
            Self::CreateNetwork { source, .. } if says(source, "address pool") => {
                "the engine has no addresses left: `bottle cleanup` and `docker network prune` give some back"
            }
            Self::CreateContainer { source, .. } if says(source, "opening seccomp profile failed") => {
                "Podman reads the profile from a file of `bottle`'s: `CLAUDE_BOTTLE_HOME` has to be a folder that both see, and a \
                 Podman on another machine will not do"
            }
            Self::CreateContainer { source, .. } | Self::CreateNetwork { source, .. }
                if status(source) == Some(409) =>
            {
                "the name is taken: `bottle cleanup` removes what a killed bottle left behind"
            }
            _ => return vec![],
        };
        vec![hint.to_owned()]
    }
}

fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Whether the engine does not have the thing at all. Podman fails over one that goes while it is looked at.
fn is_missing(error: &ApiError) -> bool {
    status(error) == Some(404) || (status(error) == Some(500) && says(error, "no such container"))
}

/// Whether somebody else is removing the thing already.
fn is_under_way(error: &ApiError) -> bool {
    status(error) == Some(409) && says(error, "already in progress")
}

fn says(error: &ApiError, words: &str) -> bool {
    matches!(error, ApiError::DockerResponseServerError { message, .. } if message.contains(words))
}

/// Whether an error or one of its causes has these words.
fn chain_says(error: &dyn std::error::Error, words: &str) -> bool {
    std::iter::successors(error.source(), |cause| cause.source()).any(|cause| cause.to_string().contains(words))
}

fn is_permission(error: &ApiError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Until the head of an answer; streams and attached sessions run as long as they like.
const REQUEST_TIMEOUT_SECONDS: u64 = 120;

/// In the folder of a bottle's state, and removed with it.
const PROFILE: &str = "seccomp.json";

/// How Podman calls itself among the components of `/version`.
const PODMAN: &str = "Podman Engine";

const OLDEST_API: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_does_not_have_is_missing_however_the_engine_says_so() {
        let answer = |status_code, message: &str| ApiError::DockerResponseServerError {
            status_code,
            message: message.to_owned(),
        };
        assert!(is_missing(&answer(404, "No such container: a")));
        assert!(is_missing(&answer(500, "container 4d25 does not exist in database: no such container")));
        assert!(!is_missing(&answer(500, "cannot allocate memory")));
        assert!(!is_missing(&answer(409, "removal is already in progress")));
    }
}
