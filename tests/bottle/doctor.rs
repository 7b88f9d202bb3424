//! `bottle doctor` on a machine without an engine.

use crate::assert_outcome;
use crate::context::Context;

#[test]
fn what_is_missing_is_named_with_its_fix() {
    let mut context = Context::with_agent();
    context.unset("GH_PAT");
    context.agent("broken", "no frontmatter\n");
    assert_outcome!(context.run(&["doctor"]));
}

#[test]
fn findings_are_data() {
    let context = Context::with_agent();
    let output = context.command(&["doctor", "--json"]).output().expect("bottle runs");
    assert_eq!(output.status.code(), Some(125));
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let engine = findings.as_array().expect("a list").iter().find(|finding| finding["subject"] == "engine");
    assert_eq!(engine.expect("a finding")["health"], "bad");
}
