//! What is measured, each as a process of its own: started, found listening, read for processor time and memory.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::Context;
use tempfile::TempDir;

use crate::{HOST, client::Way};

/// Files that processes leave for others in the world's folder: whom clients and proxies trust.
pub const ORIGINS: &str = "origins.pem";
pub const FLOOR: &str = "floor.pem";
const ROUTES: &str = "routes.yaml";
const CA: &str = "ca";

/// One of the things that are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Direct,
    Floor,
    ScanOff,
    ScanOn,
    Inspected,
}

impl Kind {
    pub fn all(pipelock: bool) -> Vec<Self> {
        let mut kinds = vec![Self::Direct, Self::Floor, Self::ScanOff, Self::ScanOn];
        kinds.extend(pipelock.then_some(Self::Inspected));
        kinds
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Floor => "hyper-floor",
            Self::ScanOff => "egress-proxy, scan off",
            Self::ScanOn => "egress-proxy",
            Self::Inspected => "egress-proxy + pipelock",
        }
    }
}

/// The origin, and everything that contenders share.
pub struct World {
    folder: TempDir,
    origin: Process,
    egress_proxy: PathBuf,
    pipelock: Option<PathBuf>,
}

/// pipelock as the launcher configures it, but for the destination, which is an address here.
const PIPELOCK: &str = include_str!("../../tests/harness/pipelock/real.yaml");

impl World {
    pub fn new(egress_proxy: &Path, pipelock: Option<PathBuf>) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let routes = format!(
            "routes:\n  - {{host: {HOST}, ports: any, path_allowlist: [/small, /bytes, /sink, /events], \
             auth: {{scheme: Bearer, token_env: BENCH_TOKEN}}}}\n  - {{host: \"*.{HOST}\", ports: any}}\n"
        );
        fs::write(folder.path().join(ROUTES), routes)?;
        let origin = Process::start(Command::new(std::env::current_exe()?).arg("origin").arg(folder.path()))?;
        let egress_proxy = fs::canonicalize(egress_proxy)
            .with_context(|| format!("no {}; run `scripts/build`", egress_proxy.display()))?;
        Ok(Self { folder, origin, egress_proxy, pipelock })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// One contender at work.
pub struct Contender {
    pub kind: Kind,
    pub way: Way,
    process: Option<Process>,
    _pipelock: Option<Pipelock>,
}

impl Contender {
    pub fn start(world: &World, kind: Kind) -> anyhow::Result<Self> {
        let pipelock = match (&world.pipelock, kind) {
            (Some(program), Kind::Inspected) => Some(Pipelock::start(world, program)?),
            _ => None,
        };
        let (mut command, trust) = match kind {
            Kind::Direct => {
                let way = Way::new(world.origin.address, None, &fs::read_to_string(world.path(ORIGINS))?)?;
                return Ok(Self { kind, way, process: None, _pipelock: None });
            }
            Kind::Floor => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("floor").arg(world.folder.path()).arg("127.0.0.1:0");
                (command, world.path(FLOOR))
            }
            Kind::ScanOff | Kind::ScanOn | Kind::Inspected => {
                (egress_proxy(world, kind), world.path(CA).join("ca.pem"))
            }
        };
        if let Some(pipelock) = &pipelock {
            command.arg("--inspect").arg(format!("http://{}", pipelock.address));
            command.args(["--inspect-listen", "127.0.0.1:0"]);
        }
        let process = Process::start(&mut command)?;
        let way = Way::new(world.origin.address, Some(process.address), &fs::read_to_string(trust)?)?;
        Ok(Self { kind, way, process: Some(process), _pipelock: pipelock })
    }

    /// Processor time so far; without a proxy there is none.
    pub fn cpu(&self) -> anyhow::Result<Option<Duration>> {
        self.process.as_ref().map(|process| process.cpu()).transpose()
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> anyhow::Result<Option<u64>> {
        self.process.as_ref().map(|process| process.status("VmRSS:")).transpose()
    }

    /// The most resident memory since [`Contender::forget_peak`].
    pub fn peak(&self) -> anyhow::Result<Option<u64>> {
        self.process.as_ref().map(|process| process.status("VmHWM:")).transpose()
    }

    pub fn forget_peak(&self) -> anyhow::Result<()> {
        let Some(process) = &self.process else { return Ok(()) };
        fs::write(process.proc("clear_refs"), "5").context("only root may reset another process's peak")
    }
}

fn egress_proxy(world: &World, kind: Kind) -> Command {
    let mut command = Command::new(&world.egress_proxy);
    command.args(["run", "--listen", "127.0.0.1:0", "--allow-upstream-cidr", "127.0.0.0/8"]);
    command.arg("--allow-upstream-cidr").arg("::1/128");
    command.arg("--routes").arg(world.path(ROUTES)).arg("--ca-dir").arg(world.path(CA));
    command.arg("--upstream-ca").arg(world.path(ORIGINS));
    command.args(["--scan", if kind == Kind::ScanOff { "off" } else { "block" }]);
    command.env("BENCH_TOKEN", "a-credential-of-the-benchmark-0001");
    command
}

/// A running pipelock. What it spends is not counted as the proxy's.
struct Pipelock {
    child: Child,
    address: SocketAddr,
}

impl Pipelock {
    fn start(world: &World, program: &Path) -> anyhow::Result<Self> {
        // It does not tell which port it took: one that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let answers = "{enabled: false}";
        let configuration = PIPELOCK.replace("LISTEN", &address.to_string()).replace("ANSWERS", answers);
        fs::write(world.path("pipelock.yaml"), configuration)?;
        let mut command = Command::new(program);
        command.args(["run", "--config", "pipelock.yaml"]).current_dir(world.folder.path());
        command.env("PIPELOCK_HOME", world.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let pipelock = Self { child: command.spawn()?, address };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            anyhow::ensure!(began.elapsed() < Duration::from_secs(30), "pipelock did not start listening");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(pipelock)
    }
}

impl Drop for Pipelock {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// A role of ours tells where it listens, as the proxy does.
pub fn announce(listen: SocketAddr) {
    eprintln!("{}", serde_json::json!({ "event": "proxy.started", "listen": listen.to_string() }));
}

/// A child that says on stderr where it listens. What it writes on stdout is read away, as a container's log is.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (mut stdout, stderr) = (child.stdout.take().context("piped")?, child.stderr.take().context("piped")?);
        std::thread::spawn(move || {
            let mut records = vec![0; 64 << 10];
            while stdout.read(&mut records).is_ok_and(|read| read > 0) {}
        });
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                match event["listen"].as_str().and_then(|listen| listen.parse().ok()) {
                    Some(address) => drop(sender.send(address)),
                    None => eprintln!("{line}"),
                }
            }
        });
        let address = receiver.recv_timeout(Duration::from_secs(30)).context("a process did not start listening")?;
        Ok(Self { child, address })
    }

    /// In nanoseconds, over all threads.
    fn cpu(&self) -> anyhow::Result<Duration> {
        let mut total = 0;
        for task in fs::read_dir(self.proc("task"))? {
            let stat = fs::read_to_string(task?.path().join("schedstat"))?;
            total += stat.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }

    fn status(&self, name: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(self.proc("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("Linux tells it")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.child.id()).into()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}
