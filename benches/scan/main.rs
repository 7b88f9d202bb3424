//! What the built-in scan costs, on one core: `make bench-scan`, or `cargo bench -p benches --bench scan [-- DIRECTORY]`.
//!
//! The material is real: every text file below the directory (default: the sources of the crates that this project is
//! built from), as it is, as the JSON of a chat request, minified, and as base64. Processor time decides, not the clock:
//! other programs on the machine do not count. With `GITLEAKS` naming that program it reads the same material in the
//! same run. With `SCAN_BENCH_ALARMS=DIR:DIR` every file there is judged in blocks of 8 KiB, and each block in which something is
//! found is listed. `--write FILE` appends the table to a file.
#![allow(clippy::print_stdout, reason = "a benchmark reports on stdout")]

mod alarms;
mod cost;
mod gitleaks;
mod material;

use std::{
    env,
    fmt::Write,
    fs::OpenOptions,
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use egress_proxy::scan::Scanner;

use crate::{alarms::Alarms, cost::Start, gitleaks::Gitleaks, material::Material};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let start = Start::measure();
    let write = arguments.iter().position(|argument| argument == "--write");
    let named = |place: usize| write.is_none_or(|write| place != write + 1);
    let root = arguments.iter().enumerate().find(|(place, text)| !text.starts_with("--") && named(*place));
    let root = root.map_or_else(material::crates, |(_, text)| PathBuf::from(text));
    let scanner = Arc::new(Scanner::builtin());

    let mut page = String::new();
    let materials = Material::all(&root);
    let size = materials[0].bytes.len() >> 20;
    let _ = writeln!(page, "Rules: {} of them, ready after {start}.\n", scanner.rules().count());
    let _ = writeln!(page, "A small request's head: {:.0} ns.\n", cost::head(&scanner));
    let _ = writeln!(page, "A chat request of 512 KiB: {}.\n", cost::chat(&scanner, &materials[1].bytes));
    let gitleaks = Gitleaks::found();
    let _ = writeln!(page, "Throughput over {size} MiB, MiB per second of processor time, with the findings:\n");
    let _ = writeln!(page, "| material | the scan | gitleaks | × |\n|---|---:|---:|---:|");
    for Material { name, bytes } in materials {
        let ours = cost::throughput(&scanner, &Bytes::from(bytes.clone()));
        let theirs = gitleaks.as_ref().and_then(|gitleaks| gitleaks.throughput(&bytes).ok());
        let (rate, ratio) = match theirs {
            Some(rate) => (format!("{rate:.1}"), format!("{:.0}", ours.rate / rate)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let _ = writeln!(page, "| {name} | {:.0} ({}) | {rate} | {ratio} |", ours.rate, ours.findings.len());
        for finding in ours.findings {
            println!("{name}: {finding}");
        }
    }
    if let Some(directories) = env::var_os("SCAN_BENCH_ALARMS") {
        let alarms = Alarms::count(&scanner, env::split_paths(&directories));
        let _ = writeln!(page, "\n{alarms}");
    }
    println!("{page}");
    match write.and_then(|place| arguments.get(place + 1)) {
        Some(file) => OpenOptions::new().create(true).append(true).open(file)?.write_all(page.as_bytes()),
        None => Ok(()),
    }
}
