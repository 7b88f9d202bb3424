//! Figures as Markdown: medians with least and most, ratios to the floor, who was absent and why, and the machine that
//! they are from. `report/page.rs` puts the chief ones into the documentation, `report/chart.rs` draws them.

mod chart;
mod page;
mod targets;

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::{contender::Kind, pin};

/// A figure's name, and its value.
pub type Figure = (&'static str, f64);

/// All figures of a run, in the order in which they came.
pub struct Results {
    pub rounds: usize,
    program: PathBuf,
    scenarios: Vec<(String, Table)>,
    absent: BTreeMap<Kind, String>,
    failures: Vec<String>,
}

#[derive(Default)]
struct Table {
    columns: Vec<&'static str>,
    values: BTreeMap<(Kind, &'static str), Vec<f64>>,
    left_out: BTreeMap<Kind, &'static str>,
}

impl Results {
    pub fn begin(program: &Path) -> Self {
        let program = program.to_owned();
        Self { rounds: 0, program, scenarios: Vec::new(), absent: BTreeMap::new(), failures: Vec::new() }
    }

    pub fn add(&mut self, scenario: &str, kind: Kind, figures: &[Figure]) {
        let table = self.table(scenario);
        for (figure, value) in figures {
            table.values.entry((kind, figure)).or_default().push(*value);
        }
        // A proxy has figures that its absence has not, and an inspector's come behind them.
        if figures.len() > table.columns.len() {
            table.columns = figures.iter().map(|(figure, _)| *figure).collect();
        }
    }

    /// A contender that is not on this machine.
    pub fn absent(&mut self, kind: Kind, reason: String) {
        eprintln!("absent: {}: {reason}", kind.name());
        self.absent.insert(kind, reason);
    }

    /// A contender that cannot do this.
    pub fn not_for(&mut self, scenario: &str, kind: Kind, reason: &'static str) {
        self.table(scenario).left_out.insert(kind, reason);
    }

    /// A contender that could, and did not.
    pub fn failed(&mut self, scenario: &str, kind: Kind, error: &anyhow::Error) {
        let failure = format!("{}, {scenario}: {error:#}", kind.name());
        eprintln!("FAILED: {failure}");
        self.failures.push(failure);
    }

    /// # Errors
    /// Somebody failed.
    pub fn verdict(&self) -> anyhow::Result<()> {
        ensure!(self.failures.is_empty(), "{} loads failed; the first: {}", self.failures.len(), self.failures[0]);
        Ok(())
    }

    /// Writes tables and charts into `folder`, and the chief figures into `page`.
    pub fn write(&self, folder: &Path, page: Option<&Path>) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        let name = date();
        fs::write(folder.join(format!("{name}.md")), self.markdown())?;
        let charts = chart::all(self);
        for chart in &charts {
            fs::write(folder.join(format!("{name}-{}.svg", chart.name)), &chart.svg)?;
        }
        let Some(page) = page else { return Ok(()) };
        page::rewrite(page, &page::section(self, &name, &charts)).with_context(|| page.display().to_string())
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("# Egress benchmark, {}\n\n{}\n", date(), self.machine());
        let _infallible = writeln!(
            text,
            "- {} interleaved rounds; each cell is the median with (least–most); × is the median of its ratios to `{}` in the same turn",
            self.rounds,
            Kind::Floor.name()
        );
        for (kind, reason) in &self.absent {
            let _infallible = writeln!(text, "- absent: {} ({reason})", kind.name());
        }
        for failure in &self.failures {
            let _infallible = writeln!(text, "- **failed**: {failure}");
        }
        for (name, table) in &self.scenarios {
            let _infallible = writeln!(text, "\n## {name}\n\n{}", table.markdown());
        }
        text
    }

    fn table(&mut self, scenario: &str) -> &mut Table {
        let index = self.scenarios.iter().position(|(name, _)| name == scenario).unwrap_or_else(|| {
            self.scenarios.push((scenario.to_owned(), Table::default()));
            self.scenarios.len() - 1
        });
        &mut self.scenarios[index].1
    }

    /// The median of one figure.
    fn median(&self, scenario: &str, kind: Kind, figure: &str) -> Option<f64> {
        Some(spread(self.values(scenario, kind, figure)?).1)
    }

    /// The ratio of one figure to another contender's.
    fn ratio(&self, scenario: &str, kind: Kind, other: Kind, figure: &str) -> Option<f64> {
        ratio(self.values(scenario, kind, figure)?, self.values(scenario, other, figure)?)
    }

    fn values(&self, scenario: &str, kind: Kind, figure: &str) -> Option<&[f64]> {
        let (_, table) = self.scenarios.iter().find(|(name, _)| name == scenario)?;
        let (_, values) = table.values.iter().find(|((of, name), _)| *of == kind && *name == figure)?;
        Some(values)
    }

    fn machine(&self) -> String {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo");
        let model = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let model = model.trim_start_matches(['\t', ' ', ':']);
        let kernel = read("/proc/sys/kernel/osrelease");
        let load = read("/proc/loadavg");
        let load: Vec<_> = load.split(' ').take(3).collect();
        let size = fs::metadata(&self.program).map_or(0, |file| file.len()) as f64 / f64::from(1 << 20);
        let revision = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
        let revision = revision.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default();
        format!(
            "- {} × {model}, Linux {}, loopback; proxies pinned to the last core, load and origin to the others\n\
             - load average at the end {}\n- revision {revision}, static binary of {size:.1} MiB",
            pin::cores(),
            kernel.trim(),
            load.join(" "),
        )
    }
}

impl Table {
    fn markdown(&self) -> String {
        let mut text = format!("| | {} |\n|---|{}\n", self.columns.join(" | "), "---:|".repeat(self.columns.len()));
        for kind in Kind::ALL {
            if self.values.keys().any(|(of, _)| *of == kind) {
                let cells: Vec<_> = self.columns.iter().map(|column| self.cell(kind, column)).collect();
                let _infallible = writeln!(text, "| {} | {} |", kind.name(), cells.join(" | "));
            }
        }
        if !self.left_out.is_empty() {
            let reasons: Vec<_> =
                self.left_out.iter().map(|(kind, reason)| format!("{} ({reason})", kind.name())).collect();
            let _infallible = writeln!(text, "\nNot asked: {}.", reasons.join(", "));
        }
        text
    }

    fn cell(&self, kind: Kind, column: &'static str) -> String {
        let Some(values) = self.values.get(&(kind, column)) else { return "–".to_owned() };
        let (least, middle, most) = spread(values);
        let floor = self.values.get(&(Kind::Floor, column)).filter(|_| kind != Kind::Floor);
        let range = if values.len() > 1 { format!(" ({}–{})", shown(least), shown(most)) } else { String::new() };
        match floor.and_then(|floor| ratio(values, floor)) {
            Some(ratio) => format!("**{}**{range} ×{ratio:.2}", shown(middle)),
            None => format!("**{}**{range}", shown(middle)),
        }
    }
}

/// The median of the ratios of what was measured in the same turn: a machine that is slower for a while is so for both. Of
/// the medians, where one of them was not measured as often.
fn ratio(values: &[f64], others: &[f64]) -> Option<f64> {
    let ratio = if values.len() == others.len() {
        let ratios: Vec<_> = values.iter().zip(others).map(|(value, other)| value / other).collect();
        spread(&ratios).1
    } else {
        spread(values).1 / spread(others).1
    };
    Some(ratio).filter(|ratio| ratio.is_finite())
}

/// Least, median, most.
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
