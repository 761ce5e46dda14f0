//! The same seed tells the same story.

use simulation::simulated::campaign::{difference, run_apart};
use simulation::simulated::run::{Plan, Verdict};
use std::path::Path;

#[test]
fn one_seed_tells_one_story() {
    let program = Path::new(env!("CARGO_BIN_EXE_simulation"));
    for seed in 1..=3 {
        let plan = Plan { seed, steps: 1_000 };
        let told = run_apart(program, plan, true);
        assert!(!matches!(told.verdict, Verdict::Violation(_)), "seed {seed}: {:?}", told.verdict);
        let again = run_apart(program, plan, true);
        assert_eq!(difference(&told, &again), None, "seed {seed}");
        assert!(told.steps >= 1_000);
    }
}

#[test]
fn another_seed_tells_another_story() {
    let program = Path::new(env!("CARGO_BIN_EXE_simulation"));
    let told = |seed| run_apart(program, Plan { seed, steps: 300 }, true);
    assert!(difference(&told(1), &told(2)).is_some());
}
