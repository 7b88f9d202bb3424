//! `cargo run -p fuzz -- [TARGET…] [--seconds N]`: fuzzes on stable Rust, without coverage, until the time is up.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::{Duration, Instant},
};

use fuzz::{TARGETS, Target, inputs, mutate::Mutator, named};

fn main() -> ExitCode {
    let (mut targets, mut seconds) = (Vec::new(), 10);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--seconds" {
            seconds = args.next().and_then(|value| value.parse().ok()).expect("`--seconds` takes a number");
        } else {
            targets.push(named(&arg).unwrap_or_else(|| panic!("no target `{arg}`; there are {:?}", names())));
        }
    }
    if targets.is_empty() {
        targets.extend(TARGETS);
    }
    let sound = targets.into_iter().filter(|target| !fuzz(*target, Duration::from_secs(seconds))).count() == 0;
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the property held for as long.
fn fuzz(target: Target, time: Duration) -> bool {
    let seed = rand::random();
    let corpus = inputs(target).into_iter().map(|(_, input)| input).collect();
    let (mut mutator, began, mut runs) = (Mutator::new(seed, corpus), Instant::now(), 0_u64);
    while began.elapsed() < time {
        let input = mutator.next_input();
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
            let path = format!("{}-{seed:016x}-{runs}.input", target.name);
            std::fs::write(&path, &input).expect("the working directory is writable");
            println!("{}: broken after {runs} runs; the input is in {path}", target.name);
            return false;
        }
        runs += 1;
    }
    println!("{}: {runs} runs in {} s, seed {seed:016x}", target.name, time.as_secs());
    true
}

fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|target| target.name).collect()
}
