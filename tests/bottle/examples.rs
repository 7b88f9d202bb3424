//! The manifests under `examples/` are valid, as they stand.

use std::path::{Path, PathBuf};

use crate::context::Context;

#[test]
fn every_example_is_valid() {
    let mut agents = vec![];
    for home in std::fs::read_dir(examples()).expect("examples").flatten().map(|entry| entry.path()) {
        let Ok(files) = std::fs::read_dir(home.join("agents")) else { continue };
        agents.extend(files.flatten().map(|file| (home.clone(), file.path())));
    }
    assert!(agents.len() >= 3, "{agents:?}");
    for (home, file) in agents {
        let mut context = Context::new();
        context.set("CLAUDE_BOTTLE_HOME", &home.display().to_string());
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        let outcome = context.run(&["info", &name]);
        assert!(outcome.starts_with("exit code: 0\n"), "{}\n{outcome}", file.display());
    }
}

#[test]
fn the_examples_for_claude_start_where_their_tokens_are_set() {
    let mut context = Context::new();
    context.set("CLAUDE_BOTTLE_HOME", &examples().join("claude").display().to_string());
    for variable in ["CLAUDE_BOTTLE_OAUTH_TOKEN", "GH_PAT", "JIRA_USER"] {
        context.set(variable, "an-example-value");
    }
    context.write("user/.ssh/id_ed25519_acme", "-----BEGIN PRIVATE KEY-----\n");
    context.write("user/.claude/skills/review/SKILL.md", "# Review\n");
    for agent in ["implementer", "maintainer", "thinker"] {
        let outcome = context.run(&["start", agent, "--dry-run"]);
        assert!(outcome.starts_with("exit code: 0\n"), "{outcome}");
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}
