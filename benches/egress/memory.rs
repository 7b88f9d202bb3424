//! Start and memory, each on a process of its own: time to the first answer, resident memory before and after work.

use std::time::Instant;

use crate::{
    HOST,
    contender::{Contender, Kind, World},
    load,
    report::Results,
};

const STARTS: usize = 9;
const REQUESTS: usize = 100_000;
const IDLE_CONNECTIONS: usize = 500;
const MIB: f64 = (1 << 20) as f64;

pub async fn measure(world: &World, kinds: &[Kind], quick: bool, results: &mut Results) -> anyhow::Result<()> {
    let proxies: Vec<Kind> = kinds.iter().copied().filter(|kind| *kind != Kind::Direct).collect();
    for _ in 0..STARTS {
        for kind in proxies.iter().filter(|kind| **kind != Kind::Inspected) {
            let began = Instant::now();
            let contender = Contender::start(world, *kind)?;
            let listening = began.elapsed();
            contender.way.h1(HOST).await?.small().await?;
            let figures = [
                ("first answer ms", began.elapsed().as_secs_f64() * 1e3),
                ("listening ms", listening.as_secs_f64() * 1e3),
                ("CPU ms", contender.cpu()?.unwrap_or_default().as_secs_f64() * 1e3),
            ];
            results.add("process start to first answer", kind.name(), &figures);
        }
    }
    let worth_it = |kind: &&Kind| if quick { **kind == Kind::ScanOn } else { **kind != Kind::Inspected };
    for kind in proxies.iter().filter(worth_it) {
        let contender = Contender::start(world, *kind)?;
        let resident = || anyhow::Ok(contender.resident()?.unwrap_or_default() as f64);
        let idle = resident()?;
        load::keep_alive(&contender, 16, REQUESTS).await?;
        let worked = resident()?;
        let mut sessions = Vec::new();
        for _ in 0..IDLE_CONNECTIONS {
            let mut session = contender.way.h1(HOST).await?;
            session.small().await?;
            sessions.push(session);
        }
        let connected = resident()?;
        drop(sessions);
        let figures = [
            ("idle MiB", idle / MIB),
            ("after 100,000 requests MiB", worked / MIB),
            ("KiB per idle connection", (connected - worked) / 1024.0 / IDLE_CONNECTIONS as f64),
        ];
        results.add("resident memory", kind.name(), &figures);
    }
    Ok(())
}
