//! Everything that a backend needs to know to launch one bottle, resolved and validated: after this no manifest is read and
//! no variable of the host is looked up. Plain data; building it touches neither the engine nor the disk.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use shared::routes::Routes;
use shared::supervise::Proposal;

use crate::name::{AgentName, BottleName, SkillName, Variable};
use crate::secret::Secret;
use crate::spec::{Control, Dlp, Workdir};
use crate::state::Identity;
use crate::supervise::grants;

/// One bottle, ready to be launched.
pub struct Plan {
    pub identity: Identity,
    pub agent: AgentName,
    pub bottle: BottleName,
    pub paths: Paths,
    pub egress: Egress,
    pub env: AgentEnv,
    /// The body of the agent's manifest; may be empty.
    pub prompt: String,
    pub skills: Vec<Skill>,
    pub git: Vec<GitRemote>,
    pub supervise: Supervise,
    /// What the operator approved in an earlier life of this bottle, on top of `egress.routes`.
    pub granted: Vec<Proposal>,
    pub dlp: Dlp,
    pub images: Images,
    pub command: AgentCommand,
    pub workdir: Workdir,
    /// Where the agent's session is kept, when it is: written at the teardown, read by a launch that finds it there.
    pub transcript: Option<PathBuf>,
}

/// Folders of the host that belong to this bottle. They are made by `bottle start` after the user said yes, and locked for
/// as long as the bottle lives (`state.rs`); a backend may write into them and removes nothing there.
#[derive(Debug, Clone)]
pub struct Paths {
    /// `~/.claude-bottle`: whose bottle this is, where several homes share an engine.
    pub home: PathBuf,
    /// `~/.claude-bottle/state/IDENTITY`
    pub state: PathBuf,
    /// `~/.claude-bottle/queue/IDENTITY`: proposals that wait for the operator.
    pub queue: PathBuf,
    /// `~/.claude-bottle/audit`
    pub audit: PathBuf,
}

/// What `egress-proxy` is told.
pub struct Egress {
    /// The proxy's table: `auth.source` names a slot of `tokens`, `auth.placeholder` one of `placeholders`.
    pub routes: Routes,
    /// The credentials, in slot order.
    pub tokens: Vec<TokenSlot>,
    /// The stand-ins that the agent holds, in slot order; the proxy is told, so that it knows one out of its place.
    pub placeholders: Vec<PlaceholderSlot>,
    /// Ranges given as `--allow-upstream-cidr`.
    pub allow_cidr: Vec<IpNet>,
    /// PEM text of a company's own CA, given as `--upstream-ca`.
    pub upstream_ca: Option<String>,
    /// A user's own rules for the scan; sent to the proxy's standard input.
    pub scan_rules: Option<ScanRules>,
}

/// A rules file in gitleaks' format.
pub struct ScanRules {
    /// As the preflight names the file.
    pub shown: String,
    pub text: String,
    /// Whether the built-in rules stay beside its own.
    pub extends: bool,
}

/// One distinct `token_ref`.
pub struct TokenSlot {
    /// `EGRESS_PROXY_TOKEN_0`, `_1`, …
    pub slot: String,
    /// The host variable that it was read from; may be shown.
    pub source: Variable,
    pub value: Secret,
}

/// One distinct `placeholder`. The value is no secret; it is in [`AgentEnv::public`] under `variable` already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceholderSlot {
    /// `EGRESS_PROXY_PLACEHOLDER_0`, `_1`, …
    pub slot: String,
    /// The agent's variable.
    pub variable: Variable,
    pub value: String,
}

/// The agent's variables that the manifest asks for. (Proxy and trust variables are the backend's own.)
#[derive(Default)]
pub struct AgentEnv {
    /// The names that the preflight shows, in the manifest's order.
    pub named: Vec<Variable>,
    /// Literals, placeholders and Claude Code's own switches: may stand in the container's configuration.
    pub public: Vec<(Variable, String)>,
    /// From the host's environment or the terminal: given to the agent's exec only.
    pub secret: Vec<(Variable, Secret)>,
    /// Still to be asked on the terminal. `bottle start` asks after the user said yes and moves the answers to `secret`,
    /// so that a backend's `launch` always finds it empty.
    pub questions: Vec<Question>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub variable: Variable,
    pub text: String,
}

/// A folder to copy to the agent's `~/.claude/skills/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skill {
    pub name: SkillName,
    pub folder: PathBuf,
}

/// One repository behind git-gate: `git://git-gate/NAME.git` for the agent, `upstream` for the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitRemote {
    pub name: String,
    /// `ssh://[USER@]HOST[:PORT]/PATH`
    pub upstream: String,
    /// A private key of the host; read by the launcher, given to git-gate, never to the agent.
    pub identity_file: PathBuf,
    /// `TYPE BASE64`, without a host.
    pub known_host_key: String,
    pub extra_hosts: Vec<(String, IpAddr)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supervise {
    Off,
    On,
}

/// Where images come from, when not built from the ones we ship.
#[derive(Debug, Clone, Default)]
pub struct Images {
    /// `CLAUDE_BOTTLE_IMAGE`, else the manifest's `image`, else ours.
    pub agent: Option<String>,
    /// `CLAUDE_BOTTLE_EGRESS_PROXY_IMAGE`
    pub egress_proxy: Option<String>,
    /// `CLAUDE_BOTTLE_GIT_GATE_IMAGE`
    pub git_gate: Option<String>,
    /// `CLAUDE_BOTTLE_SUPERVISE_IMAGE`
    pub supervise: Option<String>,
    /// `CLAUDE_BOTTLE_PIPELOCK_IMAGE`
    pub pipelock: Option<String>,
    /// `CLAUDE_BOTTLE_PIPELOCK_BIN`: wins over the image; no registry is asked.
    pub pipelock_bin: Option<PathBuf>,
}

/// What runs in the bottle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentCommand {
    pub program: AgentProgram,
    /// What the user wrote behind `--`.
    pub arguments: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentProgram {
    /// Claude Code with its permission prompts off: the bottle is the permission.
    ClaudeCode { control: Control, session: Session },
    /// The manifest's `command`.
    Custom(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// `bottle resume`
    Continue,
    New,
}

impl Plan {
    /// The table that the proxy enforces: the manifest's, and what the operator approved.
    pub fn table(&self) -> Routes {
        grants::table(&self.egress.routes, &self.granted)
    }
}

impl Egress {
    /// What the proxy's stdin gets under `tokens`: every slot, credentials and stand-ins, by name.
    pub fn secrets(&self) -> BTreeMap<String, &str> {
        let tokens = self.tokens.iter().map(|token| (token.slot.clone(), token.value.expose()));
        let placeholders = self.placeholders.iter().map(|slot| (slot.slot.clone(), slot.value.as_str()));
        tokens.chain(placeholders).collect()
    }
}

impl AgentCommand {
    /// The program and its arguments, for an agent that finds its prompt in `prompt_file`.
    pub fn argv(&self, prompt_file: &str) -> Vec<String> {
        let mut argv = match &self.program {
            AgentProgram::Custom(words) => words.clone(),
            AgentProgram::ClaudeCode { control, session } => {
                let mut argv = vec!["claude".to_owned(), "--dangerously-skip-permissions".to_owned()];
                argv.extend(["--append-system-prompt-file".to_owned(), prompt_file.to_owned()]);
                if *control == Control::Remote {
                    argv.push("--remote-control".to_owned());
                }
                if *session == Session::Continue {
                    argv.push("--continue".to_owned());
                }
                argv
            }
        };
        argv.extend(self.arguments.iter().cloned());
        argv
    }
}
