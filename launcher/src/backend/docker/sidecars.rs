//! The egress proxy and pipelock, and what all sidecars have in common. What is secret goes to the proxy's standard input, and nowhere else.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::select_all;
use shared::contract::{
    ADMIN_PORT, INNER_FACE_PORT, PIPELOCK_ALIAS, PIPELOCK_PORT, PROXY_ALIAS, PROXY_PORT, stdin_line,
};
use shared::issuer::CertificateAuthority;
use shared::routes::Routes;
use tokio::time::sleep;

use super::DockerError;
use super::engine::containers::{
    ContainerInput, ContainerSpec, FirstProcess, Input, Limits, Membership, Resolver, Root,
};
use super::engine::exec::ExecSpec;
use super::engine::{Engine, EngineError};
use super::images::{Images, UPSTREAM_CA};
use super::names::Role;
use super::networks::{Network, Networks};
use crate::canary::Canary;
use crate::pipelock;
use crate::plan::{Plan, Supervise};

/// A proxy that runs; it may still be getting ready.
pub(super) struct Proxy {
    pub(super) address: IpAddr,
    /// Stays open as long as the bottle lives: the way of a reload or a rotation.
    pub(super) input: ContainerInput,
}

pub(super) async fn start_proxy(
    engine: &Engine,
    plan: &Plan,
    images: &Images,
    networks: &Networks,
    authority: &CertificateAuthority,
) -> Result<Proxy, EngineError> {
    let name = Role::EgressProxy.name(&plan.identity);
    let place = |network: &Network| membership(network, PROXY_ALIAS);
    engine
        .create_container(ContainerSpec {
            command: arguments(plan, networks),
            input: Input::Open,
            ..sidecar(Role::EgressProxy, plan, &images.egress_proxy, place(&networks.egress), PROXY_LIMITS)
        })
        .await?;
    for network in [Some(&networks.agent), networks.inspection.as_ref()].into_iter().flatten() {
        engine.connect_container(&name, place(network)).await?;
    }
    let mut input = engine.input(&name).await?;
    engine.start_container(&name).await?;
    input.write(document(plan, authority).as_bytes()).await?;
    Ok(Proxy { address: engine.address(&name, &networks.agent.name).await?, input })
}

pub(super) async fn start_pipelock(
    engine: &Engine,
    plan: &Plan,
    image: &str,
    network: &Network,
) -> Result<(), EngineError> {
    let command = ["run", "--config", pipelock::CONFIGURATION].map(str::to_owned).to_vec();
    let place = membership(network, PIPELOCK_ALIAS);
    engine
        .create_container(ContainerSpec { command, ..sidecar(Role::Pipelock, plan, image, place, PIPELOCK_LIMITS) })
        .await?;
    engine.start_container(&Role::Pipelock.name(&plan.identity)).await
}

/// Returns when the proxy answers, pipelock, where it asks it, has refused what it must and passed what it must, and the scan
/// has refused a made-up key, sent as the agent would, over the proxy's own TLS. An agent is never started behind a guard that
/// is silent.
pub(super) async fn ready(
    engine: &Engine,
    plan: &Plan,
    proxy: IpAddr,
    authority: &CertificateAuthority,
) -> Result<(), DockerError> {
    let container = Role::EgressProxy.name(&plan.identity);
    let canary = plan.dlp.scans().then(|| Canary::of(&plan.egress.routes)).flatten();
    let command = match canary {
        Some(Canary { method, url }) => {
            let proxy = SocketAddr::new(proxy, PROXY_PORT).to_string();
            let authority = format!("--ca={}", authority.cert_pem());
            [PROGRAM, "canary", "--wait", READY_SECONDS, "--proxy", &proxy, &authority, "--method", method, &url]
                .map(str::to_owned)
                .to_vec()
        }
        None => [PROGRAM, "healthcheck", "--wait", READY_SECONDS].map(str::to_owned).to_vec(),
    };
    let look = ExecSpec { container: &container, command, user: None, env: vec![], workdir: None };
    let finished = engine.run(look).await?;
    match finished.code {
        0 => Ok(()),
        UNPROVED => Err(DockerError::SilentGuard { words: finished.stderr }),
        _ => {
            let words = [finished.stderr, engine.last_words(&container).await].join("\n").trim().to_owned();
            Err(DockerError::NotReady { container, words })
        }
    }
}

/// Gives a running proxy another table, and returns when it is in force.
pub(super) async fn enforce(
    engine: &Engine,
    plan: &Plan,
    proxy: &mut ContainerInput,
    table: &Routes,
) -> Result<(), DockerError> {
    let table = table.to_json();
    proxy.write(stdin_line(Some(table.clone()), None, &BTreeMap::new(), None).as_bytes()).await?;
    let container = Role::EgressProxy.name(&plan.identity);
    let mut words = String::new();
    for _ in 0..TABLE_LOOKS {
        let command = [PROGRAM, "routes", "live"].map(str::to_owned).to_vec();
        let live =
            engine.run(ExecSpec { container: &container, command, user: None, env: vec![], workdir: None }).await?;
        if serde_json::from_str::<serde_json::Value>(&live.stdout).is_ok_and(|live| live == table) {
            return Ok(());
        }
        words = live.stderr;
        sleep(TABLE_PAUSE).await;
    }
    Err(DockerError::NotEnforced { container, words })
}

