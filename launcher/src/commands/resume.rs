//! `bottle resume`: the launch that was recorded, again, under the same identity.

use super::session::{self, Consent, Launch, Past};
use crate::cli::ResumeArgs;
use crate::diagnostics::Failure;
use crate::exit::Exit;
use crate::host::Host;
use crate::manifest::Manifests;
use crate::plan::{AgentProgram, Session, Supervise};
use crate::printer::Printer;
use crate::resolve::resolve;
use crate::state::{Kept, StateError, States};
use crate::supervise::grants;

pub(super) fn run(args: &ResumeArgs, host: Host, printer: Printer) -> Result<Exit, Failure> {
    let printer = args.timings.told_by(printer);
    let states = States(&host.home);
    let metadata = states.metadata(&args.identity)?;
    if states.live()?.contains(&args.identity) {
        return Err(StateError::Running(args.identity.clone()).into());
    }
    if !states.kept()?.contains(&args.identity) {
        return Err(StateError::NotKept(args.identity.clone()).into());
    }
    let spec = metadata.spec().ok_or_else(|| StateError::NotKept(args.identity.clone()))?;
    let (identity, yes) = (args.identity.clone(), args.yes);
    let host = host.in_folder(metadata.folder);
    let (agent, bottle) = Manifests::new(&host).load(&spec.agent)?;
    let mut plan = resolve(&spec, &agent, &bottle, &host, identity)?;
    if let AgentProgram::ClaudeCode { session, .. } = &mut plan.command.program {
        *session = Session::Continue;
    }
    if plan.supervise == Supervise::On {
        plan.granted = grants::load(&plan.paths.state)?;
    }
    let consent = if yes { Consent::Given } else { Consent::Ask };
    session::run(Launch { spec, plan, consent, kept: Kept::Yes, past: Past::Resumed }, &host, printer)
}
