//! A bottle under test: `bottle start` as a child process with a home of its own, and a shell as its agent, which the test
//! speaks to line by line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use harness::within;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::engine;

/// What a test wants of a bottle.
pub(crate) struct Setup {
    home: TempDir,
    bottle: String,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    image: Option<String>,
    program: PathBuf,
}

impl Setup {
    /// A bottle with this frontmatter (routes, env), the built-in scan, and `sh` as the agent's command.
    pub(crate) fn new(frontmatter: &str) -> Self {
        let home = TempDir::new().expect("a temporary folder");
        let arguments = vec!["--dlp".into(), "builtin".into()];
        Self { home, bottle: String::new(), variables: vec![], arguments, image: None, program: path() }
            .frontmatter(frontmatter)
    }

    /// Without a route to anywhere.
    pub(crate) fn closed() -> Self {
        Self::new("egress_proxy: {defaults: off}")
    }

    /// With another frontmatter, for one that names a file of this setup.
    pub(crate) fn frontmatter(self, frontmatter: &str) -> Self {
        self.frontmatter_with_command(frontmatter, "[sh]")
    }

    pub(crate) fn frontmatter_with_command(mut self, frontmatter: &str, command: &str) -> Self {
        self.bottle = format!("---\n{frontmatter}\ncommand: {command}\n---\n");
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    #[cfg(feature = "real-pipelock")]
    pub(crate) fn dlp(mut self, mode: &str) -> Self {
        self.arguments = vec!["--dlp".into(), mode.into()];
        self
    }

    /// Its state outlives it.
    pub(crate) fn keep(mut self) -> Self {
        self.arguments.push("--keep".into());
        self
    }

    /// Tells when each step of its launch ended.
    pub(crate) fn timings(mut self) -> Self {
        self.arguments.push("--timings".into());
        self
    }

    /// Another copy of `bottle`.
    pub(crate) fn program(mut self, path: &Path) -> Self {
        self.program = path.to_owned();
        self
    }

    pub(crate) fn image(mut self, image: &str) -> Self {
        self.image = Some(image.to_owned());
        self
    }

    #[cfg(feature = "launch-failures")]
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A file in the bottle's home, for manifests to name; its path.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.path().join(name);
        fs::write(&path, content).expect("a file in a temporary folder");
        path
    }

    /// The command line of `bottle start`, in the environment of this setup.
    pub(crate) async fn command(&self, agent_arguments: &[&str]) -> Command {
        let mut command = self.verb(&["start", "test", "--yes"]).await;
        command.args(&self.arguments).arg("--").args(agent_arguments);
        command
    }

    /// The command line of any verb, in the environment of this setup.
    pub(crate) async fn verb(&self, words: &[&str]) -> Command {
        for (folder, content) in [("agents", "---\nbottle: test\n---\nBe good.\n"), ("bottles", &self.bottle)] {
            fs::create_dir_all(self.home.path().join(folder)).expect("a folder in a temporary folder");
            fs::write(self.home.path().join(folder).join("test.md"), content).expect("a manifest");
        }
        let image = match &self.image {
            Some(image) => image.clone(),
            None => engine::agent_image().await,
        };
        let mut command = program(&self.program, self.home.path());
        command.env("CLAUDE_BOTTLE_IMAGE", image).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.args(words);
        command
    }

