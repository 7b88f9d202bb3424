//! The manifests under `examples/` are valid, as they stand.

use std::path::Path;

use crate::context::Context;

#[test]
fn every_example_starts() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut agents = vec![];
    for home in std::fs::read_dir(&examples).expect("examples").flatten().map(|entry| entry.path()) {
        let Ok(files) = std::fs::read_dir(home.join("agents")) else { continue };
        for file in files.flatten() {
            agents.push((home.clone(), file.path()));
        }
    }
    assert!(agents.len() >= 3, "{agents:?}");
    for (home, file) in agents {
        let mut context = Context::new();
        context.set("CLAUDE_BOTTLE_HOME", &home.display().to_string());
        for variable in ["CLAUDE_BOTTLE_OAUTH_TOKEN", "GH_PAT", "NPM_TOKEN", "DEMO_TOKEN", "JIRA_USER"] {
            context.set(variable, "an-example-value");
        }
        context.write("user/.ssh/id_ed25519_acme", "not a key\n");
        context.write("user/.claude/skills/review/SKILL.md", "# Review\n");
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        let outcome = context.run(&["start", &name, "--dry-run"]);
        assert!(outcome.starts_with("exit code: 0\n"), "{}\n{outcome}", file.display());
    }
}
