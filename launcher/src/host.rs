//! The host as the user's shell sees it: variables, folders. The only reader of the environment; taken once, so that a test
//! can bring its own.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::diagnostics::Explain;
use crate::home::Home;
use crate::plan::Images;

#[derive(Debug)]
pub struct Host {
    /// Never shown: it holds tokens.
    variables: Variables,
    pub home: Home,
    /// The user's own folder, for `~/` and `~/.claude/skills`.
    pub user: PathBuf,
    /// The working directory.
    pub folder: PathBuf,
}

/// The environment. `Debug` shows no value.
pub struct Variables(BTreeMap<String, String>);

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} variables", self.0.len())
    }
}

impl Host {
    /// # Errors
    /// No home folder, or no working directory.
    pub fn current() -> Result<Self, HostError> {
        // A variable that is no UTF-8 is nothing that a manifest could name.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let folder = env::current_dir().map_err(HostError::WorkingDirectory)?;
        Self::new(env::vars_os().filter_map(text).collect(), folder)
    }

    /// # Errors
    /// Neither `HOME` nor `CLAUDE_BOTTLE_HOME`.
    pub fn new(variables: BTreeMap<String, String>, folder: PathBuf) -> Result<Self, HostError> {
        let given = |name: &str| variables.get(name).filter(|value| !value.is_empty());
        let user = given("HOME").map(PathBuf::from);
        let home = match (given(HOME), &user) {
            (Some(home), _) => folder.join(home),
            (None, Some(user)) => user.join(".claude-bottle"),
            (None, None) => return Err(HostError::Homeless),
        };
        let user = user.unwrap_or_else(|| home.clone());
        Ok(Self { variables: Variables(variables), home: Home::new(home), user, folder })
    }

    /// The same host, seen from another working directory.
    pub fn in_folder(self, folder: PathBuf) -> Self {
        Self { folder, ..self }
    }

    /// A variable's value; an empty one counts as missing.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The names of all variables, for suggestions.
    pub fn variable_names(&self) -> impl Iterator<Item = &str> {
        self.variables.0.keys().map(String::as_str)
    }

    /// `~/x` under the user's folder; anything else must be absolute.
    pub fn expand(&self, path: &str) -> Option<PathBuf> {
        match path.strip_prefix("~/") {
            Some(rest) => Some(self.user.join(rest)),
            None => Some(PathBuf::from(path)).filter(|path| path.is_absolute()),
        }
    }

    /// A path as a human writes it, with `~` for the user's folder.
    pub fn shorten(&self, path: &Path) -> String {
        match path.strip_prefix(&self.user) {
            Ok(rest) => format!("~/{}", rest.display()),
            Err(_) => path.display().to_string(),
        }
    }

    pub fn skills(&self) -> PathBuf {
        self.user.join(".claude").join("skills")
    }

    pub fn backend(&self) -> &str {
        self.variable(BACKEND).unwrap_or("docker")
    }

    pub fn images(&self) -> Images {
        let image = |name| self.variable(name).map(str::to_owned);
        Images {
            agent: image(IMAGE),
            egress_proxy: image(EGRESS_PROXY_IMAGE),
            git_gate: image(GIT_GATE_IMAGE),
            supervise: image(SUPERVISE_IMAGE),
            pipelock: image(PIPELOCK_IMAGE),
            pipelock_bin: self.variable(PIPELOCK_BIN).map(|path| self.folder.join(path)),
        }
    }

    /// `CLAUDE_BOTTLE_DRY_RUN` set to anything but `0`.
    pub fn wants_dry_run(&self) -> bool {
        self.variable(DRY_RUN).is_some_and(|value| value != "0")
    }
}

#[derive(Debug, Error)]
pub enum HostError {
    #[error("neither `CLAUDE_BOTTLE_HOME` nor `HOME` is set")]
    Homeless,
    #[error("the working directory cannot be read")]
    WorkingDirectory(#[source] std::io::Error),
}

impl Explain for HostError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Homeless => vec!["set `CLAUDE_BOTTLE_HOME` to the folder that holds `bottles/` and `agents/`".into()],
            Self::WorkingDirectory(_) => vec!["change to a folder that exists".into()],
        }
    }
}

pub const HOME: &str = "CLAUDE_BOTTLE_HOME";
/// `docker` is the default, and the only one so far.
pub const BACKEND: &str = "CLAUDE_BOTTLE_BACKEND";
/// As `--dry-run`.
pub const DRY_RUN: &str = "CLAUDE_BOTTLE_DRY_RUN";
/// The agent's image; wins over the manifest's `image`.
pub const IMAGE: &str = "CLAUDE_BOTTLE_IMAGE";
pub const EGRESS_PROXY_IMAGE: &str = "CLAUDE_BOTTLE_EGRESS_PROXY_IMAGE";
pub const GIT_GATE_IMAGE: &str = "CLAUDE_BOTTLE_GIT_GATE_IMAGE";
pub const SUPERVISE_IMAGE: &str = "CLAUDE_BOTTLE_SUPERVISE_IMAGE";
pub const PIPELOCK_IMAGE: &str = "CLAUDE_BOTTLE_PIPELOCK_IMAGE";
/// A static Linux binary from which the sidecar's image is made; no registry is asked.
pub const PIPELOCK_BIN: &str = "CLAUDE_BOTTLE_PIPELOCK_BIN";
