//! What is compared, each as a process of its own. A contender is measured only after it has shown that it does the job:
//! that it grants and refuses what the route table says, and injects the credential.

mod commands;
pub mod process;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use self::process::{Listens, Process};
use crate::{
    HOST,
    client::{Reach, Way},
    pin::Place,
};

/// Files that processes leave for others in the world's folder: whom clients and proxies trust.
pub const ORIGINS: &str = "origins.pem";
pub const FLOOR: &str = "floor.pem";
/// The fixed certificate, with its key, of what cannot mint.
pub const FIXED: &str = "fixed.pem";
pub const FIXED_KEY: &str = "fixed-key.pem";

/// What contenders inject, and the origin expects.
pub const CREDENTIAL: &str = "a-credential-of-the-benchmark-0001";

/// One of the things that are compared.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    Direct,
    Nginx,
    Floor,
    Hudsucker,
    Mitmproxy,
    ScanOff,
    ScanOn,
    Request,
    Exchange,
    Pipelock,
    OlderScanOff,
    Older,
}

impl Kind {
    pub const ALL: [Self; 12] = [
        Self::Direct,
        Self::Nginx,
        Self::Floor,
        Self::Hudsucker,
        Self::Mitmproxy,
        Self::ScanOff,
        Self::ScanOn,
        Self::Request,
        Self::Exchange,
        Self::Pipelock,
        Self::OlderScanOff,
        Self::Older,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Floor => "hyper-floor",
            Self::Hudsucker => "hudsucker",
            Self::Mitmproxy => "mitmproxy",
            Self::ScanOff => "egress-proxy, scan off",
            Self::ScanOn => "egress-proxy",
            Self::Request => "egress-proxy + pipelock",
            Self::Exchange => "egress-proxy + pipelock, answers too",
            Self::Pipelock => "pipelock alone",
            Self::OlderScanOff => "older, scan off",
            Self::Older => "older",
        }
    }

    /// pipelock is at work: nothing of bulk passes it, and it takes milliseconds for everything.
    pub fn is_inspected(self) -> bool {
        matches!(self, Self::Request | Self::Exchange | Self::Pipelock)
    }

    /// Compared once more where every core is the proxy's to take.
    pub fn is_for_all_cores(self) -> bool {
        matches!(self, Self::Floor | Self::Hudsucker | Self::ScanOff | Self::ScanOn | Self::OlderScanOff | Self::Older)
    }

    /// Whether it judges and injects; the others only carry.
    fn has_the_job(self) -> bool {
        !matches!(self, Self::Direct | Self::Floor | Self::Pipelock)
    }
}

/// The programs that contenders are made of.
#[derive(clap::Args)]
pub struct Programs {
    /// The proxy.
    #[arg(long, default_value = "target/dist/egress-proxy")]
    pub egress_proxy: PathBuf,
    /// An older proxy, as one more contender.
    #[arg(long)]
    pub older: Option<PathBuf>,
    /// hudsucker with the proxy's job; `scripts/bench-contenders` builds it.
    #[arg(long, default_value = "target/contenders/bench-hudsucker")]
    pub hudsucker: PathBuf,
    /// mitmproxy's own command; `scripts/bench-contenders` installs it.
    #[arg(long, default_value = "target/contenders/mitmproxy/bin/mitmdump")]
    pub mitmdump: PathBuf,
    #[arg(long, default_value = "/usr/sbin/nginx")]
    pub nginx: PathBuf,
    /// The real pipelock.
    #[arg(long, env = "PIPELOCK_BIN")]
    pub pipelock: Option<PathBuf>,
    /// Runs each proxy under this command, as a profiler.
    #[arg(long, value_delimiter = ' ', hide = true)]
    pub under: Vec<String>,
}

impl Programs {
    /// The program of a contender, as far as it is there.
    pub fn of(&self, kind: Kind) -> Result<PathBuf, String> {
        let (path, hint) = match kind {
            Kind::Direct | Kind::Floor => return std::env::current_exe().map_err(|error| error.to_string()),
            Kind::Nginx => (Some(&self.nginx), "Debian's package nginx-light"),
            Kind::Hudsucker => (Some(&self.hudsucker), "`scripts/bench-contenders`"),
            Kind::Mitmproxy => (Some(&self.mitmdump), "`scripts/bench-contenders`, Python 3.12 or later"),
            Kind::ScanOff | Kind::ScanOn => (Some(&self.egress_proxy), "`make build`"),
            Kind::Request | Kind::Exchange | Kind::Pipelock => (self.pipelock.as_ref(), "`PIPELOCK_BIN`"),
            Kind::Older | Kind::OlderScanOff => (self.older.as_ref(), "`make bench-compare REV`"),
        };
        match path {
            Some(path) => fs::canonicalize(path).map_err(|_| format!("no {}; {hint} has it", path.display())),
            None => Err(format!("not given; {hint} names it")),
        }
    }
}

