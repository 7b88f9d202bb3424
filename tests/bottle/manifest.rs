//! Errors of manifests: all of a file at once, each with its place and what to do.

use crate::assert_outcome;
use crate::context::{Context, DEV};

/// What `bottle start` says to one bottle.
fn said_of_bottle(text: &str) -> String {
    let context = Context::new();
    context.bottle("dev", text);
    context.agent("impl", "---\nbottle: dev\n---\n");
    context.run(&["start", "impl", "--dry-run"])
}

fn said_of_agent(text: &str) -> String {
    let context = Context::new();
    context.bottle("dev", "---\n---\n");
    context.agent("impl", text);
    context.run(&["start", "impl", "--dry-run"])
}

#[test]
fn all_errors_of_a_bottle_come_at_once() {
    assert_outcome!(said_of_bottle(
        "---
env:
  GOOD: fine
  BAD-NAME: x
  NUMBER: 8
  HALF: a${B}
  EMPTY: \"?\"
  HTTPS_PROXY: http://elsewhere.example
egress_proxy:
  routs: []
  routes:
    - host: '*'
    - host: a.example
      auth: {scheme: Bearer, token_env: X}
    - host: A.example.
    - host: b.example
      auth: {scheme: Digest, token_ref: X}
  defaults: maybe
  telemetry: sometimes
  allow_cidr: [10.0.0.0/99]
git:
  - Name: ../up
    Upstream: git@git.example.net:acme/infra.git
    IdentityFile: ~/.ssh/id
    KnownHostKey: nonsense
    ExtraHosts: {git.example.net: nowhere}
  - Name: infra
supervise: 1
dlp: builtn
image: two words
command: []
---
"
    ));
}

#[test]
fn legacy_keys_print_their_migration() {
    assert_outcome!(said_of_bottle(
        "---
cred_proxy:
  routes:
    - path: /anthropic/
      upstream: https://api.anthropic.com
      auth_scheme: Bearer
      token_ref: CLAUDE_BOTTLE_OAUTH_TOKEN
      role: anthropic-base-url
    - path: /gh/
      upstream: https://api.github.com/repos/acme/
      auth_scheme: token
      token_ref: GH_PAT
egress: {allowlist: [a.example, b.example]}
ssh:
  - Host: git.example.net
    IdentityFile: ~/.ssh/id
runtime: runsc
tokens: [GH_PAT]
---
"
    ));
}

#[test]
fn an_agent_needs_a_bottle_and_knows_its_keys() {
    assert_outcome!(said_of_agent(
        "---\nname: impl\nmodel: opus\ncolor: red\nmemory: user\nbottel: dev\nskills: [../x]\n---\n"
    ));
}

#[test]
fn an_agent_with_an_empty_frontmatter_is_refused() {
    assert_outcome!(said_of_agent("---\n---\nprompt\n"));
}

#[test]
fn a_file_without_frontmatter_is_refused() {
    assert_outcome!(said_of_bottle("env: {}\n"));
}

#[test]
fn a_repeated_key_is_refused() {
    assert_outcome!(said_of_bottle("---\ndlp: off\ndlp: both\n---\n"));
}

#[test]
fn an_unknown_bottle_is_named_where_it_stands() {
    let context = Context::with_agent();
    context.agent("typo", "---\nskills: []\nbottle: dve\n---\n");
    assert_outcome!(context.run(&["start", "typo", "--dry-run"]));
}

#[test]
fn bottles_of_the_working_directory_are_ignored_with_a_warning() {
    let context = Context::with_agent();
    context.write("repo/.claude-bottle/bottles/dev.md", "---\negress_proxy: {routes: [{host: evil.example}]}\n---\n");
    let outcome = context.run(&["start", "impl", "--dry-run"]);
    assert!(outcome.contains("warning: `[ROOT]/repo/.claude-bottle/bottles` is ignored"), "{outcome}");
    assert!(!outcome.contains("evil.example"), "{outcome}");
}

