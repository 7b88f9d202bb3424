//! Containers: create, connect, feed, start, wait, remove. Every container that is made here is confined the same way: no
//! capability, no new privilege, the same seccomp profile, a limit on processes and memory, no core dump.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;

use bollard::body_full;
use bollard::container::LogOutput;
use bollard::errors::Error::{DockerContainerWaitError, RequestTimeoutError};
use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, NetworkConnectRequest, NetworkingConfig, ResourcesUlimits,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    UploadToContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::io::StreamReader;

use super::{Engine, EngineError, Labels, Make, is_missing, is_under_way};

/// One container, before it exists.
#[derive(Debug, Clone)]
pub(crate) struct ContainerSpec {
    pub name: String,
    pub image: String,
    pub hostname: String,
    pub labels: Labels,
    /// The image's own when `None`.
    pub user: Option<String>,
    /// Replaces the image's entry point when not empty.
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    /// `NAME=VALUE`; stands in the engine's store, so never a secret.
    pub env: Vec<String>,
    pub network: Membership,
    /// Names for `/etc/hosts`.
    pub hosts: Vec<(String, IpAddr)>,
    pub resolver: Resolver,
    pub root: Root,
    /// Where it may write although its root is read-only.
    pub scratch: Vec<Scratch>,
    pub first_process: FirstProcess,
    pub input: Input,
    pub limits: Limits,
    /// The engine's default when `None`.
    pub runtime: Option<String>,
}

/// A place in a network.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub network: String,
    pub aliases: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolver {
    /// The engine's.
    Engine,
    /// None: names are found in `/etc/hosts` or not at all.
    Nobody,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    ReadOnly,
    Writable,
}

/// A folder that lives as long as its container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scratch {
    /// With an owner and access as in the image.
    Disk { path: &'static str },
    /// Never written to a disk; for the container's user, whose number is `owner`, and nobody else. Nothing runs from it.
    Memory { path: &'static str, owner: u64, megabytes: u64 },
}

/// What runs as process 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstProcess {
    Command,
    /// The engine's own init, which reaps orphans, with the command below it.
    Init,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Closed,
    /// Standard input stays open and can be written to with [`Engine::input`].
    Open,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub processes: i64,
    pub memory_bytes: i64,
}

/// Standard input of a container.
pub(crate) struct ContainerInput {
    container: String,
    writer: Pin<Box<dyn AsyncWrite + Send>>,
}

impl ContainerInput {
    pub(crate) fn writer(&mut self) -> &mut (dyn AsyncWrite + Send + Unpin) {
        &mut self.writer
    }

    pub(crate) async fn write(&mut self, text: &[u8]) -> Result<(), EngineError> {
        let failed = |source| EngineError::WriteInput { container: self.container.clone(), source };
        self.writer.write_all(text).await.map_err(failed)?;
        self.writer.flush().await.map_err(failed)
    }
}

impl Engine {
    pub(crate) async fn create_container(&self, spec: ContainerSpec) -> Result<(), EngineError> {
        let container = spec.name.clone();
        let options = CreateContainerOptionsBuilder::default().name(&container).build();
        let created = self.docker.create_container(Some(options), body(spec, self.make, &self.profile)).await;
        created.map(drop).map_err(|source| EngineError::CreateContainer { container, source })
    }

