//! What records add up to, for Prometheus: counters, gauges and histograms that are read without a lock and never hold
//! up an exchange. Labels are words of ours; nothing that a client wrote becomes one.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use shared::record::{ExchangeRecord, Outcome, TunnelRecord, Verdict};

/// Everything that is counted where records are written.
#[derive(Debug, Default)]
pub struct Metrics {
    pub connections_open: Gauge,
    pub exchanges_open: Gauge,
    pub tunnels_open: Gauge,
    /// By verdict (the last for none) and outcome.
    exchanges: [[Counter; Outcome::ALL.len()]; Verdict::ALL.len() + 1],
    tunnels: [Counter; Outcome::ALL.len()],
    alarms: Counter,
    findings: Counter,
    request_bytes: Counter,
    response_bytes: Counter,
    masked_bytes: Counter,
    total: Histogram,
    first_byte: Histogram,
    connect: Histogram,
    inspect: Histogram,
}

impl Metrics {
    /// For one record at a time.
    pub fn count_exchange(&self, record: &ExchangeRecord<'_>) {
        self.exchanges_open.leave();
        let verdict = record.verdict.map_or(Verdict::ALL.len(), |verdict| verdict as usize);
        self.exchanges[verdict][record.outcome as usize].tally(1);
        self.alarms.tally(u64::from(record.alarm));
        self.findings.tally(record.findings.len() as u64);
        self.request_bytes.tally(record.request_bytes);
        self.response_bytes.tally(record.response_bytes);
        self.masked_bytes.tally(record.masked);
        self.total.tally(record.total_ms);
        let parts = [
            (&self.first_byte, record.first_byte_ms),
            (&self.connect, record.connect_ms),
            (&self.inspect, record.inspect_ms),
        ];
        for (histogram, milliseconds) in parts {
            if let Some(milliseconds) = milliseconds {
                histogram.tally(milliseconds);
            }
        }
    }

    /// For one record at a time.
    pub fn count_tunnel(&self, record: &TunnelRecord<'_>) {
        self.tunnels_open.leave();
        self.tunnels[record.outcome as usize].tally(1);
    }

    pub fn write(&self, page: &mut Page) {
        page.begin("egress_proxy_exchanges_total", "counter", "Finished exchanges.");
        let verdicts = Verdict::ALL.map(Verdict::name).into_iter().chain(["none"]);
        for (verdict, outcomes) in verdicts.zip(&self.exchanges) {
            for (outcome, count) in Outcome::ALL.iter().zip(outcomes) {
                let labels = format!("verdict=\"{verdict}\",outcome=\"{outcome}\"");
                page.sample("egress_proxy_exchanges_total", &labels, count.value());
            }
        }
        page.begin("egress_proxy_tunnels_total", "counter", "Finished tunnels.");
        for (outcome, count) in Outcome::ALL.iter().zip(&self.tunnels) {
            page.sample("egress_proxy_tunnels_total", &format!("outcome=\"{outcome}\""), count.value());
        }
        page.gauge("egress_proxy_connections_open", "Clients that are connected.", self.connections_open.value());
        page.gauge("egress_proxy_exchanges_open", "Exchanges under way.", self.exchanges_open.value());
        page.gauge("egress_proxy_tunnels_open", "Tunnels under way.", self.tunnels_open.value());
        page.counter(
            "egress_proxy_alarms_total",
            "Exchanges in which a credential or a stand-in was sent.",
            &self.alarms,
        );
        page.counter("egress_proxy_findings_total", "Findings of the built-in scan.", &self.findings);
        page.counter(
            "egress_proxy_request_bytes_total",
            "Content from clients, in finished exchanges.",
            &self.request_bytes,
        );
        page.counter(
            "egress_proxy_response_bytes_total",
            "Content to clients, in finished exchanges.",
            &self.response_bytes,
        );
        page.counter(
            "egress_proxy_masked_bytes_total",
            "Bytes of answers masked by the echo guard.",
            &self.masked_bytes,
        );
        page.histogram("egress_proxy_exchange_seconds", "From the request's head to the end.", &self.total);
        page.histogram("egress_proxy_first_byte_seconds", "From the request's head to the answer's.", &self.first_byte);
        page.histogram("egress_proxy_connect_seconds", "To a new connection with the next hop.", &self.connect);
        page.histogram("egress_proxy_inspect_seconds", "Waiting for the inspector's verdict.", &self.inspect);
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The same where nobody else adds meanwhile: a load and a store, not an operation that the processor makes whole.
    fn tally(&self, count: u64) {
        if count > 0 {
            self.0.store(self.value() + count, Ordering::Relaxed);
        }
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many there are at the moment.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    pub fn enter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations, by upper bounds.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each of [`BOUNDS`], and one for what lasted longer.
    buckets: [Counter; BOUNDS.len() + 1],
    microseconds: Counter,
}

impl Histogram {
    pub fn observe(&self, duration: Duration) {
        let milliseconds = duration.as_secs_f64() * 1e3;
        self.bucket(milliseconds).add(1);
        self.microseconds.add((milliseconds * 1e3) as u64);
    }

    /// The same where nobody else adds meanwhile.
    fn tally(&self, milliseconds: f64) {
        self.bucket(milliseconds).tally(1);
        self.microseconds.tally((milliseconds * 1e3) as u64);
    }

    fn bucket(&self, milliseconds: f64) -> &Counter {
        let bucket = BOUNDS.iter().position(|bound| milliseconds <= bound * 1e3).unwrap_or(BOUNDS.len());
        &self.buckets[bucket]
    }
}

/// A page in Prometheus' text format, version 0.0.4.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    pub fn counter(&mut self, name: &str, help: &str, counter: &Counter) {
        self.count(name, help, counter.value());
    }

    /// A counter that is told by others.
    pub fn count(&mut self, name: &str, help: &str, value: u64) {
        self.begin(name, "counter", help);
        self.sample(name, "", value);
    }

    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.begin(name, "gauge", help);
        self.sample(name, "", value);
    }

    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.begin(name, "histogram", help);
        let mut below = 0;
        let bounds = BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&histogram.buckets) {
            below += count.value();
            self.sample(&format!("{name}_bucket"), &format!("le=\"{bound}\""), below);
        }
        let seconds = histogram.microseconds.value() as f64 / 1e6;
        self.line(format_args!("{name}_sum {seconds}"));
        self.sample(&format!("{name}_count"), "", below);
    }

    pub fn into_text(self) -> String {
        self.0
    }

    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        match labels {
            "" => self.line(format_args!("{name} {value}")),
            _ => self.line(format_args!("{name}{{{labels}}} {value}")),
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing into memory does not fail.
        let _written = writeln!(self.0, "{line}");
    }
}

/// Upper bounds, in seconds: from a pooled exchange on loopback to a long stream.
const BOUNDS: [f64; 16] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_what_is_below_each_bound() {
        let histogram = Histogram::default();
        for milliseconds in [0.1, 3.0, 3.0, 700_000.0] {
            histogram.tally(milliseconds);
        }
        let mut page = Page::default();
        page.histogram("x", "y", &histogram);
        let text = page.into_text();
        for line in [
            "# TYPE x histogram",
            "x_bucket{le=\"0.00025\"} 1",
            "x_bucket{le=\"0.005\"} 3",
            "x_bucket{le=\"600\"} 3",
            "x_bucket{le=\"+Inf\"} 4",
            "x_sum 700.0061",
            "x_count 4",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in {text}");
        }
    }
}
