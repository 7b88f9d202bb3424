//! What a proxy is started with: files in a folder of its own, flags, environment, input.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::pki::Pki;

/// Origins of tests are on loopback, which a proxy refuses unless it is told otherwise.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// A proxy that does not run yet.
pub struct Setup {
    files: TempDir,
    args: Vec<String>,
    env: Vec<(String, String)>,
    input: Input,
    program: PathBuf,
}

/// Where the route table comes from.
enum Input {
    File,
    /// The first JSON document on stdin.
    Stdin(String),
}

/// Routes, one YAML flow mapping (without its braces) each: `routes(["host: a.localhost, ports: any"])`.
pub fn routes<const N: usize>(entries: [&str; N]) -> String {
    let lines = entries.map(|entry| format!("  - {{{entry}}}\n"));
    if N == 0 { "routes: []\n".to_owned() } else { format!("routes:\n{}", lines.concat()) }
}

impl Setup {
    /// A proxy for this table, allowed to dial loopback.
    pub fn new(routes: &str) -> Self {
        let mut setup = Self::bare();
        setup.write("routes.yaml", routes);
        for range in LOOPBACK {
            setup = setup.arg("--allow-upstream-cidr").arg(range);
        }
        let ca = setup.path("ca");
        setup.arg("--listen").arg("127.0.0.1:0").arg("--ca-dir").arg(ca)
    }

    /// Nothing but a folder: every flag is the test's.
    pub fn bare() -> Self {
        let files = TempDir::new().expect("a temporary folder");
        Self {
            files,
            args: Vec::new(),
            env: Vec::new(),
            input: Input::File,
            program: binary("egress-proxy-under-test"),
        }
    }

    /// The table and the secrets come on stdin, as one JSON document.
    pub fn stdin(mut self, document: &str) -> Self {
        self.input = Input::Stdin(format!("{document}\n"));
        self.arg("--stdin")
    }

    /// Trusts an origin's authority.
    pub fn trusting(self, pki: &Pki) -> Self {
        self.write("origins.pem", &pki.pem());
        let file = self.path("origins.pem");
        self.arg("--upstream-ca").arg(file)
    }

    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Another build of the proxy than the tests' own.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = path.into();
        self
    }

    /// Leaves out a flag and its value.
    pub fn without(mut self, flag: &str) -> Self {
        while let Some(index) = self.args.iter().position(|arg| arg == flag) {
            self.args.drain(index..index + 2);
        }
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes a file into the proxy's folder.
    pub fn write(&self, name: &str, content: &str) {
        std::fs::write(self.files.path().join(name), content).expect("the test's folder is writable");
    }

    /// The path of a file in the proxy's folder.
    pub fn path(&self, name: &str) -> String {
        self.files.path().join(name).to_str().expect("a temporary folder has an ASCII name").to_owned()
    }

    pub(super) fn spawn(self) -> (TempDir, Child, Option<String>) {
        let mut command = Command::new(&self.program);
        command.arg("run").args(&self.args).env_clear().envs(self.env).current_dir(self.files.path());
        let first = match self.input {
            Input::File => {
                if !self.args.iter().any(|arg| arg == "--routes") {
                    command.arg("--routes").arg(self.files.path().join("routes.yaml"));
                }
                command.stdin(Stdio::null());
                None
            }
            Input::Stdin(first) => {
                command.stdin(Stdio::piped());
                Some(first)
            }
        };
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().expect("the proxy's binary was built with the tests");
        (self.files, child, first)
    }
}

pub(super) fn ca_certificate(files: &Path) -> PathBuf {
    files.join("ca").join("ca.pem")
}

/// A program of this package: built with the tests, it lies beside the folder of their own executables.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own executable");
    let folder = test.parent().and_then(Path::parent).expect("executables of tests are in `deps`");
    folder.join(name)
}
