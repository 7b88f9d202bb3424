//! `bottle dashboard`: the bottles that run, what their agents ask for, and the operator's decision about it. Here nothing is
//! put in force: a decision is left for the bottle's own process.

mod exchange;
mod live;
mod state;
mod view;

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::str::FromStr;
use std::time::Duration;

use serde_json::json;
use shared::supervise::Outcome;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use self::exchange::Exchange;
use super::{block_on, print_json};
use crate::backend::{ActiveBottle, Backend, Extent};
use crate::cli::DashboardArgs;
use crate::diagnostics::{Explain, Failure};
use crate::exit::Exit;
use crate::home::Home;
use crate::host::Host;
use crate::printer::{Printer, Table};
use crate::state::{Identity, States};
use crate::supervise::{Audit, Decision, Queue, Settled, Verdict, Waiting, now};

pub(super) fn run(args: DashboardArgs, host: &Host, printer: Printer) -> Result<Exit, Failure> {
    let DashboardArgs { once, json, approve, reject, because } = args;
    let decided = match (approve, reject) {
        (Some(proposed), _) => Some((proposed, Verdict::Approve)),
        (None, Some(proposed)) => Some((proposed, Verdict::Reject)),
        (None, None) => None,
    };
    if let Some((proposed, verdict)) = decided {
        let wanted = Decide { proposed, verdict, words: because };
        return block_on(async {
            let settled = decide(&host.home, &wanted).await?;
            printer.step(&told(&wanted.proposed, &settled));
            Ok(if settled.outcome == Outcome::Refused { Exit::Failure } else { Exit::Success })
        });
    }
    if once || json {
        return block_on(print(host, if json { Form::Json } else { Form::Text }, printer));
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(DashboardError::NoTerminal.into());
    }
    live::show(super::backend(host)?, host.home.clone())?;
    Ok(Exit::Success)
}

#[derive(Clone, Copy)]
enum Form {
    Json,
    Text,
}

async fn print(host: &Host, form: Form, printer: Printer) -> Result<Exit, Failure> {
    let backend = super::backend(host)?;
    let mut bottles = backend.list_active().await?;
    bottles.sort_by(|a, b| (&a.started, &a.identity).cmp(&(&b.started, &b.identity)));
    let mut exchanges = vec![];
    for ActiveBottle { identity, .. } in &bottles {
        let Ok(bottle) = identity.parse() else { continue };
        let hear = |line: &str| exchanges.extend(Exchange::of(identity, line));
        // A bottle that ended meanwhile has none.
        let _ = backend.records(&bottle, PAST, Extent::SoFar, hear).await;
    }
    let waiting = waiting(&host.home)?;
    match form {
        Form::Json => print_json(&as_json(&bottles, &exchanges, &waiting), printer),
        Form::Text => {
            if bottles.is_empty() {
                printer.step("no bottle runs");
            } else {
                printer.data(&bottles_table(&bottles));
            }
            if !exchanges.is_empty() {
                printer.data(&format!("\n{}", exchanges_table(&exchanges)));
            }
            if waiting.is_empty() {
                printer.step("no proposal waits");
            } else {
                printer.data(&format!("\n{}", waiting_table(&waiting)));
            }
        }
    }
    Ok(Exit::Success)
}

/// `IDENTITY/NUMBER`: one proposal of one bottle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Proposed {
    pub(super) identity: Identity,
    pub(super) number: u32,
}

impl FromStr for Proposed {
    type Err = DashboardError;

    fn from_str(text: &str) -> Result<Self, DashboardError> {
        let bad = || DashboardError::Proposed(text.to_owned());
        let (identity, number) = text.split_once('/').ok_or_else(bad)?;
        Ok(Self { identity: identity.parse().map_err(|_| bad())?, number: number.parse().map_err(|_| bad())? })
    }
}

impl fmt::Display for Proposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.identity, self.number)
    }
}

/// A decision that the operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Decide {
    proposed: Proposed,
    verdict: Verdict,
    /// For the agent.
    words: Option<String>,
}

/// What waits for a decision in the bottles of this home that live.
fn waiting(home: &Home) -> Result<Vec<(Proposed, Waiting)>, Failure> {
    let mut all = vec![];
    for identity in States(home).live()? {
        let waiting = Queue::new(&home.queue(&identity)).waiting()?;
        all.extend(waiting.into_iter().map(|one| (Proposed { identity: identity.clone(), number: one.number }, one)));
    }
    Ok(all)
}

