//! The agent's container: made, provisioned, and then lent this terminal. Its secrets reach only the exec of its command.

use std::borrow::Cow;
use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use shared::issuer::CertificateAuthority;
use tokio::io::AsyncWriteExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::DockerError;
use super::engine::containers::{ContainerSpec, FirstProcess, Input, Limits, Membership, Resolver, Root};
use super::engine::exec::{Console, ExecSpec, Output, Session, SessionHandle};
use super::engine::{Engine, EngineError};
use super::images::AgentImage;
use super::names::Role;
use super::networks::Network;
use super::terminal::{self, RawMode};
use super::transcript;
use crate::backend::{BackendError, Said};
use crate::plan::Plan;
use crate::printer::Printer;
use crate::provision::ca::Survey;
use crate::provision::{self, ca, prompt};

/// An agent's container that waits for its command.
pub(super) struct Agent {
    container: String,
    survey: Survey,
    workdir: String,
}

/// Creates and starts the container. Nothing of the agent's runs in it yet, so the sidecars need not be there.
pub(super) async fn start(
    engine: &Engine,
    plan: &Plan,
    image: &AgentImage,
    network: &Network,
    sandbox: Option<String>,
) -> Result<(), EngineError> {
    engine.create_container(ContainerSpec { runtime: sandbox, ..spec(plan, image, network) }).await?;
    engine.start_container(&Role::Agent.name(&plan.identity)).await
}

/// Gives a started container what its agent is to have. The addresses of the sidecars that it may speak to come when they have
/// some; they may still be getting ready.
pub(super) async fn provision(
    engine: &Engine,
    plan: &Plan,
    image: &AgentImage,
    neighbours: oneshot::Receiver<Vec<(&'static str, IpAddr)>>,
    authority: &CertificateAuthority,
    printer: Printer,
) -> Result<Agent, BackendError> {
    let container = Role::Agent.name(&plan.identity);
    let command = ca::command(&image.facts.user, authority.cert_pem());
    let (survey, script) = printer.timed("agent: trust", Script::trusts(engine, &container, command)).await?;
    let workdir = match image.facts.workdir.as_str() {
        "" | "/" => survey.account.home.clone(),
        folder => folder.to_owned(),
    };
    let belongings = provision::belongings(plan, &survey.account, &workdir).map_err(DockerError::from)?;
    let files = async { Ok(engine.upload(&container, belongings).await?) };
    let first_request = async {
        // Without an answer the sidecars' side has failed, and ends this one too.
        let neighbours = neighbours.await.map_err(|_| BackendError::Interrupted)?;
        let hosts = ca::hosts(&neighbours);
        let reached = script.reaches_the_proxy(&hosts);
        printer.timed("agent: first request", reached).await.map_err(BackendError::from)
    };
    tokio::try_join!(printer.timed("agent: files", files), first_request)?;
    if let Some(file) = &plan.transcript {
        transcript::restore(engine, &container, &survey.account, file).await?;
    }
    Ok(Agent { container, survey, workdir })
}

/// The script of [`ca::command`] while it runs.
struct Script {
    session: Session,
    said: Vec<u8>,
    complaints: Vec<u8>,
}

impl Script {
    /// Starts it, and returns when the container trusts the bottle's CA.
    async fn trusts(engine: &Engine, container: &str, command: Vec<String>) -> Result<(Survey, Self), DockerError> {
        let spec = ExecSpec { container, command, user: Some("0:0"), env: vec![], workdir: None };
        let session = engine.attach(spec, Console::Pipes).await?;
        let mut script = Self { session, said: vec![], complaints: vec![] };
        loop {
            let ended = !script.listen().await?;
            match Survey::read(&script.lines()) {
                Some(survey) => return Ok((survey, script)),
                None if ended => {
                    let words = script.last_words();
                    return Err(DockerError::Provision { step: "trusting the bottle's CA", words });
                }
                None => {}
            }
        }
    }

    /// Tells it the neighbours, and returns when a TLS client in the container has reached the proxy by its name and verified its
    /// certificate, as the agent's will.
    async fn reaches_the_proxy(mut self, hosts: &str) -> Result<(), DockerError> {
        let told = write(&mut self.session.input, hosts.as_bytes()).await;
        while self.listen().await? {}
        let reached = told.is_ok() && self.lines().lines().any(|line| line == ca::REACHED);
        if reached { Ok(()) } else { Err(DockerError::Unreached { words: self.last_words() }) }
    }

    /// Hears what it says next; false where it has ended.
    async fn listen(&mut self) -> Result<bool, EngineError> {
        match self.session.output.try_next().await? {
            Some(Output::Out(bytes)) => self.said.extend_from_slice(&bytes),
            Some(Output::Err(bytes)) => self.complaints.extend_from_slice(&bytes),
            None => return Ok(false),
        }
        Ok(true)
    }

    /// What it has said in whole lines.
    fn lines(&self) -> Cow<'_, str> {
        let end = self.said.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        String::from_utf8_lossy(&self.said[..end])
    }

    fn last_words(&self) -> String {
        String::from_utf8_lossy(&self.complaints).trim().to_owned()
    }
}

/// The runtime that gives the agent a kernel of its own, where the engine has one.
pub(super) fn sandbox(runtimes: &[String]) -> Option<String> {
    runtimes.iter().find(|runtime| *runtime == GVISOR).cloned()
}

