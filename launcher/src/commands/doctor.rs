//! `bottle doctor`: what speaks for and against bottles on this machine, and the fix for each.

use serde_json::json;

use super::{block_on, print_json};
use crate::backend::{Backend, Finding, Health};
use crate::cli::DoctorArgs;
use crate::diagnostics::Failure;
use crate::exit::Exit;
use crate::host::Host;
use crate::manifest::Manifests;
use crate::manifest::egress::host_variable;
use crate::printer::Printer;
use crate::state::States;

pub(super) fn run(args: &DoctorArgs, host: &Host, printer: Printer) -> Result<Exit, Failure> {
    let backend = super::backend(host)?;
    let mut findings = block_on(async {
        let mut findings = backend.diagnose(&host.images()).await;
        findings.extend(leftovers(&backend, host).await);
        Ok(findings)
    })?;
    findings.extend(manifests(host));
    if args.json {
        print_json(&json!(findings), printer);
    } else {
        printer.data(&as_text(&findings));
    }
    let bad = findings.iter().any(|finding| finding.health == Health::Bad);
    Ok(if bad { Exit::Failure } else { Exit::Success })
}

/// The manifests, and the variables that their routes need.
fn manifests(host: &Host) -> Vec<Finding> {
    let manifests = Manifests::new(host);
    let agents = manifests.agents();
    if agents.is_empty() {
        return vec![Finding::note("manifests", "no agent yet", "`bottle init` writes a first pair of manifests")];
    }
    let mut findings = vec![];
    let mut missing: Vec<String> = vec![];
    let mut valid = 0;
    for file in &agents {
        let Ok((_, bottle)) = manifests.load(&file.name) else {
            let fix = format!("`bottle info {}` shows the errors", file.name);
            findings.push(Finding::note("manifests", format!("agent `{}` is not valid", file.name), fix));
            continue;
        };
        valid += 1;
        for granted in bottle.egress.routes {
            if let Some(variable) = host_variable(&granted.route)
                && host.variable(variable).is_none()
            {
                missing.push(variable.to_owned());
            }
        }
    }
    missing.sort();
    missing.dedup();
    findings.insert(0, Finding::good("manifests", format!("{valid} of {} agents are valid", agents.len())));
    if missing.is_empty() {
        findings.push(Finding::good("tokens", "every variable that a route needs is set"));
    }
    findings.extend(
        missing.iter().map(|variable| {
            Finding::note("tokens", format!("`{variable}` is not set"), format!("`export {variable}=…`"))
        }),
    );
    findings
}

/// What killed bottles left; nothing is said of an engine that does not answer, for that is a finding already.
async fn leftovers<B: Backend>(backend: &B, host: &Host) -> Option<Finding> {
    let states = States(&host.home);
    let (live, dead) = match states.live().and_then(|live| Ok((live, states.orphans()?))) {
        Ok(sorted) => sorted,
        Err(error) => return Some(Finding::bad("leftovers", &error)),
    };
    let resources = backend.prepare_cleanup(&live).await.ok()?;
    Some(match resources.len() + dead.len() {
        0 => Finding::good("leftovers", "none"),
        count => Finding::note(
            "leftovers",
            format!("{count} containers, networks and states of killed bottles"),
            "`bottle cleanup` removes them",
        ),
    })
}

fn as_text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.subject.len()).max().unwrap_or_default();
    let mut text = String::new();
    for Finding { subject, health, text: words, fix } in findings {
        let mark = match health {
            Health::Bad => "bad ",
            Health::Good => "ok  ",
            Health::Note => "note",
        };
        text.push_str(&format!("{mark}  {subject:width$}  {words}\n"));
        if let Some(fix) = fix {
            text.push_str(&format!("      {:width$}  fix: {fix}\n", ""));
        }
    }
    text
}