#[test]
fn an_agent_of_the_working_directory_is_found_and_cannot_hide_one_of_the_home() {
    let context = Context::with_agent();
    context.write("repo/.claude-bottle/agents/local.md", "---\nbottle: dev\n---\n");
    context.write("repo/.claude-bottle/agents/impl.md", "---\nbottle: other\n---\n");
    assert_outcome!(context.run(&["list"]));
}

#[test]
fn an_old_json_manifest_is_answered_with_a_pointer() {
    let context = Context::new();
    context.write("repo/claude-bottle.json", "{}");
    assert_outcome!(context.run(&["start", "impl", "--dry-run"]));
}

#[test]
fn a_child_wins_over_its_parent() {
    let mut context = Context::with_agent();
    context.set("OTHER_PAT", "ghp_another-token");
    context.bottle(
        "child",
        "---
extends: dev
env: {JIRA_USER: literal, EXTRA: x}
egress_proxy:
  routes:
    - host: api.github.com
      auth: {scheme: Bearer, token_ref: OTHER_PAT}
dlp: builtin
---
",
    );
    context.agent("heir", "---\nbottle: child\n---\n");
    assert_outcome!(format!("{}{}", context.run(&["info", "heir"]), context.run(&["start", "heir", "--dry-run"])));
}

#[test]
fn bottles_that_extend_each_other_are_refused() {
    let context = Context::new();
    context.bottle("a", "---\nextends: b\n---\n");
    context.bottle("b", "---\nextends: a\n---\n");
    context.agent("impl", "---\nbottle: a\n---\n");
    assert_outcome!(context.run(&["start", "impl", "--dry-run"]));
}

#[test]
fn errors_of_a_parent_are_told_in_the_parents_file() {
    let context = Context::new();
    context.bottle("a", "---\nextends: b\n---\n");
    context.bottle("b", "---\nextends: missing\n---\n");
    context.agent("impl", "---\nbottle: a\n---\n");
    assert_outcome!(context.run(&["start", "impl", "--dry-run"]));
}

#[test]
fn a_placeholder_that_is_set_by_env_too_is_refused() {
    let context = Context::with_agent();
    context.bottle("dev", &DEV.replace("GIT_AUTHOR_NAME: Ada Example", "GH_TOKEN: mine"));
    assert_outcome!(context.run(&["start", "impl", "--dry-run"]));
}

