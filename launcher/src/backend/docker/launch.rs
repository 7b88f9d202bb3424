//! The order of a launch: images, the agent's network, then sidecars beside the agent; and the bottle that comes of it. What
//! can happen at the same time does.

use std::net::IpAddr;
use std::time::Instant;

use time::{Duration, OffsetDateTime};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use shared::contract::{GIT_GATE_ALIAS, PROXY_ALIAS, SUPERVISE_ALIAS};
use shared::issuer::CertificateAuthority;

use super::agent::{self, Agent};
use super::engine::Engine;
use super::engine::containers::ContainerInput;
use super::engine::facts::EngineFacts;
use super::git_gate::{self, GitGate};
use super::images::Images;
use super::names::Role;
use super::networks::Network;
use super::sidecars::Proxy;
use super::supervise::{self, Supervisor};
use super::teardown::{Created, Thing};
use super::{DockerError, images, networks, sidecars};
use crate::backend::{AgentExit, BackendError, Bottle, Said};
use crate::plan::{Plan, Supervise};
use crate::printer::Printer;

/// A bottle that is up.
pub struct DockerBottle {
    engine: Engine,
    plan: Plan,
    agent: Agent,
    created: Created,
    printer: Printer,
    inputs: Inputs,
}

/// Held open: the proxy is told of rotated credentials here, and a gate without input would end.
struct Inputs {
    proxy: ContainerInput,
    supervisor: Option<Supervisor>,
    _git_gate: Option<GitGate>,
}

/// Whether `plan` can be launched at all; creates nothing.
pub(super) async fn probe(engine: &Engine, plan: &Plan) -> Result<(), DockerError> {
    images::probe(engine, plan).await
}

pub(super) async fn launch(
    engine: Engine,
    plan: Plan,
    stop: &CancellationToken,
    printer: Printer,
) -> Result<DockerBottle, BackendError> {
    let mut created = Created::default();
    match bring_up(&engine, &plan, &mut created, stop, printer).await {
        Ok((agent, inputs)) => Ok(DockerBottle { engine, plan, agent, created, printer, inputs }),
        Err(error) => {
            if let Err(left) = created.remove(&engine).await {
                printer.complain(&format!("warning: {left}; `bottle cleanup` removes what is left\n"));
            }
            Err(error)
        }
    }
}

async fn bring_up(
    engine: &Engine,
    plan: &Plan,
    created: &mut Created,
    stop: &CancellationToken,
    printer: Printer,
) -> Result<(Agent, Inputs), BackendError> {
    let began = Instant::now();
    let authority = authority()?;
    created.register(networks::roles(plan).map(|role| Thing::Network(role.name(&plan.identity))).collect());
    let sidecars = sidecars::roles(plan).into_iter();
    created.register(sidecars.map(|role| Thing::Container(role.name(&plan.identity))).collect());
    created.register(vec![Thing::Container(Role::Agent.name(&plan.identity))]);
    // Nothing of the bottle's is created by these, so they may be left at any point.
    let prepared = async {
        tokio::try_join!(
            printer.timed("images", images::ensure(engine, plan, printer)),
            printer.timed("engine: facts", facts(engine))
        )
    };
    let network = printer.timed("agent: network", networks::create(engine, plan, Role::AgentNetwork));
    let (prepared, network) = tokio::join!(unless_stopped(stop, prepared), network);
    let (images, facts) = prepared?;
    let network = network.map_err(DockerError::from)?;
    let sandbox = agent::sandbox(&facts.runtimes);
    go_on(stop)?;

    // The agent's container is made ready while the sidecars start, up to where it must know their addresses. What fails on
    // one side ends the other's waiting, never a request that creates something: that would outlive the teardown.
    let halt = stop.child_token();
    let (tell, told) = oneshot::channel();
    let sidecars = halting(&halt, async {
        let sidecars = start_sidecars(engine, plan, &images, &network, &authority, printer).await?;
        // Nobody hears it where the agent's side has failed, which says so itself.
        let _ = tell.send(sidecars.neighbours());
        unless_stopped(&halt, sidecars_ready(engine, plan, sidecars.proxy.address, &authority, printer)).await?;
        Ok(sidecars)
    });
    let agent = halting(&halt, async {
        let started = agent::start(engine, plan, &images.agent, &network, sandbox);
        printer.timed("agent: start", started).await.map_err(DockerError::from)?;
        unless_stopped(&halt, agent::provision(engine, plan, &images.agent, told, &authority, printer)).await
    });
    let (sidecars, agent) = match tokio::join!(sidecars, agent) {
        (Ok(sidecars), Ok(agent)) => (sidecars, agent),
        (Err(BackendError::Interrupted), Err(cause)) | (Err(cause), _) | (_, Err(cause)) => return Err(cause),
    };
    printer.step(&format!("CA fingerprint (SHA-256): {}", authority.fingerprint()));
    printer.step(&format!("{} is up after {:.1} s", plan.identity, began.elapsed().as_secs_f32()));
    let Sidecars { proxy, supervisor, git_gate } = sidecars;
    Ok((agent, Inputs { proxy: proxy.input, supervisor, _git_gate: git_gate }))
}

/// Sidecars that run.
struct Sidecars {
    proxy: Proxy,
    supervisor: Option<Supervisor>,
    git_gate: Option<GitGate>,
}

