//! `bottle start`: prepare → preflight → question → launch.

use super::session::{self, Consent, Launch, Past};
use crate::cli::StartArgs;
use crate::diagnostics::Failure;
use crate::exit::Exit;
use crate::host::Host;
use crate::manifest::Manifests;
use crate::printer::Printer;
use crate::resolve::resolve;
use crate::spec::{Control, Spec, Workdir};
use crate::state::{Identity, Kept};

pub(super) fn run(args: StartArgs, host: &Host, printer: Printer) -> Result<Exit, Failure> {
    let StartArgs { agent, dry_run, cwd, yes, dlp, remote_control, keep, timings, arguments } = args;
    let printer = timings.told_by(printer);
    let consent = match (dry_run || host.wants_dry_run(), yes) {
        (true, _) => Consent::DryRun,
        (false, true) => Consent::Given,
        (false, false) => Consent::Ask,
    };
    let spec = Spec {
        agent,
        dlp: dlp.map(Into::into),
        workdir: if cwd { Workdir::CopyOf(host.folder.clone()) } else { Workdir::Empty },
        control: if remote_control { Control::Remote } else { Control::Terminal },
        arguments,
    };
    let manifests = Manifests::new(host);
    for warning in manifests.warnings() {
        printer.complain(&format!("warning: {warning}\n"));
    }
    let (agent, bottle) = manifests.load(&spec.agent)?;
    if bottle.command.is_some() && spec.control == Control::Remote {
        printer.complain("warning: `--remote-control` is Claude Code's; the bottle's own `command` runs without it\n");
    }
    let plan = resolve(&spec, &agent, &bottle, host, Identity::random(&spec.agent)?)?;
    let kept = if keep { Kept::Yes } else { Kept::No };
    session::run(Launch { spec, plan, consent, kept, past: Past::New }, host, printer)
}
