//! The supervise sidecar: where the agent's proposals come from. It stands on the agent's network alone, and has no way to
//! anything but this process: standard input and output.

use std::future::pending;
use std::net::IpAddr;
use std::pin::Pin;

use shared::contract::SUPERVISE_ALIAS;
use tokio::io::AsyncRead;

use super::DockerError;
use super::engine::containers::{ContainerInput, ContainerSpec, Input, Limits, Resolver};
use super::engine::{Engine, EngineError};
use super::names::Role;
use super::networks::Network;
use super::sidecars::{enforce, membership, sidecar};
use crate::plan::Plan;
use crate::supervise::Desk;

/// A sidecar that runs; it may still be getting ready.
pub(super) struct Supervisor {
    pub(super) address: IpAddr,
    input: ContainerInput,
    said: Pin<Box<dyn AsyncRead + Send>>,
}

pub(super) async fn start(
    engine: &Engine,
    plan: &Plan,
    image: &str,
    network: &Network,
) -> Result<Supervisor, EngineError> {
    let name = Role::Supervise.name(&plan.identity);
    engine
        .create_container(ContainerSpec {
            input: Input::Open,
            resolver: Resolver::Nobody,
            ..sidecar(Role::Supervise, plan, image, membership(network, SUPERVISE_ALIAS), LIMITS)
        })
        .await?;
    let (input, said) = engine.conversation(&name).await?;
    engine.start_container(&name).await?;
    Ok(Supervisor { address: engine.address(&name, &network.name).await?, input, said: Box::pin(said) })
}

/// Returns when it listens.
pub(super) async fn ready(engine: &Engine, plan: &Plan) -> Result<(), DockerError> {
    let container = Role::Supervise.name(&plan.identity);
    if engine.says(&container, READY).await? {
        return Ok(());
    }
    let words = engine.last_words(&container).await;
    Err(DockerError::NotReady { container, words })
}

/// Takes proposals and carries decisions out, for as long as the bottle lives. Returns only when it fails.
pub(super) async fn serve(
    engine: &Engine,
    plan: &Plan,
    supervisor: &mut Supervisor,
    proxy: &mut ContainerInput,
) -> DockerError {
    let Supervisor { input, said, .. } = supervisor;
    let desk = Desk::new(plan).serve(said, input.writer(), async |table| enforce(engine, plan, proxy, table).await);
    match desk.await {
        Err(source) => DockerError::Unheard { container: Role::Supervise.name(&plan.identity), source },
        // It has ended; whoever watches the sidecars tells how.
        Ok(()) => pending().await,
    }
}

/// What it says once it listens.
const READY: &str = "supervise.ready";

/// Thirty-two connections with small requests.
const LIMITS: Limits = Limits { processes: 32, memory_bytes: 64 << 20 };
