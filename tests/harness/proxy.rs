//! `egress-proxy run` as a child process with files of its own; it ends with its owner.
//!
//! What it says on stdout (records) and stderr (events) is kept whole, so that a test can search it for secrets.

mod output;
mod setup;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};

use crate::client::Client;
use crate::within;

pub use output::{Held, Json, Lines};
pub use setup::{Setup, binary, routes};

/// A running proxy.
pub struct Proxy {
    child: Child,
    stdin: Option<ChildStdin>,
    files: TempDir,
    listen: SocketAddr,
    started: Json,
    records: Lines,
    events: Lines,
}

/// A proxy that ended by itself.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Fails unless the exit code is this one and stderr says all of this.
    #[track_caller]
    pub fn says(&self, code: i32, words: &[&str]) {
        assert_eq!(self.status.code(), Some(code), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in `{}`", self.stderr);
        }
    }
}

impl Proxy {
    /// Starts, and returns once it listens.
    pub async fn start(setup: Setup) -> Self {
        match Self::try_start(setup).await {
            Ok(proxy) => proxy,
            Err(ended) => panic!("the proxy ended with {}: {}", ended.status, ended.stderr),
        }
    }

    /// Starts; tells how it ended when it did not come up.
    pub async fn try_start(setup: Setup) -> Result<Self, Ended> {
        let (files, mut child, first) = setup.spawn();
        let mut stdin = child.stdin.take();
        if let (Some(stdin), Some(first)) = (&mut stdin, first) {
            // A proxy that refused its flags has closed its input: its last words say why.
            let _ = stdin.write_all(first.as_bytes()).await;
        }
        let records = Lines::of(child.stdout.take().expect("stdout is piped"));
        let mut events = Lines::of(child.stderr.take().expect("stderr is piped"));
        let started = within("`proxy.started`", events.next_where(|line| line["event"] == "proxy.started")).await;
        let Some(started) = started else {
            let status = within("the end of the proxy", child.wait()).await.expect("the child is ours");
            return Err(Ended { status, stdout: records.whole().await, stderr: events.whole().await });
        };
        let listen = address(&started, "listen").unwrap_or_else(|| panic!("no `listen` in {started}"));
        Ok(Self { child, stdin, files, listen, started, records, events })
    }

    /// A client that goes through this proxy and trusts its CA.
    pub fn client(&self) -> Client {
        Client::new(self.listen, self.ca_pem())
    }

    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Where the admin listener is.
    pub fn admin(&self) -> SocketAddr {
        address(&self.started, "admin").unwrap_or_else(|| panic!("no `admin` in {}", self.started))
    }

    /// Where the inner face is.
    pub fn inner_face(&self) -> SocketAddr {
        address(&self.started, "inspect_listen").unwrap_or_else(|| panic!("no `inspect_listen` in {}", self.started))
    }

    pub fn files(&self) -> &Path {
        self.files.path()
    }

    pub fn ca_file(&self) -> PathBuf {
        setup::ca_certificate(self.files.path())
    }

    pub fn ca_pem(&self) -> String {
        std::fs::read_to_string(self.ca_file()).expect("the proxy made its CA")
    }

    /// The next record.
    pub async fn record(&mut self) -> Json {
        within("a record", self.records.next()).await.expect("the proxy runs")
    }

    /// The next record that fits, others skipped.
    pub async fn record_where(&mut self, fits: impl Fn(&Json) -> bool) -> Json {
        within("a record that fits", self.records.next_where(fits)).await.expect("the proxy runs")
    }

    /// The next record of an exchange, tunnels skipped.
    pub async fn exchange(&mut self) -> Json {
        self.record_where(|record| record["kind"] == "exchange").await
    }

    /// The next event of this name.
    pub async fn event(&mut self, name: &str) -> Json {
        let event = self.events.next_where(|line| line["event"] == name);
        within(&format!("the event `{name}`"), event).await.expect("the proxy runs")
    }

    /// Replaces the route table on disk, in one step.
    pub fn write_routes(&self, routes: &str) {
        let new = self.files.path().join("routes.new");
        std::fs::write(&new, routes).expect("the test's folder is writable");
        std::fs::rename(new, self.files.path().join("routes.yaml")).expect("the test's folder is writable");
    }

    /// One more document on stdin.
    pub async fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("the setup keeps stdin open");
        stdin.write_all(format!("{line}\n").as_bytes()).await.expect("the proxy reads its input");
    }

    /// Ends its input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the proxy runs");
    }

    /// Resident memory, in bytes.
    pub fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(path).expect("the proxy runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
        let kib = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
        kib * 1024
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> u64 {
        let folder = format!("/proc/{}/fd", self.pid().as_raw_nonzero());
        std::fs::read_dir(folder).expect("the proxy runs").count() as u64
    }

    /// Lets it open no more than so many descriptors at a time.
    pub fn limit_descriptors(&self, most: u64) {
        let limit = Rlimit { current: Some(most), maximum: Some(1 << 14) };
        prlimit(Some(self.pid()), Resource::Nofile, limit).expect("the child is ours");
    }

    /// Stops reading its records for as long as this is kept: the pipe fills up.
    pub async fn hold_records(&self) -> Held {
        self.records.hold().await
    }

    /// Stops reading its records: the pipe breaks.
    pub fn close_records(&mut self) {
        self.records.close();
    }

    /// Waits for its end, and returns all it said.
    pub async fn ended(mut self) -> Ended {
        let status = within("the end of the proxy", self.child.wait()).await.expect("the child is ours");
        Ended { status, stdout: self.records.whole().await, stderr: self.events.whole().await }
    }

    /// Asks it to end, waits, and returns all it said.
    pub async fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.ended().await
    }

    fn pid(&self) -> Pid {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        Pid::from_raw(pid.expect("the proxy runs")).expect("an id is not zero")
    }
}

fn address(started: &Json, name: &str) -> Option<SocketAddr> {
    started[name].as_str()?.parse().ok()
}
