//! Bottles in Docker containers. Everything of a bottle bears its identity as a label; what is created is registered for
//! removal first, and nothing is looked for by any other mark.

mod agent;
mod cleanup;
mod doctor;
mod elf;
mod engine;
mod git_gate;
mod images;
mod launch;
mod names;
mod networks;
mod sidecars;
mod supervise;
mod teardown;
mod terminal;
mod transcript;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use shared::contract::LABEL_IDENTITY;
use thiserror::Error;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use self::engine::Engine;
pub use self::engine::EngineError;
use self::engine::inventory::Containers;
pub use self::launch::DockerBottle;
use self::names::Role;
use super::{ActiveBottle, Backend, BackendError, Extent, Finding, Orphan};
use crate::diagnostics::Explain;
use crate::plan::{Images, Plan};
use crate::printer::Printer;
use crate::state::Identity;

/// The backend that is used when nobody says otherwise.
#[derive(Clone)]
pub struct Docker {
    home: PathBuf,
    /// Found once: what can be used is probed and launched on by the same command.
    engine: OnceCell<Engine>,
}

impl Docker {
    /// The backend of one home: others' bottles on the same engine are listed, but never cleaned up.
    pub fn new(home: &Path) -> Self {
        Self { home: home.to_owned(), engine: OnceCell::new() }
    }

    async fn engine(&self) -> Result<&Engine, EngineError> {
        self.engine.get_or_try_init(Engine::connect).await
    }
}

impl Backend for Docker {
    type Bottle = DockerBottle;

    async fn probe(&self, plan: &Plan) -> Result<(), BackendError> {
        Ok(launch::probe(self.engine().await?, plan).await?)
    }

    async fn launch(
        &self,
        plan: Plan,
        stop: &CancellationToken,
        printer: Printer,
    ) -> Result<DockerBottle, BackendError> {
        let engine = self.engine().await?.clone().with_files_in(&plan.paths.state)?;
        launch::launch(engine, plan, stop, printer).await
    }

    async fn prepare_cleanup(&self, live: &BTreeSet<Identity>) -> Result<Vec<Orphan>, BackendError> {
        Ok(cleanup::orphans(self.engine().await?, &self.home, live).await?)
    }

    async fn cleanup(&self, orphans: &[Orphan]) -> Result<(), BackendError> {
        Ok(cleanup::remove(self.engine().await?, orphans).await?)
    }

    async fn list_active(&self) -> Result<Vec<ActiveBottle>, BackendError> {
        Ok(cleanup::active(self.engine().await?).await?)
    }

