//! A host of its own for each test: home, working directory, environment.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A user who has nothing but what the test writes.
pub(crate) struct Context {
    root: TempDir,
    variables: Vec<(String, String)>,
}

impl Context {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        for folder in ["user", "repo"] {
            std::fs::create_dir(root.path().join(folder)).expect("a folder");
        }
        Self { root, variables: vec![] }
    }

    /// A user with one agent `impl` in one bottle `dev`, and the variables that it needs.
    pub(crate) fn with_agent() -> Self {
        let mut context = Self::new();
        context.bottle("dev", DEV);
        context.agent("impl", "---\nbottle: dev\nskills: [review]\n---\n\nYou implement.\n");
        context.write("user/.claude/skills/review/SKILL.md", "# Review\n");
        context.set("JIRA_USER", "ada");
        context.set("GH_PAT", "ghp_not-a-real-token");
        context.set("CLAUDE_BOTTLE_OAUTH_TOKEN", "sk-ant-not-a-real-token");
        context
    }

    pub(crate) fn bottle(&self, name: &str, text: &str) {
        self.write(&format!("user/.claude-bottle/bottles/{name}.md"), text);
    }

    pub(crate) fn agent(&self, name: &str, text: &str) {
        self.write(&format!("user/.claude-bottle/agents/{name}.md"), text);
    }

    /// Writes a file below the test's folder: `user/…` is the home, `repo/…` the working directory.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(crate) fn set(&mut self, variable: &str, value: &str) {
        self.variables.push((variable.to_owned(), value.to_owned()));
    }

    pub(crate) fn unset(&mut self, variable: &str) {
        self.variables.retain(|(name, _)| name != variable);
    }

    /// Runs `bottle` with nothing on stdin; exit code and both streams as one text.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        self.run_with_input(arguments, "")
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> String {
        let mut child = self.command(arguments).spawn().expect("bottle starts");
        // A child that reads nothing closes the pipe: no failure of the test.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        self.render(&child.wait_with_output().expect("bottle ends"))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bottle-under-test"));
        command.args(arguments).env_clear().current_dir(self.path("repo"));
        command.env("HOME", self.path("user")).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("DOCKER_HOST", format!("unix://{}", self.path("no-engine.sock").display()));
        command.env("COLUMNS", "100");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// All files below a folder, to show what a command left.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let mut files = vec![];
        collect(&self.path(folder), &mut files);
        let root = self.root.path();
        files.sort();
        files.iter().filter_map(|file| Some(file.strip_prefix(root).ok()?.display().to_string())).collect()
    }

    pub(crate) fn render(&self, output: &Output) -> String {
        let mut text = format!("exit code: {}\n", output.status.code().expect("an exit code"));
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            let stream = String::from_utf8_lossy(bytes).replace(&self.root.path().display().to_string(), "[ROOT]");
            let _ = write!(text, "----- {name} -----\n{stream}");
        }
        text
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

pub(crate) const DEV: &str = r#"---
env:
  GIT_AUTHOR_NAME: Ada Example
  JIRA_USER: ${JIRA_USER}
  JIRA_TOKEN: "?Paste the Jira token"
egress_proxy:
  routes:
    - host: api.anthropic.com
      auth: {scheme: Bearer, token_ref: CLAUDE_BOTTLE_OAUTH_TOKEN, placeholder: CLAUDE_CODE_OAUTH_TOKEN}
    - host: api.github.com
      path_allowlist: [/repos/acme/, /user]
      auth: {scheme: token, token_ref: GH_PAT, placeholder: GH_TOKEN}
    - host: registry.example.com
      matches:
        - methods: [GET, HEAD]
          paths: [{type: prefix, value: /v2/}]
---

Notes for humans.
"#;
