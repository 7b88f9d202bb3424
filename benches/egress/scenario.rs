//! What is asked of every contender, and which figures tell how it did; the first figure decides.

use crate::{
    contender::{Contender, Kind},
    load::{self, Amount, Request},
    report::Figure,
};

#[derive(Clone, Copy, Debug)]
pub enum Scenario {
    KeepAlive { connections: usize },
    Streams { streams: usize },
    NewConnections { clients: usize },
    NewNames { names: usize },
    Bodies { direction: Direction },
    Bulk { mib: u64, direction: Direction },
    Events,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    Down,
    Up,
}

/// How long and how much.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Of one load in one round.
    pub amount: Amount,
    /// New names in one round.
    pub names: usize,
    /// Turns in one round where a few percent decide.
    pub turns: usize,
}

const MIB: f64 = (1 << 20) as f64;
/// Connections that carry bodies of 1 MiB.
const BODY_CONNECTIONS: usize = 4;

impl Scenario {
    /// Those that `make bench-quick` has too come first.
    pub fn all(quick: bool, extent: Extent) -> Vec<Self> {
        let mut all = vec![
            Self::KeepAlive { connections: 16 },
            Self::Streams { streams: 32 },
            Self::NewConnections { clients: 16 },
            Self::Bulk { mib: 100, direction: Direction::Down },
            Self::Bulk { mib: 100, direction: Direction::Up },
            Self::Events,
        ];
        if !quick {
            all.splice(1..1, [Self::KeepAlive { connections: 1 }, Self::KeepAlive { connections: 64 }]);
            all.insert(5, Self::NewConnections { clients: 1 });
            all.insert(6, Self::NewNames { names: extent.names });
            all.push(Self::Bodies { direction: Direction::Down });
            all.push(Self::Bodies { direction: Direction::Up });
        }
        all
    }

    pub fn name(&self) -> String {
        match self {
            Self::KeepAlive { connections: 1 } => "keep-alive small GET, 1 connection".to_owned(),
            Self::KeepAlive { connections } => format!("keep-alive small GET, {connections} connections"),
            Self::Streams { streams } => format!("one h2 connection, {streams} streams"),
            Self::NewConnections { clients: 1 } => "new connection per request, 1 client".to_owned(),
            Self::NewConnections { clients } => format!("new connection per request, {clients} clients"),
            Self::NewNames { .. } => "first request to 500 new names, then again".to_owned(),
            Self::Bodies { direction: Direction::Down } => "1 MiB down, 4 connections".to_owned(),
            Self::Bodies { direction: Direction::Up } => "1 MiB up, 4 connections".to_owned(),
            Self::Bulk { mib, direction: Direction::Down } => format!("{mib} MiB down"),
            Self::Bulk { mib, direction: Direction::Up } => format!("{mib} MiB up"),
            Self::Events => "SSE event delay".to_owned(),
        }
    }

    /// How often all contenders are asked in one round.
    pub fn turns(&self, extent: Extent) -> usize {
        match self {
            Self::KeepAlive { connections: 16 } | Self::Streams { .. } => extent.turns,
            _ => 1,
        }
    }

    /// Asked once more where every core is the proxy's to take.
    pub fn is_for_all_cores(&self) -> bool {
        matches!(self, Self::KeepAlive { connections: 16 } | Self::Streams { .. } | Self::Events)
    }

