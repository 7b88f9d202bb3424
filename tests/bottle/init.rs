//! `bottle init` and `bottle edit`: a newcomer's first pair of files.

use crate::assert_outcome;
use crate::context::Context;

#[test]
fn init_writes_a_pair_that_starts() {
    let mut context = Context::new();
    assert_outcome!(context.run(&["init", "--yes"]));
    context.set("CLAUDE_BOTTLE_OAUTH_TOKEN", "sk-ant-not-a-real-token");
    let preflight = context.run(&["start", "claude", "--dry-run"]);
    assert!(preflight.starts_with("exit code: 0\n"), "{preflight}");
    assert!(preflight.contains("api.anthropic.com [auth:Bearer]"), "{preflight}");
}

#[test]
fn init_asks_and_takes_the_answers() {
    let context = Context::new();
    let outcome = context.run_with_input(&["init"], "Helper\nhelper\n\nMY_TOKEN\nacme\n");
    let files = context.files("user");
    let bottle = std::fs::read_to_string(context.path("user/.claude-bottle/bottles/dev.md")).expect("a bottle");
    assert_outcome!(format!("{outcome}----- files -----\n{files:#?}\n{bottle}"));
}

#[test]
fn init_overwrites_nothing() {
    let context = Context::new();
    context.run(&["init", "--yes"]);
    let before = std::fs::read_to_string(context.path("user/.claude-bottle/bottles/dev.md")).expect("a bottle");
    assert_outcome!(context.run(&["init", "--yes"]));
    context.run_with_input(&["init"], "second\n\n\nacme\n");
    let after = std::fs::read_to_string(context.path("user/.claude-bottle/bottles/dev.md")).expect("a bottle");
    assert_eq!(before, after);
}

#[test]
fn init_without_answers_writes_nothing() {
    let context = Context::new();
    assert_outcome!(context.run(&["init"]));
    assert!(context.files("user").is_empty());
}

#[test]
fn edit_opens_the_file_and_says_what_is_wrong() {
    let mut context = Context::with_agent();
    context.set("EDITOR", "sed -i s/bottle:/bottel:/");
    assert_outcome!(context.run(&["edit", "impl"]));
}

#[test]
fn edit_of_a_bottle_opens_the_agents_bottle() {
    let mut context = Context::with_agent();
    context.set("VISUAL", "touch");
    assert_outcome!(context.run(&["edit", "impl", "--bottle"]));
    context.unset("VISUAL");
    context.set("EDITOR", "no-such-editor");
    assert_outcome!(context.run(&["edit", "impl"]));
}
