//! How fast the built-in scan reads, on one core: `cargo bench -p benches --bench scan [-- DIRECTORY]`.
//!
//! The material is real: every text file below the directory (default: the sources of the crates that this project is
//! built from), as it is, as the JSON of a chat request, minified, and as base64. With `SCAN_BENCH_SAVE=DIR` the same
//! material is written out, so that another scanner can be run over it. Prints MiB/s and the findings, one by one.
#![allow(clippy::print_stdout, reason = "a benchmark reports on stdout")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use egress_proxy::scan::{Exemptions, Scanner};
use http::HeaderMap;

/// How much of each kind of material.
const SIZE: usize = 48 << 20;
/// As a server hands content over.
const CHUNK: usize = 64 << 10;

fn main() {
    let root = env::args().skip(1).find(|argument| !argument.starts_with("--")).map_or_else(crates, PathBuf::from);
    let start = Instant::now();
    let scanner = Arc::new(Scanner::builtin());
    println!("rules ready after {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
    let source = read(&root);
    println!("{} MiB of text below {}", source.len() >> 20, root.display());
    let chat = chat(&source);
    let minified: Vec<u8> = source.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let base64 = BASE64_STANDARD.encode(&source).into_bytes();
    for (name, material) in [("source text", source), ("chat JSON", chat), ("minified", minified), ("base64", base64)] {
        if let Some(directory) = env::var_os("SCAN_BENCH_SAVE") {
            let file = Path::new(&directory).join(name.replace(' ', "-"));
            if let Err(error) = fs::write(&file, &material) {
                println!("cannot write {}: {error}", file.display());
            }
        }
        measure(&scanner, name, &Bytes::from(material));
    }
}

fn measure(scanner: &Arc<Scanner>, name: &str, material: &Bytes) {
    let mut best = Duration::MAX;
    let mut findings = Vec::new();
    for _ in 0..3 {
        findings.clear();
        let start = cpu();
        // A content of 512 KiB each, as a coding agent's turn; a finding ends one.
        for content in 0..material.len().div_ceil(512 << 10) {
            let begin = content * (512 << 10);
            let end = material.len().min(begin + (512 << 10));
            let mut scan = scanner.content(&HeaderMap::new(), Exemptions::default());
            let mut at = begin;
            let verdict = loop {
                let next = end.min(at + CHUNK);
                if let Err(finding) = scan.push(material.slice(at..next)) {
                    break Err(finding);
                }
                at = next;
                if at == end {
                    break scan.finish().map(drop);
                }
            };
            if let Err(finding) = verdict {
                findings.push((begin, finding));
            }
        }
        best = best.min(cpu() - start);
    }
    let rate = material.len() as f64 / best.as_secs_f64() / f64::from(1 << 20);
    println!("{name:12} {rate:8.0} MiB/s, {} findings", findings.len());
    for (begin, finding) in findings {
        println!("    at {begin}: {finding}");
    }
}

/// The processor time that this thread had: other programs on the machine do not count.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split_whitespace().next().and_then(|field| field.parse().ok());
    nanoseconds.map_or_else(|| Instant::now().duration_since(*STARTED), Duration::from_nanos)
}

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Where Cargo keeps the sources of our dependencies.
fn crates() -> PathBuf {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    home.unwrap_or_default().join("registry/src")
}

fn read(root: &Path) -> Vec<u8> {
    let mut text = Vec::with_capacity(SIZE);
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                directories.push(path);
            } else if let Ok(content) = fs::read_to_string(&path) {
                text.extend_from_slice(content.as_bytes());
            }
            if text.len() >= SIZE {
                text.truncate(SIZE);
                return text;
            }
        }
    }
    text
}

/// The text as a chat request carries it: an array of messages, each some thousand characters of text.
fn chat(text: &[u8]) -> Vec<u8> {
    let messages: Vec<_> = text
        .chunks(6000)
        .map(|part| serde_json::json!({"role": "user", "content": String::from_utf8_lossy(part)}))
        .collect();
    serde_json::to_vec(&serde_json::json!({"model": "m", "messages": messages})).unwrap_or_default()
}