    pub(crate) async fn connect_container(&self, container: &str, place: Membership) -> Result<(), EngineError> {
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(EndpointSettings { aliases: Some(place.aliases), ..EndpointSettings::default() }),
        };
        self.docker.connect_network(&place.network, request).await.map_err(|source| EngineError::ConnectContainer {
            container: container.to_owned(),
            network: place.network,
            source,
        })
    }

    /// Standard input of a container that was created with [`Input::Open`]; to be taken before it is started.
    pub(crate) async fn input(&self, container: &str) -> Result<ContainerInput, EngineError> {
        let options = AttachContainerOptionsBuilder::default().stdin(true).stream(true).build();
        let attached = self.docker.attach_container(container, Some(options)).await;
        let failed = |source| EngineError::AttachContainer { container: container.to_owned(), source };
        Ok(ContainerInput { container: container.to_owned(), writer: attached.map_err(failed)?.input })
    }

    /// Standard input and output of a container that was created with [`Input::Open`]; to be taken before it is started.
    pub(crate) async fn conversation(
        &self,
        container: &str,
    ) -> Result<(ContainerInput, impl AsyncRead + Unpin + Send + use<>), EngineError> {
        let options = AttachContainerOptionsBuilder::default().stdin(true).stdout(true).stream(true).build();
        let attached = self.docker.attach_container(container, Some(options)).await;
        let attached =
            attached.map_err(|source| EngineError::AttachContainer { container: container.to_owned(), source })?;
        let said = attached.output.map_ok(LogOutput::into_bytes).map_err(std::io::Error::other);
        Ok((ContainerInput { container: container.to_owned(), writer: attached.input }, StreamReader::new(said)))
    }

    pub(crate) async fn start_container(&self, container: &str) -> Result<(), EngineError> {
        let started = self.docker.start_container(container, None).await;
        started.map_err(|source| EngineError::StartContainer { container: container.to_owned(), source })
    }

    /// The address of a started container in one of its networks.
    pub(crate) async fn address(&self, container: &str, network: &str) -> Result<IpAddr, EngineError> {
        let failed = |source| EngineError::InspectContainer { container: container.to_owned(), source };
        let found = self.docker.inspect_container(container, None).await.map_err(failed)?;
        let networks = found.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let address = networks.get(network).and_then(|endpoint| endpoint.ip_address.as_deref()?.parse().ok());
        address.ok_or_else(|| EngineError::NoAddress { container: container.to_owned(), network: network.to_owned() })
    }

    /// Unpacks a tar archive at the container's root.
    pub(crate) async fn upload(&self, container: &str, archive: Vec<u8>) -> Result<(), EngineError> {
        let options = UploadToContainerOptionsBuilder::default().path("/").build();
        let sent = self.docker.upload_to_container(container, Some(options), body_full(archive.into())).await;
        sent.map_err(|source| EngineError::Upload { container: container.to_owned(), source })
    }

    /// Returns when the container has stopped, with its exit code; at once when it is not running.
    pub(crate) async fn stopped(&self, container: &str) -> Result<i64, EngineError> {
        let failed = |source| EngineError::WaitContainer { container: container.to_owned(), source };
        match self.docker.wait_container(container, None).next().await {
            Some(Ok(answer)) => Ok(answer.status_code),
            Some(Err(DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(source)) => Err(failed(source)),
            None => Err(failed(RequestTimeoutError)),
        }
    }

    /// The last lines that a container wrote to standard error; empty when there is nothing or nobody to tell.
    pub(crate) async fn last_words(&self, container: &str) -> String {
        let options = LogsOptionsBuilder::default().stderr(true).tail(LAST_WORDS_LINES).build();
        let mut words = String::new();
        let mut lines = std::pin::pin!(self.docker.logs(container, Some(options)));
        while let Some(Ok(line)) = lines.next().await {
            words.push_str(&line.to_string());
        }
        words.trim_end().to_owned()
    }

    /// Kills and removes a container with its anonymous volumes; one that is gone already is no error.
    pub(crate) async fn remove_container(&self, container: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(container, Some(options)).await {
            Err(source) if is_under_way(&source) => self.gone(container).await,
            Err(source) if !is_missing(&source) => {
                Err(EngineError::RemoveContainer { container: container.to_owned(), source })
            }
            _ => Ok(()),
        }
    }

    /// Returns when somebody else's removal of a container is done.
    async fn gone(&self, container: &str) -> Result<(), EngineError> {
        let options = WaitContainerOptionsBuilder::default().condition("removed").build();
        match self.docker.wait_container(container, Some(options)).next().await {
            Some(Err(source)) if !is_missing(&source) && !matches!(source, DockerContainerWaitError { .. }) => {
                Err(EngineError::RemoveContainer { container: container.to_owned(), source })
            }
            _ => Ok(()),
        }
    }
}

fn body(spec: ContainerSpec, make: Make, profile: &str) -> ContainerCreateBody {
    let is_open = spec.input == Input::Open;
    let (mut disk, mut memory) = (Vec::new(), HashMap::new());
    for scratch in spec.scratch {
        match scratch {
            Scratch::Disk { path } => disk.push(path.to_owned()),
            Scratch::Memory { path, owner, megabytes } => {
                let options = format!("mode=0700,{},size={megabytes}m,noexec", owned(owner, make));
                memory.insert(path.to_owned(), options);
            }
        }
    }
    let endpoint = EndpointSettings { aliases: Some(spec.network.aliases), ..EndpointSettings::default() };
    let host_config = HostConfig {
        network_mode: Some(spec.network.network.clone()),
        extra_hosts: Some(spec.hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect()),
        dns: (spec.resolver == Resolver::Nobody).then(|| vec![NO_RESOLVER.to_owned()]),
        readonly_rootfs: Some(spec.root == Root::ReadOnly),
        tmpfs: (!memory.is_empty()).then_some(memory),
        init: Some(spec.first_process == FirstProcess::Init),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned(), format!("seccomp={profile}")]),
        runtime: spec.runtime,
        sysctls: (make == Make::Podman).then(|| HashMap::from([(NO_IPV6.0.to_owned(), NO_IPV6.1.to_owned())])),
        pids_limit: Some(spec.limits.processes),
        memory: Some(spec.limits.memory_bytes),
        ulimits: Some(vec![ResourcesUlimits { name: Some("core".to_owned()), soft: Some(0), hard: Some(0) }]),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(spec.image),
        user: spec.user,
        hostname: Some(spec.hostname),
        labels: Some(spec.labels.into_iter().collect()),
        entrypoint: (!spec.entrypoint.is_empty()).then_some(spec.entrypoint),
        cmd: Some(spec.command),
        env: Some(spec.env),
        volumes: (!disk.is_empty()).then_some(disk),
        open_stdin: Some(is_open),
        attach_stdin: Some(is_open),
        stdin_once: Some(false),
        host_config: Some(host_config),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(spec.network.network, endpoint)])),
        }),
        ..ContainerCreateBody::default()
    }
}

/// Whose a mount in memory is. Podman 4.3 takes no number, and gives such a mount to the container's user when told to.
fn owned(owner: u64, make: Make) -> String {
    match make {
        Make::Docker => format!("uid={owner},gid={owner}"),
        Make::Podman => "U".to_owned(),
    }
}

/// The engine's own resolver then forwards to the container's loopback, where nobody listens.
const NO_RESOLVER: &str = "127.0.0.1";

/// Podman leaves link-local addresses, under which a container would find its host.
const NO_IPV6: (&str, &str) = ("net.ipv6.conf.all.disable_ipv6", "1");

const LAST_WORDS_LINES: &str = "5";
