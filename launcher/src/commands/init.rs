//! `bottle init`: a few questions, then a working pair of manifests. It never overwrites a file.

use std::fmt::Display;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, BufRead, Write as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::str::FromStr;

use thiserror::Error;

use crate::cli::InitArgs;
use crate::diagnostics::{Explain, Failure};
use crate::exit::Exit;
use crate::host::Host;
use crate::manifest::Manifests;
use crate::name::{AgentName, BottleName, Variable};
use crate::printer::Printer;

pub(super) fn run(args: &InitArgs, host: &Host, printer: Printer) -> Result<Exit, Failure> {
    let ask = Interview { defaults: args.yes, printer };
    let agent: AgentName = ask.about("name of the agent", "claude")?;
    let agent_file = host.home.agent(&agent);
    refuse_existing(&agent_file, host)?;
    let bottle: BottleName = ask.about("name of its bottle", "dev")?;
    let bottle_file = host.home.bottle(&bottle);
    let token: Variable = ask.about("host variable that holds the Claude token", "CLAUDE_BOTTLE_OAUTH_TOKEN")?;
    let owner: GithubOwner = ask.about("GitHub owner whose repositories it may use (empty: none)", "")?;
    let mut variables = vec![token.to_string()];
    if bottle_file.exists() {
        printer.step(&format!("`{}` exists and is used as it is", host.shorten(&bottle_file)));
        variables.clear();
    } else {
        write(&bottle_file, &bottle_text(&token, &owner), host)?;
        printer.step(&format!("wrote {}", host.shorten(&bottle_file)));
        variables.extend((!owner.0.is_empty()).then(|| GITHUB_TOKEN.to_owned()));
    }
    write(&agent_file, &AGENT.replace("BOTTLE", bottle.as_str()), host)?;
    printer.step(&format!("wrote {}", host.shorten(&agent_file)));
    Manifests::new(host).load(&agent)?;
    let missing = variables.iter().filter(|name| host.variable(name).is_none());
    for name in missing {
        let source = if name == GITHUB_TOKEN { "a fine-grained token" } else { "`claude setup-token` makes one" };
        printer.step(&format!("next: export {name}=… ({source})"));
    }
    printer.step(&format!("next: bottle start {agent}"));
    Ok(Exit::Success)
}

struct Interview {
    /// Takes every default without asking.
    defaults: bool,
    printer: Printer,
}

impl Interview {
    /// Asks until the answer is usable; the end of input is an error, not an answer.
    fn about<T: FromStr<Err: Display>>(&self, question: &str, default: &str) -> Result<T, InitError> {
        let mut answer = default.to_owned();
        loop {
            if !self.defaults {
                let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
                self.printer.complain(&format!("{question}{shown}: "));
                let mut line = String::new();
                if io::stdin().lock().read_line(&mut line).map_err(InitError::Answer)? == 0 {
                    return Err(InitError::NoAnswer(question.to_owned()));
                }
                answer = if line.trim().is_empty() { default } else { line.trim() }.to_owned();
            }
            match answer.parse() {
                Ok(value) => return Ok(value),
                Err(error) if self.defaults => return Err(InitError::Default(error.to_string())),
                Err(error) => self.printer.complain(&format!("{error}\n")),
            }
        }
    }
}

/// A user or an organisation, or nobody.
struct GithubOwner(String);

impl FromStr for GithubOwner {
    type Err = InitError;

    fn from_str(text: &str) -> Result<Self, InitError> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if plain { Ok(Self(text.to_owned())) } else { Err(InitError::Owner(text.to_owned())) }
    }
}

fn bottle_text(token: &Variable, owner: &GithubOwner) -> String {
    let mut text = BOTTLE.replace("CLAUDE_TOKEN", token.as_str());
    if !owner.0.is_empty() {
        let github = GITHUB.replace("OWNER", &owner.0).replace("VARIABLE", GITHUB_TOKEN);
        text = text.replace("---\n\n", &format!("{github}---\n\n"));
    }
    text
}

fn refuse_existing(path: &Path, host: &Host) -> Result<(), InitError> {
    if path.exists() { Err(InitError::Exists(host.shorten(path))) } else { Ok(()) }
}

fn write(path: &Path, text: &str, host: &Host) -> Result<(), InitError> {
    let shown = host.shorten(path);
    let failed = |source| InitError::Write { file: shown.clone(), source };
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

#[derive(Debug, Error)]
pub(crate) enum InitError {
    #[error("the answer cannot be read")]
    Answer(#[source] io::Error),
    #[error("a default is not usable: {0}")]
    Default(String),
    #[error("`{0}` exists")]
    Exists(String),
    #[error("no answer to: {0}")]
    NoAnswer(String),
    #[error("`{0}` is no GitHub user or organisation")]
    Owner(String),
    #[error("`{file}` cannot be written")]
    Write { file: String, source: io::Error },
}

impl Explain for InitError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Exists(_) => vec!["choose another name, or change the file: `bottle edit NAME`".to_owned()],
            Self::NoAnswer(_) => vec!["`bottle init --yes` takes the defaults".to_owned()],
            Self::Answer(_) | Self::Default(_) | Self::Owner(_) => vec![],
            Self::Write { .. } => vec!["check the folder's owner, its permissions and the space left".to_owned()],
        }
    }
}

const GITHUB_TOKEN: &str = "GH_PAT";

const AGENT: &str = "---
bottle: BOTTLE
skills: []
---

You work without supervision in a sandbox. What you cannot reach is not granted: say so, and go on without it.
";

const BOTTLE: &str = "---
egress_proxy:
  routes:
    - host: api.anthropic.com
      auth: {scheme: Bearer, token_ref: CLAUDE_TOKEN, placeholder: CLAUDE_CODE_OAUTH_TOKEN}
---

What agents in this bottle may reach, and why. This text is for humans.
";

const GITHUB: &str = "    - host: api.github.com
      path_allowlist: [/repos/OWNER/]
      auth: {scheme: token, token_ref: VARIABLE, placeholder: GH_TOKEN}
";
