//! Files → validated manifests, with all errors of a file at once. Bottles are read from the user's home only: a cloned
//! repository must not be able to redirect credentials.

pub mod agent;
pub mod bottle;
pub mod egress;
pub mod env;
pub mod git;
mod legacy;
pub mod source;

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use shared::yaml::{Diagnostic, Diagnostics, Node, nearest};
use thiserror::Error;

use self::agent::Agent;
use self::bottle::Bottle;
use self::source::{InvalidManifest, Placed, Problems, Source};
use crate::diagnostics::Explain;
use crate::host::Host;
use crate::name::{AgentName, BottleName};

/// Where manifests are, and how they are read.
pub struct Manifests<'h> {
    host: &'h Host,
}

/// An agent's file that exists; it may not be valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFile {
    pub name: AgentName,
    pub path: PathBuf,
}

impl<'h> Manifests<'h> {
    pub fn new(host: &'h Host) -> Self {
        Self { host }
    }

    /// Things that look as if they had an effect and have none.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = vec![];
        let bottles = self.local().join("bottles");
        if bottles.is_dir() && bottles != self.host.home.bottles() {
            let (ignored, read) = (self.host.shorten(&bottles), self.host.shorten(&self.host.home.bottles()));
            warnings.push(format!("`{ignored}` is ignored: bottles are read from `{read}` only"));
        }
        for file in self.files_in(&self.local_agents()) {
            let (own, local) = (self.host.home.agent(&file.name), file.path);
            if own != local && own.is_file() {
                let (own, local) = (self.host.shorten(&own), self.host.shorten(&local));
                warnings.push(format!("`{local}` is ignored: `{own}` has the same name"));
            }
        }
        warnings
    }

    /// All agents, by name; one of the home hides one of the working directory.
    pub fn agents(&self) -> Vec<AgentFile> {
        let mut files = self.files_in(&self.host.home.agents());
        for file in self.files_in(&self.local_agents()) {
            if !files.iter().any(|own| own.name == file.name) {
                files.push(file);
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files
    }

    /// An agent and its bottle, parents joined.
    ///
    /// # Errors
    /// All errors of all files that take part.
    pub fn load(&self, name: &AgentName) -> Result<(Agent, Bottle), ManifestError> {
        let file = self.find(name)?;
        let source = self.read(&file.path)?;
        let mut problems = Problems::default();
        let agent = Agent::decode(name, &source, &mut problems);
        let bottle = match &agent {
            Some(agent) => self.load_bottle(&agent.bottle, &mut problems)?,
            None => None,
        };
        match (agent, bottle) {
            (Some(agent), Some(bottle)) => Ok((agent, bottle)),
            _ => Err(InvalidManifest(problems.into_reports()).into()),
        }
    }

    /// The agent alone, for a list that a broken bottle must not break.
    ///
    /// # Errors
    /// All errors of the agent's file.
    pub fn agent(&self, file: &AgentFile) -> Result<Agent, ManifestError> {
        let source = self.read(&file.path)?;
        let mut problems = Problems::default();
        let agent = Agent::decode(&file.name, &source, &mut problems);
        agent.ok_or_else(|| InvalidManifest(problems.into_reports()).into())
    }

    pub fn bottle_names(&self) -> Vec<BottleName> {
        markdown_names(&self.host.home.bottles())
    }

    /// The file that `bottle edit` opens.
    ///
    /// # Errors
    /// No such agent.
    pub fn find(&self, name: &AgentName) -> Result<AgentFile, ManifestError> {
        let agents = self.agents();
        if let Some(file) = agents.iter().find(|file| file.name == *name) {
            return Ok(file.clone());
        }
        let folders = [self.host.home.agents(), self.local_agents()];
        for folder in [self.host.home.path(), &self.host.folder] {
            let old = folder.join(OLD_MANIFEST);
            if agents.is_empty() && old.is_file() {
                return Err(ManifestError::OldFormat { file: self.host.shorten(&old) });
            }
        }
        let known: Vec<&str> = agents.iter().map(|file| file.name.as_str()).collect();
        Err(ManifestError::UnknownAgent {
            name: name.clone(),
            near: nearest(name.as_str(), &known).map(str::to_owned),
            searched: folders.iter().map(|folder| self.host.shorten(folder)).collect(),
        })
    }

    /// The chain from a bottle to its last parent, joined. `None` where anything was reported.
    fn load_bottle(
        &self,
        wanted: &Placed<BottleName>,
        problems: &mut Problems,
    ) -> Result<Option<Bottle>, ManifestError> {
        let mut chain: Vec<Bottle> = vec![];
        let mut next = Some(wanted.clone());
        while let Some(wanted) = next {
            let name = wanted.value();
            if chain.iter().any(|bottle| bottle.name == *name) {
                let error = wanted.at.error(format!("`{name}` extends itself in the end"));
                problems.push(&wanted.source, error.with_hint("remove one of the `extends` of this circle"));
                return Ok(None);
            }
            let path = self.host.home.bottle(name);
            if !path.is_file() {
                problems.push(&wanted.source, self.unknown_bottle(&wanted));
                return Ok(None);
            }
            let source = self.read(&path)?;
            let Some(bottle) = Bottle::decode(name, &source, problems) else { return Ok(None) };
            next = bottle.extends.clone().map(|at| Placed { at, source });
            chain.push(bottle);
        }
        Ok(chain.into_iter().rev().reduce(|parent, mut child| {
            child.inherit(parent);
            child
        }))
    }

    fn unknown_bottle(&self, wanted: &Placed<BottleName>) -> Diagnostic {
        let name = wanted.value();
        let known = self.bottle_names();
        let known: Vec<&str> = known.iter().map(BottleName::as_str).collect();
        let hint = match nearest(name.as_str(), &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write `{}`, or run `bottle init`", self.host.shorten(&self.host.home.bottle(name))),
        };
        wanted.at.error(format!("no bottle `{name}`")).with_hint(hint)
    }

    fn read(&self, path: &Path) -> Result<Arc<Source>, ManifestError> {
        let shown = self.host.shorten(path);
        let unreadable = |source| ManifestError::Unreadable { file: shown.clone(), source };
        if self.leads_out(path).map_err(unreadable)? {
            return Err(ManifestError::Elsewhere { file: shown });
        }
        let facts = fs::metadata(path).map_err(unreadable)?;
        if !facts.is_file() || facts.len() > LONGEST {
            return Err(ManifestError::NoText { file: shown });
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        Ok(Source::new(path, shown, text)?)
    }

    /// Whether a file of the working directory is somewhere else: a link of a cloned repository could carry a file of the
    /// host into the bottle, as the agent's prompt.
    fn leads_out(&self, path: &Path) -> io::Result<bool> {
        if !path.starts_with(self.local()) || path.starts_with(self.host.home.path()) {
            return Ok(false);
        }
        Ok(!path.canonicalize()?.starts_with(self.host.folder.canonicalize()?))
    }

    fn files_in(&self, folder: &Path) -> Vec<AgentFile> {
        let file = |name: AgentName| AgentFile { path: folder.join(format!("{name}.md")), name };
        markdown_names(folder).into_iter().map(file).collect()
    }

    fn local(&self) -> PathBuf {
        self.host.folder.join(".claude-bottle")
    }

    fn local_agents(&self) -> PathBuf {
        self.local().join("agents")
    }
}

#[derive(Debug, Error)]
pub enum ManifestError {
    #[error(transparent)]
    Invalid(#[from] InvalidManifest),
    #[error("`{file}` leads out of the working directory")]
    Elsewhere { file: String },
    #[error("`{file}` is no text file of at most 1 MiB")]
    NoText { file: String },
    #[error("`{file}` is in the old format, which is no longer read")]
    OldFormat { file: String },
    #[error("no agent `{name}`")]
    UnknownAgent { name: AgentName, near: Option<String>, searched: Vec<String> },
    #[error("`{file}` cannot be read")]
    Unreadable { file: String, source: io::Error },
}

impl Explain for ManifestError {
    fn details(&self) -> Option<String> {
        match self {
            Self::Invalid(invalid) => invalid.details(),
            _ => None,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Invalid(_) | Self::NoText { .. } => vec![],
            Self::Elsewhere { .. } => {
                vec!["put the file itself there, or move it to `~/.claude-bottle/agents`".to_owned()]
            }
            Self::OldFormat { .. } => vec![
                "each bottle and each agent is a Markdown file now: `bottles/NAME.md`, `agents/NAME.md`".to_owned(),
                "`bottle init` writes a first pair".to_owned(),
            ],
            Self::UnknownAgent { near: Some(near), .. } => vec![format!("did you mean `{near}`?")],
            Self::UnknownAgent { searched, .. } => {
                let folders: Vec<String> = searched.iter().map(|folder| format!("`{folder}`")).collect();
                vec![
                    format!("agents are files `NAME.md` in {}; `bottle list` shows them", folders.join(" or ")),
                    "`bottle init` writes a first pair of manifests".to_owned(),
                ]
            }
            Self::Unreadable { .. } => vec!["check the file's permissions and that it is text in UTF-8".to_owned()],
        }
    }
}

/// The names of the `.md` files of a folder, in order; other names are no manifests.
fn markdown_names<T: FromStr + Ord>(folder: &Path) -> Vec<T> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    let name = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".md")?.parse().ok();
    let mut names: Vec<T> = entries.flatten().filter_map(name).collect();
    names.sort();
    names
}

fn parse<T: FromStr<Err: Display>>(node: &Node<'_, '_>, log: &mut Diagnostics) -> Option<T> {
    node.text(log)?.parse().map_err(|error: T::Err| log.push(node.error(error.to_string()))).ok()
}

/// The frontmatter holds nothing at all.
fn empty(hint: &str) -> Diagnostic {
    let line = source::FRONTMATTER_LINE;
    let message = "the frontmatter is empty".to_owned();
    Diagnostic { line, column: 1, length: 1, message, hint: Some(hint.to_owned()) }
}

const LONGEST: u64 = 1 << 20;

const OLD_MANIFEST: &str = "claude-bottle.json";
