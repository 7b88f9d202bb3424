//! What is asked of every contender, and which figures tell how it did; the first figure decides.

use crate::{
    contender::{Contender, Kind},
    load,
};

/// A figure's name, and its value.
pub type Figure = (&'static str, f64);

const MIB: f64 = (1 << 20) as f64;

#[derive(Clone, Copy, Debug)]
pub enum Scenario {
    KeepAlive { connections: usize, requests: usize },
    Streams { streams: usize, requests: usize },
    NewConnections { clients: usize, requests: usize },
    NewNames { names: usize },
    Download { mib: u64 },
    Upload { mib: u64 },
    Events,
}

impl Scenario {
    pub fn all(quick: bool) -> Vec<Self> {
        let scale = if quick { 1 } else { 3 };
        let mut all = vec![
            Self::KeepAlive { connections: 16, requests: 6_400 * scale },
            Self::Streams { streams: 32, requests: 6_400 * scale },
            Self::NewConnections { clients: 16, requests: 320 * scale },
            Self::Download { mib: 100 },
            Self::Upload { mib: 100 },
            Self::Events,
        ];
        if !quick {
            all.push(Self::KeepAlive { connections: 1, requests: 4_000 });
            all.push(Self::KeepAlive { connections: 64, requests: 19_200 });
            all.push(Self::NewConnections { clients: 1, requests: 300 });
            all.push(Self::NewNames { names: 50 });
        }
        all
    }

    pub fn name(&self) -> String {
        match self {
            Self::KeepAlive { connections: 1, .. } => "keep-alive small GET, 1 connection".to_owned(),
            Self::KeepAlive { connections, .. } => format!("keep-alive small GET, {connections} connections"),
            Self::Streams { streams, .. } => format!("one h2 connection, {streams} streams"),
            Self::NewConnections { clients: 1, .. } => "new connection per request, 1 client".to_owned(),
            Self::NewConnections { clients, .. } => format!("new connection per request, {clients} clients"),
            Self::NewNames { names } => format!("first request to {names} new names, then again"),
            Self::Download { mib } => format!("{mib} MiB down"),
            Self::Upload { mib } => format!("{mib} MiB up"),
            Self::Events => "SSE event delay".to_owned(),
        }
    }

    /// The inspector takes content of 32 MiB at most, as its configuration says.
    pub fn is_for(&self, kind: Kind) -> bool {
        !matches!((self, kind), (Self::Upload { .. }, Kind::Inspected))
    }

    pub async fn run(&self, contender: &Contender, round: usize) -> anyhow::Result<Vec<Figure>> {
        match *self {
            Self::KeepAlive { connections, requests } => {
                Ok(figures(&load::keep_alive(contender, connections, requests).await?))
            }
            Self::Streams { streams, requests } => Ok(figures(&load::streams(contender, streams, requests).await?)),
            Self::NewConnections { clients, requests } => {
                Ok(figures(&load::new_connections(contender, clients, requests).await?))
            }
            Self::NewNames { names } => new_names(contender, round, names).await,
            Self::Download { mib } => bulk(contender, mib, Direction::Down).await,
            Self::Upload { mib } => bulk(contender, mib, Direction::Up).await,
            Self::Events => {
                let load = load::events(contender).await?;
                Ok(vec![("p50 ms", load.percentile(50)), ("p99 ms", load.percentile(99))])
            }
        }
    }
}

fn figures(load: &load::Load) -> Vec<Figure> {
    let rest = [("requests/s", load.rate()), ("p50 ms", load.percentile(50)), ("p99 ms", load.percentile(99))];
    load.cpu_per_request().map(|cpu| ("CPU µs/request", cpu)).into_iter().chain(rest).collect()
}

async fn new_names(contender: &Contender, round: usize, count: usize) -> anyhow::Result<Vec<Figure>> {
    let names: Vec<_> = (0..count).map(|name| format!("n{round}-{name}.{}", crate::HOST)).collect();
    let cold = load::names(contender, &names).await?;
    let warm = load::names(contender, &names).await?;
    let cpu = cold.cpu_per_request().map(|cpu| ("CPU µs/name", cpu));
    let rest = [("first, p50 ms", cold.percentile(50)), ("again, p50 ms", warm.percentile(50))];
    Ok(cpu.into_iter().chain(rest).collect())
}

enum Direction {
    Down,
    Up,
}

async fn bulk(contender: &Contender, mib: u64, direction: Direction) -> anyhow::Result<Vec<Figure>> {
    contender.forget_peak()?;
    let before = contender.resident()?;
    let load = match direction {
        Direction::Down => load::download(contender, mib << 20).await?,
        Direction::Up => load::upload(contender, mib << 20).await?,
    };
    let growth = contender.peak()?.zip(before).map(|(peak, before)| peak.saturating_sub(before) as f64 / MIB);
    let cpu = load.cpu.map(|cpu| ("CPU s/GiB", cpu.as_secs_f64() * 1024.0 / mib as f64));
    let rate = ("MiB/s", mib as f64 / load.wall.as_secs_f64());
    Ok(cpu.into_iter().chain([rate]).chain(growth.map(|growth| ("peak growth MiB", growth))).collect())
}
