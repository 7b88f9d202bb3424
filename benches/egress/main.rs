//! What interception costs: the proxy beside a bare interceptor and no proxy at all, in interleaved rounds.
//!
//! `make bench` and `make bench-quick` run it; `docs/performance.md` explains method and figures. Origin, proxies and
//! load are processes of their own, on loopback. It must never measure a contender whose answers it has not checked.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark reports on stdout, its roles on stderr")]

mod client;
mod contender;
mod floor;
mod load;
mod memory;
mod origin;
mod report;
mod scenario;
mod tls;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::{Args, Parser};

use crate::{
    contender::{Contender, Kind, World},
    report::Results,
    scenario::Scenario,
};

/// The name that everything is asked for.
const HOST: &str = "bench.localhost";

#[derive(Parser)]
enum Role {
    /// Measure, and print the tables.
    Run(Measured),
    /// Be the origin.
    #[command(hide = true)]
    Origin { folder: PathBuf },
    /// Be the bare interceptor.
    #[command(hide = true)]
    Floor { folder: PathBuf, listen: SocketAddr },
}

#[derive(Args)]
struct Measured {
    /// The proxy's program.
    #[arg(long, default_value = "target/dist/egress-proxy")]
    egress_proxy: PathBuf,
    /// The real pipelock, for one more contender.
    #[arg(long, env = "PIPELOCK_BIN")]
    pipelock: Option<PathBuf>,
    /// Less of everything: under three minutes.
    #[arg(long)]
    quick: bool,
    /// Rounds; medians are over these.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only scenarios whose name holds this.
    #[arg(long, default_value = "")]
    only: String,
    /// Only contenders whose name holds one of these. Repeatable.
    #[arg(long = "contender")]
    contenders: Vec<String>,
    /// Writes the tables into this file too.
    #[arg(long)]
    write: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Role::parse() {
        Role::Origin { folder } => origin::run(&folder).await,
        Role::Floor { folder, listen } => floor::run(&folder, listen).await,
        Role::Run(args) => measure(&args).await,
    }
}

async fn measure(args: &Measured) -> anyhow::Result<()> {
    let world = World::new(&args.egress_proxy, args.pipelock.clone())?;
    let kinds: Vec<Kind> = Kind::all(args.pipelock.is_some())
        .into_iter()
        .filter(|kind| args.contenders.is_empty() || args.contenders.iter().any(|name| kind.name().contains(&**name)))
        .collect();
    let scenarios: Vec<Scenario> =
        Scenario::all(args.quick).into_iter().filter(|scenario| scenario.name().contains(&*args.only)).collect();
    let rounds = args.rounds.unwrap_or(if args.quick { 3 } else { 7 });

    let mut results = Results::default();
    let mut contenders = Vec::new();
    for kind in &kinds {
        contenders.push(Contender::start(&world, *kind)?);
    }
    for round in 0..rounds {
        for scenario in &scenarios {
            // Each round begins with another contender, so that none is always first after a pause.
            for turn in 0..contenders.len() {
                let contender = &contenders[(round + turn) % contenders.len()];
                if scenario.is_for(contender.kind) {
                    let figures = scenario.run(contender, round).await?;
                    results.add(&scenario.name(), contender.kind.name(), &figures);
                }
            }
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    drop(contenders);
    if "start and memory".contains(&*args.only) {
        memory::measure(&world, &kinds, args.quick, &mut results).await?;
    }

    let text = results.markdown(&args.egress_proxy, rounds);
    println!("{text}");
    if let Some(file) = &args.write {
        std::fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
        std::fs::write(file, text)?;
    }
    Ok(())
}
