//! What the proxy is to reach, and whether it did in this run.

use super::{Results, shown};
use crate::{
    contender::Kind,
    footprint::{MEMORY, SIZE, START},
};

/// A figure of the proxy, with policy, credential, scan and record on, and what it may be at most.
pub struct Target {
    pub what: &'static str,
    scenario: &'static str,
    figure: &'static str,
    limit: Limit,
}

enum Limit {
    AtMost(f64),
    /// Beside what another contender has.
    Times(Kind, f64),
}

/// How a target came out.
pub struct Outcome {
    pub limit: String,
    pub reached: String,
    /// The same without the scan, which cannot be had at the floor's cost.
    pub scan_off: String,
    pub verdict: &'static str,
}

impl Target {
    /// None where the run has not measured it.
    pub fn outcome(&self, results: &Results) -> Option<Outcome> {
        let median = |kind| results.median(self.scenario, kind, self.figure);
        let reached = median(Kind::ScanOn)?;
        let (limit, is_reached, beside) = match self.limit {
            Limit::AtMost(most) => (format!("≤ {}", shown(most)), reached <= most, None),
            Limit::Times(other, times) => {
                let ratio = move |kind| results.ratio(self.scenario, kind, other, self.figure);
                let percent = ((times - 1.0) * 100.0).round();
                let more = if percent > 0.0 { format!(" + {percent} %") } else { String::new() };
                let limit = format!("≤ {}{more} ({})", other.name(), shown(median(other)?));
                (limit, ratio(Kind::ScanOn)? <= times, Some(ratio))
            }
        };
        let cell = |kind| {
            let ratio = beside.as_ref().and_then(|ratio| ratio(kind)).map(|ratio| format!("×{ratio:.3}, "));
            median(kind).map_or("–".to_owned(), |median| format!("{}{}", ratio.unwrap_or_default(), shown(median)))
        };
        let verdict = if is_reached { "reached" } else { "**missed**" };
        Some(Outcome { limit, reached: cell(Kind::ScanOn), scan_off: cell(Kind::ScanOff), verdict })
    }
}

const KEEP_ALIVE: &str = "keep-alive small GET, 16 connections";
const STREAMS: &str = "one h2 connection, 32 streams";
const NEW: &str = "new connection per request, 16 clients";
const NAMES: &str = "first request to 500 new names, then again";
const DOWN: &str = "100 MiB down";
const UP: &str = "100 MiB up";
const EVENTS: &str = "SSE event delay";

pub const TARGETS: [Target; 17] = [
    target("kept-alive request, CPU µs", KEEP_ALIVE, "CPU µs/request", Limit::Times(Kind::Floor, 1.05)),
    target("kept-alive request, p99 ms", KEEP_ALIVE, "p99 ms", Limit::Times(Kind::Hudsucker, 1.0)),
    target("request on an h2 stream, CPU µs", STREAMS, "CPU µs/request", Limit::Times(Kind::Floor, 1.05)),
    target("request on a new connection, CPU µs", NEW, "CPU µs/request", Limit::Times(Kind::Floor, 1.10)),
    target("request on a new connection, p50 ms", NEW, "p50 ms", Limit::AtMost(5.0)),
    target("first request to a new name, p50 ms", NAMES, "first, p50 ms", Limit::Times(Kind::Floor, 1.0)),
    target("100 MiB down, CPU s/GiB", DOWN, "CPU s/GiB", Limit::AtMost(1.1)),
    target("100 MiB up, CPU s/GiB", UP, "CPU s/GiB", Limit::AtMost(1.1)),
    target("100 MiB down, growth of memory, MiB", DOWN, "peak growth MiB", Limit::AtMost(8.0)),
    target("100 MiB up, growth of memory, MiB", UP, "peak growth MiB", Limit::AtMost(8.0)),
    target("event of a stream, p50 ms", EVENTS, "p50 ms", Limit::AtMost(0.25)),
    target("event of a stream, p99 ms", EVENTS, "p99 ms", Limit::AtMost(1.0)),
    target("memory idle, MiB", MEMORY, "idle MiB", Limit::AtMost(10.0)),
    target("memory after 100,000 requests, MiB", MEMORY, "after requests MiB", Limit::AtMost(16.0)),
    target("memory for an idle connection, KiB", MEMORY, "KiB per idle connection", Limit::AtMost(25.0)),
    target("start to first answer, ms", START, "first answer ms", Limit::AtMost(20.0)),
    target("program, MiB", SIZE, "MiB", Limit::AtMost(10.0)),
];

const fn target(what: &'static str, scenario: &'static str, figure: &'static str, limit: Limit) -> Target {
    Target { what, scenario, figure, limit }
}