    /// What a contender cannot do, and why.
    pub fn is_not_for(&self, kind: Kind) -> Option<&'static str> {
        match (self, kind) {
            (Self::KeepAlive { .. }, Kind::Pipelock) => Some("its HTTP/1.1 tunnels end after one exchange"),
            (Self::NewNames { .. }, Kind::Nginx) => Some("one fixed certificate"),
            (Self::NewNames { .. }, Kind::Pipelock) => Some("resolves only names that the system knows"),
            (Self::NewNames { .. }, Kind::Direct) => Some("nothing to mint"),
            (Self::Bulk { direction: Direction::Up, .. }, kind) if kind.is_inspected() => {
                Some("takes content of 32 MiB at most")
            }
            (Self::Bulk { direction: Direction::Down, .. }, Kind::Exchange | Kind::Pipelock) => {
                Some("reads answers for seconds per MiB")
            }
            (Self::Bodies { .. }, kind) if kind.is_inspected() => Some("reads content for seconds per MiB"),
            _ => None,
        }
    }

    pub async fn run(&self, contender: &Contender, round: usize, extent: Extent) -> anyhow::Result<Vec<Figure>> {
        let amount = extent.amount;
        match *self {
            Self::KeepAlive { connections } => {
                Ok(figures(&load::keep_alive(contender, connections, Request::Small, amount).await?))
            }
            Self::Streams { streams } => Ok(figures(&load::streams(contender, streams, amount).await?)),
            Self::NewConnections { clients } => Ok(figures(&load::new_connections(contender, clients, amount).await?)),
            Self::NewNames { names } => new_names(contender, round, names).await,
            Self::Bodies { direction } => {
                Ok(figures(&load::keep_alive(contender, BODY_CONNECTIONS, direction.of(1), amount).await?))
            }
            Self::Bulk { mib, direction } => bulk(contender, mib, direction).await,
            Self::Events => {
                let load = load::events(contender).await?;
                Ok(vec![("p50 ms", load.percentile(50)), ("p99 ms", load.percentile(99))])
            }
        }
    }
}

impl Direction {
    pub fn of(self, mib: u64) -> Request {
        match self {
            Self::Down => Request::Download(mib << 20),
            Self::Up => Request::Upload(mib << 20),
        }
    }
}

fn figures(load: &load::Load) -> Vec<Figure> {
    let requests = load.requests as f64;
    let inspector = load.inspector_cpu.map(|cpu| ("inspector's CPU µs", cpu.as_secs_f64() * 1e6 / requests));
    load.cpu_per_request()
        .map(|cpu| ("CPU µs/request", cpu))
        .into_iter()
        .chain([("requests/s", load.rate()), ("p50 ms", load.percentile(50)), ("p99 ms", load.percentile(99))])
        .chain(load.busy().map(|busy| ("proxy's core busy %", busy)))
        .chain(inspector)
        .collect()
}

async fn new_names(contender: &Contender, round: usize, count: usize) -> anyhow::Result<Vec<Figure>> {
    let names: Vec<_> = (0..count).map(|name| format!("n{round}-{name}.{}", crate::HOST)).collect();
    let cold = load::names(contender, &names).await?;
    let warm = load::names(contender, &names).await?;
    let figures = [
        cold.cpu_per_request().map(|cpu| ("CPU µs/name", cpu)),
        Some(("first, p50 ms", cold.percentile(50))),
        Some(("first, p99 ms", cold.percentile(99))),
        warm.cpu_per_request().map(|cpu| ("again, CPU µs", cpu)),
        Some(("again, p50 ms", warm.percentile(50))),
    ];
    Ok(figures.into_iter().flatten().collect())
}

async fn bulk(contender: &Contender, mib: u64, direction: Direction) -> anyhow::Result<Vec<Figure>> {
    contender.forget_peak()?;
    let before = contender.resident()?;
    let load = load::once(contender, direction.of(mib)).await?;
    let growth = contender.peak()?.zip(before).map(|(peak, before)| peak.saturating_sub(before) as f64 / MIB);
    let cpu = load.cpu.map(|cpu| ("CPU s/GiB", cpu.as_secs_f64() * 1024.0 / mib as f64));
    let rate = ("MiB/s", mib as f64 / load.wall.as_secs_f64());
    let busy = load.busy().map(|busy| ("proxy's core busy %", busy));
    Ok(cpu.into_iter().chain([rate]).chain(busy).chain(growth.map(|growth| ("peak growth MiB", growth))).collect())
}
