//! The real pipelock on loopback: the configuration of the sidecar, but for the destination, which is an address here.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::Answers;
use crate::within;

/// As the launcher writes it, with the marks below replaced.
const CONFIGURATION: &str = include_str!("real.yaml");

/// A pipelock process with a folder of its own.
pub struct Real {
    _child: Child,
    files: TempDir,
    address: SocketAddr,
}

impl Real {
    /// Starts it, and returns once it listens.
    pub async fn start(program: &OsStr, answers: Answers) -> Self {
        assert!(Path::new(program).is_file(), "`PIPELOCK_BIN` is {program:?}, which is no file");
        let files = TempDir::new().expect("a temporary folder");
        let address = free_address().await;
        let scanned = match answers {
            Answers::Unscanned => "{enabled: false}",
            Answers::Scanned => {
                "{enabled: true, action: block, sse_streaming: {enabled: true, action: block, max_event_bytes: 1048576}}"
            }
        };
        let configuration = CONFIGURATION.replace("LISTEN", &address.to_string()).replace("ANSWERS", scanned);
        std::fs::write(files.path().join("pipelock.yaml"), configuration).expect("the folder is writable");
        let log = std::fs::File::create(files.path().join("log")).expect("the folder is writable");
        let child = Command::new(program)
            .args(["run", "--config", "pipelock.yaml"])
            .env_clear()
            .env("PIPELOCK_HOME", files.path())
            .current_dir(files.path())
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a second handle"))
            .stdout(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let real = Self { _child: child, files, address };
        within("pipelock listens", real.listening()).await;
        real
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

/// A port that was free a moment ago: pipelock does not tell which one it took.
async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    listener.local_addr().expect("a bound port")
}