fn spec(plan: &Plan, image: &AgentImage, network: &Network) -> ContainerSpec {
    let public = plan.env.public.iter().map(|(name, value)| format!("{name}={value}"));
    let own = ca::variables().into_iter().map(|(name, value)| format!("{name}={value}"));
    ContainerSpec {
        name: Role::Agent.name(&plan.identity),
        image: image.name.clone(),
        hostname: plan.agent.to_string(),
        labels: Role::Agent.labels(plan),
        user: None,
        entrypoint: IDLE.map(str::to_owned).to_vec(),
        command: vec![],
        // Ours come last: the later one of two wins, and the way out is not the manifest's to change.
        env: public.chain(own).collect(),
        network: Membership { network: network.name.clone(), aliases: vec![] },
        // Written when the neighbours have their addresses.
        hosts: vec![],
        resolver: Resolver::Nobody,
        root: Root::Writable,
        scratch: vec![],
        first_process: FirstProcess::Init,
        input: Input::Closed,
        limits: LIMITS,
        runtime: None,
    }
}

impl Agent {
    /// Takes out what outlives the bottle, where the plan says so.
    pub(super) async fn save(&self, engine: &Engine, plan: &Plan) -> Result<(), DockerError> {
        match &plan.transcript {
            Some(file) => transcript::save(engine, &self.container, &self.survey.account, file).await,
            None => Ok(()),
        }
    }

    /// Runs the agent's command on this terminal until it ends; its exit code.
    pub(super) async fn attach(&self, engine: &Engine, plan: &Plan, printer: Printer) -> Result<i64, DockerError> {
        let console = terminal::console();
        // Listened for before the first size is read: no later one is missed.
        let resized = signal(SignalKind::window_change()).map_err(EngineError::Terminal)?;
        let session = printer.timed("agent: command", engine.attach(self.command(plan), console)).await?;
        let is_terminal = matches!(console, Console::Terminal(_));
        let _raw = is_terminal.then(RawMode::enter).transpose().map_err(EngineError::Terminal)?;
        let Session { input, output, handle } = session;
        tokio::select! {
            shown = show(output, is_terminal.then_some(&handle)) => shown?,
            never = type_into(input) => match never {},
            never = follow_size(&handle, console, resized) => match never {},
        }
        Ok(handle.code().await?)
    }

    /// Runs another program where and as the agent runs.
    pub(super) async fn run(&self, engine: &Engine, plan: &Plan, command: Vec<String>) -> Result<Said, DockerError> {
        let finished = engine.run(ExecSpec { command, ..self.command(plan) }).await?;
        Ok(Said { code: finished.code, text: finished.stdout })
    }

    fn command(&self, plan: &Plan) -> ExecSpec<'_> {
        let secret = plan.env.secret.iter().map(|(name, value)| format!("{name}={}", value.expose()));
        let jvm = ca::jvm_variable(self.survey.jvm).map(|(name, value)| format!("{name}={value}"));
        let term = std::env::var("TERM").ok().map(|term| format!("TERM={term}"));
        ExecSpec {
            container: &self.container,
            command: plan.command.argv(&prompt::path(&self.survey.account)),
            user: None,
            env: term.into_iter().chain(secret).chain(jvm).collect(),
            workdir: Some(self.workdir.clone()),
        }
    }
}

/// Copies the agent's output to ours until it ends. The first of it tells that the program runs: the moment from which a
/// terminal takes a size.
async fn show(
    mut output: impl futures_util::Stream<Item = Result<Output, EngineError>> + Unpin,
    mut unsized_terminal: Option<&SessionHandle>,
) -> Result<(), EngineError> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    while let Some(chunk) = output.try_next().await? {
        if let Some(handle) = unsized_terminal.take() {
            // A program that has ended with its first word has no size.
            let _ = handle.resize(terminal::size()).await;
        }
        let shown = match chunk {
            Output::Out(bytes) => write(&mut stdout, &bytes).await,
            Output::Err(bytes) => write(&mut stderr, &bytes).await,
        };
        shown.map_err(EngineError::Terminal)?;
    }
    Ok(())
}

async fn write(to: &mut (impl tokio::io::AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

/// Sends what is typed, then the end of it. Does not return: a program may go on without input.
async fn type_into(mut input: impl tokio::io::AsyncWrite + Unpin) -> Never {
    let mut typed = terminal::typed();
    while let Some(bytes) = typed.recv().await {
        if write(&mut input, &bytes).await.is_err() {
            break;
        }
    }
    let _ = input.shutdown().await;
    std::future::pending().await
}

/// Tells the agent's terminal each new size of ours. Does not return.
async fn follow_size(handle: &SessionHandle, console: Console, mut resized: Signal) -> Never {
    if let Console::Terminal(_) = console {
        while resized.recv().await.is_some() {
            // A program that has just ended has no size; its output says so next.
            let _ = handle.resize(terminal::size()).await;
        }
    }
    std::future::pending().await
}

/// What a future yields that does not return.
enum Never {}

/// The container's own process: the agent is an exec beside it, so that its secrets are nowhere in the engine's store.
const IDLE: [&str; 2] = ["sleep", "infinity"];

const GVISOR: &str = "runsc";

const LIMITS: Limits = Limits { processes: 4096, memory_bytes: 8 << 30 };

#[cfg(test)]
mod tests {
    use super::sandbox;

    #[test]
    fn gvisor_is_used_where_the_engine_offers_it() {
        let runtimes = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(sandbox(&runtimes(&["runc", "runsc"])).as_deref(), Some("runsc"));
        assert_eq!(sandbox(&runtimes(&["io.containerd.runc.v2", "runc"])), None);
    }
}
