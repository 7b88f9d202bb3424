//! Figures as Markdown: medians with least and most, ratios to the floor, and the machine that they are from.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path, process::Command};

use crate::{contender::Kind, scenario::Figure};

/// All figures of a run, in the order in which they came.
#[derive(Default)]
pub struct Results {
    scenarios: Vec<(String, Table)>,
}

#[derive(Default)]
struct Table {
    columns: Vec<&'static str>,
    rows: Vec<&'static str>,
    values: BTreeMap<(&'static str, &'static str), Vec<f64>>,
}

impl Results {
    pub fn add(&mut self, scenario: &str, contender: &'static str, figures: &[Figure]) {
        let index = self.scenarios.iter().position(|(name, _)| name == scenario).unwrap_or_else(|| {
            self.scenarios.push((scenario.to_owned(), Table::default()));
            self.scenarios.len() - 1
        });
        let table = &mut self.scenarios[index].1;
        if !table.rows.contains(&contender) {
            table.rows.push(contender);
        }
        for (figure, value) in figures {
            table.values.entry((contender, figure)).or_default().push(*value);
        }
        // A proxy has figures that its absence has not, and they come first.
        if figures.len() >= table.columns.len() {
            table.columns = figures.iter().map(|(figure, _)| *figure).collect();
        }
    }

    pub fn markdown(&self, egress_proxy: &Path, rounds: usize) -> String {
        let mut text = format!("# Egress benchmark, {}\n\n{}\n", date(), machine(egress_proxy));
        let _infallible = writeln!(
            text,
            "- {rounds} interleaved rounds; each cell is the median with (least–most); × is the ratio to `{}`\n",
            Kind::Floor.name()
        );
        for (name, table) in &self.scenarios {
            let _infallible = writeln!(text, "## {name}\n\n{}", table.markdown());
        }
        text
    }
}

impl Table {
    fn markdown(&self) -> String {
        let mut rows = self.rows.clone();
        rows.sort_by_key(|row| Kind::all(true).iter().position(|kind| kind.name() == *row));
        let mut text = format!("| | {} |\n|---|{}\n", self.columns.join(" | "), "---:|".repeat(self.columns.len()));
        for row in rows {
            let cells: Vec<_> = self.columns.iter().map(|column| self.cell(row, column)).collect();
            let _infallible = writeln!(text, "| {row} | {} |", cells.join(" | "));
        }
        text
    }

    fn cell(&self, row: &'static str, column: &'static str) -> String {
        let Some(values) = self.values.get(&(row, column)) else { return "–".to_owned() };
        let (least, middle, most) = spread(values);
        let floor = self.values.get(&(Kind::Floor.name(), column)).map(|values| spread(values).1);
        let range = if values.len() > 1 { format!(" ({}–{})", shown(least), shown(most)) } else { String::new() };
        match floor.filter(|floor| *floor > 0.0 && row != Kind::Floor.name()) {
            Some(floor) => format!("**{}**{range} ×{:.2}", shown(middle), middle / floor),
            None => format!("**{}**{range}", shown(middle)),
        }
    }
}

fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    (at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}

fn shown(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn date() -> String {
    time::OffsetDateTime::now_utc().date().to_string()
}

fn machine(egress_proxy: &Path) -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches(['\t', ' ', ':']);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load: Vec<_> = load.split(' ').take(3).collect();
    let size = fs::metadata(egress_proxy).map_or(0, |file| file.len()) as f64 / f64::from(1 << 20);
    let revision = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let revision = revision.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    format!(
        "- {cores} × {model}, Linux {}, loopback; load average at the end {}\n- revision {revision}, static binary of {size:.1} MiB",
        kernel.trim(),
        load.join(" "),
    )
}
