//! What interception costs: the proxy beside other interceptors and no proxy at all, in interleaved rounds.
//!
//! `make bench` and `make bench-quick` run it; `docs/performance.md` explains method and figures. Origin, proxies and
//! load are processes of their own, on loopback. It must never measure a contender whose answers it has not checked.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports on stdout, its roles on stderr")]

mod client;
mod contender;
mod floor;
mod footprint;
mod load;
mod origin;
mod pin;
mod report;
mod scenario;
mod tls;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::{Args, Parser};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::{
    contender::{Contender, Kind, Programs, World},
    load::Amount,
    pin::Place,
    report::Results,
    scenario::{Extent, Scenario},
};

/// The name that everything is asked for.
const HOST: &str = "bench.localhost";
/// New names in a whole run, as the scenario is called.
const NAMES: usize = 500;
/// A load that takes longer has hung.
const HUNG: Duration = Duration::from_secs(90);

#[derive(Parser)]
enum Role {
    /// Measure, and print the tables.
    Run(Box<Measured>),
    /// Be the origin.
    #[command(hide = true)]
    Origin { folder: PathBuf },
    /// Be the bare interceptor.
    #[command(hide = true)]
    Floor { folder: PathBuf, listen: SocketAddr },
}

#[derive(Args)]
struct Measured {
    #[command(flatten)]
    programs: Programs,
    /// Less of everything: under three minutes.
    #[arg(long)]
    quick: bool,
    /// Rounds; medians are over these.
    #[arg(long)]
    rounds: Option<usize>,
    /// Exactly so many requests of a load, however long they take; to count instructions.
    #[arg(long)]
    requests: Option<usize>,
    /// Only scenarios whose name holds this.
    #[arg(long, default_value = "")]
    only: String,
    /// Only contenders of exactly this name. Repeatable.
    #[arg(long = "contender")]
    contenders: Vec<String>,
    /// Writes tables and charts, named by the date, into this folder.
    #[arg(long)]
    results: Option<PathBuf>,
    /// Rewrites the figures between the marks of this page; needs `--results`.
    #[arg(long, requires = "results")]
    page: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let role = Role::parse();
    if let Role::Run(_) = role {
        let files = Rlimit { current: getrlimit(Resource::Nofile).maximum, ..getrlimit(Resource::Nofile) };
        setrlimit(Resource::Nofile, files).context("1,000 connections need more open files")?;
        pin::stay(Place::Load)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match role {
        Role::Origin { folder } => runtime.block_on(origin::run(&folder)),
        Role::Floor { folder, listen } => runtime.block_on(floor::run(&folder, listen)),
        // Whatever ends it, what it started is ended with it.
        Role::Run(args) => runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                done = measure(*args) => done,
                _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
                _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
            }
        }),
    }
}

async fn measure(args: Measured) -> anyhow::Result<()> {
    let kinds = args.kinds();
    let world = World::new(args.programs)?;
    let mut results = Results::begin(&world.programs.egress_proxy);
    let kinds: Vec<Kind> = kinds
        .into_iter()
        .filter(|kind| match world.programs.of(*kind) {
            Ok(_) => true,
            Err(reason) => {
                results.absent(*kind, reason);
                false
            }
        })
        .collect();
    let rounds = args.rounds.unwrap_or(if args.quick { 3 } else { 5 });
    let time = Duration::from_millis(if args.quick { 350 } else { 500 });
    let amount = match args.requests {
        Some(requests) => Amount { time: HUNG, requests },
        None => Amount { time, requests: usize::MAX },
    };
    let extent = Extent { amount, names: NAMES.div_ceil(rounds), turns: if args.quick { 1 } else { 3 } };
    let scenarios: Vec<Scenario> = Scenario::all(args.quick, extent)
        .into_iter()
        .filter(|scenario| scenario.name().contains(&*args.only))
        .collect();
    results.rounds = rounds;

    rounds_of(&world, &scenarios, &kinds, Place::Proxy, rounds, extent, &mut results).await?;
    if !args.quick {
        let several: Vec<Scenario> = scenarios.iter().copied().filter(Scenario::is_for_all_cores).collect();
        let kinds: Vec<Kind> = kinds.iter().copied().filter(|kind| kind.is_for_all_cores()).collect();
        rounds_of(&world, &several, &kinds, Place::Anywhere, rounds, extent, &mut results).await?;
    }
    if "start, memory and size".contains(&*args.only) {
        footprint::measure(&world, &kinds, args.quick, &mut results).await?;
    }

    println!("{}", results.markdown());
    if let Some(folder) = &args.results {
        results.write(folder, args.page.as_deref())?;
    }
    results.verdict()
}

impl Measured {
    fn kinds(&self) -> Vec<Kind> {
        let quick = [Kind::Direct, Kind::Floor, Kind::ScanOff, Kind::ScanOn];
        let compared = [Kind::OlderScanOff, Kind::Older];
        let older = self.programs.older.is_some();
        Kind::ALL
            .into_iter()
            .filter(|kind| match self.contenders.as_slice() {
                [] => (!self.quick || quick.contains(kind) || older) && (older || !compared.contains(kind)),
                named => named.iter().any(|name| name == kind.name()),
            })
            .collect()
    }
}

/// Starts all contenders and asks each for the same in turn.
async fn rounds_of(
    world: &World,
    scenarios: &[Scenario],
    kinds: &[Kind],
    place: Place,
    rounds: usize,
    extent: Extent,
    results: &mut Results,
) -> anyhow::Result<()> {
    if scenarios.is_empty() {
        return Ok(());
    }
    let mut contenders = Vec::new();
    for kind in kinds {
        match ready(world, *kind, place).await {
            Ok(contender) => contenders.push(contender),
            Err(error) => results.failed("start", *kind, &error),
        }
    }
    for round in 0..rounds {
        for scenario in scenarios {
            let name =
                if place == Place::Anywhere { format!("{}, all cores", scenario.name()) } else { scenario.name() };
            // Each turn begins with another contender, so that none is always first after a pause.
            let turns = scenario.turns(extent);
            let asked = (round * turns..(round + 1) * turns).flat_map(|first| {
                let contenders = &contenders;
                (0..contenders.len()).map(move |next| &contenders[(first + next) % contenders.len()])
            });
            for contender in asked {
                if let Some(reason) = scenario.is_not_for(contender.kind) {
                    results.not_for(&name, contender.kind, reason);
                    continue;
                }
                match timeout(HUNG, scenario.run(contender, round, extent)).await.context("hung").and_then(|done| done)
                {
                    Ok(figures) => results.add(&name, contender.kind, &figures),
                    Err(error) => results.failed(&name, contender.kind, &error),
                }
            }
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    Ok(())
}

/// A contender that has shown that it does the job.
async fn ready(world: &World, kind: Kind, place: Place) -> anyhow::Result<Contender> {
    let contender = Contender::start(world, kind, place)?;
    timeout(HUNG, contender.prove()).await.context("hung")??;
    Ok(contender)
}
