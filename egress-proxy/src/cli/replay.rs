//! `egress-proxy replay`: asks another table about recorded traffic, and says what would change.

use std::{
    io::{Read, Write},
    path::PathBuf,
};

use clap::Args;
use serde_json::json;
use shared::routes::{PathRules, Routes, Subject};

use super::REFUSED;
use crate::{
    files,
    record::pretty::printable,
    traffic::{Seen, Then, Traffic},
};

/// Judge recorded traffic again, by another table: what would change.
///
/// Exit codes: 0 nothing changes, 3 something does.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Records (one JSON object a line) or HAR files; stdin where there are none. Records hold neither fields nor
    /// queries: rules that look at fields see none.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The other table.
    #[arg(long, value_name = "FILE")]
    routes: PathBuf,
    /// One JSON object instead of lines for people.
    #[arg(long)]
    json: bool,
}

/// A kind of request for which the tables differ.
struct Change<'t> {
    seen: &'t Seen,
    now: Then,
    why: String,
    count: usize,
}

pub fn run(args: &ReplayArgs, input: &mut dyn Read, out: &mut dyn Write) -> anyhow::Result<u8> {
    let routes = files::read_routes(&args.routes)?;
    let traffic = Traffic::read(&args.files, input)?;
    let changes = changes(&traffic, &routes);
    let changed: usize = changes.iter().map(|change| change.count).sum();
    let unchanged = traffic.seen.len() - changed;
    if args.json {
        let list = |now| changes.iter().filter(|change| change.now == now).map(Change::to_json).collect::<Vec<_>>();
        let (allowed, refused) = (list(Then::Granted), list(Then::Refused));
        let summary = json!({"unchanged": unchanged, "aside": traffic.aside, "allowed": allowed, "refused": refused});
        writeln!(out, "{summary:#}")?;
    } else {
        for change in &changes {
            writeln!(out, "{}", change.line())?;
        }
        let aside = match traffic.aside {
            0 => String::new(),
            count => format!(", {count} that no table decides about"),
        };
        writeln!(out, "{unchanged} as before, {changed} changed{aside}")?;
    }
    Ok(if changes.is_empty() { 0 } else { REFUSED })
}

fn changes<'t>(traffic: &'t Traffic, routes: &Routes) -> Vec<Change<'t>> {
    let mut changes: Vec<Change<'t>> = Vec::new();
    for seen in &traffic.seen {
        let (now, why) = judge(seen, routes);
        if now == seen.then {
            continue;
        }
        let same = |change: &&mut Change<'_>| change.why == why && change.seen.is_like(seen);
        match changes.iter_mut().find(same) {
            Some(change) => change.count += 1,
            None => changes.push(Change { seen, now, why, count: 1 }),
        }
    }
    changes
}

fn judge(seen: &Seen, routes: &Routes) -> (Then, String) {
    let Seen { scheme, authority, method, target, fields, .. } = seen;
    let Some(target) = target else {
        // The path was withheld: only a route that looks at none can say anything.
        let granted = routes.find(&authority.host).is_some_and(|route| matches!(route.paths, PathRules::Any));
        return if granted { (Then::Granted, String::new()) } else { (seen.then, String::new()) };
    };
    match routes.judge(&Subject { scheme: *scheme, authority, method, target, fields }) {
        Ok(grant) => (Then::Granted, format!("route `{}`, rule {}", grant.route.host, grant.rule)),
        Err(refusal) => (Then::Refused, refusal.to_string()),
    }
}

impl Seen {
    fn is_like(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && self.authority == other.authority
            && self.method == other.method
            && self.path() == other.path()
    }

    fn path(&self) -> Option<&str> {
        self.target.as_deref().and_then(|target| target.split('?').next())
    }
}

impl Change<'_> {
    fn line(&self) -> String {
        let word = match self.now {
            Then::Granted => "allowed now",
            Then::Refused => "refused now",
        };
        let Seen { scheme, authority, method, .. } = self.seen;
        let path = self.seen.path().unwrap_or("/…");
        let times = if self.count == 1 { String::new() } else { format!(" ({} times)", self.count) };
        let line = format!("{word}: {method} {}://{authority}{path}{times}: {}", scheme.name(), self.why);
        printable(&line).into_owned()
    }

    fn to_json(&self) -> serde_json::Value {
        let Seen { scheme, authority, method, .. } = self.seen;
        json!({
            "method": method, "scheme": scheme.name(), "host": authority.host.to_string(), "port": authority.port,
            "path": self.seen.path(), "count": self.count, "reason": self.why,
        })
    }
}