/// Returns when a sidecar has ended, which it must not while the bottle lives.
pub(super) async fn died(engine: &Engine, plan: &Plan) -> DockerError {
    let watches = roles(plan).into_iter().map(|role| Box::pin(obituary(engine, role.name(&plan.identity))));
    select_all(watches).await.0
}

/// The sidecars of one bottle.
pub(super) fn roles(plan: &Plan) -> Vec<Role> {
    let optional = [
        (Role::Pipelock, plan.dlp.asks_pipelock()),
        (Role::GitGate, !plan.git.is_empty()),
        (Role::Supervise, plan.supervise == Supervise::On),
    ];
    let wanted = optional.into_iter().filter_map(|(role, is_wanted)| is_wanted.then_some(role));
    [Role::EgressProxy].into_iter().chain(wanted).collect()
}

async fn obituary(engine: &Engine, container: String) -> DockerError {
    match engine.stopped(&container).await {
        Ok(code) => {
            let words = engine.last_words(&container).await;
            DockerError::SidecarDied { container, code, words }
        }
        Err(error) => error.into(),
    }
}

fn arguments(plan: &Plan, networks: &Networks) -> Vec<String> {
    let listen = |network: &Network, port: u16| format!("{}:{port}", network.subnet);
    let mut arguments = vec!["run".to_owned(), "--stdin".to_owned()];
    let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    option("--listen", listen(&networks.agent, PROXY_PORT));
    option("--admin", format!("127.0.0.1:{ADMIN_PORT}"));
    option("--scan", if plan.dlp.scans() { "block" } else { "off" }.to_owned());
    if let Some(network) = &networks.inspection {
        option("--inspect", format!("http://{PIPELOCK_ALIAS}:{PIPELOCK_PORT}"));
        option("--inspect-listen", listen(network, INNER_FACE_PORT));
        // By name: the one destination that pipelock is allowed.
        option("--inspect-return", format!("{PROXY_ALIAS}:{INNER_FACE_PORT}"));
    }
    for range in &plan.egress.allow_cidr {
        option("--allow-upstream-cidr", range.to_string());
    }
    if plan.egress.upstream_ca.is_some() {
        option("--upstream-ca", UPSTREAM_CA.to_owned());
    }
    arguments
}

fn document(plan: &Plan, authority: &CertificateAuthority) -> String {
    let tokens = plan.egress.tokens.iter().map(|token| (token.slot.clone(), token.value.expose()));
    let stand_ins = plan.egress.placeholders.iter().map(|stand_in| (stand_in.slot.clone(), stand_in.value.as_str()));
    let secrets: BTreeMap<String, &str> = tokens.chain(stand_ins).collect();
    let key = authority.key_pem();
    let rules = plan.egress.scan_rules.as_ref().map(|rules| rules.text.as_str());
    stdin_line(Some(plan.table().to_json()), Some((authority.cert_pem(), &key)), &secrets, rules)
}

pub(super) fn membership(network: &Network, alias: &str) -> Membership {
    Membership { network: network.name.clone(), aliases: vec![alias.to_owned()] }
}

pub(super) fn sidecar(role: Role, plan: &Plan, image: &str, network: Membership, limits: Limits) -> ContainerSpec {
    ContainerSpec {
        name: role.name(&plan.identity),
        image: image.to_owned(),
        hostname: role.label().to_owned(),
        labels: role.labels(plan),
        user: Some(NOBODY.to_owned()),
        entrypoint: vec![],
        command: vec![],
        env: vec![],
        network,
        hosts: vec![],
        resolver: Resolver::Engine,
        root: Root::ReadOnly,
        scratch: vec![],
        first_process: FirstProcess::Command,
        input: Input::Closed,
        limits,
        runtime: None,
    }
}

/// Whatever an image says of itself, a sidecar has no rights.
const NOBODY: &str = "65532:65532";
pub(super) const NOBODY_ID: u64 = 65532;

const PROGRAM: &str = "/egress-proxy";
const READY_SECONDS: &str = "20";
/// How `egress-proxy canary` ends where the made-up key was not refused.
const UNPROVED: i64 = 3;

/// How often a proxy that was given a table is asked for it: ten seconds in all, and the answers' own time.
const TABLE_LOOKS: u32 = 100;
const TABLE_PAUSE: Duration = Duration::from_millis(100);

/// The inspection's budget for content is 256 MiB; the rest is connections.
const PROXY_LIMITS: Limits = Limits { processes: 256, memory_bytes: 768 << 20 };
const PIPELOCK_LIMITS: Limits = Limits { processes: 256, memory_bytes: 1 << 30 };
