//! Start, memory and size, each on a process of its own: time to the first answer, resident memory before and after work,
//! what is on the disk.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::time::timeout;

use crate::{
    contender::{Contender, Kind, World},
    load::{self, Amount, Request},
    pin::Place,
    report::{Figure, Results},
    scenario::Direction,
};

const STARTS: usize = 9;
/// So many requests are asked for before memory is read, in so much time.
const WORK: Amount = Amount { time: Duration::from_secs(15), requests: 100_000 };
const IDLE_CONNECTIONS: usize = 1_000;
/// One body, to see whether it is kept in memory.
const BODY_MIB: u64 = 1_024;
const HUNG: Duration = Duration::from_secs(300);
const MIB: f64 = (1 << 20) as f64;

pub const START: &str = "start to first answer";
pub const MEMORY: &str = "resident memory";
pub const SIZE: &str = "installed size";

pub async fn measure(world: &World, kinds: &[Kind], quick: bool, results: &mut Results) -> anyhow::Result<()> {
    let proxies = || kinds.iter().copied().filter(|kind| *kind != Kind::Direct);
    for _ in 0..STARTS {
        for kind in proxies() {
            match timeout(HUNG, start(world, kind)).await.context("hung").and_then(|done| done) {
                Ok(figures) => results.add(START, kind, &figures),
                Err(error) => results.failed(START, kind, &error),
            }
        }
    }
    for kind in proxies().filter(|kind| !quick || *kind == Kind::ScanOn) {
        match timeout(HUNG, memory(world, kind, quick)).await.context("hung").and_then(|done| done) {
            Ok(figures) => results.add(MEMORY, kind, &figures),
            Err(error) => results.failed(MEMORY, kind, &error),
        }
        let program = world.programs.of(kind).map_err(anyhow::Error::msg)?;
        // A Python program is its whole environment.
        let installed = if kind == Kind::Mitmproxy { program.ancestors().nth(2) } else { Some(&*program) };
        let size = size(installed.context("a program is in a folder")?)?;
        if kind != Kind::Floor {
            results.add(SIZE, kind, &[("MiB", size as f64 / MIB)]);
        }
    }
    Ok(())
}

async fn start(world: &World, kind: Kind) -> anyhow::Result<Vec<Figure>> {
    let began = Instant::now();
    let contender = Contender::start(world, kind, Place::Proxy)?;
    let listening = began.elapsed();
    contender.way.h1(contender.way.host).await?.small().await?;
    let answered = began.elapsed();
    Ok(vec![
        ("first answer ms", answered.as_secs_f64() * 1e3),
        ("listening ms", listening.as_secs_f64() * 1e3),
        ("CPU ms", contender.cpu()?.unwrap_or_default().as_secs_f64() * 1e3),
    ])
}

async fn memory(world: &World, kind: Kind, quick: bool) -> anyhow::Result<Vec<Figure>> {
    let contender = Contender::start(world, kind, Place::Proxy)?;
    let resident = || anyhow::Ok(contender.resident()?.unwrap_or_default() as f64 / MIB);
    let mut figures = vec![("idle MiB", resident()?)];
    for (name, direction) in [("peak in 1 GiB down", Direction::Down), ("peak in 1 GiB up", Direction::Up)] {
        if quick || kind.is_inspected() {
            continue;
        }
        contender.forget_peak()?;
        load::once(&contender, direction.of(BODY_MIB)).await?;
        figures.push((name, contender.peak()?.unwrap_or_default() as f64 / MIB));
    }
    // pipelock's own HTTP/1.1 tunnels end after one exchange.
    let work = match kind {
        Kind::Pipelock => load::streams(&contender, 16, WORK).await?,
        _ => load::keep_alive(&contender, 16, Request::Small, WORK).await?,
    };
    let worked = resident()?;
    figures.extend([("after requests MiB", worked), ("requests", work.requests as f64)]);
    if kind == Kind::Pipelock {
        return Ok(figures);
    }
    let mut sessions = Vec::new();
    for _ in 0..IDLE_CONNECTIONS {
        let mut session = contender.way.h1(contender.way.host).await?;
        session.small().await?;
        sessions.push(session);
    }
    figures.push(("KiB per idle connection", (resident()? - worked) * 1024.0 / IDLE_CONNECTIONS as f64));
    Ok(figures)
}

/// Of a file, or of all files in a folder.
fn size(path: &Path) -> anyhow::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}