impl Sidecars {
    /// Those that the agent may speak to, by the names that it calls them.
    fn neighbours(&self) -> Vec<(&'static str, IpAddr)> {
        let git_gate = self.git_gate.as_ref().map(|gate| (GIT_GATE_ALIAS, gate.address));
        let supervisor = self.supervisor.as_ref().map(|supervisor| (SUPERVISE_ALIAS, supervisor.address));
        [(PROXY_ALIAS, self.proxy.address)].into_iter().chain(git_gate).chain(supervisor).collect()
    }
}

/// All at once, and all are waited for, whatever fails: a request that is still under way would outlive the teardown.
async fn start_sidecars(
    engine: &Engine,
    plan: &Plan,
    images: &Images,
    agent_network: &Network,
    authority: &CertificateAuthority,
    printer: Printer,
) -> Result<Sidecars, DockerError> {
    let on_other_networks = async {
        let networks = networks::create_others(engine, plan, agent_network.clone());
        let networks = printer.timed("sidecars: networks", networks).await?;
        let proxy = sidecars::start_proxy(engine, plan, images, &networks, authority);
        let pipelock = async {
            match images.pipelock.as_ref().zip(networks.inspection.as_ref()) {
                Some((image, network)) => {
                    printer.timed("pipelock: start", sidecars::start_pipelock(engine, plan, image, network)).await
                }
                None => Ok(()),
            }
        };
        let git_gate = async {
            match &images.git_gate {
                Some(image) => {
                    printer.timed("git-gate: start", git_gate::start(engine, plan, image, &networks)).await.map(Some)
                }
                None => Ok(None),
            }
        };
        let proxy = printer.timed("egress-proxy: start", proxy);
        let (proxy, pipelock, git_gate) = tokio::join!(proxy, pipelock, git_gate);
        pipelock?;
        Ok::<_, DockerError>((proxy?, git_gate?))
    };
    let supervisor = async {
        match &images.supervise {
            Some(image) => {
                let started = supervise::start(engine, plan, image, agent_network);
                printer.timed("supervise: start", started).await.map(Some)
            }
            None => Ok(None),
        }
    };
    let (others, supervisor) = tokio::join!(on_other_networks, supervisor);
    let (proxy, git_gate) = others?;
    Ok(Sidecars { proxy, supervisor: supervisor?, git_gate })
}

async fn sidecars_ready(
    engine: &Engine,
    plan: &Plan,
    proxy: IpAddr,
    authority: &CertificateAuthority,
    printer: Printer,
) -> Result<(), DockerError> {
    let guarded = printer.timed("egress-proxy: ready", sidecars::ready(engine, plan, proxy, authority));
    let git_gate = async {
        match plan.git.is_empty() {
            true => Ok(()),
            false => printer.timed("git-gate: ready", git_gate::ready(engine, plan)).await,
        }
    };
    let supervisor = async {
        match plan.supervise {
            Supervise::On => printer.timed("supervise: ready", supervise::ready(engine, plan)).await,
            Supervise::Off => Ok(()),
        }
    };
    let ready = async { tokio::try_join!(guarded, git_gate, supervisor).map(drop) };
    tokio::select! {
        biased;
        ready = ready => ready,
        death = sidecars::died(engine, plan) => Err(death),
    }
}

/// Serves the operator's desk, where the bottle has one. Returns only when it fails.
async fn supervised(engine: &Engine, plan: &Plan, inputs: &mut Inputs) -> DockerError {
    match &mut inputs.supervisor {
        Some(supervisor) => supervise::serve(engine, plan, supervisor, &mut inputs.proxy).await,
        None => std::future::pending().await,
    }
}

async fn facts(engine: &Engine) -> Result<EngineFacts, DockerError> {
    Ok(engine.facts().await?)
}

fn authority() -> Result<CertificateAuthority, DockerError> {
    Ok(CertificateAuthority::create(OffsetDateTime::now_utc(), CA_VALIDITY)?)
}

fn go_on(stop: &CancellationToken) -> Result<(), BackendError> {
    if stop.is_cancelled() { Err(BackendError::Interrupted) } else { Ok(()) }
}

/// Does one side's work; its failure halts the other's.
async fn halting<T>(
    halt: &CancellationToken,
    work: impl Future<Output = Result<T, BackendError>>,
) -> Result<T, BackendError> {
    let done = work.await;
    if done.is_err() {
        halt.cancel();
    }
    done
}

async fn unless_stopped<T, E: Into<BackendError>>(
    stop: &CancellationToken,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, BackendError> {
    tokio::select! {
        done = step => done.map_err(Into::into),
        () = stop.cancelled() => Err(BackendError::Interrupted),
    }
}

impl Bottle for DockerBottle {
    async fn attach(&mut self, stop: &CancellationToken) -> Result<AgentExit, BackendError> {
        let code = tokio::select! {
            code = self.agent.attach(&self.engine, &self.plan, self.printer) => code?,
            death = sidecars::died(&self.engine, &self.plan) => return Err(death.into()),
            error = supervised(&self.engine, &self.plan, &mut self.inputs) => return Err(error.into()),
            () = stop.cancelled() => return Err(BackendError::Interrupted),
        };
        Ok(AgentExit(u8::try_from(code).unwrap_or(u8::MAX)))
    }

    async fn run(&self, command: Vec<String>) -> Result<Said, BackendError> {
        Ok(self.agent.run(&self.engine, &self.plan, command).await?)
    }

    async fn teardown(mut self) -> Result<(), BackendError> {
        let saved = self.agent.save(&self.engine, &self.plan).await;
        let removed = self.created.remove(&self.engine).await.map_err(DockerError::from);
        Ok(removed.and(saved)?)
    }
}

/// Longer than any session, shorter than a mislaid copy would be of use.
const CA_VALIDITY: Duration = Duration::days(7);
