//! The command line: clap types whose comments are the help texts, and the way from a verb to its command. No work is done
//! here.

mod timings;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::timings::Timings;
use crate::commands::{self, Field, Proposed};
use crate::exit::Exit;
use crate::name::AgentName;
use crate::printer::Printer;
use crate::spec::Dlp;
use crate::state::Identity;

/// Run a coding agent in a throw-away bottle that holds none of your secrets and reaches only what its manifest grants.
#[derive(Debug, Parser)]
#[command(name = "bottle", bin_name = "bottle", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Manifests live in ~/.claude-bottle (or CLAUDE_BOTTLE_HOME). `bottle init` writes a first pair."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Launch an agent in a new bottle, attach to it, and remove everything when it ends
    Start(StartArgs),
    /// Launch a bottle whose state was kept once more
    Resume(ResumeArgs),
    /// List agents, or the bottles that run
    List(ListArgs),
    /// Show everything that an agent would be granted, and from which line
    Info(InfoArgs),
    /// Explain which route and rule would decide a request, offline
    Check(CheckArgs),
    /// Show the bottles that run and what their agents ask for, and decide it
    Dashboard(DashboardArgs),
    /// Print what the proxy of a running bottle recorded
    Logs(LogsArgs),
    /// Remove what killed bottles left behind
    Cleanup(CleanupArgs),
    /// Look for what keeps bottles from starting here, and say the fix
    Doctor(DoctorArgs),
    /// Try to break out of an agent's bottle, from inside
    Selftest(SelftestArgs),
    /// Write a first pair of manifests
    Init(InitArgs),
    /// Open a manifest in your editor, then say what is wrong with it
    Edit(EditArgs),
    /// Print the JSON Schema of a manifest, for editors
    Schema(SchemaArgs),
    /// Print a completion script for your shell
    Completions(CompletionsArgs),
}

/// Launch an agent in a new bottle, attach to it, and remove everything when it ends
///
/// Shows what the agent will be granted, asks, launches. The agent's exit code is passed on; 125 is a failure of bottle
/// itself, and "no" is 0.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The agent: a file NAME.md in ~/.claude-bottle/agents or ./.claude-bottle/agents
    pub(crate) agent: AgentName,
    /// Show what would be granted, and create nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Give the agent a copy of the working directory, with its .git
    #[arg(long)]
    pub(crate) cwd: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Who looks at what leaves; wins over the manifest
    #[arg(long, value_name = "MODE", value_enum)]
    pub(crate) dlp: Option<DlpMode>,
    /// Hand the session to Claude's remote control
    #[arg(long)]
    pub(crate) remote_control: bool,
    /// Keep the bottle's state when it ends, for `bottle resume`
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) timings: Timings,
    /// Arguments for the agent's command
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DlpMode {
    /// The built-in scan, then pipelock
    Both,
    /// pipelock alone
    Pipelock,
    /// The built-in scan alone; needs no pipelock
    Builtin,
    /// Nobody
    Off,
}

impl From<DlpMode> for Dlp {
    fn from(mode: DlpMode) -> Self {
        match mode {
            DlpMode::Both => Self::Both,
            DlpMode::Builtin => Self::Builtin,
            DlpMode::Off => Self::Off,
            DlpMode::Pipelock => Self::Pipelock,
        }
    }
}

/// List agents, or the bottles that run
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// What to list
    #[arg(value_enum, default_value = "agents", hide_default_value = true)]
    pub(crate) what: Listed,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Listed {
    /// Agents that can be started (the default)
    Agents,
    /// Bottles that run now
    Active,
}

/// Remove what killed bottles left behind
///
/// Containers, networks and state whose `bottle` process is gone, shown as one plan with one question. Bottles that run are
/// never touched. State that was kept goes only when its identity is given.
#[derive(Debug, Args)]
pub(crate) struct CleanupArgs {
    /// Remove the kept state of this bottle too
    pub(crate) identity: Option<Identity>,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// Launch a bottle whose state was kept once more
///
/// The same agent, arguments and identity as recorded by `start --keep`; manifests are read anew. Claude Code continues its
/// session.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The identity that `start` showed when it ended
    pub(crate) identity: Identity,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) timings: Timings,
}

/// Show everything that an agent would be granted, and from which line
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    pub(crate) agent: AgentName,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Explain which route and rule would decide a request, offline
///
/// The same judge as the proxy's, without scan and inspection. Exit code 0: allowed, 3: refused.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    pub(crate) agent: AgentName,
    /// GET, POST, …, as it would be sent
    pub(crate) method: String,
    /// https://HOST/PATH
    pub(crate) url: String,
    /// A field of the request, for rules that look at fields
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<Field>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show the bottles that run and what their agents ask for, and decide it
///
/// An agent of a bottle with `supervise: true` may ask for a host that no route names. It gets what you approve, over HTTPS
/// and without a credential, until its bottle ends. Decisions are kept in ~/.claude-bottle/audit.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("decision").args(["approve", "reject"]))]
pub(crate) struct DashboardArgs {
    /// Print once and exit
    #[arg(long)]
    pub(crate) once: bool,
    /// Print JSON, once
    #[arg(long)]
    pub(crate) json: bool,
    /// Approve this proposal and exit
    #[arg(long, value_name = "IDENTITY/NUMBER", conflicts_with_all = ["once", "json"])]
    pub(crate) approve: Option<Proposed>,
    /// Reject this proposal and exit
    #[arg(long, value_name = "IDENTITY/NUMBER", conflicts_with_all = ["once", "json"])]
    pub(crate) reject: Option<Proposed>,
    /// What the agent is told with the decision
    #[arg(long, value_name = "TEXT", requires = "decision")]
    pub(crate) because: Option<String>,
}

/// Print what the proxy of a running bottle recorded
///
/// One JSON record for each exchange on stdout, the proxy's messages on stderr.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// As `bottle list active` shows it
    pub(crate) identity: Identity,
    /// Go on until the bottle ends
    #[arg(long, short)]
    pub(crate) follow: bool,
}

/// Look for what keeps bottles from starting here, and say the fix
///
/// Exit code 125 when something does.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Try to break out of an agent's bottle, from inside
///
/// Brings the agent's bottle up, with a program that waits in place of the agent, and tries escapes from inside. An attempt
/// fails when something got through. Exit code 0: nothing did, 1: something did.
#[derive(Debug, Args)]
pub(crate) struct SelftestArgs {
    pub(crate) agent: AgentName,
    /// Who looks at what leaves; wins over the manifest
    #[arg(long, value_name = "MODE", value_enum)]
    pub(crate) dlp: Option<DlpMode>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Write a first pair of manifests
///
/// Asks a few questions and never overwrites a file.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Take the defaults
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// Open a manifest in your editor, then say what is wrong with it
#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    pub(crate) agent: AgentName,
    /// Open the agent's bottle instead
    #[arg(long)]
    pub(crate) bottle: bool,
}

/// Print the JSON Schema of a manifest, for editors
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    #[arg(value_enum)]
    pub(crate) kind: SchemaKind,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SchemaKind {
    Agent,
    Bottle,
}

/// Print a completion script for your shell
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Reads the command line, runs the verb, and says how it went.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print(); // nobody is left to hear of a failure to print
            return if error.use_stderr() { Exit::Usage } else { Exit::Success }.into();
        }
    };
    let printer = Printer::Normal;
    match commands::run(cli.verb, printer) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            printer.complain(&failure.render());
            Exit::Failure.into()
        }
    }
}
