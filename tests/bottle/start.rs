//! `bottle start` up to the engine: what is shown, asked and refused, and that nothing is left behind.

use crate::assert_outcome;
use crate::context::Context;

#[test]
fn a_dry_run_shows_the_preflight_and_creates_nothing() {
    let context = Context::with_agent();
    let before = context.files("user");
    assert_outcome!(context.run(&["start", "impl", "--dry-run"]));
    assert_eq!(context.files("user"), before);
    assert!(!context.path("user/.claude-bottle/state").exists());
}

#[test]
fn a_dry_run_by_variable_is_the_same() {
    let mut context = Context::with_agent();
    let by_flag = context.run(&["start", "impl", "--dry-run"]);
    context.set("CLAUDE_BOTTLE_DRY_RUN", "1");
    assert_eq!(context.run(&["start", "impl", "--yes"]), by_flag);
}

#[test]
fn a_weaker_dlp_is_shown() {
    let context = Context::with_agent();
    for mode in ["builtin", "pipelock", "off"] {
        let shown = context.run(&["start", "impl", "--dry-run", "--dlp", mode]);
        assert!(shown.contains(&format!("\n              dlp: {mode} (")), "{shown}");
    }
    assert!(!context.run(&["start", "impl", "--dry-run", "--dlp", "both"]).contains("dlp:"));
}

#[test]
fn the_preflight_of_a_full_bottle_has_six_fields() {
    let context = Context::new();
    context.bottle("git", GIT);
    context.agent("pusher", "---\nbottle: git\n---\n");
    context.write("user/.ssh/id_acme", "-----BEGIN PRIVATE KEY-----\n");
    assert_outcome!(context.run(&["start", "pusher", "--dry-run"]));
}

#[test]
fn no_value_of_a_secret_is_shown() {
    let context = Context::with_agent();
    for verb in [&["start", "impl", "--dry-run"][..], &["info", "impl"], &["info", "impl", "--json"], &["list"]] {
        let shown = context.run(verb);
        assert!(!shown.contains("not-a-real-token") && !shown.contains("JIRA_USER=ada"), "{shown}");
    }
}

#[test]
fn an_unknown_agent_is_named_with_the_near_one() {
    let context = Context::with_agent();
    assert_outcome!(context.run(&["start", "imp", "--yes"]));
}

#[test]
fn a_user_without_manifests_is_told_how_to_begin() {
    assert_outcome!(Context::new().run(&["start", "impl", "--yes"]));
}

#[test]
fn missing_variables_are_all_named_at_once() {
    let mut context = Context::with_agent();
    context.unset("GH_PAT");
    context.unset("CLAUDE_BOTTLE_OAUTH_TOKEN");
    context.unset("JIRA_USER");
    context.set("GH_PATT", "near");
    assert_outcome!(context.run(&["start", "impl", "--dry-run"]));
}

#[test]
fn a_token_that_cannot_be_one_is_refused() {
    let mut context = Context::with_agent();
    context.unset("GH_PAT");
    context.set("GH_PAT", "short");
    context.unset("CLAUDE_BOTTLE_OAUTH_TOKEN");
    context.set("CLAUDE_BOTTLE_OAUTH_TOKEN", "sk-ant-two\nlines");
    assert_outcome!(context.run(&["start", "impl", "--dry-run"]));
}

#[test]
fn a_missing_skill_and_a_missing_key_are_named() {
    let context = Context::new();
    context.bottle("git", GIT);
    context.agent("pusher", "---\nbottle: git\nskills: [deploy]\n---\n");
    assert_outcome!(context.run(&["start", "pusher", "--dry-run"]));
}

#[test]
fn a_route_that_insists_on_inspection_needs_pipelock() {
    let context = Context::new();
    context.bottle("dev", "---\negress_proxy:\n  routes:\n    - host: a.example\n      inspect: request\n---\n");
    context.agent("impl", "---\nbottle: dev\n---\n");
    assert!(context.run(&["start", "impl", "--dry-run"]).starts_with("exit code: 0\n"));
    assert_outcome!(context.run(&["start", "impl", "--dry-run", "--dlp", "builtin"]));
}

#[test]
fn an_unknown_backend_is_named() {
    let mut context = Context::with_agent();
    context.set("CLAUDE_BOTTLE_BACKEND", "podman-remote");
    assert_outcome!(context.run(&["start", "impl", "--yes"]));
}

#[test]
fn without_an_engine_start_fails_and_leaves_nothing() {
    let context = Context::with_agent();
    let before = context.files("user");
    let outcome = context.run(&["start", "impl", "--yes"]);
    assert!(outcome.starts_with("exit code: 125\n"), "{outcome}");
    assert!(outcome.contains("error: ") && outcome.contains("hint: "), "{outcome}");
    assert_eq!(context.files("user"), before);
}

#[test]
fn a_home_that_is_nowhere_is_an_error() {
    let context = Context::new();
    let output = context.command(&["list"]).env_remove("HOME").output().expect("bottle runs");
    assert_outcome!(context.render(&output));
}

#[test]
fn claude_bottle_home_wins() {
    let mut context = Context::new();
    context.write("elsewhere/bottles/b.md", "---\n---\n");
    context.write("elsewhere/agents/a.md", "---\nbottle: b\n---\n");
    context.set("CLAUDE_BOTTLE_HOME", &context.path("elsewhere").display().to_string());
    assert_outcome!(context.run(&["list"]));
}

const GIT: &str = "---
git:
  - Name: infra
    Upstream: ssh://git@git.example.net:30009/acme/infra.git
    IdentityFile: ~/.ssh/id_acme
    KnownHostKey: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIexample
    ExtraHosts: {git.example.net: 100.64.0.9}
egress_proxy:
  defaults: off
supervise: true
dlp: builtin
---
";
