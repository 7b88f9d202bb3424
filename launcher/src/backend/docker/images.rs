//! The images of a bottle: found by name, or built from files that this program carries. A tag is the hash of everything
//! that goes into the image, so an existing tag is the right image and is never built again.

use std::env;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use super::DockerError;
use super::elf;
use super::engine::images::ImageFacts;
use super::engine::{Engine, EngineError};
use super::names::Role;
use crate::archive::{Archive, Facts, Owner};
use crate::pipelock;
use crate::plan::{self, Plan, Supervise};
use crate::printer::Printer;
use crate::provision::ProvisionError;

/// The images that one bottle runs on.
pub(super) struct Images {
    pub(super) agent: AgentImage,
    pub(super) egress_proxy: String,
    pub(super) git_gate: Option<String>,
    pub(super) pipelock: Option<String>,
    pub(super) supervise: Option<String>,
}

pub(super) struct AgentImage {
    pub(super) name: String,
    pub(super) facts: ImageFacts,
}

/// Makes sure of every image that `plan` needs.
pub(super) async fn ensure(engine: &Engine, plan: &Plan, printer: Printer) -> Result<Images, DockerError> {
    let workshop = Workshop { engine, printer };
    let pipelock = async { if plan.dlp.asks_pipelock() { workshop.pipelock(plan).await.map(Some) } else { Ok(None) } };
    let proxy = async {
        let egress_proxy = workshop.egress_proxy(plan).await?;
        // It scans with the proxy's own program.
        let git_gate = if plan.git.is_empty() { None } else { Some(workshop.git_gate(plan, &egress_proxy).await?) };
        Ok((egress_proxy, git_gate))
    };
    let supervise = async {
        match plan.supervise {
            Supervise::On => workshop.supervise(plan).await.map(Some),
            Supervise::Off => Ok(None),
        }
    };
    let (agent, (egress_proxy, git_gate), pipelock, supervise) =
        tokio::try_join!(workshop.agent(plan), proxy, pipelock, supervise)?;
    Ok(Images { agent, egress_proxy, git_gate, pipelock, supervise })
}

/// What can be known about the images before anything is built or pulled.
pub(super) async fn probe(engine: &Engine, plan: &Plan) -> Result<(), DockerError> {
    if plan.images.egress_proxy.is_none() {
        check_static(&proxy_binary()?)?;
    }
    if plan.supervise == Supervise::On && plan.images.supervise.is_none() {
        check_static(&supervise_binary()?)?;
    }
    if let Some(binary) = plan.images.pipelock_bin.as_deref().filter(|_| plan.dlp.asks_pipelock()) {
        check_static(binary)?;
    }
    if let Some(name) = &plan.images.agent
        && let Some(facts) = engine.image(name).await?
    {
        refuse_root(name, &facts)?;
    }
    Ok(())
}

/// Where an image would come from.
pub(super) enum Supply {
    /// Built from this binary.
    Binary(PathBuf),
    Here(String),
    /// Nobody knows whether the registry has it.
    Pulled(String),
}

/// # Errors
/// The proxy's image cannot be had.
pub(super) async fn find_proxy(engine: &Engine, images: &plan::Images) -> Result<Supply, DockerError> {
    match &images.egress_proxy {
        Some(image) => found(engine, image).await,
        None => {
            let path = proxy_binary()?;
            check_static(&path)?;
            Ok(Supply::Binary(path))
        }
    }
}

/// # Errors
/// supervise's image cannot be had.
pub(super) async fn find_supervise(engine: &Engine, images: &plan::Images) -> Result<Supply, DockerError> {
    match &images.supervise {
        Some(image) => found(engine, image).await,
        None => {
            let path = supervise_binary()?;
            check_static(&path)?;
            Ok(Supply::Binary(path))
        }
    }
}

/// # Errors
/// pipelock's image cannot be had.
pub(super) async fn find_pipelock(engine: &Engine, images: &plan::Images) -> Result<Supply, DockerError> {
    if let Some(path) = &images.pipelock_bin {
        check_static(path)?;
        return Ok(Supply::Binary(path.clone()));
    }
    found(engine, images.pipelock.as_deref().unwrap_or(PUBLIC_PIPELOCK)).await
}

/// # Errors
/// The engine does not say.
pub(super) async fn found(engine: &Engine, image: &str) -> Result<Supply, DockerError> {
    let found = engine.image(image).await?;
    Ok(if found.is_some() { Supply::Here(image.to_owned()) } else { Supply::Pulled(image.to_owned()) })
}

struct Workshop<'a> {
    engine: &'a Engine,
    printer: Printer,
}

