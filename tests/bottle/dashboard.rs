//! `bottle dashboard` where nothing runs: what is asked for in vain is said so, and nothing is left behind.

use crate::assert_outcome;
use crate::context::Context;

#[test]
fn a_decision_about_a_bottle_that_does_not_run_is_an_error() {
    let context = Context::with_agent();
    context.write("user/.claude-bottle/queue/impl-abcde/1.json", PROPOSAL);
    let before = context.files("user");
    assert_outcome!(context.run(&["dashboard", "--approve", "impl-abcde/1"]));
    assert_eq!(context.files("user"), before);
}

#[test]
fn without_a_terminal_or_an_engine_it_says_what_to_do() {
    let context = Context::new();
    assert_outcome!(context.run(&["dashboard"]));
    assert!(context.run(&["dashboard", "--once"]).contains("error: no Docker engine answers"));
}

#[test]
fn a_decision_names_one_proposal_and_is_one_decision() {
    let context = Context::new();
    let lines: &[&[&str]] = &[
        &["dashboard", "--approve", "impl-abcde"],
        &["dashboard", "--approve", "impl-abcde/x"],
        &["dashboard", "--reject", "../impl-abcde/1"],
        &["dashboard", "--approve", "impl-abcde/1", "--reject", "impl-abcde/1"],
        &["dashboard", "--because", "of nothing"],
    ];
    let outcomes = lines.iter().map(|line| format!("$ bottle {}\n{}", line.join(" "), context.run(line)));
    assert_outcome!(outcomes.collect::<Vec<_>>().join("\n"));
}

const PROPOSAL: &str = r#"{"schema": "bottle-proposal/1", "number": 1, "asked": "2026-01-01T00:00:00Z",
    "proposal": {"host": "a.example", "methods": ["GET"], "paths": ["/"], "reason": "to test"}}"#;