/// The origin, and everything that contenders share.
pub struct World {
    folder: TempDir,
    origin: Process,
    pub programs: Programs,
}

impl World {
    pub fn new(programs: Programs) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let mut origin = Command::new(std::env::current_exe()?);
        origin.arg("origin").arg(folder.path());
        let origin = Process::start(&mut origin, &Listens::Tells, Place::Load)?;
        let world = Self { folder, origin, programs };
        commands::prepare(&world)?;
        Ok(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> anyhow::Result<String> {
        let path = self.path(name);
        fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))
    }

    /// The command that runs `program`, under a profiler where one is asked for.
    fn command(&self, program: &Path) -> Command {
        let mut words = self.programs.under.iter().filter(|word| !word.is_empty());
        match words.next() {
            None => Command::new(program),
            Some(profiler) => {
                let mut command = Command::new(profiler);
                command.args(words).arg(program);
                command
            }
        }
    }
}

/// One contender at work.
pub struct Contender {
    pub kind: Kind,
    pub way: Way,
    process: Option<Process>,
    inspector: Option<Process>,
}

impl Contender {
    /// Starts it; what it needs beside itself runs in its place too.
    pub fn start(world: &World, kind: Kind, place: Place) -> anyhow::Result<Self> {
        let program = world.programs.of(kind).map_err(|reason| anyhow::anyhow!("{}: {reason}", kind.name()))?;
        let origin = world.origin.address;
        if kind == Kind::Direct {
            let way = Way::new(HOST, origin, Reach::Straight, &world.read(ORIGINS)?)?;
            return Ok(Self { kind, way, process: None, inspector: None });
        }
        let (program, inspector) = match kind {
            Kind::Request | Kind::Exchange => {
                let proxy = world.programs.of(Kind::ScanOn).map_err(anyhow::Error::msg)?;
                (proxy, Some(commands::inspector(world, &program, kind, place)?))
            }
            _ => (program, None),
        };
        let commands::Launch { mut command, listens, trust, host } =
            commands::launch(world, kind, &program, inspector.as_ref().map(|process| process.address))?;
        let process = Process::start(&mut command, &listens, place).with_context(|| kind.name())?;
        // It writes the file before it listens.
        let trust = fs::read_to_string(&trust).with_context(|| format!("{}: no {}", kind.name(), trust.display()))?;
        let reach = match kind {
            Kind::Nginx => Reach::InPlace(process.address),
            _ => Reach::Connect(process.address),
        };
        let way = Way::new(host, origin, reach, &trust)?;
        Ok(Self { kind, way, process: Some(process), inspector })
    }

    /// Fails unless the contender does what the others do.
    pub async fn prove(&self) -> anyhow::Result<()> {
        let mut session = self.way.h1(self.way.host).await.with_context(|| self.kind.name())?;
        session.small().await.with_context(|| self.kind.name())?;
        if self.kind.has_the_job() {
            let injected = session.status("/injected").await?;
            ensure!(injected == 200, "{}: injected no credential ({injected})", self.kind.name());
            let refused = self.way.h1(self.way.host).await?.status("/elsewhere").await?;
            ensure!(refused == 403, "{}: let another path pass ({refused})", self.kind.name());
        }
        match self.way.h2(self.way.host).await?.small().await {
            Ok(()) => Ok(()),
            Err(error) => bail!("{}: no h2: {error:#}", self.kind.name()),
        }
    }

    /// Processor time of the proxy so far; without a proxy there is none, and its inspector's is not in it.
    pub fn cpu(&self) -> anyhow::Result<Option<Duration>> {
        self.process.as_ref().map(Process::cpu).transpose()
    }

    /// Processor time of the inspector beside it.
    pub fn inspector_cpu(&self) -> anyhow::Result<Option<Duration>> {
        self.inspector.as_ref().map(Process::cpu).transpose()
    }

    /// Resident bytes.
    pub fn resident(&self) -> anyhow::Result<Option<u64>> {
        self.process.as_ref().map(Process::resident).transpose()
    }

    /// The most resident bytes since [`Contender::forget_peak`].
    pub fn peak(&self) -> anyhow::Result<Option<u64>> {
        self.process.as_ref().map(Process::peak).transpose()
    }

    pub fn forget_peak(&self) -> anyhow::Result<()> {
        self.process.as_ref().map_or(Ok(()), Process::forget_peak)
    }
}
