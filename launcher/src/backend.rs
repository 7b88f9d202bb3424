//! The interface between `bottle` and what runs containers, and the choice of one by name. A backend knows engines; it reads
//! no manifest, asks no question and decides no grant.

pub mod docker;

use std::collections::BTreeSet;

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::diagnostics::Explain;
use crate::plan::{Images, Plan};
use crate::printer::Printer;
use crate::state::Identity;

/// One way to run bottles. Nothing here may leave a trace when it fails: what `launch` created, `launch` removes.
#[allow(async_fn_in_trait)] // used through generics inside this crate only
pub trait Backend: Sized {
    type Bottle: Bottle;

    /// Whether this backend can work here at all; the error names what is missing and the fix. Called before the user is
    /// asked anything, never on a dry run; creates nothing.
    async fn probe(&self, plan: &Plan) -> Result<(), BackendError>;

    /// Brings everything up, provisions (ca → prompt → skills → git → supervise) and returns when the agent may be
    /// attached. Each step's undoing is registered before the step can fail. When `stop` is cancelled it tears down what
    /// it has and returns [`BackendError::Interrupted`].
    async fn launch(
        &self,
        plan: Plan,
        stop: &CancellationToken,
        printer: Printer,
    ) -> Result<Self::Bottle, BackendError>;

    /// Everything of ours whose identity is not `live`: what `cleanup` would remove. Reads only.
    async fn prepare_cleanup(&self, live: &BTreeSet<Identity>) -> Result<Vec<Orphan>, BackendError>;

    /// Removes them; what is gone already is no error.
    async fn cleanup(&self, orphans: &[Orphan]) -> Result<(), BackendError>;

    async fn list_active(&self) -> Result<Vec<ActiveBottle>, BackendError>;

    /// Prints what the proxy of a running bottle recorded: records as data, messages to the human.
    async fn logs(&self, identity: &Identity, extent: Extent, printer: Printer) -> Result<(), BackendError>;

    /// Passes on the last `past` lines, each a record, that the proxy of a running bottle wrote, and those that come.
    async fn records(
        &self,
        identity: &Identity,
        past: usize,
        extent: Extent,
        hear: impl FnMut(&str),
    ) -> Result<(), BackendError>;

    /// What speaks for and against bottles on this machine. Never fails: a failure is a finding. Creates nothing.
    async fn diagnose(&self, images: &Images) -> Vec<Finding>;
}

/// A bottle that is up.
#[allow(async_fn_in_trait)]
pub trait Bottle {
    /// Runs the agent's command on this terminal (raw mode, resize) until it ends, `stop` is cancelled or a sidecar dies.
    async fn attach(&mut self, stop: &CancellationToken) -> Result<AgentExit, BackendError>;

    /// Runs another program beside the agent, with all that the agent has and no input; what it says on stdout.
    async fn run(&self, command: Vec<String>) -> Result<Said, BackendError>;

    /// Removes everything, in reverse order of creation. Goes on after a failure and reports the first.
    async fn teardown(self) -> Result<(), BackendError>;
}

/// The exit code of the agent's command, to be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentExit(pub u8);

/// What a program said, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub code: i64,
    pub text: String,
}

/// Something that a bottle left behind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Orphan {
    pub identity: Identity,
    pub kind: OrphanKind,
    /// As the engine calls it.
    pub name: String,
}

/// In the order of removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OrphanKind {
    Container,
    Network,
}

/// One line of `bottle list active`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ActiveBottle {
    pub identity: String,
    pub agent: String,
    pub bottle: String,
    pub backend: &'static str,
    /// RFC 3339, as the engine says.
    pub started: String,
    /// Roles of the containers that run: `agent`, `egress-proxy`, …
    pub running: Vec<String>,
}

/// How much of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Also what is yet to come, until the bottle ends.
    Following,
    SoFar,
}

/// One line of `bottle doctor`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    pub subject: &'static str,
    pub health: Health,
    pub text: String,
    /// What to do about it.
    pub fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Bottles cannot start.
    Bad,
    Good,
    /// Bottles start, with less.
    Note,
}

impl Finding {
    pub fn good(subject: &'static str, text: impl Into<String>) -> Self {
        Self { subject, health: Health::Good, text: text.into(), fix: None }
    }

    pub fn note(subject: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { subject, health: Health::Note, text: text.into(), fix: Some(fix.into()) }
    }

    pub fn bad(subject: &'static str, error: &impl Explain) -> Self {
        let cause = error.source().map(|cause| format!(" ({cause})")).unwrap_or_default();
        Self { subject, health: Health::Bad, text: format!("{error}{cause}"), fix: error.hints().into_iter().next() }
    }
}

#[derive(Debug, Error)]
pub enum BackendError {
    #[error("no bottle `{0}` runs")]
    NotRunning(Identity),
    #[error(transparent)]
    Docker(#[from] docker::DockerError),
    #[error("interrupted")]
    Interrupted,
    #[error("unknown backend `{0}`")]
    UnknownBackend(String),
}

impl Explain for BackendError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Docker(error) => error.hints(),
            Self::Interrupted => vec![],
            Self::NotRunning(_) => vec!["`bottle list active` shows what runs".to_owned()],
            Self::UnknownBackend(_) => vec!["`CLAUDE_BOTTLE_BACKEND` may be `docker`".to_owned()],
        }
    }
}

impl From<docker::EngineError> for BackendError {
    fn from(error: docker::EngineError) -> Self {
        Self::Docker(error.into())
    }
}