/// Leaves a decision, and returns when the bottle's process has carried it out.
async fn decide(home: &Home, wanted: &Decide) -> Result<Settled, Failure> {
    let Decide { proposed, verdict, words } = wanted;
    let Proposed { identity, number } = proposed;
    if !States(home).live()?.contains(identity) {
        return Err(DashboardError::NotRunning(identity.clone()).into());
    }
    let queue = Queue::new(&home.queue(identity));
    let words = words.as_ref().map(|words| words.split_whitespace().collect::<Vec<_>>().join(" "));
    let decision = Decision::new(*verdict, words.filter(|words| !words.is_empty()), now());
    queue.decide(*number, &decision)?;
    let audit = Audit::new(&home.audit());
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if queue.is_settled(*number)
            && let Some(settled) = audit.read(&decision.decided, identity.as_str(), *number)?
        {
            return Ok(settled);
        }
        sleep(BETWEEN_LOOKS).await;
    }
    Err(DashboardError::NotCarriedOut(proposed.clone()).into())
}

/// One line about what came of a decision.
fn told(proposed: &Proposed, settled: &Settled) -> String {
    let words = settled.words.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
    match settled.outcome {
        Outcome::Approved => format!("{proposed} is approved and in force until the bottle ends: {}", settled.proposal),
        Outcome::Rejected => format!("{proposed} is rejected{words}"),
        Outcome::Refused => format!("{proposed} is not in force{words}"),
    }
}

fn bottles_table(bottles: &[ActiveBottle]) -> String {
    let mut table = Table::new(["IDENTITY", "AGENT", "BOTTLE", "STARTED", "RUNNING"]);
    for ActiveBottle { identity, agent, bottle, started, running, .. } in bottles {
        table.push([identity.clone(), agent.clone(), bottle.clone(), started.clone(), running.join(" ")]);
    }
    table.to_string()
}

fn waiting_table(waiting: &[(Proposed, Waiting)]) -> String {
    let mut table = Table::new(["PROPOSAL", "ASKS FOR", "THE AGENT SAYS"]);
    for (proposed, one) in waiting {
        table.push([proposed.to_string(), one.proposal.to_string(), one.proposal.reason().to_owned()]);
    }
    table.to_string()
}

fn exchanges_table(exchanges: &[Exchange]) -> String {
    let mut table = Table::new(["EXCHANGE OF", "TIME", "STATUS", "REQUEST", "OUTCOME"]);
    for one in exchanges {
        let why = if one.reason.is_empty() { String::new() } else { format!(": {}", one.reason) };
        let status = if one.status.is_empty() { "-" } else { &one.status };
        table.push([
            one.identity.clone(),
            one.time_of_day().to_owned(),
            status.to_owned(),
            one.request.clone(),
            format!("{}{why}", one.outcome.name()),
        ]);
    }
    table.to_string()
}

fn as_json(bottles: &[ActiveBottle], exchanges: &[Exchange], waiting: &[(Proposed, Waiting)]) -> serde_json::Value {
    let waiting = waiting.iter().map(|(Proposed { identity, number }, Waiting { asked, proposal, .. })| {
        json!({"identity": identity.as_str(), "number": number, "asked": asked, "proposal": proposal})
    });
    let exchanges: Vec<_> = exchanges.iter().map(Exchange::to_json).collect();
    json!({ "bottles": bottles, "exchanges": exchanges, "proposals": waiting.collect::<Vec<_>>() })
}

#[derive(Debug, Error)]
pub(crate) enum DashboardError {
    #[error("`{0}` is no proposal: write it as `IDENTITY/NUMBER`")]
    Proposed(String),
    #[error("there is no terminal to show a dashboard on")]
    NoTerminal,
    #[error("the terminal cannot be used")]
    Terminal(#[source] io::Error),
    #[error("no bottle `{0}` of this home runs")]
    NotRunning(Identity),
    #[error("`{0}` is decided, and its bottle has not carried it out")]
    NotCarriedOut(Proposed),
}

impl Explain for DashboardError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Proposed(_) | Self::NotRunning(_) => {
                vec!["`bottle dashboard --once` shows what runs and what waits".to_owned()]
            }
            Self::NoTerminal | Self::Terminal(_) => vec!["`--once` prints it, `--json` as data".to_owned()],
            Self::NotCarriedOut(_) => vec!["`bottle list active` shows whether it still runs".to_owned()],
        }
    }
}

/// A proxy takes a table in milliseconds, an engine its time.
const PATIENCE: Duration = Duration::from_secs(15);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Records of each bottle that are printed.
const PAST: usize = 10;
