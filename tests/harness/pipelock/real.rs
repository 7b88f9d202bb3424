//! The real pipelock on loopback: the configuration of the sidecar, but for the destination, which is an address here.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::Answers;
use crate::within;

/// As the launcher writes it, with the marks below replaced.
const CONFIGURATION: &str = include_str!("real.yaml");

/// The same as an upstream proxy.
const INTERCEPTING: &str = include_str!("intercepting.yaml");

/// A pipelock process with a folder of its own.
pub struct Real {
    child: Child,
    program: OsString,
    files: TempDir,
    address: SocketAddr,
}

impl Real {
    /// Starts it, and returns once it listens.
    pub async fn start(program: &OsStr, answers: Answers) -> Self {
        assert!(Path::new(program).is_file(), "`PIPELOCK_BIN` is {program:?}, which is no file");
        let files = TempDir::new().expect("a temporary folder");
        let address = free_address().await;
        write_configuration(files.path(), address, answers);
        let child = run(program, files.path());
        let real = Self { child, program: program.to_owned(), files, address };
        within("pipelock listens", real.listening()).await;
        real
    }

    /// As an upstream proxy that intercepts with an authority of its own, and trusts these origins.
    pub async fn intercepting(program: &OsStr, origins: &str) -> Self {
        let files = TempDir::new().expect("a temporary folder");
        let address = free_address().await;
        write(files.path(), "pipelock.yaml", &INTERCEPTING.replace("LISTEN", &address.to_string()));
        write(files.path(), "origins.pem", origins);
        let made = command(program, files.path(), ["tls", "init", "--out", "."]).output().await;
        let made = made.unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let child = run(program, files.path());
        let real = Self { child, program: program.to_owned(), files, address };
        within("pipelock listens", real.listening()).await;
        real
    }

    /// The file with the authority of one that intercepts.
    pub fn authority(&self) -> String {
        self.files.path().join("ca.pem").to_str().expect("a temporary folder has an ASCII name").to_owned()
    }

    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the child is ours");
    }

    pub async fn start_again(&mut self) {
        self.child = run(&self.program, self.files.path());
        within("pipelock listens", self.listening()).await;
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("pipelock runs"), signal).expect("the child is ours");
    }

    /// Renames another configuration into place, and waits until it has taken it. A change that follows another within some
    /// two seconds is dropped by it, and nothing says so: then it is made again.
    pub async fn reconfigure(&self, answers: Answers) {
        let before = self.log().matches("config_reload").count();
        let reloaded = async {
            for waited in 0.. {
                if waited % 150 == 0 {
                    write_configuration(self.files.path(), self.address, answers);
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                if self.log().matches("config_reload").count() > before {
                    return;
                }
            }
        };
        within("pipelock reads its configuration", reloaded).await;
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.files.path().join("log")).expect("the log is ours")
    }

    /// Its port cannot be learnt from it, and it says nothing when it is ready: connecting is the only sign.
    async fn listening(&self) {
        while TcpStream::connect(self.address).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

fn write_configuration(folder: &Path, address: SocketAddr, answers: Answers) {
    let scanned = match answers {
        Answers::Unscanned => "{enabled: false}",
        Answers::Scanned => {
            "{enabled: true, action: block, sse_streaming: {enabled: true, action: block, max_event_bytes: 1048576}}"
        }
    };
    let configuration = CONFIGURATION.replace("LISTEN", &address.to_string()).replace("ANSWERS", scanned);
    write(folder, "new.yaml", &configuration);
    std::fs::rename(folder.join("new.yaml"), folder.join("pipelock.yaml")).expect("the folder is writable");
}

fn run(program: &OsStr, folder: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log"));
    let log = log.expect("the folder is writable");
    command(program, folder, ["run", "--config", "pipelock.yaml"])
        .stderr(log.try_clone().expect("a second handle"))
        .stdout(log)
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", program.display()))
}

fn command<const N: usize>(program: &OsStr, folder: &Path, args: [&str; N]) -> Command {
    let mut command = Command::new(program);
    command.args(args).env_clear().env("PIPELOCK_HOME", folder).env("SSL_CERT_FILE", folder.join("origins.pem"));
    command.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn write(folder: &Path, name: &str, content: &str) {
    std::fs::write(folder.join(name), content).expect("the folder is writable");
}

/// A port that was free a moment ago: pipelock does not tell which one it took.
async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    listener.local_addr().expect("a bound port")
}
