//! Processor time and memory.

use std::{
    fmt, fs,
    hint::black_box,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use egress_proxy::scan::{Exemptions, Finding, Scanner};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// As a server hands content over.
const CHUNK: usize = 64 << 10;
/// A coding agent's turn.
const TURN: usize = 512 << 10;

/// What it takes until rules can be asked, and what they keep in memory.
pub struct Start {
    ready: Duration,
    first: Duration,
    resident: u64,
    compiled: u64,
}

impl Start {
    /// To be called first of all in the process.
    pub fn measure() -> Self {
        let before = resident();
        let began = cpu();
        let scanner = Arc::new(Scanner::builtin());
        let ready = cpu() - began;
        let began = cpu();
        judge(&scanner, &Bytes::from_static(b"{\"role\": \"user\", \"content\": \"hello\"}"));
        let first = cpu() - began;
        let after = resident();
        // Each rule is asked, so that each is compiled: the most that the rules may ever keep.
        for rule in scanner.rules() {
            for keyword in rule.keywords() {
                let text = format!(" {keyword}Q7w9E2r4T6y8U1i3 {keyword}=\"a7f9b2c4d6e8f1a3\" ").repeat(2);
                judge(&scanner, &Bytes::from(text));
            }
        }
        let compiled = resident();
        Self { ready, first, resident: after - before, compiled: compiled - before }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "{:.2} ms (and {:.2} ms for the first content), {:.1} MiB resident then, {:.1} MiB with every rule asked",
            milliseconds(self.ready),
            milliseconds(self.first),
            mib(self.resident),
            mib(self.compiled)
        )
    }
}

/// How fast material is read, in MiB a second, and what was found.
pub struct Throughput {
    pub rate: f64,
    pub findings: Vec<Finding>,
}

/// The best of five rounds, over contents of 512 KiB.
pub fn throughput(scanner: &Arc<Scanner>, material: &Bytes) -> Throughput {
    let mut best = Duration::MAX;
    let mut findings = Vec::new();
    for _ in 0..5 {
        findings.clear();
        let began = cpu();
        for begin in (0..material.len()).step_by(TURN) {
            let content = material.slice(begin..material.len().min(begin + TURN));
            findings.extend(judge(scanner, &content));
        }
        best = best.min(cpu() - began);
    }
    Throughput { rate: material.len() as f64 / best.as_secs_f64() / f64::from(1 << 20), findings }
}

/// What one chat request costs: the first one, which compiles what it asks, and the median of the others.
pub fn chat(scanner: &Arc<Scanner>, material: &[u8]) -> String {
    let mut times: Vec<Duration> = Vec::new();
    for content in material.chunks_exact(TURN).take(40) {
        let content = Bytes::copy_from_slice(content);
        let began = cpu();
        judge(scanner, &content);
        times.push(cpu() - began);
    }
    times.sort_unstable();
    let milliseconds = |place: usize| times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    format!("{:.2} ms (median), {:.2} ms (most)", milliseconds(times.len() / 2), milliseconds(times.len() - 1))
}

/// Nanoseconds for the head of an API client's GET.
pub fn head(scanner: &Scanner) -> f64 {
    const ROUNDS: u32 = 100_000;
    const FIELDS: [(&str, &str); 8] = [
        ("host", "api.example.com"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("user-agent", "example-cli/1.0.83 (external, cli)"),
        ("x-request-id", "0b9d4a36-4a5f-4f9e-8d57-0c6f6b7d2f11"),
        ("x-client-language", "js"),
        ("x-client-version", "0.55.1"),
        ("content-type", "application/json"),
    ];
    let fields: HeaderMap = FIELDS
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let (target, except) = ("/v1/projects/42/items?page=2&limit=100", Exemptions::default());
    let began = cpu();
    for _ in 0..ROUNDS {
        let verdict = scanner.head(&Method::GET, "api.example.com", target, black_box(&fields), &except);
        black_box(verdict.is_ok());
    }
    (cpu() - began).as_nanos() as f64 / f64::from(ROUNDS)
}

/// What is found in a content that comes as a server hands it over.
pub fn judge(scanner: &Arc<Scanner>, content: &Bytes) -> Option<Finding> {
    let mut scan = scanner.content(&HeaderMap::new(), Exemptions::default());
    for begin in (0..content.len()).step_by(CHUNK) {
        if let Err(finding) = scan.push(content.slice(begin..content.len().min(begin + CHUNK))) {
            return Some(finding);
        }
    }
    scan.finish().err()
}

/// The processor time that this thread had: other programs on the machine do not count.
fn cpu() -> Duration {
    static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
    // The kernel settles a thread's account when it is asked to let others run.
    std::thread::yield_now();
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split_whitespace().next().and_then(|field| field.parse().ok());
    nanoseconds.map_or_else(|| STARTED.elapsed(), Duration::from_nanos)
}

/// Bytes of this process in memory.
fn resident() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split_whitespace().nth(1).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default() * 4096
}