impl Workshop<'_> {
    async fn agent(&self, plan: &Plan) -> Result<AgentImage, DockerError> {
        let name = match &plan.images.agent {
            Some(image) => self.found_or_pulled(image).await?,
            None => self.built(Role::Agent, AGENT_DOCKERFILE, vec![]).await?,
        };
        let facts = self.engine.image(&name).await?.unwrap_or_default();
        refuse_root(&name, &facts)?;
        Ok(AgentImage { name, facts })
    }

    async fn egress_proxy(&self, plan: &Plan) -> Result<String, DockerError> {
        let image = match &plan.images.egress_proxy {
            Some(image) => self.found_or_pulled(image).await?,
            None => {
                let binary = File::program("egress-proxy", proxy_binary()?).await?;
                self.built(Role::EgressProxy, PROXY_DOCKERFILE, vec![binary]).await?
            }
        };
        let Some(upstream_ca) = &plan.egress.upstream_ca else { return Ok(image) };
        self.with_file(Role::EgressProxy, &image, UPSTREAM_CA, upstream_ca).await
    }

    async fn pipelock(&self, plan: &Plan) -> Result<String, DockerError> {
        let image = match (&plan.images.pipelock_bin, &plan.images.pipelock) {
            (Some(path), _) => {
                let binary = File::program("pipelock", path.clone()).await?;
                self.built(Role::Pipelock, PIPELOCK_DOCKERFILE, vec![binary]).await?
            }
            (None, image) => {
                let image = image.as_deref().unwrap_or(PUBLIC_PIPELOCK);
                let found = self.found_or_pulled(image).await;
                found.map_err(|source| DockerError::NoPipelock { image: image.to_owned(), source: Box::new(source) })?
            }
        };
        let configuration = pipelock::configuration(&plan.egress.routes);
        self.with_file(Role::Pipelock, &image, pipelock::CONFIGURATION, &configuration).await
    }

    async fn git_gate(&self, plan: &Plan, proxy: &str) -> Result<String, DockerError> {
        let mut arguments = vec![("PROXY", proxy)];
        if let Some(base) = &plan.images.git_gate {
            self.found_or_pulled(base).await.map_err(|source| DockerError::NoGitGate(Box::new(source)))?;
            arguments.push(("BASE", base));
        }
        let files = GIT_GATE_FILES.map(|(name, mode, text)| File { name, mode, content: text.into() });
        let built = self.built_with(Role::GitGate, GIT_GATE_DOCKERFILE, &arguments, files.into()).await;
        built.map_err(|error| match error {
            DockerError::Engine(source) => DockerError::NoGitGate(Box::new(source)),
            other => other,
        })
    }

    async fn supervise(&self, plan: &Plan) -> Result<String, DockerError> {
        match &plan.images.supervise {
            Some(image) => Ok(self.found_or_pulled(image).await?),
            None => {
                let binary = File::program("supervise", supervise_binary()?).await?;
                self.built(Role::Supervise, SUPERVISE_DOCKERFILE, vec![binary]).await
            }
        }
    }

    async fn found_or_pulled(&self, image: &str) -> Result<String, EngineError> {
        if self.engine.image(image).await?.is_none() {
            self.printer.step(&format!("pulling {image}"));
            self.engine.pull(image, |line| self.printer.step(&format!("  {line}"))).await?;
        }
        Ok(image.to_owned())
    }

    /// `base` with one more file at `path`, readable by everyone.
    async fn with_file(&self, role: Role, base: &str, path: &str, content: &str) -> Result<String, DockerError> {
        let dockerfile = format!("FROM {base}\nCOPY --chown=0:0 file {path}\n");
        let file = File { name: "file", mode: 0o444, content: content.as_bytes().to_vec() };
        self.built(role, &dockerfile, vec![file]).await
    }

    async fn built(&self, role: Role, dockerfile: &str, files: Vec<File>) -> Result<String, DockerError> {
        self.built_with(role, dockerfile, &[], files).await
    }

    async fn built_with(
        &self,
        role: Role,
        dockerfile: &str,
        arguments: &[(&str, &str)],
        mut files: Vec<File>,
    ) -> Result<String, DockerError> {
        files.push(File { name: "Dockerfile", mode: 0o444, content: dockerfile.as_bytes().to_vec() });
        let named: String = arguments.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let (tag, files) = apart(move || (hash(&named, &files), files)).await;
        let image = format!("claude-bottle-{}:{tag}", role.label());
        if self.engine.image(&image).await?.is_none() {
            self.printer.step(&format!("building {image}"));
            let progress = |line: &str| {
                if line.starts_with("Step ") {
                    self.printer.step(&format!("  {}: {line}", role.label()));
                }
            };
            self.engine.build(&image, &role.image_labels(), arguments, archive(&files)?, progress).await?;
        }
        Ok(image)
    }
}

