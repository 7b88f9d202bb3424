//! `bottle cleanup`: what killed bottles left behind, in one plan and one question. A bottle whose process lives is never
//! touched, not even one that started while the question stood.

use std::collections::BTreeSet;
use std::fmt;

use super::block_on;
use super::session::confirm;
use crate::backend::{Backend, Orphan, OrphanKind};
use crate::cli::CleanupArgs;
use crate::diagnostics::Failure;
use crate::exit::Exit;
use crate::host::Host;
use crate::printer::Printer;
use crate::state::{Identity, StateError, States};

pub(super) fn run(args: &CleanupArgs, host: &Host, printer: Printer) -> Result<Exit, Failure> {
    block_on(on(&super::backend(host)?, args, host, printer))
}

async fn on<B: Backend>(backend: &B, args: &CleanupArgs, host: &Host, printer: Printer) -> Result<Exit, Failure> {
    let states = States(&host.home);
    let plan = Cleanup::prepare(backend, args.identity.as_ref(), states).await?;
    if plan.is_empty() {
        printer.step("nothing to clean up");
        return Ok(Exit::Success);
    }
    printer.complain(&plan.to_string());
    if !args.yes && !confirm("remove all of this?", printer) {
        printer.step("nothing was removed");
        return Ok(Exit::Success);
    }
    plan.carry_out(backend, states, printer).await?;
    Ok(Exit::Success)
}

/// What would be removed.
struct Cleanup {
    resources: Vec<Orphan>,
    states: BTreeSet<Identity>,
}

impl Cleanup {
    async fn prepare<B: Backend>(backend: &B, named: Option<&Identity>, states: States<'_>) -> Result<Self, Failure> {
        let live = states.live()?;
        let mut dead = states.orphans()?;
        if let Some(identity) = named {
            if live.contains(identity) {
                return Err(StateError::Running(identity.clone()).into());
            }
            dead.extend(states.kept()?.into_iter().filter(|kept| kept == identity));
        }
        let mut resources = backend.prepare_cleanup(&live).await?;
        resources.sort();
        Ok(Self { resources, states: dead })
    }

    fn is_empty(&self) -> bool {
        self.resources.is_empty() && self.states.is_empty()
    }

    async fn carry_out<B: Backend>(mut self, backend: &B, states: States<'_>, printer: Printer) -> Result<(), Failure> {
        let live = states.live()?;
        self.resources.retain(|orphan| !live.contains(&orphan.identity));
        self.states.retain(|identity| !live.contains(identity));
        self.resources.sort_by_key(|orphan| orphan.kind);
        backend.cleanup(&self.resources).await?;
        for identity in &self.states {
            states.remove(identity)?;
        }
        printer.step("removed");
        Ok(())
    }
}

impl fmt::Display for Cleanup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resources = self.resources.iter().map(|orphan| &orphan.identity);
        let identities: BTreeSet<&Identity> = resources.chain(&self.states).collect();
        for identity in identities {
            writeln!(f, "{identity}")?;
            for orphan in self.resources.iter().filter(|orphan| orphan.identity == *identity) {
                let kind = match orphan.kind {
                    OrphanKind::Container => "container",
                    OrphanKind::Network => "network",
                };
                writeln!(f, "  {kind:11}{}", orphan.name)?;
            }
            if self.states.contains(identity) {
                writeln!(f, "  {:11}{identity}", "state")?;
            }
        }
        Ok(())
    }
}
