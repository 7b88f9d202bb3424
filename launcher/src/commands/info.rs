//! `bottle info`: everything that an agent would be granted, and from which line, without asking for a single variable.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};
use shared::routes::{PathRules, Route};

use super::print_json;
use crate::cli::InfoArgs;
use crate::diagnostics::Failure;
use crate::exit::Exit;
use crate::host::Host;
use crate::manifest::Manifests;
use crate::manifest::agent::Agent;
use crate::manifest::bottle::Bottle;
use crate::manifest::egress::{GrantedRoute, RouteOrigin, host_variable, path_text};
use crate::manifest::env::Value;
use crate::plan::Supervise;
use crate::printer::{Printer, Table};

pub(super) fn run(args: &InfoArgs, host: &Host, printer: Printer) -> Result<Exit, Failure> {
    let (agent, bottle) = Manifests::new(host).load(&args.agent)?;
    if args.json {
        print_json(&as_json(&agent, &bottle, host), printer);
    } else {
        printer.data(&as_text(&agent, &bottle, host));
    }
    Ok(Exit::Success)
}

fn as_text(agent: &Agent, bottle: &Bottle, host: &Host) -> String {
    let mut text = format!("agent      {} ({})\n", agent.name, agent.source.shown);
    if let Some(description) = &agent.description {
        let _ = writeln!(text, "           {description}");
    }
    let files: Vec<&str> = bottle.sources.iter().map(|source| source.shown.as_str()).collect();
    let _ = writeln!(text, "bottle     {} ({})", bottle.name, files.join(", extends "));
    let _ =
        writeln!(text, "command    {}", bottle.command.as_ref().map_or("claude".to_owned(), |words| words.join(" ")));
    let _ = writeln!(text, "image      {}", bottle.image.as_deref().unwrap_or("ours"));
    let _ = writeln!(text, "dlp        {}", bottle.dlp.unwrap_or_default());
    let _ = writeln!(text, "supervise  {}", if bottle.supervise == Some(Supervise::On) { "on" } else { "off" });
    let skills: Vec<&str> = agent.skills.iter().map(|skill| skill.value().as_str()).collect();
    let _ = writeln!(text, "skills     {}", if skills.is_empty() { "(none)".to_owned() } else { skills.join(", ") });
    let mut env = Table::new(["ENV", "VALUE", "FROM"]);
    for assignment in &bottle.env {
        let value = match &assignment.value {
            Value::Ask(_) => "asked at the start".to_owned(),
            Value::Host(variable) => format!("the host's {variable}{}", missing(variable.as_str(), host)),
            Value::Literal(text) => text.clone(),
        };
        env.push([assignment.variable.value().to_string(), value, assignment.variable.place()]);
    }
    let mut git = Table::new(["REPOSITORY", "UPSTREAM", "FROM"]);
    for entry in &bottle.git {
        git.push([entry.name.value().clone(), entry.upstream.clone(), entry.name.place()]);
    }
    let mut routes = Table::new(["ROUTE", "AUTH", "RULES", "FROM"]);
    for granted in bottle.egress.effective_routes() {
        let route = &granted.route;
        routes.push([route.host.to_string(), auth_text(route, host), rules_text(&route.paths), origin_text(&granted)]);
    }
    for table in [env.to_string(), git.to_string(), routes.to_string()] {
        if table.lines().count() > 1 {
            let _ = write!(text, "\n{table}");
        }
    }
    for range in &bottle.egress.allow_cidr {
        let _ = writeln!(text, "origins may be in {range}");
    }
    text
}

fn as_json(agent: &Agent, bottle: &Bottle, host: &Host) -> Json {
    let env = bottle.env.iter().map(|assignment| {
        let (kind, source) = match &assignment.value {
            Value::Ask(_) => ("asked", None),
            Value::Host(variable) => ("host", Some(variable.as_str())),
            Value::Literal(_) => ("literal", None),
        };
        json!({"name": assignment.variable.value().as_str(), "kind": kind, "host_variable": source})
    });
    let routes = bottle.egress.effective_routes();
    let routes = routes.iter().map(|granted| {
        let variable = host_variable(&granted.route);
        json!({
            "host": granted.route.host.to_string(),
            "auth": granted.route.auth.as_ref().map(|auth| auth.scheme.name()),
            "token_ref": variable,
            "token_set": variable.map(|name| host.variable(name).is_some()),
            "rules": rules_text(&granted.route.paths),
            "from": origin_text(granted),
        })
    });
    json!({
        "agent": agent.name.as_str(),
        "file": agent.source.shown,
        "description": agent.description,
        "bottle": bottle.name.as_str(),
        "bottle_files": bottle.sources.iter().map(|source| &source.shown).collect::<Vec<_>>(),
        "command": bottle.command,
        "image": bottle.image,
        "dlp": bottle.dlp.unwrap_or_default().to_string(),
        "supervise": bottle.supervise == Some(Supervise::On),
        "skills": agent.skills.iter().map(|skill| skill.value().as_str()).collect::<Vec<_>>(),
        "env": env.collect::<Vec<_>>(),
        "git": bottle.git.iter().map(|git| json!({"name": git.name.value(), "upstream": git.upstream})).collect::<Vec<_>>(),
        "routes": routes.collect::<Vec<_>>(),
        "allow_cidr": bottle.egress.allow_cidr.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn auth_text(route: &Route, host: &Host) -> String {
    match (&route.auth, host_variable(route)) {
        (Some(auth), Some(variable)) => format!("{} {variable}{}", auth.scheme.name(), missing(variable, host)),
        _ => "-".to_owned(),
    }
}

fn rules_text(paths: &PathRules) -> String {
    match paths {
        PathRules::Any => "everything".to_owned(),
        PathRules::Prefixes(rules) => rules.iter().map(path_text).collect::<Vec<_>>().join(" "),
        PathRules::Matches(matches) => {
            let one = |rule: &shared::routes::Match| {
                let mut words = vec![];
                if !rule.methods.is_empty() {
                    words.push(rule.methods.join("|"));
                }
                words.extend(rule.paths.iter().map(path_text));
                words.extend(rule.headers.iter().map(|field| format!("{}: …", field.name)));
                words.join(" ")
            };
            matches.iter().map(one).collect::<Vec<_>>().join("; ")
        }
    }
}

fn origin_text(granted: &GrantedRoute) -> String {
    match &granted.origin {
        RouteOrigin::Default => "default".to_owned(),
        RouteOrigin::File { entry, .. } => entry.place(),
    }
}

fn missing(variable: &str, host: &Host) -> &'static str {
    if host.variable(variable).is_some() { "" } else { " (not set)" }
}