/// One file of a build context.
struct File {
    name: &'static str,
    mode: u32,
    content: Vec<u8>,
}

impl File {
    async fn program(name: &'static str, path: PathBuf) -> Result<Self, DockerError> {
        let content = apart(move || static_binary(&path)).await?;
        Ok(Self { name, mode: 0o555, content })
    }
}

/// Reading programs and digesting them, beside this thread: what the launch asks of the engine meanwhile would wait for it.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
}

fn hash(arguments: &str, files: &[File]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(arguments.as_bytes());
    for file in files {
        context.update(format!("{} {:o} {}\n", file.name, file.mode, file.content.len()).as_bytes());
        context.update(&file.content);
    }
    let digest = context.finish();
    digest.as_ref().iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

fn archive(files: &[File]) -> Result<Vec<u8>, ProvisionError> {
    let mut archive = Archive::default();
    for file in files {
        archive.file(file.name, Facts::new(file.mode, Owner::ROOT), &file.content).map_err(ProvisionError::Pack)?;
    }
    archive.finish().map_err(ProvisionError::Pack)
}

fn proxy_binary() -> Result<PathBuf, DockerError> {
    beside_us("egress-proxy").map_err(DockerError::NoProxyBinary)
}

fn supervise_binary() -> Result<PathBuf, DockerError> {
    beside_us("supervise").map_err(DockerError::NoSuperviseBinary)
}

/// The sidecars' binaries live beside this program; where one would be, when it is not.
fn beside_us(program: &str) -> Result<PathBuf, PathBuf> {
    let own = env::current_exe().and_then(std::fs::canonicalize).unwrap_or_default();
    let path = own.with_file_name(program);
    if path.is_file() { Ok(path) } else { Err(path) }
}

/// The same without reading all of it, where its beginning tells.
fn check_static(path: &Path) -> Result<(), DockerError> {
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(ELF_HEAD).read_to_end(&mut head));
    read.map_err(|source| DockerError::ReadBinary { path: path.to_owned(), source })?;
    if elf::is_static(&head) { Ok(()) } else { static_binary(path).map(drop) }
}

fn static_binary(path: &Path) -> Result<Vec<u8>, DockerError> {
    let content = std::fs::read(path).map_err(|source| DockerError::ReadBinary { path: path.to_owned(), source })?;
    if elf::is_static(&content) { Ok(content) } else { Err(DockerError::NotStatic(path.to_owned())) }
}

fn refuse_root(image: &str, facts: &ImageFacts) -> Result<(), DockerError> {
    let user = facts.user.split(':').next().unwrap_or_default();
    if matches!(user, "" | "root" | "0") { Err(DockerError::RootImage(image.to_owned())) } else { Ok(()) }
}

/// Where the proxy's image holds a company's own CA.
pub(super) const UPSTREAM_CA: &str = "/upstream-ca.pem";

const AGENT_DOCKERFILE: &str = include_str!("../../../../images/agent/Dockerfile");
const PROXY_DOCKERFILE: &str = include_str!("../../../../images/egress-proxy/Dockerfile");
const GIT_GATE_DOCKERFILE: &str = include_str!("../../../../images/git-gate/Dockerfile");
const PIPELOCK_DOCKERFILE: &str = include_str!("../../../../images/pipelock/Dockerfile");
const SUPERVISE_DOCKERFILE: &str = include_str!("../../../../images/supervise/Dockerfile");

const GIT_GATE_FILES: [(&str, u32, &str); 6] = [
    ("access", 0o555, include_str!("../../../../images/git-gate/access")),
    ("gate", 0o555, include_str!("../../../../images/git-gate/gate")),
    ("gitconfig", 0o444, include_str!("../../../../images/git-gate/gitconfig")),
    ("pre-receive", 0o555, include_str!("../../../../images/git-gate/pre-receive")),
    ("record", 0o444, include_str!("../../../../images/git-gate/record")),
    ("ssh", 0o555, include_str!("../../../../images/git-gate/ssh")),
];

/// The release that the configuration is written for.
const PUBLIC_PIPELOCK: &str = "ghcr.io/luckypipewrench/pipelock:2.3.0";

const TAG_BYTES: usize = 8;

/// Linkers put an executable's table of segments right behind its header.
const ELF_HEAD: u64 = 4096;
