//! Help texts and wrong command lines.

use crate::assert_outcome;
use crate::context::Context;

#[test]
fn every_help_text_is_as_recorded() {
    let context = Context::new();
    let mut all = context.run(&["--help"]);
    for verb in
        ["start", "resume", "list", "info", "check", "dashboard", "cleanup", "init", "edit", "schema", "completions"]
    {
        all.push_str(&format!("\n===== bottle {verb} --help\n{}", context.run(&[verb, "--help"])));
    }
    assert_outcome!(all);
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let context = Context::new();
    let lines: &[&[&str]] = &[
        &[],
        &["strat", "x"],
        &["start"],
        &["start", "../x"],
        &["start", "x", "--dlp", "none"],
        &["resume", "x"],
        &["check", "x", "GET", "https://a.example/", "-H", "nonsense"],
    ];
    let outcomes = lines.iter().map(|line| format!("$ bottle {}\n{}", line.join(" "), context.run(line)));
    assert_outcome!(outcomes.collect::<Vec<_>>().join("\n"));
}

#[test]
fn completions_are_a_script_on_stdout() {
    let context = Context::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = context.command(&["completions", shell]).output().expect("bottle runs");
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("cleanup"), "{shell}");
    }
}
