//! git-gate: the sidecar that holds the keys of the manifest's repositories, and lets nothing be pushed that it has not
//! scanned. What it serves goes to its standard input; keys stay in its memory, and are nowhere in the engine's store.

use std::io;
use std::net::IpAddr;

use shared::contract::GIT_GATE_ALIAS;

use super::DockerError;
use super::engine::Engine;
use super::engine::containers::{ContainerInput, ContainerSpec, FirstProcess, Input, Limits, Scratch};
use super::names::Role;
use super::networks::Networks;
use super::sidecars::{NOBODY_ID, membership, sidecar};
use crate::archive::{Archive, Facts, Owner};
use crate::plan::{GitRemote, Plan};
use crate::provision::ProvisionError;

/// A gate that was told what to serve.
pub(super) struct GitGate {
    pub(super) address: IpAddr,
    _input: ContainerInput,
}

pub(super) async fn start(
    engine: &Engine,
    plan: &Plan,
    image: &str,
    networks: &Networks,
) -> Result<GitGate, DockerError> {
    let name = Role::GitGate.name(&plan.identity);
    let hosts = plan.git.iter().flat_map(|remote| remote.extra_hosts.iter().cloned()).collect();
    let scratch =
        vec![Scratch::Memory { path: KEYS, owner: NOBODY_ID, megabytes: 16 }, Scratch::Disk { path: REPOSITORIES }];
    let place = |network| membership(network, GIT_GATE_ALIAS);
    engine
        .create_container(ContainerSpec {
            hosts,
            scratch,
            first_process: FirstProcess::Init,
            input: Input::Open,
            ..sidecar(Role::GitGate, plan, image, place(&networks.egress), LIMITS)
        })
        .await?;
    engine.connect_container(&name, place(&networks.agent)).await?;
    let mut input = engine.input(&name).await?;
    engine.start_container(&name).await?;
    let address = engine.address(&name, &networks.agent.name).await?;
    let document = document(&plan.git, address)?;
    input.write(format!("{}\n", document.len()).as_bytes()).await?;
    input.write(&document).await?;
    Ok(GitGate { address, _input: input })
}

/// Returns when the gate serves.
pub(super) async fn ready(engine: &Engine, plan: &Plan) -> Result<(), DockerError> {
    let container = Role::GitGate.name(&plan.identity);
    if engine.says(&container, SERVING).await? {
        return Ok(());
    }
    let words = engine.last_words(&container).await;
    Err(DockerError::NotReady { container, words })
}

/// What `images/git-gate/gate` reads: the address in the agent's network (the gate is open in no other), keys, upstreams.
fn document(remotes: &[GitRemote], listen: IpAddr) -> Result<Vec<u8>, ProvisionError> {
    let mut archive = Archive::default();
    let owner = Owner { user: NOBODY_ID, group: NOBODY_ID };
    let mut add = |path: &str, content: &[u8]| {
        archive.file(path, Facts::new(0o400, owner), content).map_err(ProvisionError::Pack)
    };
    add("listen", listen.to_string().as_bytes())?;
    let mut known_hosts = String::new();
    for remote in remotes {
        let name = &remote.name;
        add(&format!("keys/{name}"), &key(remote)?)?;
        add(&format!("upstream/{name}"), remote.upstream.as_bytes())?;
        known_hosts += &format!("{name} {}\n", remote.known_host_key);
    }
    add("known_hosts", known_hosts.as_bytes())?;
    archive.finish().map_err(ProvisionError::Pack)
}

/// The private key, with the line feed at its end that ssh insists on.
fn key(remote: &GitRemote) -> Result<Vec<u8>, ProvisionError> {
    let path = &remote.identity_file;
    let unreadable = |source: io::Error| ProvisionError::Read { path: path.clone(), source };
    let mut key = std::fs::read(path).map_err(unreadable)?;
    if !key.ends_with(b"\n") {
        key.push(b'\n');
    }
    Ok(key)
}

/// The gate's home; in memory.
const KEYS: &str = "/run/git-gate";
const REPOSITORIES: &str = "/repositories";

/// What git's daemon says when it listens.
const SERVING: &str = "Ready to rumble";

const LIMITS: Limits = Limits { processes: 512, memory_bytes: 1 << 30 };