    /// Starts a bottle and returns when its shell answers.
    pub(crate) async fn start(self) -> Bottle {
        let mut command = self.command(&[]).await;
        let mut child = spawn(&mut command);
        let mut bottle = Bottle {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().expect("stdout is piped")).lines(),
            stderr: BufReader::new(child.stderr.take().expect("stderr is piped")).lines(),
            said: String::new(),
            identity: String::new(),
            child,
            _leftovers: Leftovers::of(&self.home),
            home: self.home,
        };
        bottle.identity = bottle.up().await;
        assert_eq!(bottle.sh("echo here").await, "here");
        bottle
    }

    /// Runs `bottle start` to its end.
    pub(crate) async fn run(self, agent_arguments: &[&str]) -> Ended {
        let _leftovers = Leftovers::of(&self.home);
        let mut command = self.command(agent_arguments).await;
        let output = within("the end of `bottle start`", command.stdin(Stdio::null()).output()).await;
        let output = output.expect("a built `bottle`: run `make build`");
        Ended {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A bottle whose agent is a shell.
pub(crate) struct Bottle {
    pub(crate) identity: String,
    home: TempDir,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
    said: String,
    _leftovers: Leftovers,
}

/// What a test that fails leaves on the engine, by the label of its home: looked at, for it may tell why, and removed, for an
/// engine has addresses for a dozen bottles.
struct Leftovers(String);

impl Leftovers {
    fn of(home: &TempDir) -> Self {
        Self(format!("claude-bottle.home={}", home.path().display()))
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            engine::examine_and_remove(&self.0);
        }
    }
}

/// How `bottle start` ended, and everything it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Bottle {
    /// Runs a line in the agent's shell and returns what it prints, both streams.
    pub(crate) async fn sh(&mut self, line: &str) -> String {
        let stdin = self.stdin.as_mut().expect("the shell is open");
        // Its own process group of streams, so that a reader in the line cannot eat the lines after it.
        let script = format!("{{ {line}\n}} </dev/null 2>&1; echo \"{END}\"\n");
        stdin.write_all(script.as_bytes()).await.expect("the shell reads");
        let mut printed = Vec::new();
        loop {
            let line = within("the shell's answer", self.stdout.next_line()).await.expect("UTF-8");
            let Some(line) = line else { panic!("the shell is gone: {}", self.rest().await) };
            match line.strip_suffix(END) {
                Some("") => return printed.join("\n"),
                Some(last) => {
                    printed.push(last.to_owned());
                    return printed.join("\n");
                }
                None => printed.push(line),
            }
        }
    }

    /// `claude-bottle-ROLE-IDENTITY`, or the agent's own container.
    pub(crate) fn container(&self, role: &str) -> String {
        match role {
            "agent" => format!("claude-bottle-{}", self.identity),
            _ => format!("claude-bottle-{role}-{}", self.identity),
        }
    }

    /// Ends the agent's shell with a code and waits for `bottle`.
    pub(crate) async fn exit(mut self, code: u8) -> Ended {
        let mut stdin = self.stdin.take().expect("the shell is open");
        stdin.write_all(format!("exit {code}\n").as_bytes()).await.expect("the shell reads");
        self.end().await
    }

    /// Ends the agent's shell, waits for `bottle` and keeps its home, for a verb that comes after.
    pub(crate) async fn exit_keeping_home(mut self, code: u8) -> (Ended, TempDir) {
        let mut stdin = self.stdin.take().expect("the shell is open");
        stdin.write_all(format!("exit {code}\n").as_bytes()).await.expect("the shell reads");
        self.end_keeping_home().await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).expect("a child that runs");
        kill_process(id, signal).expect("a child of ours");
    }

    /// Waits for `bottle`.
    pub(crate) async fn end(mut self) -> Ended {
        let status = within("the end of `bottle`", self.child.wait()).await.expect("a child of ours");
        let mut stdout = String::new();
        while let Ok(Some(line)) = self.stdout.next_line().await {
            stdout = stdout + &line + "\n";
        }
        Ended { status, stdout, stderr: self.rest().await }
    }

    /// `bottle` in the same home, for a verb of the caller's.
    pub(crate) fn command(&self) -> Command {
        program(&path(), self.home.path())
    }

    /// Another verb in the same home.
    pub(crate) async fn bottle(&self, arguments: &[&str]) -> Ended {
        bottle_in(self.home.path(), arguments).await
    }

    /// Waits for `bottle` and keeps its home, for a verb that comes after.
    pub(crate) async fn end_keeping_home(mut self) -> (Ended, TempDir) {
        let status = within("the end of `bottle`", self.child.wait()).await.expect("a child of ours");
        let stderr = self.rest().await;
        (Ended { status, stdout: String::new(), stderr }, self.home)
    }

    /// Reads on until the bottle is up; its identity.
    async fn up(&mut self) -> String {
        loop {
            let line = within("the next step of the launch", self.stderr.next_line()).await.expect("UTF-8");
            let Some(line) = line else { panic!("no bottle came up:\n{}", self.said) };
            self.said = std::mem::take(&mut self.said) + &line + "\n";
            if let Some((identity, _)) = line.split_once(" is up after ") {
                return identity.to_owned();
            }
        }
    }

    async fn rest(&mut self) -> String {
        let mut said = std::mem::take(&mut self.said);
        while let Ok(Some(line)) = self.stderr.next_line().await {
            said = said + &line + "\n";
        }
        said
    }
}

/// Launches a kept bottle once more; its shell has nothing to do.
pub(crate) async fn resume(home: &Path, identity: &str) -> Ended {
    let mut command = program(&path(), home);
    command.env("CLAUDE_BOTTLE_IMAGE", engine::agent_image().await);
    verb_of(command, &["resume", identity, "--yes"]).await
}

/// Runs a verb of `bottle` to its end.
pub(crate) async fn bottle_in(home: &Path, arguments: &[&str]) -> Ended {
    verb_of(program(&path(), home), arguments).await
}

/// The same on another engine.
#[cfg(feature = "launch-failures")]
pub(crate) async fn bottle_on(engine: &str, home: &Path, arguments: &[&str]) -> Ended {
    let mut command = program(&path(), home);
    command.env("DOCKER_HOST", engine);
    verb_of(command, arguments).await
}

async fn verb_of(mut command: Command, arguments: &[&str]) -> Ended {
    let output = within("the end of a verb", command.args(arguments).stdin(Stdio::null()).output()).await;
    let output = output.expect("a built `bottle`: run `make build`");
    Ended {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("a built `bottle`: run `make build`")
}

fn program(path: &Path, home: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("CLAUDE_BOTTLE_HOME", home).env("HOME", home).kill_on_drop(true);
    for kept in [
        "PATH",
        "DOCKER_HOST",
        "CLAUDE_BOTTLE_EGRESS_PROXY_IMAGE",
        "CLAUDE_BOTTLE_PIPELOCK_BIN",
        "CLAUDE_BOTTLE_PIPELOCK_IMAGE",
        "CLAUDE_BOTTLE_SUPERVISE_IMAGE",
    ] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
}

/// Where `make build` puts it.
pub(crate) fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dist/bottle")
}

const END: &str = "~~end~~";