#[test]
fn defaults_are_folded_in_unless_named_or_off() {
    let routes = |text: &str| {
        let outcome = said_of_bottle(text);
        outcome.lines().skip_while(|line| !line.starts_with("egress-proxy")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_outcome!(format!(
        "nothing said: {:#?}\ntelemetry: {:#?}\noff: {:#?}",
        routes("---\n---\n"),
        routes("---\negress_proxy: {telemetry: true, routes: [{host: claude.ai}]}\n---\n"),
        routes("---\negress_proxy: {defaults: off}\n---\n"),
    ));
}

#[test]
fn a_broken_agent_does_not_block_another() {
    let context = Context::with_agent();
    context.agent("broken", "no frontmatter\n");
    assert!(context.run(&["start", "impl", "--dry-run"]).starts_with("exit code: 0\n"));
    assert_outcome!(context.run(&["list"]));
}

#[test]
fn an_agent_of_the_working_directory_cannot_lead_out_of_it() {
    let context = Context::with_agent();
    context.write("user/private.md", "---\nbottle: dev\n---\n\nwhat nobody else may read\n");
    context.write("repo/.claude-bottle/agents/own.md", "---\nbottle: dev\n---\n");
    let link = context.path("repo/.claude-bottle/agents/thief.md");
    std::os::unix::fs::symlink(context.path("user/private.md"), link).expect("a link");
    assert_outcome!(context.run(&["start", "thief", "--dry-run"]));
    assert!(context.run(&["start", "own", "--dry-run"]).starts_with("exit code: 0\n"));

    context.write("user/notes/thief.md", "---\nbottle: dev\n---\n\nwhat nobody else may read\n");
    let agents = context.path("repo/.claude-bottle/agents");
    std::fs::remove_dir_all(&agents).expect("a folder");
    std::os::unix::fs::symlink(context.path("user/notes"), agents).expect("a link");
    assert!(context.run(&["start", "thief", "--dry-run"]).contains("leads out of the working directory"));
}

#[test]
fn a_file_without_end_is_no_manifest() {
    let context = Context::with_agent();
    std::os::unix::fs::symlink("/dev/zero", context.path("user/.claude-bottle/agents/zero.md")).expect("a link");
    context.agent("long", &format!("---\nbottle: dev\n---\n{}", "x".repeat(2 << 20)));
    assert_outcome!(format!("{}{}", context.run(&["info", "zero"]), context.run(&["info", "long"])));
}

#[test]
fn a_file_cannot_drive_the_terminal() {
    let context = Context::with_agent();
    context.agent("evil", "---\nbottle: dev\nskills: [\"\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}x\"]\n---\n");
    for verb in [&["list"][..], &["info", "evil"], &["list", "--json"]] {
        let outcome = context.run(verb);
        assert!(!outcome.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{outcome:?}");
    }
    let outcome = context.run(&["info", "evil"]);
    assert!(outcome.contains('\u{fffd}') && outcome.contains("owned"), "{outcome}");
}

#[test]
fn mistakes_in_rules_for_the_scan_are_told_at_their_lines() {
    let context = Context::with_agent();
    let bottle = DEV.replacen("egress_proxy:\n", "egress_proxy:\n  scan_rules: ~/rules.toml\n", 1);
    context.bottle("dev", &bottle);
    let missing = context.run(&["start", "impl", "--dry-run"]);
    assert!(missing.contains("`~/rules.toml` cannot be read"), "{missing}");
    context.write("user/rules.toml", "[[rules]]\nid = \"acme\"\nregex = 'acme(?!x)'\nkeywords = ['acme']\n");
    let broken = context.run(&["start", "impl", "--dry-run"]);
    assert!(broken.contains("~/rules.toml:3:9: look-arounds cannot be supported"), "{broken}");
    context.write("user/rules.toml", "[[rules]]\nid = \"acme\"\nregex = 'acme[0-9]{9}'\nkeywords = ['acme']\n");
    let whole = context.run(&["start", "impl", "--dry-run"]);
    assert!(whole.starts_with("exit code: 0\n"), "{whole}");
    assert!(whole.contains("scan rules: ~/rules.toml (instead of the built-in ones)"), "{whole}");
}

#[test]
fn exemptions_from_rules_that_are_not_there_are_told_at_their_lines() {
    let context = Context::with_agent();
    let route = "egress_proxy:\n  routes:\n    - host: ex.example\n      scan_except: [jwt, githb-token, acme]\n";
    context.bottle("dev", &format!("---\n{route}---\n"));
    let unknown = context.run(&["start", "impl", "--dry-run"]);
    assert!(unknown.contains(":5:26: there is no scan rule `githb-token`"), "{unknown}");
    assert!(unknown.contains("did you mean `github-token`?") && unknown.contains("no scan rule `acme`"), "{unknown}");
    assert!(!unknown.contains("`jwt`"), "{unknown}");

    let own = "[extend]\nuseDefault = true\n[[rules]]\nid = \"acme\"\nregex = 'acme[0-9]{9}'\nkeywords = ['acme']\n";
    context.write("user/rules.toml", own);
    let route = route.replace("githb-token", "github-token");
    context.bottle("dev", &format!("---\n{route}  scan_rules: ~/rules.toml\n---\n"));
    let known = context.run(&["start", "impl", "--dry-run"]);
    assert!(known.starts_with("exit code: 0\n"), "{known}");
    assert!(known.contains("scan rules: ~/rules.toml (beside the built-in ones)"), "{known}");
    context.write("user/rules.toml", &own.replace("useDefault = true", "useDefault = false"));
    let alone = context.run(&["check", "impl", "GET", "https://ex.example/"]);
    assert!(alone.contains("there is no scan rule `jwt`"), "{alone}");
}
