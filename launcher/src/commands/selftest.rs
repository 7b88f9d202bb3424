//! `bottle selftest`: tries to break out of an agent's bottle, from inside and with all that the agent has. An attempt is
//! judged by what got through, never by what a program claims; what could not be tried is said, and is no pass.

mod attempts;
mod judge;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use self::attempts::{Attempt, Targets};
use self::judge::Verdict;
use super::{CommandError, block_on, print_json};
use crate::backend::{Backend, BackendError, Bottle};
use crate::cli::SelftestArgs;
use crate::diagnostics::Failure;
use crate::exit::Exit;
use crate::host::Host;
use crate::interrupt::Interrupts;
use crate::manifest::Manifests;
use crate::plan::Plan;
use crate::printer::{Printer, Table};
use crate::resolve::resolve;
use crate::secret::Secret;
use crate::spec::{Control, Spec, Workdir};
use crate::state::{Identity, Kept, Metadata, State};

pub(super) fn run(args: SelftestArgs, host: &Host, printer: Printer) -> Result<Exit, Failure> {
    let spec = Spec {
        agent: args.agent,
        dlp: args.dlp.map(Into::into),
        workdir: Workdir::Empty,
        control: Control::Terminal,
        arguments: vec![],
    };
    let (agent, bottle) = Manifests::new(host).load(&spec.agent)?;
    let mut plan = resolve(&spec, &agent, &bottle, host, Identity::random(&spec.agent)?)?;
    plan.env.questions.clear(); // nobody needs the answers here
    let backend = super::backend(host)?;
    let results = block_on(results(&backend, &spec, plan, host, printer))?;
    if args.json {
        print_json(&as_json(&results), printer);
    } else {
        printer.data(&as_text(&results));
    }
    let escaped = results.iter().any(|(_, verdict)| matches!(verdict, Verdict::Through(_)));
    Ok(if escaped { Exit::Escaped } else { Exit::Success })
}

type Outcome = (Attempt, Verdict);

async fn results<B: Backend>(
    backend: &B,
    spec: &Spec,
    plan: Plan,
    host: &Host,
    printer: Printer,
) -> Result<Vec<Outcome>, Failure> {
    backend.probe(&plan).await?;
    let credentials: Vec<Secret> =
        plan.egress.tokens.iter().map(|token| Secret::new(token.value.expose().to_owned())).collect();
    let attempts = attempts::all(&Targets::of(&plan));
    let interrupts = Interrupts::listen().map_err(CommandError::Signals)?;
    let metadata = Metadata::new(spec, &plan, host.backend(), host.folder.clone());
    let state = State::create(&host.home, &plan.identity, &metadata, Kept::No)?;
    let outcome = async {
        let bottle = backend.launch(plan, &interrupts.stop, printer).await?;
        let tried = tokio::select! {
            tried = try_all(&bottle, attempts, &credentials) => tried,
            () = interrupts.stop.cancelled() => Err(BackendError::Interrupted),
        };
        let removed = bottle.teardown().await;
        let tried = tried?;
        removed.map(|()| tried)
    }
    .await;
    let ended = state.end();
    let outcome = outcome?;
    ended?;
    Ok(outcome)
}

/// A few at a time: most of them wait for an answer that does not come.
async fn try_all<B: Bottle>(
    bottle: &B,
    attempts: Vec<Attempt>,
    credentials: &[Secret],
) -> Result<Vec<Outcome>, BackendError> {
    let tried = attempts.into_iter().map(|attempt| async move {
        let verdict = match &attempt.script {
            Ok(script) => {
                let said = bottle.run(["bash", "-c", script].map(str::to_owned).to_vec()).await?;
                attempt.judge.verdict(&said, credentials)
            }
            Err(reason) => Verdict::Untried((*reason).to_owned()),
        };
        Ok((attempt, verdict))
    });
    stream::iter(tried).buffered(AT_A_TIME).try_collect().await
}

fn as_text(results: &[Outcome]) -> String {
    let mut table = Table::new(["VERDICT", "AREA", "ATTEMPT", "WHAT WAS SEEN"]);
    for (attempt, verdict) in results {
        let (word, seen) = match verdict {
            Verdict::Held => ("held", String::new()),
            Verdict::Through(evidence) => ("THROUGH", evidence.clone()),
            Verdict::Untried(reason) => ("not tried", reason.clone()),
        };
        table.push([word.to_owned(), attempt.area.to_owned(), attempt.name.to_owned(), seen]);
    }
    let count = |wanted: fn(&Verdict) -> bool| results.iter().filter(|(_, verdict)| wanted(verdict)).count();
    let held = count(|verdict| matches!(verdict, Verdict::Held));
    let through = count(|verdict| matches!(verdict, Verdict::Through(_)));
    let untried = count(|verdict| matches!(verdict, Verdict::Untried(_)));
    format!("{table}\n{held} held, {through} got through, {untried} not tried\n")
}

fn as_json(results: &[Outcome]) -> serde_json::Value {
    let row = |(attempt, verdict): &Outcome| {
        let (word, seen) = match verdict {
            Verdict::Held => ("held", None),
            Verdict::Through(evidence) => ("through", Some(evidence)),
            Verdict::Untried(reason) => ("not_tried", Some(reason)),
        };
        json!({"area": attempt.area, "attempt": attempt.name, "verdict": word, "seen": seen})
    };
    results.iter().map(row).collect()
}

const AT_A_TIME: usize = 16;
