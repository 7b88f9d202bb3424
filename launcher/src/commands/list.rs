//! `bottle list`: agents, or the bottles that run. A broken file is reported and blocks no other.

use serde_json::json;

use super::print_json;
use crate::backend::{ActiveBottle, Backend};
use crate::cli::{ListArgs, Listed};
use crate::diagnostics::Failure;
use crate::exit::Exit;
use crate::host::Host;
use crate::manifest::Manifests;
use crate::printer::{Printer, Table};

pub(super) fn run(args: &ListArgs, host: &Host, printer: Printer) -> Result<Exit, Failure> {
    match args.what {
        Listed::Active => active(args, host, printer),
        Listed::Agents => Ok(agents(args, host, printer)),
    }
}

fn agents(args: &ListArgs, host: &Host, printer: Printer) -> Exit {
    let manifests = Manifests::new(host);
    for warning in manifests.warnings() {
        printer.complain(&format!("warning: {warning}\n"));
    }
    let mut table = Table::new(["AGENT", "BOTTLE", "FILE"]);
    let mut rows = vec![];
    for file in manifests.agents() {
        let path = host.shorten(&file.path);
        match manifests.agent(&file) {
            Ok(agent) => {
                let bottle = agent.bottle.value().to_string();
                let description = agent.description.as_deref();
                rows.push(
                    json!({"agent": file.name.as_str(), "bottle": bottle, "description": description, "file": path}),
                );
                table.push([file.name.to_string(), bottle, path]);
            }
            Err(error) => {
                printer.complain(&Failure::from(error).render());
                rows.push(json!({"agent": file.name.as_str(), "bottle": null, "description": null, "file": path}));
                table.push([file.name.to_string(), "(invalid)".to_owned(), path]);
            }
        }
    }
    if args.json {
        print_json(&rows.into(), printer);
    } else if rows.is_empty() {
        printer.step("no agents; `bottle init` writes a first one");
    } else {
        printer.data(&table.to_string());
    }
    Exit::Success
}

fn active(args: &ListArgs, host: &Host, printer: Printer) -> Result<Exit, Failure> {
    let backend = super::backend(host)?;
    let mut bottles = super::block_on(async { Ok(backend.list_active().await?) })?;
    bottles.sort_by(|a, b| (&a.started, &a.identity).cmp(&(&b.started, &b.identity)));
    if args.json {
        print_json(&json!(bottles), printer);
        return Ok(Exit::Success);
    }
    if bottles.is_empty() {
        printer.step("no bottle runs");
        return Ok(Exit::Success);
    }
    let mut table = Table::new(["IDENTITY", "AGENT", "BOTTLE", "BACKEND", "STARTED", "RUNNING"]);
    for ActiveBottle { identity, agent, bottle, backend, started, running } in bottles {
        table.push([identity, agent, bottle, backend.to_owned(), started, running.join(" ")]);
    }
    printer.data(&table.to_string());
    Ok(Exit::Success)
}
