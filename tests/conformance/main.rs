//! Conformance suites of others, through an intercepted tunnel: h2spec, Autobahn's for WebSockets, gRPC's own. `make
//! conformance` installs them and runs this; docs/conformance.md has the results and explains what is not counted as OK.
//!
//! A case that fails and is not explained here fails the test, and so does an explanation that is no longer needed.

mod autobahn;
mod front;
mod grpc;
mod h2spec;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Cases by their names, with what came of them.
type Verdicts = BTreeMap<String, String>;

/// Where `scripts/conformance` installs.
fn installed(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    let program = root.join(".cache/conformance").join(path);
    assert!(program.exists(), "no {}: run `make conformance`", program.display());
    program
}

/// Prints how many cases came out how, and fails unless those that are not in `good` are exactly the explained ones.
#[track_caller]
fn judge(suite: &str, verdicts: &Verdicts, good: &[&str], explained: &[(&str, &str)]) {
    let mut counts = BTreeMap::new();
    for verdict in verdicts.values() {
        *counts.entry(verdict.as_str()).or_insert(0) += 1;
    }
    eprintln!("{suite}: {} cases: {counts:?}", verdicts.len());
    let missed: Vec<_> = verdicts.iter().filter(|(_, verdict)| !good.contains(&verdict.as_str())).collect();
    let names: Vec<&str> = missed.iter().map(|(name, _)| name.as_str()).collect();
    let known: Vec<&str> = explained.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, known, "{suite}: not as explained: {missed:#?}");
}
