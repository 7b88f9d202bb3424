//! A process of the benchmark: started in its place, found listening, read for processor time and memory, killed at the
//! end. What it writes on stdout is read away, as a container's log is.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::pin::{self, Place};

/// A running program, with its children.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
}

/// How a program lets it be known where it listens.
pub enum Listens {
    /// It writes an event on stderr.
    Tells,
    /// It was given this address and says nothing.
    At(SocketAddr),
}

/// An address that was free a moment ago, for programs that do not tell which one they took.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A role of ours tells where it listens, as the proxy does.
pub fn announce(listen: SocketAddr) {
    eprintln!("{}", serde_json::json!({ "event": "proxy.started", "listen": listen.to_string() }));
}

impl Process {
    pub fn start(command: &mut Command, listens: &Listens, place: Place) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            pin::at(place, || command.spawn())?.with_context(|| format!("`{program}` cannot be started"))?;
        let mut stdout = child.stdout.take().context("piped")?;
        std::thread::spawn(move || {
            let mut records = vec![0; 64 << 10];
            while stdout.read(&mut records).is_ok_and(|read| read > 0) {}
        });
        let (sender, told) = mpsc::channel();
        let last_words = Arc::new(Mutex::new(String::new()));
        let heard = last_words.clone();
        let stderr = BufReader::new(child.stderr.take().context("piped")?);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                match event["listen"].as_str().and_then(|listen| listen.parse().ok()) {
                    Some(address) => drop(sender.send(address)),
                    None if event["event"].is_string() => {}
                    None => {
                        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                        if heard.len() < LAST_WORDS {
                            heard.push_str(&line);
                            heard.push(' ');
                        }
                    }
                }
            }
        });
        let mut process = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let failure = || {
            let last_words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
            format!("`{program}` did not start: {last_words}")
        };
        process.address = match listens {
            Listens::Tells => told.recv_timeout(START).with_context(failure)?,
            Listens::At(address) => {
                let began = Instant::now();
                while TcpStream::connect(address).is_err() {
                    ensure!(process.child.try_wait()?.is_none() && began.elapsed() < START, failure());
                    std::thread::sleep(Duration::from_millis(1));
                }
                *address
            }
        };
        Ok(process)
    }

    /// Processor time so far, over all threads, to the nanosecond.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let mut total = 0;
        for process in self.tree() {
            for task in fs::read_dir(format!("/proc/{process}/task"))? {
                let stat = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
                total += stat.split(' ').next().unwrap_or_default().parse::<u64>().unwrap_or_default();
            }
        }
        Ok(Duration::from_nanos(total))
    }

    /// Resident bytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    /// The most resident bytes since [`Process::forget_peak`].
    pub fn peak(&self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    pub fn forget_peak(&self) -> anyhow::Result<()> {
        for process in self.tree() {
            fs::write(format!("/proc/{process}/clear_refs"), "5")
                .context("only root may reset another process's peak")?;
        }
        Ok(())
    }

    fn status(&self, name: &str) -> anyhow::Result<u64> {
        let mut total = 0;
        for process in self.tree() {
            let status = fs::read_to_string(format!("/proc/{process}/status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("Linux tells it")?;
            total += line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024;
        }
        Ok(total)
    }

    /// The process and its children, such as nginx's workers.
    fn tree(&self) -> Vec<u32> {
        let mut tree = vec![self.child.id()];
        let mut next = 0;
        while let Some(parent) = tree.get(next) {
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
            tree.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            next += 1;
        }
        tree
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        // Asked first, so that a parent ends its children; it may have ended by itself.
        let _asked = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// So much of what a program said is told when it does not start.
const LAST_WORDS: usize = 400;
/// How long a program may take until it listens.
const START: Duration = Duration::from_secs(60);
/// How long it may take to end when asked.
const PATIENCE: Duration = Duration::from_secs(5);
