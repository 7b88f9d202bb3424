//! The chief figures of a run as a section of the documentation, between two marks that the rest of the page is safe from.

use std::{fmt::Write, fs, path::Path};

use anyhow::Context;

use super::{Results, chart::Chart, shown, targets::TARGETS};
use crate::contender::Kind;

const BEGIN: &str = "<!-- figures: written by `make bench` -->";
const END: &str = "<!-- end of figures -->";

/// Puts `section` between the marks.
pub fn rewrite(page: &Path, section: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(page)?;
    let (before, rest) = text.split_once(BEGIN).context("has no mark where figures begin")?;
    let (_, after) = rest.split_once(END).context("has no mark where figures end")?;
    Ok(fs::write(page, format!("{before}{BEGIN}\n\n{section}\n{END}{after}"))?)
}

/// Ratios first: each scenario's deciding figure, × the floor's.
pub fn section(results: &Results, name: &str, charts: &[Chart]) -> String {
    let mut text = format!("Of [{name}](../benches/results/{name}.md):\n\n{}\n", results.machine());
    for (kind, reason) in &results.absent {
        let _infallible = writeln!(text, "- absent: {} ({reason})", kind.name());
    }
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| results.scenarios.iter().any(|(_, table)| table.values.keys().any(|(of, _)| of == kind)))
        .collect();
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    let _infallible = writeln!(text, "\n| scenario | {} |\n|---|{}", names.join(" | "), "---:|".repeat(names.len()));
    for (scenario, table) in &results.scenarios {
        let Some(figure) = table.columns.first() else { continue };
        let cells: Vec<_> = kinds
            .iter()
            .map(|kind| {
                match (results.median(scenario, *kind, figure), results.ratio(scenario, *kind, Kind::Floor, figure)) {
                    (None, _) => "–".to_owned(),
                    (Some(value), Some(ratio)) if *kind != Kind::Floor => format!("**×{ratio:.2}** {}", shown(value)),
                    (Some(value), _) => shown(value),
                }
            })
            .collect();
        let _infallible = writeln!(text, "| {scenario}, {figure} | {} |", cells.join(" | "));
    }
    text.push_str("\nWhat the proxy is to reach, with policy, credential, scan and record on; beside it the same without the scan:\n\n");
    text.push_str("| | target | reached | | scan off |\n|---|---|---:|---|---:|\n");
    for target in TARGETS {
        if let Some(outcome) = target.outcome(results) {
            let _infallible = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                target.what, outcome.limit, outcome.reached, outcome.verdict, outcome.scan_off
            );
        }
    }
    text.push('\n');
    for chart in charts {
        let _infallible = writeln!(text, "![{}](../benches/results/{name}-{}.svg)", chart.title, chart.name);
    }
    text
}
