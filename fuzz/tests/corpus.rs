//! Every committed input, and some thousand changed ones, keep every property: on stable, in seconds.

use fuzz::{TARGETS, inputs, mutate::Mutator};

/// Changed inputs for each target.
const RUNS: usize = 1500;

#[test]
fn every_property_holds_for_the_committed_inputs() {
    for target in TARGETS {
        let inputs = inputs(target);
        assert!(!inputs.is_empty(), "no input for `{}`", target.name);
        for (path, input) in inputs {
            println!("{}", path.display());
            (target.run)(&input);
        }
    }
}

#[test]
fn every_property_holds_for_changed_inputs() {
    for (seed, target) in TARGETS.into_iter().enumerate() {
        let corpus = inputs(target).into_iter().map(|(_, input)| input).collect();
        let mut mutator = Mutator::new(seed as u64, corpus);
        for _ in 0..RUNS {
            let input = mutator.next_input();
            println!("{}: {}", target.name, input.escape_ascii());
            (target.run)(&input);
        }
    }
}