    async fn logs(&self, identity: &Identity, extent: Extent, printer: Printer) -> Result<(), BackendError> {
        let engine = self.engine().await?;
        let proxy = Role::EgressProxy.name(identity);
        let running = engine.containers(LABEL_IDENTITY, Containers::Running).await?;
        let runs = |name: &str| running.iter().any(|found| found.name == name);
        if !runs(&proxy) {
            return Err(BackendError::NotRunning(identity.clone()));
        }
        let gate = Some(Role::GitGate.name(identity)).filter(|gate| runs(gate));
        let gate = async {
            match &gate {
                Some(gate) => engine.logs(gate, extent, printer).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(engine.logs(&proxy, extent, printer), gate)?;
        Ok(())
    }

    async fn records(
        &self,
        identity: &Identity,
        past: usize,
        extent: Extent,
        hear: impl FnMut(&str),
    ) -> Result<(), BackendError> {
        let engine = self.engine().await?;
        Ok(engine.lines(&Role::EgressProxy.name(identity), past, extent, hear).await?)
    }

    async fn diagnose(&self, images: &Images) -> Vec<Finding> {
        doctor::findings(images).await
    }
}

/// What can fail between a plan and a running agent.
#[derive(Debug, Error)]
pub enum DockerError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("no `egress-proxy` binary at `{0}`")]
    NoProxyBinary(PathBuf),
    #[error("no `supervise` binary at `{0}`")]
    NoSuperviseBinary(PathBuf),
    #[error("cannot read `{path}`")]
    ReadBinary { path: PathBuf, source: std::io::Error },
    #[error("`{0}` is no static Linux binary, so it cannot run in an empty image")]
    NotStatic(PathBuf),
    #[error("the agent's image `{0}` runs as root")]
    RootImage(String),
    #[error("pipelock's image `{image}` is not here and cannot be pulled")]
    NoPipelock { image: String, source: Box<EngineError> },
    #[error("git-gate's image cannot be made")]
    NoGitGate(#[source] Box<EngineError>),
    #[error("cannot make the bottle's certificate authority")]
    Issuer(#[from] shared::issuer::IssuerError),
    #[error("`{container}` ended with code {code}{}", quoted(.words))]
    SidecarDied { container: String, code: i64, words: String },
    #[error("`{container}` did not become ready{}", quoted(.words))]
    NotReady { container: String, words: String },
    #[error("the proxy's scan has not proved itself{}", quoted(.words))]
    SilentGuard { words: String },
    #[error("the agent's container does not reach the proxy{}", quoted(.words))]
    Unreached { words: String },
    #[error("cannot prepare the agent's container: {step} failed{}", quoted(.words))]
    Provision { step: &'static str, words: String },
    #[error(transparent)]
    Collect(#[from] crate::provision::ProvisionError),
    #[error("cannot keep the agent's session in `{path}`")]
    Transcript { path: PathBuf, source: std::io::Error },
    #[error("`{container}` did not take the new routes{}", quoted(.words))]
    NotEnforced { container: String, words: String },
    #[error("cannot speak with `{container}`")]
    Unheard { container: String, source: std::io::Error },
}

impl Explain for DockerError {
    fn hints(&self) -> Vec<String> {
        let hints: &[&str] = match self {
            Self::Engine(error) => return error.hints(),
            Self::NoProxyBinary(_) => &[
                "`make build` puts a static `egress-proxy` beside `bottle`; keep the two together",
                "or name an image that has one: `CLAUDE_BOTTLE_EGRESS_PROXY_IMAGE`",
            ],
            Self::NoSuperviseBinary(_) => &[
                "`make build` puts a static `supervise` beside `bottle`; keep the programs together",
                "or name an image that has one: `CLAUDE_BOTTLE_SUPERVISE_IMAGE`",
                "or take `supervise` out of the bottle's manifest",
            ],
            Self::NotStatic(_) => &["`make build` makes static binaries; `file BINARY` says what one is"],
            Self::RootImage(_) => &["end its Dockerfile with `USER NAME`, a user without rights"],
            Self::NoPipelock { .. } => &[
                "`--dlp builtin` (or `dlp: builtin` in the bottle) does with the proxy's own scan alone",
                "`CLAUDE_BOTTLE_PIPELOCK_BIN` names a static pipelock binary, `CLAUDE_BOTTLE_PIPELOCK_IMAGE` another image",
                "or load the image: `docker load`",
            ],
            Self::SilentGuard { .. } => {
                &["nothing was started behind it; an `egress-proxy` of another version than `bottle` may be why"]
            }
            Self::NoGitGate(_) => &[
                "`CLAUDE_BOTTLE_GIT_GATE_IMAGE` names an image to build it on: bash, flock, git, ssh and tar are all it needs",
            ],
            Self::Unreached { .. } => &[
                "an engine that was killed may have left a bridge whose rule rewrites addresses: `ip -br link show type bridge`",
                "`docs/docker.md` says how to remove it",
            ],
            Self::NotReady { .. } => &["the records and messages of a proxy that stays up: `bottle logs IDENTITY`"],
            _ => &[],
        };
        hints.iter().map(|&hint| hint.to_owned()).collect()
    }
}

/// A program's last words, where there are any, for the end of a message.
fn quoted(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}
