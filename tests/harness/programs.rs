//! Real programs that know of the proxy by their environment alone, as in a bottle.
//!
//! A missing program fails the test with the line that installs it; nothing is skipped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::proxy::Proxy;
use crate::within;

/// What brings every program of `tests/clients`.
const INSTALL: &str = "run `scripts/test-clients` (`make test` does)";

/// The machine's own settings for these programs are none of a bottle's.
const MACHINE_SETTINGS_OFF: [(&str, &str); 3] =
    [("GIT_CONFIG_NOSYSTEM", "1"), ("NPM_CONFIG_GLOBALCONFIG", "/dev/null"), ("PIP_CONFIG_FILE", "/dev/null")];

/// A program that is yet to run, in a folder of its own, with nothing in its environment but what is said here.
pub struct Program {
    command: Command,
    name: String,
    home: TempDir,
}

/// How it went.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Its stdout; fails unless it exited with 0.
    #[track_caller]
    pub fn output(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stderr, self.stdout);
        &self.stdout
    }
}

/// A program that serves; it ends with its owner.
pub struct Served {
    _child: Child,
    home: TempDir,
}

impl Served {
    /// The folder it runs in.
    pub fn home(&self) -> &Path {
        self.home.path()
    }
}

impl Program {
    /// A program of the machine.
    pub fn installed(name: &str) -> Self {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&folders).chain(["/usr/sbin".into()]);
        let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
        Self::at(&found.unwrap_or_else(|| panic!("no `{name}` on this machine: {INSTALL}")))
    }

    /// One of the project's own.
    pub fn tested(name: &str) -> Self {
        Self::at(&crate::proxy::binary(name))
    }

    /// A program that `scripts/test-clients` put under `.cache/clients`.
    pub fn client(path: &str) -> Self {
        let program = clients().join(path);
        assert!(program.exists(), "no {}: {INSTALL}", program.display());
        Self::at(&program)
    }

    /// Proxy and trust variables as a bottle's agent has them.
    pub fn through(self, proxy: &Proxy) -> Self {
        let url = format!("http://{}", proxy.address());
        let trust = proxy.ca_file();
        let trust = trust.to_str().expect("a temporary folder has an ASCII name");
        let mut program = self;
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            program = program.env(name, &url);
        }
        for name in ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"] {
            program = program.env(name, trust);
        }
        program.env("PIP_CERT", trust).env("NODE_USE_ENV_PROXY", "1")
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.command.args(args);
        self
    }

    /// The folder it runs in, which is its home as well.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs it to its end; the folder goes with it.
    pub async fn run(self) -> Ran {
        self.run_and_keep().await.0
    }

    /// Runs it to its end; what it left in its folder can be looked at.
    pub async fn run_and_keep(mut self) -> (Ran, TempDir) {
        let running = self.command.output();
        let output = within(&format!("the end of `{}`", self.name), running).await;
        let output = output.unwrap_or_else(|e| panic!("`{}`: {e}: {INSTALL}", self.name));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ran = Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) };
        (ran, self.home)
    }

    /// Runs it until its owner is dropped; returns once it listens here, which is the only sign that servers give.
    pub async fn serve(mut self, address: SocketAddr) -> Served {
        let child = self.command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap_or_else(|e| panic!("`{}`: {e}: {INSTALL}", self.name));
        let listening = async {
            while TcpStream::connect(address).await.is_err() {
                if let Some(status) = child.try_wait().expect("the child is ours") {
                    panic!("`{}` ended with {status}", self.name);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(&format!("`{}` listens", self.name), listening).await;
        Served { _child: child, home: self.home }
    }

    fn at(path: &Path) -> Self {
        let home = TempDir::new().expect("a temporary folder");
        let mut command = Command::new(path);
        command.env_clear().env("HOME", home.path()).current_dir(home.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for (name, value) in MACHINE_SETTINGS_OFF {
            command.env(name, value);
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        Self { command, name: path.display().to_string(), home }
    }
}

/// Where `scripts/test-clients` installs.
pub fn clients() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the package lies in the workspace").join(".cache/clients")
}
