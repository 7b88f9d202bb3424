//! Bars, written as SVG: the deciding figures on a scale of powers, for contenders are factors of a thousand apart.

use std::fmt::Write;

use super::{Results, shown};
use crate::{
    contender::Kind,
    footprint::{MEMORY, START},
};

/// A picture, and what it is called.
pub struct Chart {
    pub name: &'static str,
    pub title: &'static str,
    pub svg: String,
}

/// The charts of a run, as far as it has their figures.
pub fn all(results: &Results) -> Vec<Chart> {
    CHARTS.iter().filter_map(|(name, title, groups)| draw(results, name, title, groups)).collect()
}

/// Scenario and figure of a group of bars.
type Group = (&'static str, &'static str);

const CHARTS: [(&str, &str, &[Group]); 4] = [
    (
        "cpu",
        "Processor time of the proxy per request, µs (less is better)",
        &[
            ("keep-alive small GET, 16 connections", "CPU µs/request"),
            ("one h2 connection, 32 streams", "CPU µs/request"),
            ("new connection per request, 16 clients", "CPU µs/request"),
        ],
    ),
    (
        "latency",
        "Delay, ms (less is better)",
        &[
            ("keep-alive small GET, 16 connections", "p50 ms"),
            ("new connection per request, 1 client", "p50 ms"),
            ("SSE event delay", "p99 ms"),
        ],
    ),
    (
        "memory",
        "Resident memory (less is better)",
        &[(MEMORY, "idle MiB"), (MEMORY, "after requests MiB"), (MEMORY, "KiB per idle connection")],
    ),
    ("start", "Start to first answer, ms (less is better)", &[(START, "first answer ms")]),
];

fn draw(results: &Results, name: &'static str, title: &'static str, groups: &[Group]) -> Option<Chart> {
    let mut rows: Vec<Row> = Vec::new();
    for (scenario, figure) in groups {
        let bars: Vec<_> = Kind::ALL
            .iter()
            .filter_map(|kind| Some((*kind, results.median(scenario, *kind, figure)?)))
            .filter(|(_, value)| *value > 0.0)
            .collect();
        if !bars.is_empty() {
            rows.push(Row::Heading(format!("{scenario}: {figure}")));
            rows.extend(bars.into_iter().map(|(kind, value)| Row::Bar(kind, value)));
        }
    }
    let values = || rows.iter().filter_map(|row| if let Row::Bar(_, value) = row { Some(*value) } else { None });
    let least = values().reduce(f64::min)?;
    let most = values().reduce(f64::max)?;
    // A power below the least, so that its bar has a length.
    let (low, high) = ((least / 2.0).log10(), most.log10());
    let height = TOP + ROW * rows.len() as f64 + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"10\" y=\"22\" \
         font-size=\"15\">{title}; logarithmic</text>\n"
    );
    for (index, row) in rows.iter().enumerate() {
        let top = TOP + ROW * index as f64;
        let base = top + 13.0;
        let _infallible = match row {
            Row::Heading(text) => writeln!(svg, "<text x=\"10\" y=\"{base}\" font-weight=\"bold\">{text}</text>"),
            Row::Bar(kind, value) => {
                let length = (value.log10() - low) / (high - low).max(f64::EPSILON) * SPAN;
                writeln!(
                    svg,
                    "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{}</text><rect x=\"{LEFT}\" y=\"{}\" \
                     width=\"{length:.1}\" height=\"14\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{base}\">{}</text>",
                    LEFT - 6.0,
                    kind.name(),
                    top + 2.0,
                    colour(*kind),
                    LEFT + length + 5.0,
                    shown(*value)
                )
            }
        };
    }
    svg.push_str("</svg>\n");
    Some(Chart { name, title, svg })
}

enum Row {
    Heading(String),
    Bar(Kind, f64),
}

/// Ours stand out, floors recede.
fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::Direct | Kind::Nginx | Kind::Floor => "#b8bec6",
        Kind::ScanOff | Kind::ScanOn | Kind::Request | Kind::Exchange => "#2f6fb0",
        Kind::Older | Kind::OlderScanOff => "#9dbfe0",
        Kind::Hudsucker | Kind::Mitmproxy | Kind::Pipelock => "#c9814a",
    }
}

const WIDTH: f64 = 860.0;
const LEFT: f64 = 230.0;
const SPAN: f64 = 550.0;
const TOP: f64 = 36.0;
const ROW: f64 = 19.0;
