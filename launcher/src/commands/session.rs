//! From a plan to an exit code: preflight, question, launch, attach, teardown. Whatever happens after the first resource was
//! created, everything is removed again before this returns.

use std::collections::BTreeSet;
use std::io::BufRead;

use super::{CommandError, block_on};
use crate::backend::{Backend, BackendError, Bottle, Orphan};
use crate::diagnostics::Failure;
use crate::exit::Exit;
use crate::host::Host;
use crate::interrupt::Interrupts;
use crate::plan::Plan;
use crate::preflight::Preflight;
use crate::printer::Printer;
use crate::secret::Secret;
use crate::spec::Spec;
use crate::state::{Ended, Identity, Kept, Metadata, State, States};

pub(super) struct Launch {
    pub(super) spec: Spec,
    pub(super) plan: Plan,
    pub(super) consent: Consent,
    pub(super) kept: Kept,
    pub(super) past: Past,
}

/// Whether the identity was used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    /// It may have left something behind, which bears the names of what is to be made.
    Resumed,
    New,
}

/// Whether the user agreed already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    Ask,
    /// Nothing may be created.
    DryRun,
    /// `--yes`
    Given,
}

pub(super) fn run(launch: Launch, host: &Host, printer: Printer) -> Result<Exit, Failure> {
    let backend = super::backend(host)?;
    printer.complain(&Preflight(&launch.plan).to_string());
    if launch.consent == Consent::DryRun {
        printer.step("dry run: nothing was created");
        return Ok(Exit::Success);
    }
    block_on(on(&backend, launch, host, printer))
}

async fn on<B: Backend>(backend: &B, launch: Launch, host: &Host, printer: Printer) -> Result<Exit, Failure> {
    let Launch { spec, mut plan, consent, kept, past } = launch;
    printer.timed("engine: probe", backend.probe(&plan)).await?;
    if !States(&host.home).orphans()?.is_empty() {
        printer.step("warning: killed bottles left something behind; `bottle cleanup` removes it");
    }
    if consent == Consent::Ask && !confirm("launch this agent?", printer) {
        printer.step("not launched");
        return Ok(Exit::Success);
    }
    answer_questions(&mut plan, printer)?;
    let interrupts = Interrupts::listen().map_err(CommandError::Signals)?;
    if kept == Kept::Yes {
        plan.transcript = Some(plan.paths.state.join(TRANSCRIPT));
    }
    let metadata = Metadata::new(&spec, &plan, host.backend(), host.folder.clone());
    let identity = plan.identity.clone();
    let state = State::create(&host.home, &identity, &metadata, kept)?;
    let outcome = match past {
        Past::New => Ok(()),
        Past::Resumed => clear(backend, &identity).await,
    };
    let outcome = match outcome {
        Ok(()) => live(backend, plan, &interrupts, printer).await,
        Err(error) => Err(error),
    };
    let ended = state.end();
    let exit = match (interrupts.received(), outcome) {
        (Some(signal), Err(Failed(BackendError::Interrupted)) | Ok(_)) => {
            printer.step(&format!("interrupted: {identity} was removed"));
            Exit::Interrupted(signal)
        }
        (_, Err(Failed(error))) => return Err(error.into()),
        (None, Ok(exit)) => exit,
    };
    if ended? == Ended::Kept {
        printer
            .step(&format!("state kept: `bottle resume {identity}` continues, `bottle cleanup {identity}` removes it"));
    }
    Ok(exit)
}

/// Removes what a killed bottle of this identity left, whose state is ours now.
async fn clear<B: Backend>(backend: &B, identity: &Identity) -> Result<(), Failed> {
    let orphans = backend.prepare_cleanup(&BTreeSet::new()).await.map_err(Failed)?;
    let own: Vec<Orphan> = orphans.into_iter().filter(|orphan| orphan.identity == *identity).collect();
    backend.cleanup(&own).await.map_err(Failed)
}

/// A backend's failure, its resources removed.
struct Failed(BackendError);

async fn live<B: Backend>(backend: &B, plan: Plan, interrupts: &Interrupts, printer: Printer) -> Result<Exit, Failed> {
    let mut bottle = backend.launch(plan, &interrupts.stop, printer).await.map_err(Failed)?;
    let attached = bottle.attach(&interrupts.stop).await;
    let removed = bottle.teardown().await;
    match (attached, removed) {
        (Ok(exit), Ok(())) => Ok(Exit::Agent(exit)),
        (Ok(_), Err(left)) => Err(Failed(left)),
        (Err(error), Ok(())) => Err(Failed(error)),
        (Err(error), Err(left)) => {
            printer.complain(&format!("warning: {left}; `bottle cleanup` removes what is left\n"));
            Err(Failed(error))
        }
    }
}

/// Asks on stderr and reads one line; anything but yes is no.
pub(super) fn confirm(question: &str, printer: Printer) -> bool {
    printer.complain(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

fn answer_questions(plan: &mut Plan, printer: Printer) -> Result<(), CommandError> {
    for question in std::mem::take(&mut plan.env.questions) {
        printer.complain(&format!("{} ({}): ", question.text, question.variable));
        let answer = rpassword::read_password();
        let value =
            answer.map_err(|source| CommandError::NoTerminal { variable: question.variable.to_string(), source })?;
        plan.env.secret.push((question.variable, Secret::new(value)));
    }
    Ok(())
}

const TRANSCRIPT: &str = "transcript.tar";
